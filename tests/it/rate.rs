//! The rate sources: rows and offsets are Spark's to the letter, and a query may change its trigger.

use std::collections::BTreeMap;
use std::time::Duration;

use epochflow::checkpoint::Checkpoint;
use epochflow::{EpochId, Error, ErrorKind, Result, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::kafka::unique;
use crate::support::recording::Recording;
use crate::support::{eventually, in_time};

const BATCHES: Trigger = Trigger::ProcessingTime(Duration::ZERO);
const CONTINUOUS: Trigger = Trigger::Continuous(Duration::from_millis(50));

/// Rows arrive as `value@milliseconds`.
async fn start(
    format: &str,
    options: &[(&str, &str)],
    sink: &Recording,
    trigger: Trigger,
    location: &str,
) -> Result<StreamingQuery> {
    let session = StreamSession::new().unwrap();
    session.register_sink(std::sync::Arc::new(sink.clone()));
    let mut reader = session.read_stream().format(format);
    for (name, value) in options {
        reader = reader.option(*name, value);
    }
    session.context().register_table("numbers", reader.load()?.into_view()).unwrap();
    let rows = session
        .sql("SELECT concat(value, '@', CAST(timestamp AS BIGINT) / 1000) AS row FROM numbers")
        .await?
        .write_stream()
        .format("recording");
    in_time("the start", rows.option("checkpointLocation", location).trigger(trigger).start()).await
}

fn location() -> (String, Checkpoint) {
    let location = format!("memory://{}", unique("rate"));
    let checkpoint = Checkpoint::open(&location, &[]).unwrap();
    (location, checkpoint)
}

/// Times by value; fails on a value that came twice.
fn rows(sink: &Recording) -> BTreeMap<i64, i64> {
    let mut rows = BTreeMap::new();
    for row in sink.written() {
        let (value, time) = row.split_once('@').unwrap();
        let before = rows.insert(value.parse().unwrap(), time.parse().unwrap());
        assert_eq!(before, None, "{value} came twice");
    }
    rows
}

async fn created(checkpoint: &Checkpoint) -> i64 {
    let file = checkpoint.initial(0).await.unwrap().unwrap();
    std::str::from_utf8(&file).unwrap().strip_prefix("v1\n").unwrap().parse().unwrap()
}

async fn last_line(checkpoint: &Checkpoint) -> String {
    let last = *checkpoint.facts().await.unwrap().commits.last().unwrap();
    checkpoint.offsets(last).await.unwrap().unwrap().offsets[0].clone().unwrap()
}

async fn until_more_than(count: usize, sink: &Recording) {
    eventually("the rows have come", async || (sink.written().len() > count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_hold_whole_seconds_of_evenly_spread_values() {
    let (location, checkpoint) = location();
    let sink = Recording::default();
    let options = [("rowsPerSecond", "30"), ("numPartitions", "4")];
    let query = start("rate", &options, &sink, BATCHES, &location).await.unwrap();
    until_more_than(0, &sink).await;
    in_time("the stop", query.stop()).await.unwrap();
    let (rows, created) = (rows(&sink), created(&checkpoint).await);
    let seconds: i64 = last_line(&checkpoint).await.parse().unwrap();
    let expected: BTreeMap<i64, i64> = (0..30 * seconds)
        .map(|value| (value, created + (value as f64 * 1000.0 / 30.0).round() as i64))
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_speeds_up_by_the_second() {
    let (location, checkpoint) = location();
    let sink = Recording::default();
    let options = [("rowsPerSecond", "1000"), ("rampUpTime", "1h"), ("numPartitions", "1")];
    // A ramp so long has no step: nothing comes at all.
    let query = start("rate", &options, &sink, BATCHES, &location).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert!(checkpoint.facts().await.unwrap().offsets.is_empty());

    let (location, checkpoint) = self::location();
    let options = [("rowsPerSecond", "1000"), ("rampUpTime", "9s"), ("numPartitions", "2")];
    let query = start("rate", &options, &sink, BATCHES, &location).await.unwrap();
    until_more_than(0, &sink).await;
    in_time("the stop", query.stop()).await.unwrap();
    let seconds: i64 = last_line(&checkpoint).await.parse().unwrap();
    let count = seconds.min(9) * (seconds.min(9) + 1) / 2 * 100 + (seconds - 9).max(0) * 1000;
    assert!(rows(&sink).into_keys().eq(0..count), "{count} values after {seconds} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_continuous_trigger_paces_each_partition() {
    let (location, checkpoint) = location();
    let sink = Recording::default();
    let options = [("rowsPerSecond", "300"), ("numPartitions", "2")];
    let query = start("rate", &options, &sink, CONTINUOUS, &location).await.unwrap();
    until_more_than(100, &sink).await;
    in_time("the stop", query.stop()).await.unwrap();
    let created = created(&checkpoint).await;
    // 150 rows a second in each partition: 6 whole milliseconds from one to the next.
    for (value, time) in rows(&sink) {
        assert_eq!(time, created + (value / 2 + 1) * 6, "value {value}");
    }
    let line: serde_json::Value = serde_json::from_str(&last_line(&checkpoint).await).unwrap();
    for partition in 0..2 {
        let place = &line[partition.to_string()];
        let value = place["value"].as_i64().unwrap();
        assert_eq!(value.rem_euclid(2), partition);
        assert_eq!(place["runTimeMs"].as_i64().unwrap(), created + (value.div_euclid(2) + 1) * 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_trigger_goes_on_where_another_has_stopped() {
    let (location, checkpoint) = location();
    let sink = Recording::default();
    let options = [("rowsPerSecond", "100"), ("numPartitions", "3")];
    for trigger in [BATCHES, CONTINUOUS, BATCHES, CONTINUOUS, CONTINUOUS, BATCHES] {
        let query = start("rate", &options, &sink, trigger, &location).await.unwrap();
        until_more_than(sink.written().len(), &sink).await;
        in_time("the stop", query.stop()).await.unwrap();
        let is_number = last_line(&checkpoint).await.parse::<i64>().is_ok();
        assert_eq!(is_number, trigger == BATCHES);
    }
    let seconds: i64 = last_line(&checkpoint).await.parse().unwrap();
    assert!(rows(&sink).into_keys().eq(0..100 * seconds), "no value is missing or came twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_partitions_cannot_change_under_the_continuous_trigger() {
    let (location, _) = location();
    let sink = Recording::default();
    let query = start("rate", &[("numPartitions", "2")], &sink, CONTINUOUS, &location).await.unwrap();
    until_more_than(0, &sink).await;
    in_time("the stop", query.stop()).await.unwrap();
    let error = start("rate", &[("numPartitions", "3")], &sink, CONTINUOUS, &location).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint);
    assert!(error.to_string().contains("'numPartitions' to 2"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_batch_has_its_rows_and_its_time() {
    let (location, checkpoint) = location();
    let sink = Recording::default();
    let options = [
        ("rowsPerBatch", "10"),
        ("numPartitions", "3"),
        ("startTimestamp", "1000"),
        ("advanceMillisPerBatch", "50"),
    ];
    for trigger in [Trigger::Once, Trigger::AvailableNow] {
        let query = start("rate-micro-batch", &options, &sink, trigger, &location).await.unwrap();
        in_time("the end", query.await_termination()).await.unwrap();
    }
    assert_eq!(last_line(&checkpoint).await, r#"{"offset":20,"timestamp":1100}"#);
    let query = start("rate-micro-batch", &options, &sink, BATCHES, &location).await.unwrap();
    until_more_than(100, &sink).await;
    in_time("the stop", query.stop()).await.unwrap();
    let batches = sink.commits().len() as i64;
    let expected: BTreeMap<i64, i64> =
        (0..10 * batches).map(|value| (value, 1000 + value / 10 * 50)).collect();
    assert_eq!(rows(&sink), expected);
    let first = checkpoint.offsets(EpochId::FIRST).await.unwrap().unwrap();
    assert_eq!(first.offsets, [Some(r#"{"offset":10,"timestamp":1050}"#.to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_batch_that_was_not_committed_keeps_its_time() {
    let options =
        |start: &'static str| [("rowsPerBatch", "3"), ("numPartitions", "1"), ("startTimestamp", start)];
    let first: BTreeMap<i64, i64> = (0..3).map(|value| (value, 1000)).collect();
    for by_spark in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let location = folder.path().to_str().unwrap();
        let run = async |start_timestamp: &'static str, failing: bool| {
            let sink = Recording::default();
            if failing {
                sink.fail_commit(Error::new(ErrorKind::Data, "the test's end"));
            }
            let query =
                start("rate-micro-batch", &options(start_timestamp), &sink, Trigger::Once, location).await?;
            in_time("the end", query.await_termination()).await.map(|()| rows(&sink))
        };
        run("1000", true).await.unwrap_err();
        if by_spark {
            // Spark does not keep where the source began.
            std::fs::remove_dir_all(folder.path().join("sources")).unwrap();
            let error = run("5000", false).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Checkpoint, "{error}");
            assert!(error.to_string().contains("'startTimestamp' is 5000"), "{error}");
            assert_eq!(run("1000", false).await.unwrap(), first, "nothing was spoiled");
        } else {
            assert_eq!(run("5000", false).await.unwrap(), first);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_batches_is_refused_without_batches() {
    let (location, checkpoint) = location();
    let options = [("rowsPerBatch", "10")];
    let error = start("rate-micro-batch", &options, &Recording::default(), CONTINUOUS, &location).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Query);
    assert!(error.to_string().contains("processing-time"), "{error}");
    assert_eq!(checkpoint.read_query_id().await.unwrap(), None, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_tables_of_a_pipeline() {
    for (format, options) in [
        ("RATE", "'rowsPerSecond' '100', 'numPartitions' '2'"),
        ("\"RATE-MICRO-BATCH\"", "'rowsPerBatch' '3', 'numPartitions' '2'"),
    ] {
        let session = StreamSession::new().unwrap();
        let sql = format!(
            "CREATE EXTERNAL TABLE numbers STORED AS {format} LOCATION '-' OPTIONS ({options});
             CREATE EXTERNAL TABLE nowhere STORED AS NOOP LOCATION '-';
             INSERT INTO nowhere SELECT value FROM numbers"
        );
        let query = session.pipeline(&sql).await.unwrap().trigger(BATCHES).start().await.unwrap();
        in_time("the rows", query.process_all_available()).await.unwrap();
        eventually("a batch is done", async || query.last_progress().filter(|p| p.num_input_rows > 0)).await;
        in_time("the stop", query.stop()).await.unwrap();
    }
}
