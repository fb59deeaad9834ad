//! `checkpoint show`: who wrote a checkpoint, how far its sources are behind, and what to mind before a hand-over.

use std::path::Path;

use epochflow::EmbeddedBroker;
use serde_json::{Value, json};

use crate::support::engine::Engine;
use crate::support::kafka::{Record, Sender};

const ID: &str = r#"{"id":"6fa3d3ab-2f2d-4a4f-8a5e-3d5a36ad1a63"}"#;
const COMMIT: &str = "v1\n{\"nextBatchWatermarkMs\":0}";

/// A checkpoint of these files.
fn checkpoint(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for dir in ["offsets", "commits"] {
        std::fs::create_dir(folder.path().join(dir)).unwrap();
    }
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

async fn show(checkpoint: &Path, more: &[&str]) -> String {
    let args = [&["checkpoint", "show", checkpoint.to_str().unwrap()], more].concat();
    let ended = Engine::start(&args).ended().await;
    assert!(ended.status.success(), "{}", ended.stderr);
    ended.stdout
}

async fn as_json(checkpoint: &Path, more: &[&str]) -> Value {
    serde_json::from_str(&show(checkpoint, &[&["--json"], more].concat()).await).unwrap()
}

#[tokio::test]
async fn checkpoints_of_spark_are_known_as_sparks() {
    let golden = |mode: &str| format!("{}/tests/data/spark-4.1.2/{mode}", env!("CARGO_MANIFEST_DIR"));
    for (mode, author, warnings) in [
        ("micro-batch", "Spark, micro-batch or real-time", 0),
        ("real-time", "Spark, micro-batch or real-time", 0),
        ("continuous", "Spark, continuous", 1),
    ] {
        let shown = as_json(Path::new(&golden(mode)), &[]).await;
        assert_eq!(shown["writtenBy"], author, "{mode}");
        assert_eq!(shown["warnings"].as_array().unwrap().len(), warnings, "{mode}: {shown}");
    }
}

#[tokio::test]
async fn a_planned_batch_warns_of_sparks_continuous_engine() {
    let planned = "v1\n{}\n{\"in\":{\"0\":9}}";
    let folder = checkpoint(&[
        ("metadata", ID),
        ("offsets/4", "v1\n{}\n{\"in\":{\"0\":7}}"),
        ("commits/4", COMMIT),
        ("offsets/5", planned),
    ]);
    let shown = as_json(folder.path(), &[]).await;
    assert_eq!(shown["uncommittedEpochs"], json!([5]));
    assert_eq!(shown["writtenBy"], "epochflow");
    let warning = shown["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("epoch 5 is logged and not committed"), "{warning}");
    let text = show(folder.path(), &[]).await;
    assert!(text.contains("written by            epochflow\n"), "{text}");
    assert!(text.contains(&format!("warning: {warning}\n")), "{text}");
}

#[tokio::test]
async fn with_a_broker_the_lag_of_each_kafka_source_is_shown() {
    let broker = EmbeddedBroker::start(&[("in", 2), ("other", 1)]).unwrap();
    let sender = Sender::new(broker.bootstrap_servers());
    for (topic, partition, records) in [("in", 0, 5), ("in", 1, 3), ("other", 0, 2)] {
        (0..records)
            .for_each(|record: i32| sender.send(topic, &Record::value(partition, record.to_string())));
    }
    sender.flush();
    let lines = [
        r#"{"in":{"0":1,"1":3}}"#,
        // Whole seconds of Spark's rate source, its pairs under the continuous trigger, and no offset yet.
        "12",
        r#"{"0":{"value":-2,"runTimeMs":1700000000000}}"#,
        "-",
        r#"{"other":{"0":0}}"#,
    ];
    let folder = checkpoint(&[
        ("metadata", ID),
        ("offsets/0", &format!("v1\n{{}}\n{}", lines.join("\n"))),
        ("commits/0", COMMIT),
    ]);
    let shown = as_json(folder.path(), &["--brokers", broker.bootstrap_servers()]).await;
    assert_eq!(shown["offsets"][1], 12);
    assert_eq!(shown["offsets"][2]["0"]["value"], -2);
    assert_eq!(shown["offsets"][3], Value::Null);
    let expected = json!([{"in": {"0": 4, "1": 0}}, null, null, null, {"other": {"0": 2}}]);
    assert_eq!(shown["lag"], expected);
    let text = show(folder.path(), &["--brokers", broker.bootstrap_servers()]).await;
    assert!(text.contains("lag of source 0       4 records: {\"in\":{\"0\":4,\"1\":0}}\n"), "{text}");
    assert!(text.contains("lag of source 1       not known: not a Kafka source\n"), "{text}");
    // Without a broker none is asked.
    assert_eq!(as_json(folder.path(), &[]).await.get("lag"), None);
    let args =
        ["checkpoint", "show", folder.path().to_str().unwrap(), "--brokers", broker.bootstrap_servers()];
    let wrong = [&args[..], &["--source-option", "kafka.securty.protocol=SSL"]].concat();
    let ended = Engine::start(&wrong).ended().await;
    assert!(!ended.status.success() && ended.stderr.contains("securty"), "{}", ended.stderr);
}
