//! Options of the Kafka source on a real broker: where a new query starts, and how large its batches are.

use std::time::Duration;

use epochflow::{ErrorKind, Trigger};

use crate::support::copy::Copy;
use crate::support::kafka::{Record, Sender, brokers, create, topic, unique};
use crate::support::{eventually, in_time};

/// Two partitions with values `p-n` at the times 1000 · (n + 1).
async fn timed() -> String {
    let topic = topic("in", 2).await;
    let sender = Sender::new(&brokers());
    for (partition, count) in [(0, 4), (1, 2)] {
        for number in 0..count {
            let value = format!("{partition}-{number}");
            let timestamp = Some(1000 * (number + 1));
            sender.send(&topic, &Record { timestamp, ..Record::value(partition, value) });
        }
    }
    sender.flush();
    topic
}

/// Options, and what is read with them.
type Case<'a> = (&'a [(&'a str, String)], &'a [&'a str]);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_query_starts_where_the_options_say() {
    let topic = timed().await;
    let by_partition = |zero: i64, one: i64| format!(r#"{{"{topic}":{{"0":{zero},"1":{one}}}}}"#);
    let all: &[&str] = &["0-0", "0-1", "0-2", "0-3", "1-0", "1-1"];
    let cases: &[Case<'_>] = &[
        (&[("startingOffsets", "EARLIEST".into())], all),
        (&[("startingOffsets", by_partition(3, -2))], &["0-3", "1-0", "1-1"]),
        (&[("startingOffsets", by_partition(-1, 1))], &["1-1"]),
        (&[("startingTimestamp", "1500".into())], &["0-1", "0-2", "0-3", "1-1"]),
        (&[("startingOffsetsByTimestamp", by_partition(4000, 1000))], &["0-3", "1-0", "1-1"]),
        (
            &[
                ("startingTimestamp", "3000".into()),
                ("startingOffsetsByTimestampStrategy", "Latest".into()),
                ("startingOffsetsByTimestamp", by_partition(0, 0)),
                ("startingOffsets", "earliest".into()),
            ],
            &["0-2", "0-3"],
        ),
    ];
    for (options, expected) in cases {
        let mut given = vec![("subscribe", topic.as_str())];
        given.extend(options.iter().map(|(name, value)| (*name, value.as_str())));
        let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &given);
        copy.catch_up().await.unwrap();
        assert_eq!(copy.written(), *expected, "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_not_there_or_not_whole_is_refused() {
    let topic = timed().await;
    let cases = [
        ("startingTimestamp", "3000".to_owned(), "startingOffsetsByTimestampStrategy"),
        ("startingOffsets", format!(r#"{{"{topic}":{{"0":1}}}}"#), "missing: ["),
        ("startingOffsetsByTimestamp", format!(r#"{{"{topic}":{{"0":1,"1":1,"2":1}}}}"#), "unknown: ["),
        ("startingOffsets", format!(r#"{{"{topic}":{{"0":99,"1":0}}}}"#), "failOnDataLoss"),
    ];
    for (name, value, hint) in cases {
        let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &[("subscribe", &topic), (name, &value)]);
        let error = copy.start(Trigger::Once).await.unwrap_err();
        assert!(error.to_string().contains(hint), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_beyond_the_end_goes_to_what_is_there_if_it_may() {
    let topic = timed().await;
    let offsets = format!(r#"{{"{topic}":{{"0":99,"1":2}}}}"#);
    let options = [("subscribe", topic.as_str()), ("startingOffsets", &offsets), ("failOnDataLoss", "false")];
    let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &options);
    copy.catch_up().await.unwrap();
    assert_eq!(copy.written(), ["0-0", "0-1", "0-2", "0-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_wait_for_records_but_not_for_ever() {
    let topic = topic("in", 1).await;
    let sender = Sender::new(&brokers());
    let limits = [("minOffsetsPerTrigger", "5"), ("maxOffsetsPerTrigger", "6"), ("maxTriggerDelay", "1h")];
    let copy = Copy::values(&brokers(), &topic, &limits);
    sender.send_all(&topic, ["a"]);
    let query = copy.start(Trigger::ProcessingTime(Duration::ZERO)).await.unwrap();
    eventually("the first batch takes what there is", async || copy.sink.has("a").then_some(())).await;
    sender.send_all(&topic, ["b", "c"]);
    // Planned again and again meanwhile: a batch that did not wait would be there by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(copy.written(), ["a"]);
    sender.send_all(&topic, ["d", "e", "f", "g", "h"]);
    eventually("the batch", async || copy.sink.has("g").then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
    let rows: Vec<u64> = query.recent_progress().iter().map(|progress| progress.num_input_rows).collect();
    assert_eq!(rows.iter().sum::<u64>(), copy.sink.written().len() as u64);
    assert!(rows[1..].iter().all(|rows| (5..=6).contains(rows)), "{rows:?}");

    let copy = copy.with("maxTriggerDelay", "100ms");
    let query = copy.start(Trigger::ProcessingTime(Duration::ZERO)).await.unwrap();
    eventually("the rest", async || copy.sink.has("h").then_some(())).await;
    sender.send_all(&topic, ["i"]);
    eventually("a batch that is late", async || copy.sink.has("i").then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounded_query_waits_for_nothing_that_will_not_come() {
    let topic = topic("in", 1).await;
    let copy = Copy::values(&brokers(), &topic, &[("minOffsetsPerTrigger", "50")]);
    for round in ["a", "b"] {
        Sender::new(&brokers()).send_all(&topic, [round]);
        copy.catch_up().await.unwrap();
    }
    assert_eq!(copy.written(), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_come_to_match_a_pattern_join_from_their_first_record() {
    for trigger in [Trigger::Continuous(Duration::from_millis(50)), Trigger::ProcessingTime(Duration::ZERO)] {
        let prefix = unique("family");
        let name = |member: &str| format!("{prefix}-{member}");
        let pattern = format!("{prefix}-[a-z]+");
        create(&name("a"), 1).await;
        let options = [("subscribePattern", pattern.as_str()), ("startingOffsets", "latest")];
        let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &options);
        let query = copy.start(trigger).await.unwrap();
        let sender = Sender::new(&brokers());
        create(&name("b"), 2).await;
        create(&name("9"), 1).await;
        sender.send_all(&name("b"), ["first", "second"]);
        sender.send_all(&name("9"), ["other"]);
        sender.send_all(&name("a"), ["old"]);
        eventually("all have come", async || (copy.sink.written().len() >= 3).then_some(())).await;
        in_time("the stop", query.stop()).await.unwrap();
        assert_eq!(copy.written(), ["first", "old", "second"], "{trigger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_may_match_nothing_yet() {
    let prefix = unique("family");
    let options = [("subscribePattern", format!("{prefix}.*"))];
    let options = options.each_ref().map(|(name, value)| (*name, value.as_str()));
    let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &options);
    let query = copy.start(Trigger::ProcessingTime(Duration::ZERO)).await.unwrap();
    create(&prefix, 1).await;
    Sender::new(&brokers()).send_all(&prefix, ["first"]);
    eventually("the record has come", async || copy.sink.has("first").then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_assigned_is_not_read() {
    let topic = timed().await;
    let assign = format!(r#"{{"{topic}":[1]}}"#);
    let options = [("assign", assign.as_str()), ("startingOffsets", "earliest")];
    let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &options);
    copy.catch_up().await.unwrap();
    assert_eq!(copy.written(), ["1-0", "1-1"]);
    let error = Copy::new(&brokers(), "value", &[("assign", &format!(r#"{{"{topic}":[7]}}"#))])
        .start(Trigger::Once)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.to_string().contains("-7 of option 'assign' does not exist"), "{error}");
}
