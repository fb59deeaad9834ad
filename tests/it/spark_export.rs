//! `export-spark`: the program, and what is refused instead.

use datafusion::prelude::SessionConfig;
use epochflow::{SparkExport, SparkTrigger, StreamSession};

use crate::support::engine::{Engine, pipeline};

const BROKERS: &str = "127.0.0.1:9092";

/// A pipeline from table `events`, whose further options are `options`, into table `out`.
fn sql(options: &str, select: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{BROKERS}/in' OPTIONS ('startingOffsets' 'earliest'{options});
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{BROKERS}/out';
         INSERT INTO out {select};"
    )
}

async fn export(sql: &str, trigger: &str, checkpoint: Option<&str>) -> SparkExport {
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.collect_spans", true);
    let session = StreamSession::builder().config(config).allow_location("/").build().unwrap();
    let mut writer = session.pipeline(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    if let Some(checkpoint) = checkpoint {
        writer = writer.option("checkpointLocation", checkpoint);
    }
    let trigger: SparkTrigger = trigger.parse().unwrap();
    writer.export_spark(trigger).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn program(sql: &str, trigger: &str, checkpoint: Option<&str>) -> String {
    match export(sql, trigger, checkpoint).await {
        SparkExport::Program(program) => program,
        SparkExport::Refused(differences) => panic!("{sql}: {differences:?}"),
    }
}

/// Printed anew with EPOCHFLOW_BLESS=1; Spark runs such programs in `tests/run-spark`.
#[tokio::test]
async fn the_whole_program() {
    let sql = std::fs::read_to_string("tests/data/export-spark/pipeline.sql").unwrap();
    let found = program(&sql, "processing-time:500ms", Some("s3://bucket/query")).await;
    let file = "tests/data/export-spark/program.py";
    if std::env::var_os("EPOCHFLOW_BLESS").is_some() {
        std::fs::write(file, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(file).unwrap());
}

#[tokio::test]
async fn parts_of_programs() {
    let copy = "SELECT key, value FROM events";
    for (options, select, trigger, checkpoint, expected) in [
        ("", copy, "continuous:1s", None, r#".trigger(continuous="1000 milliseconds")"#),
        ("", copy, "processing-time", None, r#".trigger(processingTime="0 milliseconds")"#),
        ("", copy, "available-now", None, ".trigger(availableNow=True)"),
        ("", copy, "once", None, ".trigger(once=True)"),
        ("", copy, "real-time:5s", None, r#"Trigger.RealTime("5000 milliseconds")"#),
        ("", copy, "real-time:5s", None, r#".outputMode("update")"#),
        ("", copy, "once", None, r#".option("checkpointLocation", sys.argv[1])"#),
        ("", copy, "once", Some("s3a://b/c"), r#".option("checkpointLocation", "s3a://b/c")"#),
        ("", copy, "once", Some("/data/a b"), r#".option("checkpointLocation", "file:///data/a b")"#),
        ("", copy, "once", Some("gs://b/c"), r#".option("checkpointLocation", "gs://b/c")"#),
        ("", copy, "once", None, r#".option("startingOffsets", "earliest")"#),
        (
            "",
            copy,
            "once",
            None,
            "    read_events()\n    .selectExpr(\n        \"`key`\",\n        \"`value`\",\n    )",
        ),
        (", 'maxOffsetsPerTrigger' '9'", copy, "once", None, r#".option("maxOffsetsPerTrigger", "9")"#),
        (", 'kafka.fetch.wait.max.ms' '1'", copy, "once", None, r#".option("kafka.fetch.max.wait.ms", "1")"#),
        (
            ", 'kafka.security.protocol' 'ssl'",
            copy,
            "once",
            None,
            r#".option("kafka.security.protocol", "SSL")"#,
        ),
        (
            ", 'kafka.ssl.ca.location' '/ca.pem'",
            copy,
            "once",
            None,
            r#".option("kafka.ssl.truststore.type", "PEM")"#,
        ),
        (
            "",
            "SELECT value FROM events WHERE partition = 1",
            "once",
            None,
            r#".where("(CAST(`partition` AS BIGINT) = 1L)")"#,
        ),
        ("", "SELECT key AS value FROM events", "once", None, r#""`key` AS `value`""#),
        ("", "SELECT concat(partition / 2, 'x') AS value FROM events", "once", None, "DIV 2L"),
        (
            "",
            "SELECT 'it''s \\ \"so\"' AS value FROM events",
            "once",
            None,
            r#""'it\\'s \\\\ \"so\"' AS `value`""#,
        ),
        ("", "SELECT e.value FROM (SELECT value FROM events) e", "once", None, r#""`value`""#),
        ("", "SELECT value FROM events UNION ALL SELECT key FROM events", "once", None, ".union("),
    ] {
        let program = program(&sql(options, select), trigger, checkpoint).await;
        assert!(program.contains(expected), "{select} {trigger}: no {expected} in\n{program}");
    }
}

#[tokio::test]
async fn what_only_tunes_or_is_secret_is_not_printed() {
    let options = ", 'kafka.queued.min.messages' '5', 'maxOffsetsPerTrigger' '9', 'kafka.security.protocol' 'sasl_plaintext',
        'kafka.sasl.mechanism' 'SCRAM-SHA-512', 'kafka.sasl.username' 'me', 'kafka.sasl.password' 'hunter2'";
    let program = program(&sql(options, "SELECT value FROM events"), "continuous:1s", None).await;
    for absent in ["queued.min.messages", "maxOffsetsPerTrigger", "hunter2"] {
        assert!(!program.contains(absent), "{program}");
    }
    assert!(
        program.contains(r#"required username=\"me\" password=\"" + os.environ["KAFKA_SASL_PASSWORD"]"#),
        "{program}"
    );
    assert!(program.contains("import os\n"), "{program}");
}

#[tokio::test]
async fn what_would_be_wrong_is_refused_with_place_reason_and_way_out() {
    let copy = "SELECT value FROM events";
    for (options, select, trigger, checkpoint, place, what, way_out) in [
        ("", "SELECT initcap('a') AS value FROM events", "once", None, "column value", "initcap", "upper"),
        (
            "",
            "SELECT value FROM events WHERE json_get_int(CAST(value AS STRING), 'a') > 1",
            "once",
            None,
            "line 3, WHERE",
            "json_get_int",
            "LIKE",
        ),
        (
            "",
            "SELECT value, timestamp FROM events",
            "once",
            None,
            "INSERT INTO",
            "'timestamp' sets",
            "SELECT key, value",
        ),
        ("", "SELECT *  FROM events", "once", None, "INSERT INTO", "'timestamp' sets", "SELECT key, value"),
        (
            "",
            "SELECT value, CAST(partition AS BIGINT) AS partition FROM events",
            "once",
            None,
            "INSERT INTO",
            "INT only",
            "CAST",
        ),
        (
            "",
            "SELECT value, NULL AS key FROM events",
            "once",
            None,
            "INSERT INTO",
            "NULL without a type",
            "CAST(NULL AS STRING)",
        ),
        (
            "",
            "SELECT unnest(make_array(value)) AS value FROM events",
            "once",
            None,
            "unnest",
            "explode",
            "whole lists",
        ),
        (
            "",
            "SELECT value FROM events UNION ALL SELECT key FROM events",
            "continuous:1s",
            None,
            "UNION ALL",
            "continuous",
            "processing-time",
        ),
        (
            ", 'kafka.broker.address.family' 'v4'",
            copy,
            "once",
            None,
            "table events",
            "kafka.broker.address.family",
            "take it out",
        ),
        ("", copy, "real-time:1s", None, "INSERT INTO", "1000 ms", "real-time:5s"),
        ("", copy, "once", Some("memory://x"), "INSERT INTO", "memory://x", "leave --checkpoint out"),
        ("", copy, "once", Some("az://x/y"), "INSERT INTO", "az://x/y", "abfss"),
    ] {
        let SparkExport::Refused(found) = export(&sql(options, select), trigger, checkpoint).await else {
            panic!("{select} {trigger} is exported");
        };
        let text: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 1, "{text:?}");
        let it = &found[0];
        assert!(
            it.place.contains(place) && it.what.contains(what) && it.way_out.contains(way_out),
            "{text:?}"
        );
    }
}

/// docs/checkpoint.md, handing over, rules 7 and 8.
#[tokio::test]
async fn the_command_prints_the_program_and_warns_of_a_plan_that_spark_would_lose() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), &sql("", "SELECT key, value FROM events"));
    let path = path.to_str().unwrap();
    let checkpoint = |name: &str| format!("{}/tests/data/spark-4.1.2/{name}", env!("CARGO_MANIFEST_DIR"));
    let planned = folder.path().join("planned");
    std::fs::create_dir_all(planned.join("commits")).unwrap();
    std::fs::create_dir_all(planned.join("offsets")).unwrap();
    for file in ["metadata", "offsets/0", "offsets/1", "commits/0"] {
        std::fs::copy(format!("{}/{file}", checkpoint("micro-batch")), planned.join(file)).unwrap();
    }
    let planned = planned.to_str().unwrap().to_owned();
    for (checkpoint, trigger, warning) in [
        (&planned, "continuous:1s", "epoch 1 is logged and not committed"),
        (&planned, "processing-time:1s", ""),
        (&checkpoint("continuous"), "processing-time:1s", "fail on it"),
        (&checkpoint("continuous"), "continuous:1s", ""),
        (&checkpoint("micro-batch"), "continuous:1s", ""),
    ] {
        let args = ["export-spark", path, "--checkpoint", checkpoint, "--trigger", trigger];
        let ended = Engine::start(&args).ended().await;
        assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.starts_with("# Printed by"), "{}", ended.stdout);
        assert_eq!(ended.stderr.contains("warning: "), !warning.is_empty(), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(warning), "{args:?}: {}", ended.stderr);
    }
    let wrong = pipeline(
        folder.path(),
        &sql("", "SELECT initcap('a') AS value, CAST(now() AS STRING) AS key FROM events"),
    );
    let ended = Engine::start(&["export-spark", wrong.to_str().unwrap()]).ended().await;
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stdout, "");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{}", ended.stderr);
    assert!(lines[2].contains("2 things"), "{}", ended.stderr);
    let ended = Engine::start(&["export-spark", path, "--trigger", "hourly"]).ended().await;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
}
