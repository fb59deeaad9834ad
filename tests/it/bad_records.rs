//! Records that the query cannot process: they cost themselves and nothing else.

use std::sync::Arc;
use std::time::Duration;

use epochflow::checkpoint::Checkpoint;
use epochflow::{DataStreamWriter, ErrorKind, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::kafka::{Receiver, Record, Sender, brokers, topic};
use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::{eventually, in_time};

async fn writer(script: &Script, sink: &Recording, sql: &str) -> DataStreamWriter {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    session
        .sql("CREATE TABLE names AS SELECT CAST(value AS INT) AS id FROM generate_series(0, 20000)")
        .await
        .unwrap();
    session.sql(sql).await.unwrap().write_stream().format("recording")
}

async fn started(writer: DataStreamWriter) -> StreamingQuery {
    in_time("the start", writer.start()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_record_among_ten_thousand_costs_only_itself() {
    for sql in [
        "SELECT CAST(text AS INT) FROM events",
        "SELECT text FROM events WHERE CAST(text AS INT) >= 0",
        "SELECT CAST(word AS INT) FROM (SELECT unnest(string_to_array(text, ' ')) AS word FROM events)",
        "SELECT id FROM events JOIN names ON CAST(text AS INT) = id",
        "SELECT CAST(text AS INT) FROM events UNION ALL SELECT text FROM events WHERE false",
    ] {
        let (script, sink) = (Script::new(1), Recording::default());
        let text = |number: u32| if number == 7_777 { "none".to_owned() } else { number.to_string() };
        (0..10_000).for_each(|number| script.push(0, text(number)));
        let writer = writer(&script, &sink, sql).await.option("badRecords", "skip").trigger(Trigger::Once);
        let query = started(writer).await;
        in_time(sql, query.await_termination()).await.unwrap();
        let expected: Vec<_> = (0..10_000).filter(|n| *n != 7_777).map(text).collect();
        assert_eq!(sink.written(), expected, "{sql}");
        let progress = query.last_progress().unwrap();
        assert!(
            progress.num_bad_rows >= 1 && progress.json().contains(r#""numBadRows":"#),
            "{}",
            progress.json()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_a_bad_record_before_it_failed_does_not_come_out() {
    let (script, sink) = (Script::new(1), Recording::default());
    // The second of its words fails, far behind the first batch that the operators make of it.
    let long = format!("{}none", "1 ".repeat(20_000));
    [long.as_str(), "2 3", "x"].into_iter().for_each(|text| script.push(0, text));
    let sql = "SELECT CAST(word AS INT) FROM (SELECT unnest(string_to_array(text, ' ')) AS word FROM events)";
    let writer = writer(&script, &sink, sql).await.option("badRecords", "skip").trigger(Trigger::Once);
    let query = started(writer).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(sink.written(), ["2", "3"]);
    assert_eq!(query.last_progress().unwrap().num_bad_rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_query_goes_on_after_bad_records_without_waiting() {
    let (script, sink) = (Script::new(1), Recording::default());
    let writer = writer(&script, &sink, "SELECT 100 / CAST(text AS INT) FROM events").await;
    let trigger = Trigger::Continuous(Duration::from_secs(60));
    let query = started(writer.option("badRecords", "skip").trigger(trigger)).await;
    for (text, row) in [("5", "20"), ("0", "0"), ("x", "x"), ("4", "25"), ("2", "50")] {
        script.push(0, text);
        if row.len() == 2 {
            eventually(text, async || sink.has(row).then_some(())).await;
        }
    }
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(sink.written(), ["20", "25", "50"]);
    assert_eq!(query.last_progress().unwrap().num_bad_rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_policy_the_error_names_the_record_and_the_expression() {
    for (sql, expression) in [
        ("SELECT CAST(text AS INT) FROM events", "CAST(text"),
        ("SELECT text FROM events WHERE 10 / \"offset\" > CAST(text AS INT) + 1", "CAST(text"),
    ] {
        let (script, sink) = (Script::new(2), Recording::default());
        let location = format!("memory://bad-{}", expression.len() + sql.len());
        ["1", "2", "none", "4"].into_iter().for_each(|text| script.push(1, text));
        let writer = writer(&script, &sink, sql).await.option("checkpointLocation", &location);
        let query = started(writer.trigger(Trigger::AvailableNow)).await;
        let error = in_time("the failure", query.await_termination()).await.unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Data, "{message}");
        if sql.contains("offset") {
            // Division by zero comes first.
            assert!(message.contains("scripted-1, offset 0") && message.contains("10 / "), "{message}");
        } else {
            assert!(message.contains("scripted-1, offset 2") && message.contains(expression), "{message}");
            assert!(message.contains("'none'") && message.contains("badRecords"), "{message}");
        }
        let facts = Checkpoint::open(&location, &[]).unwrap().facts().await.unwrap();
        assert!(facts.commits.is_empty());
    }
}

#[tokio::test]
async fn wrong_policies_are_told_before_the_start() {
    for (options, hint) in [
        (&[("badRecords", "ignore")][..], "fail, skip or dead-letter"),
        (&[("badRecords", "dead-letter")], "deadLetterTopic"),
        (&[("deadLetterTopic", "t")], "go together"),
        (&[("badRecords", "dead-letter"), ("deadLetterTopic", "t")], "kafka.bootstrap.servers"),
    ] {
        let writer = writer(&Script::new(1), &Recording::default(), "SELECT text FROM events").await;
        let writer = options.iter().fold(writer, |writer, (name, value)| writer.option(*name, value));
        let error = writer.start().await.expect_err(hint);
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(hint), "{error}");
    }
}

fn header(record: &Record, name: &str) -> Option<String> {
    let (_, value) = record.headers.iter().find(|(key, _)| key == name)?;
    value.as_ref().map(|value| String::from_utf8(value.clone()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_the_records_as_they_came() {
    let (brokers, source) = (brokers(), topic("in", 1).await);
    let (sink, letters) = (topic("out", 1).await, topic("dead", 1).await);
    let sender = Sender::new(&brokers);
    sender.send(&source, &Record::value(0, "1"));
    let mut bad = Record::value(0, "none");
    bad.key = Some(b"k".to_vec());
    bad.headers = vec![("trace".to_owned(), Some(b"t-1".to_vec())), ("empty".to_owned(), None)];
    sender.send(&source, &bad);
    sender.send(&source, &Record::value(0, "3"));
    sender.flush();
    for trigger in [Trigger::AvailableNow, Trigger::Continuous(Duration::from_millis(100))] {
        let session = StreamSession::new().unwrap();
        let sql = format!(
            "SET epochflow.bad_records = 'dead-letter';
             SET epochflow.dead_letter_topic = '{letters}';
             CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}' OPTIONS ('startingOffsets' 'earliest');
             CREATE EXTERNAL TABLE numbers STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}';
             INSERT INTO numbers SELECT CAST(CAST(CAST(value AS STRING) AS INT) AS STRING) AS value FROM events"
        );
        let folder = tempfile::tempdir().unwrap();
        let writer = session.pipeline(&sql).await.unwrap().query_name("numbers").trigger(trigger);
        let query = started(writer.option("checkpointLocation", folder.path().display())).await;
        in_time("the records", query.process_all_available()).await.ok();
        let letter = Receiver::new(&brokers, &letters).take(1).remove(0);
        assert_eq!((letter.key.as_deref(), letter.value.as_deref()), (Some(&b"k"[..]), Some(&b"none"[..])));
        assert_eq!(letter.headers[..2], bad.headers[..]);
        for (name, expected) in [
            ("epochflow.query.id", query.id().to_string()),
            ("epochflow.query.name", "numbers".to_owned()),
            ("epochflow.topic", source.clone()),
            ("epochflow.partition", "0".to_owned()),
            ("epochflow.offset", "1".to_owned()),
        ] {
            if trigger == Trigger::AvailableNow {
                assert_eq!(header(&letter, name), Some(expected), "{name}");
            }
        }
        assert!(header(&letter, "epochflow.error").unwrap().contains("'none'"));
        assert!(header(&letter, "epochflow.epoch").is_some());
        query.stop().await.unwrap();
    }
    let written: Vec<_> =
        Receiver::new(&brokers, &sink).take(4).into_iter().filter_map(|record| record.value).collect();
    assert_eq!(written, [b"1", b"3", b"1", b"3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_another_sink_dead_letters_go_to_kafka_as_json() {
    let (brokers, letters) = (brokers(), topic("dead", 1).await);
    let (script, sink) = (Script::new(1), Recording::default());
    ["1", "none", "3"].into_iter().for_each(|text| script.push(0, text));
    let writer = writer(&script, &sink, "SELECT CAST(text AS INT) FROM events").await;
    let writer = writer
        .option("badRecords", "dead-letter")
        .option("deadLetterTopic", &letters)
        .option("kafka.bootstrap.servers", &brokers);
    let query = started(writer.trigger(Trigger::Once)).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!((sink.written(), sink.commits()), (vec!["1".to_owned(), "3".to_owned()], vec![0]));
    let letter = Receiver::new(&brokers, &letters).take(1).remove(0);
    assert_eq!(letter.value.as_deref(), Some(&br#"{"text":"none","offset":1}"#[..]));
    assert_eq!(header(&letter, "epochflow.epoch").as_deref(), Some("0"));
}
