//! Progress, status and latencies of queries on a real broker.

use std::sync::Arc;
use std::time::Duration;

use epochflow::{StreamSession, StreamingQuery, StreamingQueryProgress, StreamingQueryStatus, Trigger};

use crate::support::kafka::{Receiver, Record, Sender, brokers, topic};
use crate::support::{eventually, in_time};

struct Running {
    query: StreamingQuery,
    sender: Sender,
    receiver: Receiver,
    from: String,
    _session: StreamSession,
}

/// Copies what is not `drop` from one topic of two partitions to another.
async fn start(trigger: Trigger, options: &[(&str, &str)]) -> Running {
    let (from, to) = (topic("progress-in", 2).await, topic("progress-out", 1).await);
    let brokers = brokers();
    let session = StreamSession::new().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE a STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}' OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE b STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}';
         INSERT INTO b SELECT key, value FROM a WHERE CAST(value AS STRING) <> 'drop'"
    );
    let mut writer = session.pipeline(&sql).await.unwrap();
    for (name, value) in options {
        writer = writer.option(*name, *value);
    }
    let location = format!("memory://{}", uuid::Uuid::new_v4());
    let query = writer.option("checkpointLocation", location).trigger(trigger).start();
    let query = in_time("the start", query).await.unwrap();
    let (sender, receiver) = (Sender::new(&brokers), Receiver::new(&brokers, &to));
    Running { query, sender, receiver, from, _session: session }
}

async fn committed(query: &StreamingQuery) -> Arc<StreamingQueryProgress> {
    eventually("an epoch is committed", async || query.last_progress()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_has_sparks_fields_under_both_triggers() {
    for trigger in [Trigger::Continuous(Duration::from_millis(50)), Trigger::ProcessingTime(Duration::ZERO)] {
        let Running { query, sender, from, .. } = start(trigger, &[]).await;
        sender.send(&from, &Record::value(0, "keep"));
        sender.send(&from, &Record::value(0, "drop"));
        sender.flush();
        let first = committed(&query).await;
        let json: serde_json::Value = serde_json::from_str(&first.json()).unwrap();
        for phase in [
            "addBatch",
            "commitOffsets",
            "getBatch",
            "latestOffset",
            "queryPlanning",
            "triggerExecution",
            "walCommit",
        ] {
            assert!(json["durationMs"][phase].is_u64(), "{trigger}: {phase} in {json}");
        }
        // Under the continuous trigger the ends are those of the last fetches, and not known before the first of them.
        let progress = eventually("the ends are known", async || {
            sender.send(&from, &Record::value(1, "keep"));
            query.last_progress().filter(|progress| progress.sources[0].latest_offset.is_some())
        })
        .await;
        let json: serde_json::Value = serde_json::from_str(&progress.json()).unwrap();
        let source = &json["sources"][0];
        let at = |field: &str, partition: &str| source[field][&from][partition].as_i64().unwrap();
        for partition in ["0", "1"] {
            assert!(at("startOffset", partition) <= at("endOffset", partition), "{trigger}: {json}");
            assert!(at("endOffset", partition) <= at("latestOffset", partition), "{trigger}: {json}");
        }
        let behind = |name: &str| source["metrics"][name].as_str().unwrap().parse::<f64>().unwrap();
        let (min, avg, max) = (
            behind("minOffsetsBehindLatest"),
            behind("avgOffsetsBehindLatest"),
            behind("maxOffsetsBehindLatest"),
        );
        assert!(0.0 <= min && min <= avg && avg <= max, "{trigger}: {json}");
        let read: StreamingQueryProgress = serde_json::from_str(&progress.json()).unwrap();
        assert_eq!((read.batch_id, &read.latency), (progress.batch_id, &progress.latency));
        assert_eq!(read.sources[0].latest_offset, progress.sources[0].latest_offset);
        assert!((read.input_rows_per_second / progress.input_rows_per_second - 1.0).abs() < 1e-9);
        let idle = match trigger {
            Trigger::Continuous(_) => "Running",
            _ => "Waiting for data to arrive",
        };
        eventually(idle, async || {
            let status = query.status();
            (status.message == idle && !status.is_data_available).then_some(())
        })
        .await;
        in_time("the stop", query.stop()).await.unwrap();
        let status: StreamingQueryStatus = serde_json::from_str(&query.status().json()).unwrap();
        assert_eq!((status.message.as_str(), status.restarts), ("Stopped", 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn latencies_are_of_the_rows_that_an_epoch_wrote() {
    for trigger in [Trigger::Continuous(Duration::from_millis(50)), Trigger::ProcessingTime(Duration::ZERO)] {
        let slo = ("latencySlo", "10s@p90");
        let Running { query, sender, receiver, from, .. } = start(trigger, &[slo]).await;
        for number in 0..100 {
            let value = if number % 2 == 0 { "keep" } else { "drop" };
            sender.send(&from, &Record::value(number % 2, value));
        }
        // Made a minute ago, so too late however fast it passes.
        let minute_ago = chrono::Utc::now().timestamp_millis() - 60_000;
        sender.send(&from, &Record { timestamp: Some(minute_ago), ..Record::value(1, "old") });
        sender.flush();
        let receiving = tokio::task::spawn_blocking(move || receiver.take(51));
        in_time("the records", receiving).await.unwrap();
        in_time("the commits", query.process_all_available()).await.unwrap();
        let (mut old, mut written) = (0, 0);
        for progress in query.recent_progress() {
            let rows = progress.sink.num_output_rows;
            let slo = progress.latency_slo.clone().unwrap();
            written += rows;
            old += slo.violations;
            assert_eq!((slo.rows, slo.objective.as_str()), (rows, "10000ms@p90"));
            let latency = progress.latency.clone();
            for stage in
                [latency.fetch_to_hand_over, latency.operators, latency.produce_to_ack, latency.end_to_end]
            {
                assert_eq!(stage.map_or(0, |stage| stage.count), rows, "{trigger}: {}", progress.json());
                if let Some(stage) = stage {
                    assert!(stage.p50 <= stage.p99 && stage.p99 <= stage.max, "{stage:?}");
                }
            }
            if slo.violations > 0 {
                assert!(latency.end_to_end.unwrap().max >= 59_000.0, "{}", progress.json());
            }
        }
        assert_eq!(written, 51, "{trigger}");
        assert!(old >= 1, "{trigger}: the old record is late");
        in_time("the stop", query.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objective_that_is_none_is_refused_before_the_start() {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(crate::support::scripted::Script::new(1)));
    let events = session.read_stream().format("scripted").load().unwrap();
    let writer = epochflow::StreamDataFrame::write_stream(events).format("noop");
    let error = writer.option("latencySlo", "fast").start().await.unwrap_err();
    assert_eq!(error.kind(), epochflow::ErrorKind::Usage);
    assert!(error.to_string().contains("latencySlo") && error.to_string().contains("5ms@p99"), "{error}");
}
