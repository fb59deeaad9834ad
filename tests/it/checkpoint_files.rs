//! The files of a checkpoint, byte for byte as Spark's micro-batch engine writes them, under every trigger.

use std::path::Path;
use std::time::Duration;

use epochflow::checkpoint::{Checkpoint, CommitEntry, OffsetEntry};
use epochflow::{EmbeddedBroker, EpochId, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::kafka::{Record, Sender};

async fn run(brokers: &str, checkpoint: &Path, trigger: Trigger) {
    let session = StreamSession::new().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/in'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
         CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/out';
         INSERT INTO copies SELECT value FROM events"
    );
    let writer = session.pipeline(&sql).await.unwrap().option("checkpointLocation", checkpoint.display());
    let query = in_time("the start", writer.trigger(trigger).start()).await.unwrap();
    if trigger.is_bounded() {
        in_time("the end", query.await_termination()).await.unwrap();
    } else {
        in_time("the records", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
    }
}

fn read(checkpoint: &Path, file: &str) -> String {
    std::fs::read_to_string(checkpoint.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_engines_write_what_spark_writes() {
    for trigger in [Trigger::Continuous(Duration::from_millis(50)), Trigger::AvailableNow] {
        let broker = EmbeddedBroker::start(&[("in", 2), ("out", 1)]).unwrap();
        let sender = Sender::new(broker.bootstrap_servers());
        for number in 0..5 {
            sender.send("in", &Record::value(number % 2, "x"));
        }
        sender.flush();
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path();
        run(broker.bootstrap_servers(), checkpoint, trigger).await;

        let metadata = read(checkpoint, "metadata");
        assert_eq!(metadata.len(), 45, "{metadata}");
        assert!(metadata.starts_with(r#"{"id":""#) && metadata.ends_with(r#""}"#), "{metadata}");
        assert_eq!(read(checkpoint, "sources/0/0"), "\0v1\n{\"in\":{\"0\":0,\"1\":0}}");
        let commits = std::fs::read_dir(checkpoint.join("commits")).unwrap().count();
        for epoch in 0..commits {
            assert_eq!(read(checkpoint, &format!("commits/{epoch}")), "v1\n{\"nextBatchWatermarkMs\":0}");
        }
        let last = read(checkpoint, &format!("offsets/{}", commits - 1));
        let lines: Vec<&str> = last.split('\n').collect();
        assert_eq!(lines.len(), 3, "{last}");
        assert_eq!(lines[0], "v1");
        assert_eq!(lines[2], r#"{"in":{"0":3,"1":2}}"#);
        // A line that Spark's own continuous engine leaves empty, and its micro-batch engine then dies on.
        let metadata: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        let keys: Vec<_> = metadata.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["batchWatermarkMs", "batchTimestampMs", "conf"]);
        assert_eq!(metadata["conf"].as_object().unwrap().len(), 11);
        let leftover = |folder: &str| {
            let names =
                std::fs::read_dir(checkpoint.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_str().unwrap().starts_with('.')).count()
        };
        assert_eq!((leftover("offsets"), leftover("commits")), (0, 0), "no temporary files");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conf_of_an_existing_checkpoint_is_carried_forward_and_an_empty_line_is_read() {
    let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
    let sender = Sender::new(broker.bootstrap_servers());
    sender.send("in", &Record::value(0, "a"));
    sender.send("in", &Record::value(0, "b"));
    sender.flush();
    for (metadata, conf) in [
        (r#"{"batchWatermarkMs":0,"batchTimestampMs":1,"conf":{"spark.sql.shuffle.partitions":"7"}}"#, 1),
        ("", 11),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("metadata", r#"{"id":"7dc0b4a8-5a3c-4d2e-9a51-0f6f3a0c9b11"}"#);
        write("offsets/0", &format!("v1\n{metadata}\n{{\"in\":{{\"0\":1}}}}"));
        write("commits/0", "v1\n{\"nextBatchWatermarkMs\":0}");
        run(broker.bootstrap_servers(), folder.path(), Trigger::AvailableNow).await;
        let next = read(folder.path(), "offsets/1");
        let line: serde_json::Value = serde_json::from_str(next.split('\n').nth(1).unwrap()).unwrap();
        assert_eq!(line["conf"].as_object().unwrap().len(), conf, "{next}");
        assert!(next.ends_with(r#"{"in":{"0":2}}"#), "{next}");
    }
}

/// How they were made: tests/data/spark-4.1.2/README.md.
#[tokio::test]
async fn checkpoints_that_spark_wrote_are_read_and_would_be_written_the_same() {
    let written = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spark-4.1.2");
    for (engine, last, next, has_metadata) in [
        ("micro-batch", 3, [267, 266], true),
        ("continuous", 4, [191, 191], false),
        ("real-time", 1, [947, 947], true),
    ] {
        let folder = written.join(engine);
        let checkpoint = Checkpoint::open(folder.to_str().unwrap(), &[]).unwrap();
        assert!(checkpoint.read_query_id().await.unwrap().is_some(), "{engine}");
        let facts = checkpoint.facts().await.unwrap();
        assert_eq!(facts.commits.last(), Some(&EpochId(last)), "{engine}");
        for epoch in &facts.offsets {
            let text = read(&folder, &format!("offsets/{epoch}"));
            let entry = OffsetEntry::decode(text.as_bytes(), engine).unwrap();
            assert_eq!(entry.metadata.is_some(), has_metadata, "{engine}/{epoch}");
            assert_eq!(entry.encode(), text, "{engine}/{epoch}");
        }
        for epoch in &facts.commits {
            let text = read(&folder, &format!("commits/{epoch}"));
            assert_eq!(
                CommitEntry::decode(text.as_bytes(), engine).unwrap().encode(),
                text,
                "{engine}/{epoch}"
            );
        }
        let entry = checkpoint.offsets(EpochId(last)).await.unwrap().unwrap();
        let offsets: serde_json::Value = serde_json::from_str(entry.offsets[0].as_ref().unwrap()).unwrap();
        let topic = offsets.as_object().unwrap().values().next().unwrap();
        assert_eq!([topic["0"].as_i64().unwrap(), topic["1"].as_i64().unwrap()], next, "{engine}");
    }
}
