//! The checkpoint, and the Parquet sink, on a real S3 server (`EPOCHFLOW_TEST_S3`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use epochflow::checkpoint::{Checkpoint, OffsetEntry, OffsetMetadata};
use epochflow::{
    EmbeddedBroker, EpochId, ErrorKind, StreamDataFrame, StreamSession, StreamingQuery, Trigger,
};

use crate::support::engine::{Ended, Engine, pipeline};
use crate::support::kafka::{Receiver, Record, Sender};
use crate::support::recording::Recording;
use crate::support::s3::Bucket;
use crate::support::scripted::Script;
use crate::support::scripted_query::{OFTEN, copy};
use crate::support::{eventually, in_time};

async fn start(bucket: &Bucket, script: &Script, sink: &Recording, trigger: Trigger) -> StreamingQuery {
    let mut writer = copy(script, sink, trigger).await.option("checkpointLocation", bucket.url());
    for (name, value) in bucket.options() {
        writer = writer.store_option(name, value);
    }
    in_time("the start", writer.start()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trigger_goes_on_where_another_stopped() {
    let bucket = Bucket::new();
    let (script, sink) = (Script::new(1), Recording::default());
    let triggers = [OFTEN, Trigger::AvailableNow, OFTEN, Trigger::Once, Trigger::AvailableNow];
    for (number, trigger) in triggers.into_iter().enumerate() {
        script.push(0, number.to_string());
        let query = start(&bucket, &script, &sink, trigger).await;
        if trigger == OFTEN {
            in_time("the record", query.process_all_available()).await.unwrap();
            in_time("the stop", query.stop()).await.unwrap();
        } else {
            in_time("the end", query.await_termination()).await.unwrap();
        }
    }
    assert_eq!(sink.written(), ["0", "1", "2", "3", "4"]);
    let inventory = bucket.checkpoint().inventory().await.unwrap();
    assert_eq!(inventory.problems(), []);
    assert_eq!(inventory.committed(), Some(EpochId(4)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_the_later_is_fenced() {
    let bucket = Bucket::new();
    let entry = |end: i64| OffsetEntry {
        metadata: Some(OffsetMetadata::fresh(end)),
        offsets: vec![Some(format!("{{\"in\":{{\"0\":{end}}}}}"))],
    };
    let [first, second] = [bucket.checkpoint(), bucket.checkpoint()];
    first.put_offsets(EpochId(0), &entry(7)).await.unwrap();
    first.put_offsets(EpochId(0), &entry(7)).await.unwrap();
    let error = second.put_offsets(EpochId(0), &entry(8)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.to_string().contains(&format!("{}/offsets/0", bucket.url())), "{error}");
    assert_eq!(second.offsets(EpochId(0)).await.unwrap(), Some(entry(7)));
}

/// A pipeline from one topic to another with its checkpoint on S3, for the command.
struct Setting {
    bucket: Bucket,
    broker: EmbeddedBroker,
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
        Self { bucket: Bucket::new(), broker, folder: tempfile::tempdir().unwrap() }
    }

    fn send(&self, value: u64) {
        let sender = Sender::new(self.broker.bootstrap_servers());
        sender.send("in", &Record::value(0, value.to_string()));
        sender.flush();
    }

    fn engine(&self, args: &[&str]) -> Engine {
        Engine::start_in(&self.bucket.environment(), args)
    }

    fn run(&self, trigger: &str) -> Engine {
        let brokers = self.broker.bootstrap_servers();
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/in'
               OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
             CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/out';
             INSERT INTO copies SELECT value FROM events;"
        );
        let path = pipeline(self.folder.path(), &sql);
        self.engine(&run_args(&path, &self.bucket.url(), trigger))
    }

    async fn tool(&self, tool: &str, args: &[&str]) -> Ended {
        self.engine(&[&["checkpoint", tool, &self.bucket.url()], args].concat()).ended().await
    }

    async fn committed(&self) -> Option<EpochId> {
        self.bucket.checkpoint().facts().await.unwrap().commits.last().copied()
    }

    /// Sends records until an epoch after `last` is committed.
    async fn another_epoch(&self, last: Option<EpochId>) -> EpochId {
        eventually("another epoch is committed", async || {
            self.send(1);
            self.committed().await.filter(|committed| Some(*committed) > last)
        })
        .await
    }
}

fn run_args<'a>(pipeline: &'a Path, checkpoint: &'a str, trigger: &'a str) -> [&'a str; 8] {
    let pipeline = pipeline.to_str().unwrap();
    ["run", pipeline, "--checkpoint", checkpoint, "--trigger", trigger, "--progress", "none"]
}

/// All entries, as text.
async fn entries(checkpoint: &Checkpoint) -> BTreeMap<String, String> {
    let inventory = checkpoint.inventory().await.unwrap();
    let offsets = inventory
        .offsets
        .into_iter()
        .map(|(epoch, found)| (format!("offsets/{epoch}"), format!("{found:?}")));
    let commits = inventory
        .commits
        .into_iter()
        .map(|(epoch, found)| (format!("commits/{epoch}"), format!("{found:?}")));
    offsets.chain(commits).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_query_that_wakes_up_after_another_took_over_is_fenced_and_writes_nothing() {
    let setting = Setting::new();
    let checkpoint = setting.bucket.checkpoint();
    let paused = setting.run("continuous:20ms");
    let before = setting.another_epoch(None).await;
    paused.signal("-STOP");
    let other = setting.run("continuous:20ms");
    // At least two epochs that the paused one has not seen, whatever it was about when it was stopped.
    let first = setting.another_epoch(Some(before.next())).await;
    setting.another_epoch(Some(first)).await;
    other.stop().await;
    let left = entries(&checkpoint).await;
    paused.signal("-CONT");
    let ended = paused.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    let last = ended.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("epochflow: s3://") && last.contains("another query writes to this"), "{last}");
    assert_eq!(ended.stderr.matches("epochflow: ").count(), 1, "one line says why: {}", ended.stderr);
    assert_eq!(entries(&checkpoint).await, left);

    // Neither the paused one nor a killed one leaves anything that blocks the next.
    let next = setting.run("continuous:20ms");
    let last = setting.another_epoch(setting.committed().await).await;
    next.kill();
    let again = setting.run("continuous:20ms");
    setting.another_epoch(Some(last)).await;
    again.stop().await;
    let verified = setting.tool("verify", &[]).await;
    assert!(verified.status.success(), "{}{}", verified.stdout, verified.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tools_take_urls() {
    let setting = Setting::new();
    for value in 0..2 {
        setting.send(value);
        let ended = setting.run("available-now").ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
    }
    let shown = setting.tool("show", &["--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["lastCommittedEpoch"], 1);
    assert_eq!(shown["offsets"][0]["in"]["0"], 2);
    assert_eq!(shown["location"], setting.bucket.url());
    let verified = setting.tool("verify", &[]).await;
    assert_eq!(verified.stdout, "ok: 2 offsets, 2 commits, last committed epoch 1\n");
    let rewound = setting.tool("rewind", &["--to-epoch", "0", "--yes"]).await;
    assert!(rewound.status.success(), "{}", rewound.stderr);
    assert!(rewound.stdout.contains("cannot be known in this store"), "{}", rewound.stdout);
    let ended = setting.run("available-now").ended().await;
    assert!(ended.status.success(), "{}", ended.stderr);
    let receiver = Receiver::new(setting.broker.bootstrap_servers(), "out");
    let records = tokio::task::spawn_blocking(move || receiver.take(3)).await.unwrap();
    let values: Vec<_> = records.into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"0", b"1", b"1"]);
    // Settings may also come as options, and a wrong one is named.
    let options: Vec<String> =
        setting.bucket.options().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut args = vec!["checkpoint".to_owned(), "show".to_owned(), setting.bucket.url()];
    args.extend(options.into_iter().flat_map(|option| ["--store-option".to_owned(), option]));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let shown = Engine::start(&args).ended().await;
    assert!(shown.status.success() && shown.stdout.contains("last committed epoch  1"), "{}", shown.stderr);
    let wrong = setting.tool("show", &["--store-option", "endpiont=x"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("\"endpiont\""), "{}", wrong.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_parquet_sink_are_read_back_from_a_bucket() {
    let bucket = Bucket::new();
    let session = StreamSession::new().unwrap();
    let script = Script::new(2);
    session.register_source(Arc::new(script.clone()));
    for (run, trigger) in
        [Trigger::Continuous(Duration::from_millis(50)), Trigger::AvailableNow].into_iter().enumerate()
    {
        (0..10).for_each(|number| script.push(number % 2, format!("{run}/{number}")));
        let events = session.read_stream().format("scripted").load().unwrap();
        let mut writer = events.select_columns(&["text"]).unwrap().write_stream().format("parquet");
        writer = writer.option("path", bucket.path("rows")).option("checkpointLocation", bucket.url());
        for (name, value) in bucket.options() {
            writer = writer.option(name.as_str(), value.as_str()).store_option(name, value);
        }
        let query = in_time("the start", writer.trigger(trigger).start()).await.unwrap();
        if trigger.is_bounded() {
            in_time("the end", query.await_termination()).await.unwrap();
        } else {
            in_time("the rows", query.process_all_available()).await.unwrap();
            in_time("the stop", query.stop()).await.unwrap();
        }
        let options = bucket.options().into_iter().collect();
        let rows = session.read_parquet_sink(&bucket.path("rows"), options).await.unwrap();
        assert_eq!(rows.count().await.unwrap(), 10 * (run + 1));
    }
}
