//! `checkpoint verify`, `rewind` and `set-offsets`, and the lock that keeps them and a second query off a running one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use epochflow::EmbeddedBroker;

use crate::support::engine::{Ended, Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Receiver, Record, Sender};

/// A pipeline, its broker, and a checkpoint to be.
struct Setting {
    broker: EmbeddedBroker,
    folder: tempfile::TempDir,
    pipeline: PathBuf,
    checkpoint: PathBuf,
}

impl Setting {
    fn new() -> Self {
        let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let brokers = broker.bootstrap_servers();
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/in'
               OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
             CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/out';
             INSERT INTO copies SELECT value FROM events;"
        );
        let pipeline = pipeline(folder.path(), &sql);
        let checkpoint = folder.path().join("checkpoint");
        Self { broker, folder, pipeline, checkpoint }
    }

    fn send(&self, values: impl IntoIterator<Item = u32>) {
        let sender = Sender::new(self.broker.bootstrap_servers());
        for value in values {
            sender.send("in", &Record::value(0, value.to_string()));
        }
        sender.flush();
    }

    /// Runs to the end of what is there: one epoch.
    async fn batch(&self) {
        let ended = Engine::run(&self.pipeline, &self.checkpoint, "available-now").ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
    }

    /// Epochs 0, 1 and 2, with two records each.
    async fn three_epochs(&self) {
        for epoch in 0..3 {
            self.send([2 * epoch, 2 * epoch + 1]);
            self.batch().await;
        }
    }

    /// Starts a continuous query and waits until it has committed an epoch.
    async fn running(&self) -> Engine {
        let before = self.files();
        self.send([100]);
        let mut engine = Engine::run(&self.pipeline, &self.checkpoint, "continuous:20ms");
        eventually("an epoch is committed", async || {
            assert!(engine.is_running(), "the query has ended by itself");
            let is_new = |file: &String| file.starts_with("commits/") && !before.contains_key(file);
            self.files().keys().any(is_new).then_some(())
        })
        .await;
        engine
    }

    async fn tool(&self, tool: &str, args: &[&str]) -> Ended {
        let mut all = vec!["checkpoint", tool, self.checkpoint.to_str().unwrap()];
        all.extend(args);
        Engine::start(&all).ended().await
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.checkpoint)
    }

    async fn written(&self, count: usize) -> Vec<u32> {
        let receiver = Receiver::new(self.broker.bootstrap_servers(), "out");
        let records = tokio::task::spawn_blocking(move || {
            let records = receiver.take(count);
            assert_eq!(receiver.next(std::time::Duration::from_millis(200)), None, "no more than {count}");
            records
        });
        let number = |record: Record| String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
        records.await.unwrap().into_iter().map(number).collect()
    }
}

/// Every file below `folder` but the lock, with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                collect(root, &path, files);
            } else if let Ok(bytes) = std::fs::read(&path) {
                files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(folder, folder, &mut found);
    found.remove(".epochflow.lock");
    found
}

fn succeeded(ended: &Ended) {
    assert!(ended.status.success(), "{}{}", ended.stdout, ended.stderr);
}

fn refused(ended: &Ended, status: i32, hint: &str) {
    assert_eq!(ended.status.code(), Some(status), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(hint), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
}

#[tokio::test]
async fn a_rewound_query_repeats_exactly_what_came_after() {
    let setting = Setting::new();
    setting.three_epochs().await;
    let before = setting.files();

    let dry = setting.tool("rewind", &["--to-epoch", "0"]).await;
    succeeded(&dry);
    for line in [
        "would delete commits/2\nwould delete commits/1\nwould delete offsets/2\nwould delete offsets/1\n",
        "source 0 would go on at {\"in\":{\"0\":2}} instead of {\"in\":{\"0\":6}}\n",
        "dry run: nothing was changed",
    ] {
        assert!(dry.stdout.contains(line), "{}", dry.stdout);
    }
    assert_eq!(setting.files(), before);

    let done = setting.tool("rewind", &["--to-epoch", "0", "--yes"]).await;
    succeeded(&done);
    assert!(done.stdout.contains("done: the last committed epoch is 0"), "{}", done.stdout);
    let kept =
        |file: &&String| !["commits/1", "commits/2", "offsets/1", "offsets/2"].contains(&file.as_str());
    assert!(setting.files().keys().eq(before.keys().filter(kept)), "{:?}", setting.files().keys());
    let again = setting.tool("rewind", &["--to-epoch", "0", "--yes"]).await;
    succeeded(&again);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);

    setting.batch().await;
    assert_eq!(setting.written(10).await, [0, 1, 2, 3, 4, 5, 2, 3, 4, 5]);
    succeeded(&setting.tool("verify", &[]).await);
}

#[tokio::test]
async fn rewind_takes_a_time_and_refuses_what_is_not_there() {
    let setting = Setting::new();
    setting.three_epochs().await;
    let text = std::fs::read_to_string(setting.checkpoint.join("offsets/1")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let at = metadata["batchTimestampMs"].as_i64().unwrap();
    let rfc3339 = chrono::DateTime::from_timestamp_millis(at).unwrap().to_rfc3339();
    for at in [at.to_string(), rfc3339] {
        let dry = setting.tool("rewind", &["--to-timestamp", &at]).await;
        succeeded(&dry);
        assert!(dry.stdout.contains("would delete commits/2\nwould delete offsets/2\n"), "{}", dry.stdout);
    }
    for (args, hint) in [
        (vec!["--to-epoch", "3"], "the last committed epoch is 2"),
        (vec!["--to-timestamp", "1"], "no committed epoch is as old as 1970-01-01T00:00:00.001Z"),
        (vec!["--to-epoch", "3", "--yes"], "the last committed epoch is 2"),
    ] {
        refused(&setting.tool("rewind", &args).await, 2, hint);
    }
    for args in [vec![], vec!["--to-timestamp", "noon"], vec!["--to-epoch", "1", "--to-timestamp", "1"]] {
        assert_eq!(setting.tool("rewind", &args).await.status.code(), Some(2), "{args:?}");
    }
    let nowhere = setting.folder.path().join("nowhere");
    let location = nowhere.to_str().unwrap();
    for args in [
        vec!["checkpoint", "verify", location],
        vec!["checkpoint", "rewind", location, "--to-epoch", "0", "--yes"],
        vec!["checkpoint", "set-offsets", location, "--source", "0", "--offsets", "{}", "--yes"],
    ] {
        refused(&Engine::start(&args).ended().await, 1, "there is no checkpoint at");
    }
    assert!(!nowhere.exists(), "nothing is created");
}

#[tokio::test]
async fn set_offsets_skips_and_keeps_what_spark_has_set() {
    let setting = Setting::new();
    setting.send([0, 1]);
    setting.batch().await;
    let offsets = setting.checkpoint.join("offsets/0");
    let text = std::fs::read_to_string(&offsets).unwrap();
    let other =
        text.replace("\"spark.sql.shuffle.partitions\":\"200\"", "\"spark.sql.shuffle.partitions\":\"7\"");
    assert_ne!(other, text);
    std::fs::write(&offsets, other).unwrap();
    setting.send([2, 3, 4]);
    let before = setting.files();

    let args = ["--source", "0", "--offsets", r#"{"in":{"0":4}}"#];
    let dry = setting.tool("set-offsets", &args).await;
    succeeded(&dry);
    for line in [
        "would write offsets/1\nwould write commits/1\n",
        "source 0 would go on at {\"in\":{\"0\":4}} instead of {\"in\":{\"0\":2}}\n",
    ] {
        assert!(dry.stdout.contains(line), "{}", dry.stdout);
    }
    assert_eq!(setting.files(), before);
    for (source, offsets, hint) in [("0", "{\"in\"", "are not JSON"), ("1", "{}", "there is no source 1")] {
        let args = ["--source", source, "--offsets", offsets, "--yes"];
        refused(&setting.tool("set-offsets", &args).await, 2, hint);
    }
    assert_eq!(setting.files(), before);

    succeeded(&setting.tool("set-offsets", &[&args[..], &["--yes"]].concat()).await);
    let written = std::fs::read_to_string(setting.checkpoint.join("offsets/1")).unwrap();
    assert!(written.contains("\"spark.sql.shuffle.partitions\":\"7\""), "{written}");
    assert!(written.ends_with("\n{\"in\":{\"0\":4}}"), "{written}");
    setting.batch().await;
    assert_eq!(setting.written(3).await, [0, 1, 4]);
    succeeded(&setting.tool("verify", &[]).await);
}

#[tokio::test]
async fn a_live_checkpoint_is_left_alone_and_a_killed_query_blocks_nothing() {
    let setting = Setting::new();
    let first = setting.running().await;
    for trigger in ["continuous:20ms", "available-now"] {
        let second = Engine::run(&setting.pipeline, &setting.checkpoint, trigger).ended().await;
        refused(&second, 1, "is in use by process ");
        assert!(second.stderr.contains(&format!("process {}", first.id())), "{}", second.stderr);
        assert!(second.stderr.contains(" since 20"), "{}", second.stderr);
    }
    for yes in [&[][..], &["--yes"]] {
        let rewind = [&["--to-epoch", "0"], yes].concat();
        refused(&setting.tool("rewind", &rewind).await, 1, "is in use by process ");
        let set = [&["--source", "0", "--offsets", r#"{"in":{"0":0}}"#], yes].concat();
        refused(&setting.tool("set-offsets", &set).await, 1, "is in use by process ");
    }
    // Those that only read may.
    succeeded(&setting.tool("show", &[]).await);
    succeeded(&setting.tool("verify", &[]).await);

    first.kill();
    let second = setting.running().await;
    second.kill();
    succeeded(&setting.tool("rewind", &["--to-epoch", "0", "--yes"]).await);
    setting.running().await.stop().await;
    succeeded(&setting.tool("rewind", &["--to-epoch", "0"]).await);
}

#[tokio::test]
async fn verify_names_every_damage_and_changes_nothing() {
    let setting = Setting::new();
    setting.three_epochs().await;
    let ok = setting.tool("verify", &[]).await;
    succeeded(&ok);
    assert_eq!(ok.stdout, "ok: 3 offsets, 3 commits, last committed epoch 2\n");

    let file = |name: &str| setting.checkpoint.join(name);
    let whole = std::fs::read_to_string(file("offsets/2")).unwrap();
    std::fs::write(file("offsets/2"), whole.get(..40).unwrap()).unwrap();
    std::fs::write(file("commits/0"), "v2\n{}").unwrap();
    std::fs::remove_file(file("offsets/1")).unwrap();
    std::fs::write(file("offsets/5"), format!("{whole}\n{{}}")).unwrap();
    std::fs::write(file("sources/0/0"), "\0v1\nnonsense").unwrap();
    std::fs::remove_file(file("metadata")).unwrap();
    let before = setting.files();
    let verified = setting.tool("verify", &[]).await;
    refused(&verified, 1, "has 8 problems");
    let problems: Vec<&str> = verified.stdout.lines().collect();
    let expected = [
        "metadata is missing",
        "offsets/2 is incomplete",
        "commits/0 has an unsupported version",
        "sources/0/0 is malformed",
        "offsets/1 is missing between 0 and 2",
        "offsets/3 to offsets/4 are missing between 2 and 5",
        "commits/1 has no offsets/1",
        "offsets/0 has lines of 1 sources, offsets/5 of 2",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for (problem, expected) in problems.iter().zip(expected) {
        assert!(problem.starts_with(expected), "{problem}");
    }
    let verified = setting.tool("verify", &["--json"]).await;
    assert_eq!(verified.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&json["ok"], json["problems"].as_array().unwrap().len()), (&false.into(), 8));
    assert_eq!(json["problems"][1]["file"], "offsets/2");
    assert_eq!(setting.files(), before);
}
