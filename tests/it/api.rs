//! The library as a user meets it.

use std::sync::Arc;
use std::time::Duration;

use epochflow::{EmbeddedBroker, ErrorKind, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::in_time;
use crate::support::kafka::{Receiver, Record, Sender};
use crate::support::scripted::Script;

fn scripted() -> (StreamSession, Script) {
    let (session, script) = (StreamSession::new().unwrap(), Script::new(1));
    session.register_source(Arc::new(script.clone()));
    (session, script)
}

#[test]
fn futures_of_the_api_are_send() {
    fn is_send<T: Send>(_: &T) {}
    let (session, _) = scripted();
    let writer = || session.read_stream().format("scripted").load().unwrap().write_stream().format("noop");
    is_send(&session.sql("SELECT 1"));
    is_send(&session.pipeline("SELECT 1"));
    is_send(&writer().start());
    is_send(&writer().explain());
    fn of_a_query(query: &StreamingQuery) {
        is_send(&query.stop());
        is_send(&query.await_termination());
        is_send(&query.process_all_available());
    }
    let _ = of_a_query;
}

/// The engine has threads of its own: a caller's runtime that is blocked does not hold it up.
#[tokio::test]
async fn a_blocked_caller_does_not_hold_up_a_query() {
    let (session, script) = scripted();
    let events = session.read_stream().format("scripted").load().unwrap();
    let writer = events.write_stream().format("memory").query_name("rows");
    let query = writer.trigger(Trigger::ProcessingTime(Duration::ZERO)).start().await.unwrap();
    script.push(0, "a");
    // The only thread of this test's runtime waits here, and progress comes all the same.
    let started = std::time::Instant::now();
    while query.last_progress().is_none() {
        assert!(started.elapsed() < crate::support::PATIENCE);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    query.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_tells_who_it_is_and_what_it_does() {
    let (session, script) = scripted();
    let start = || {
        let events = session.read_stream().format("scripted").load().unwrap();
        events
            .write_stream()
            .format("memory")
            .query_name("mine")
            .trigger(Trigger::ProcessingTime(Duration::ZERO))
    };
    let query = start().start().await.unwrap();
    assert_eq!(query.name(), Some("mine"));
    assert!(query.is_active() && query.exception().is_none());
    assert_ne!(query.id(), query.run_id());
    let again = start().start().await.unwrap_err();
    assert!(again.to_string().contains("'mine' is active"), "{again}");
    script.push(0, "a");
    in_time("the record", query.process_all_available()).await.unwrap();
    let progress = query.last_progress().unwrap();
    assert_eq!((progress.id, progress.run_id, progress.num_input_rows), (query.id(), query.run_id(), 1));
    assert!(!query.await_termination_for(Duration::from_millis(10)).await.unwrap());
    query.stop().await.unwrap();
    query.stop().await.unwrap();
    assert!(!query.is_active());
    assert_eq!(query.status().message, "Stopped");
    assert!(query.process_all_available().await.is_err());
    assert!(session.active_queries().is_empty());
    start().start().await.unwrap().stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_to_kafka_with_spark_like_builders_on_the_embedded_broker() {
    let broker = EmbeddedBroker::start(&[("in", 2), ("out", 1)]).unwrap();
    let brokers = broker.bootstrap_servers();
    let session = StreamSession::new().unwrap();
    let events = session
        .read_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("SUBSCRIBE", "in")
        .option("startingOffsets", "earliest")
        .option("kafka.fetch.wait.max.ms", 1)
        .load()
        .unwrap();
    let query = events
        .select_columns(&["key", "value"])
        .unwrap()
        .write_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("topic", "out")
        .option("checkpointLocation", "memory://embedded")
        .trigger(Trigger::Continuous(Duration::from_millis(100)))
        .start();
    let query = in_time("the start", query).await.unwrap();
    let (sender, receiver) = (Sender::new(brokers), Receiver::new(brokers, "out"));
    for number in 0..20 {
        sender.send("in", &Record::value(number % 2, format!("{number}")));
    }
    sender.flush();
    let mut values: Vec<i32> = receiver
        .take(20)
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, (0..20).collect::<Vec<_>>());
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_is_said_before_the_start() {
    let (session, _) = scripted();
    let events = || session.read_stream().format("scripted").load().unwrap();
    for (writer, hint) in [
        (events().write_stream(), "no sink"),
        (events().write_stream().format("parchment"), "console, kafka, noop, parquet, memory"),
        (events().write_stream().format("noop").option("colour", "red"), "'colour'"),
        (events().write_stream().format("memory"), "query_name"),
        (events().write_stream().format("kafka").option("topic", "t"), "column 'value'"),
        (events().write_stream().format("noop").trigger(Trigger::Continuous(Duration::ZERO)), "1ms"),
        (events().write_stream().format("noop").option("checkpointLocation", "ftp://x/y"), "ftp"),
    ] {
        let error = writer.start().await.expect_err(hint);
        assert!(error.to_string().contains(hint), "{error}");
    }
    let error = session.read_stream().load().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let error = session.read_stream().format("papyrus").load().unwrap_err();
    assert!(error.to_string().contains("kafka, rate, rate-micro-batch, scripted"), "{error}");
}

#[tokio::test]
async fn a_kafka_sink_needs_a_checkpoint() {
    let (session, _) = scripted();
    session.sql("CREATE EXTERNAL TABLE t STORED AS SCRIPTED LOCATION 'x'").await.unwrap();
    let rows = session.sql("SELECT text AS value FROM t").await.unwrap();
    let writer = rows
        .write_stream()
        .format("kafka")
        .option("topic", "t")
        .option("kafka.bootstrap.servers", "127.0.0.1:1");
    let error = writer.start().await.unwrap_err();
    assert!(error.to_string().contains("checkpointLocation"), "{error}");
}
