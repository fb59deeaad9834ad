//! A checkpoint whose store fails: what a query does meanwhile, and after.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use epochflow::testing::{Failure, Fault, FaultyStore, Operation};
use epochflow::{DataStreamWriter, EmbeddedBroker, EpochId, ErrorKind, StreamingQuery, Trigger};

use crate::support::engine::{Engine, User, pipeline};
use crate::support::kafka::{Record, Sender};
use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::scripted_query::{OFTEN, checkpoint_in, copy, in_memory};
use crate::support::{eventually, in_time};

async fn started(writer: DataStreamWriter, store: &FaultyStore) -> StreamingQuery {
    in_time("the start", writer.checkpoint(checkpoint_in(store)).start()).await.unwrap()
}

async fn push_and_see(script: &Script, sink: &Recording, row: &str) {
    script.push(0, row);
    eventually("the row is written", async || sink.has(row).then_some(())).await;
}

async fn no_problems(store: &FaultyStore) {
    store.heal();
    assert_eq!(checkpoint_in(store).inventory().await.unwrap().problems(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_is_repeated_while_records_flow() {
    for fault in [Fault::Before(Failure::NoAnswer), Fault::After(Failure::NoAnswer)] {
        let (store, script, sink) = (in_memory(), Script::new(1), Recording::default());
        let query = started(copy(&script, &sink, OFTEN).await, &store).await;
        push_and_see(&script, &sink, "before").await;
        in_time("epoch 0", query.process_all_available()).await.unwrap();
        store.meet(Operation::Put, "offsets/", fault);
        store.meet(Operation::Get, "offsets/", Fault::Before(Failure::NoAnswer));
        store.take_calls();
        for number in 0..20 {
            push_and_see(&script, &sink, &number.to_string()).await;
        }
        let mut attempts = Vec::new();
        eventually("it was tried several times", async || {
            let calls = store.take_calls().into_iter().filter(|(operation, _)| *operation == Operation::Put);
            attempts.extend(calls.map(|(_, path)| path.to_string()));
            (attempts.len() >= 3).then_some(())
        })
        .await;
        // Only the oldest epoch goes on to its logs.
        assert!(attempts.iter().all(|path| path == "checkpoint/offsets/1"), "{attempts:?}");
        assert_eq!(query.last_progress().unwrap().batch_id, 0);
        store.heal();
        in_time("the rest", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
        assert_eq!(sink.written().len(), 21, "nothing was repeated");
        no_problems(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_held_back_at_max_uncommitted_and_go_on_when_the_store_is_back() {
    let (store, script, sink) = (in_memory(), Script::new(1), Recording::default());
    let writer = copy(&script, &sink, OFTEN).await.option("maxUncommitted", "100ms");
    let query = started(writer, &store).await;
    store.meet(Operation::Put, "offsets/", Fault::Before(Failure::Throttled));
    push_and_see(&script, &sink, "while the store fails").await;
    let waiting = async || (query.status().message == "Waiting for the checkpoint").then_some(());
    eventually("the sources are held back", waiting).await;
    // The word may still be on its way to the partition.
    let mut pushed = 0;
    let kept_out = eventually("a row is kept out", async || {
        let row = format!("row {pushed}");
        pushed += 1;
        script.push(0, row.clone());
        tokio::time::sleep(Duration::from_millis(100)).await;
        (!sink.has(&row)).then_some(row)
    })
    .await;
    store.heal();
    eventually("it is let in", async || sink.has(&kept_out).then_some(())).await;
    eventually("the query runs on", async || (query.status().message == "Running").then_some(())).await;
    in_time("the rest", query.process_all_available()).await.unwrap();
    push_and_see(&script, &sink, "at full speed again").await;
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(sink.written().len(), pushed + 2, "nothing was repeated");
    no_problems(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_to_be_mended_makes_the_query_wait_or_stop_as_it_was_told() {
    for failure in [Failure::Full, Failure::PermissionDenied, Failure::ReadOnly] {
        for trigger in [OFTEN, Trigger::ProcessingTime(Duration::ZERO)] {
            let (store, script, sink) = (in_memory(), Script::new(1), Recording::default());
            let query = started(copy(&script, &sink, trigger).await, &store).await;
            store.meet_times(2, Operation::Put, "commits/", Fault::Before(failure));
            script.push(0, "a");
            in_time("the record", query.process_all_available()).await.unwrap();
            in_time("the stop", query.stop()).await.unwrap();

            let writer = copy(&script, &sink, trigger).await.option("storeErrors", "stop");
            let query = started(writer, &store).await;
            store.meet(Operation::Put, "commits/", Fault::Before(failure));
            script.push(0, "b");
            let error = in_time("the failure", query.await_termination()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Environment, "{failure:?}");
            let message = error.to_string();
            assert!(message.contains("checkpoint/commits/1"), "{message}");
            assert!(message.contains("check that") && message.contains("may write there"), "{message}");
            no_problems(&store).await;
            let facts = checkpoint_in(&store).facts().await.unwrap();
            assert_eq!(facts.commits.last(), Some(&EpochId(0)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_and_throttling_store_only_makes_epochs_longer() {
    let (store, script, sink) = (in_memory(), Script::new(1), Recording::default());
    let mut puts = 0;
    store.script(move |operation, _| {
        puts += u32::from(operation == Operation::Put);
        let is_put = operation == Operation::Put;
        (is_put && puts % 4 == 0).then_some(Fault::Before(Failure::Throttled))
    });
    store.meet(Operation::Put, "", Fault::Late(Duration::from_millis(30)));
    let query = started(copy(&script, &sink, OFTEN).await, &store).await;
    for number in 0..30 {
        push_and_see(&script, &sink, &number.to_string()).await;
    }
    in_time("all", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(sink.written().len(), 30);
    no_problems(&store).await;
}

/// No store that a checkpoint may be in does this; still nothing may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_listing_repeats_and_loses_nothing() {
    for (late, trigger) in [("commits/1", OFTEN), ("commits/1", Trigger::AvailableNow), ("offsets/1", OFTEN)]
    {
        let (store, script, sink) = (in_memory(), Script::new(1), Recording::default());
        store.meet(Operation::Put, late, Fault::Unlisted(u32::MAX));
        for row in ["a", "b"] {
            script.push(0, row);
            let query = started(copy(&script, &sink, Trigger::AvailableNow).await, &store).await;
            in_time("the end", query.await_termination()).await.unwrap();
        }
        script.push(0, "c");
        let writer = copy(&script, &sink, trigger).await.checkpoint(checkpoint_in(&store));
        let query = in_time("the start", writer.start()).await;
        if late == "offsets/1" {
            let error = query.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Checkpoint);
            assert!(error.to_string().contains("offsets/1, is missing"), "{error}");
            continue;
        }
        let query = query.unwrap();
        eventually("the new row is written", async || sink.has("c").then_some(())).await;
        let _ = in_time("the stop", query.stop()).await;
        assert_eq!(sink.written(), ["a", "b", "b", "c"], "{late}");
    }
}

/// A checkpoint on a local disk, and the command on it.
struct Setting {
    broker: EmbeddedBroker,
    /// Deleted when dropped.
    _folder: tempfile::TempDir,
    pipeline: PathBuf,
    checkpoint: PathBuf,
}

impl Setting {
    fn new(options: &str) -> Self {
        let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let brokers = broker.bootstrap_servers();
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/in'
               OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
             CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/out' {options};
             INSERT INTO copies SELECT value FROM events;"
        );
        let pipeline = pipeline(folder.path(), &sql);
        let checkpoint = folder.path().join("checkpoint");
        std::fs::create_dir(&checkpoint).unwrap();
        // For a user other than the superuser, whom permissions do not bind.
        allow(folder.path());
        allow(&checkpoint);
        Self { broker, _folder: folder, pipeline, checkpoint }
    }

    fn run(&self, as_user: User) -> Engine {
        let (pipeline, checkpoint) = (self.pipeline.to_str().unwrap(), self.checkpoint.to_str().unwrap());
        let args = [
            "run",
            pipeline,
            "--checkpoint",
            checkpoint,
            "--trigger",
            "continuous:20ms",
            "--progress",
            "none",
        ];
        Engine::start_as(as_user, &args)
    }

    fn send(&self) {
        let sender = Sender::new(self.broker.bootstrap_servers());
        sender.send("in", &Record::value(0, "x"));
        sender.flush();
    }

    fn committed(&self) -> Option<u64> {
        let files = std::fs::read_dir(self.checkpoint.join("commits")).ok()?;
        files.filter_map(|file| file.unwrap().file_name().to_str()?.parse().ok()).max()
    }

    async fn another_epoch(&self) {
        let before = self.committed();
        eventually("another epoch is committed", async || {
            self.send();
            (self.committed() > before).then_some(())
        })
        .await;
    }

    async fn is_valid(&self) {
        let args = ["checkpoint", "verify", self.checkpoint.to_str().unwrap()];
        let verified = Engine::start(&args).ended().await;
        assert!(verified.status.success(), "{}", verified.stdout);
    }
}

fn allow(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn forbid(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o555)).unwrap();
}

/// How large the process may make a file.
fn limit_files(engine: &Engine, bytes: &str) {
    let pid = engine.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(limited.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_written_refuses_the_start() {
    let setting = Setting::new("");
    let refused = async |file: &str| {
        let ended = setting.run(User::Nobody).ended().await;
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        let path = setting.checkpoint.join(file);
        assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
        assert!(ended.stderr.contains("Permission denied"), "{}", ended.stderr);
        assert!(ended.stderr.contains("check that"), "{}", ended.stderr);
    };
    forbid(&setting.checkpoint);
    refused(".epochflow.lock").await;
    allow(&setting.checkpoint);
    let engine = setting.run(User::Nobody);
    setting.another_epoch().await;
    engine.stop().await;
    forbid(&setting.checkpoint.join("offsets"));
    refused("offsets").await;
    setting.is_valid().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_no_longer_be_written_makes_the_query_wait() {
    let setting = Setting::new("");
    let engine = setting.run(User::Nobody);
    setting.another_epoch().await;
    forbid(&setting.checkpoint.join("offsets"));
    eventually("the query says why it waits", async || {
        setting.send();
        engine.stderr().contains("Permission denied").then_some(())
    })
    .await;
    let warned = engine.stderr();
    let warning = warned.lines().find(|line| line.contains("Permission denied")).unwrap();
    assert!(warning.contains("trying again") && warning.contains("check that"), "{warning}");
    allow(&setting.checkpoint.join("offsets"));
    setting.another_epoch().await;
    engine.stop().await;
    setting.is_valid().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_makes_the_query_wait_or_stop_as_it_was_told() {
    for stop in [false, true] {
        let setting = Setting::new(if stop { "OPTIONS ('storeErrors' 'stop')" } else { "" });
        let engine = setting.run(User::Same);
        setting.another_epoch().await;
        // Not a byte more.
        limit_files(&engine, "0");
        setting.send();
        if stop {
            let ended = engine.ended().await;
            assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(ended.stderr.contains("File too large"), "{}", ended.stderr);
        } else {
            let says_why = async || {
                setting.send();
                engine.stderr().contains("File too large").then_some(())
            };
            eventually("the query says why it waits", says_why).await;
            limit_files(&engine, "unlimited");
            setting.another_epoch().await;
            engine.stop().await;
        }
        setting.is_valid().await;
    }
}
