//! Behaviour of Spark's own tests that had none here; docs/conformance.md says which test stands for which case.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use epochflow::{ErrorKind, Result, StreamDataFrame, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::kafka::{Record, Sender, brokers, everything, topic};
use crate::support::recording::Recording;
use crate::support::scripted::Script;

/// Runs what is there through a query over values, and gives the values.
async fn read(options: &[(&str, String)], checkpoint: &Path) -> Result<BTreeSet<String>> {
    let (session, sink) = (StreamSession::new()?, Recording::default());
    session.register_sink(Arc::new(sink.clone()));
    let mut reader = session.read_stream().format("kafka").option("kafka.bootstrap.servers", brokers());
    for (name, value) in options {
        reader = reader.option(*name, value);
    }
    let writer = reader.load()?.select_columns(&["value"])?.write_stream().format("recording");
    let writer = writer.option("checkpointLocation", checkpoint.display()).trigger(Trigger::AvailableNow);
    let query = in_time("the start", writer.start()).await?;
    in_time("the end", query.await_termination()).await?;
    let written = sink.written();
    let values: BTreeSet<String> = written.iter().cloned().collect();
    assert_eq!(values.len(), written.len(), "nothing is read twice: {written:?}");
    Ok(values)
}

/// An option's value, made of the topic's name.
type OfTopic = fn(&str) -> String;

/// Two partitions with three records each, at 1, 2 and 3 s after 1970; values tell partition and offset.
async fn filled(what: &str) -> (String, Sender) {
    let (topic, sender) = (topic(what, 2).await, Sender::new(&brokers()));
    for offset in 0..3 {
        for partition in 0..2 {
            let timestamp = Some((offset + 1) * 1000);
            sender.send(
                &topic,
                &Record { timestamp, ..Record::value(partition, format!("{partition}/{offset}")) },
            );
        }
    }
    sender.flush();
    (topic, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_query_starts_where_it_is_told_and_an_old_one_where_it_was() {
    let all = |from: [i64; 2]| -> BTreeSet<String> {
        (0..2).flat_map(|p| (from[p as usize]..3).map(move |offset| format!("{p}/{offset}"))).collect()
    };
    let subscriptions: [(&str, OfTopic); 3] = [
        ("subscribe", str::to_owned),
        ("subscribePattern", |topic| format!("{topic}.*")),
        ("assign", |topic| format!("{{\"{topic}\":[0,1]}}")),
    ];
    for (subscription, value) in subscriptions {
        let starts: [(&str, OfTopic, [i64; 2]); 6] = [
            ("startingOffsets", |_| "earliest".to_owned(), [0, 0]),
            ("startingOffsets", |_| "latest".to_owned(), [3, 3]),
            ("startingOffsets", |topic| format!("{{\"{topic}\":{{\"0\":-2,\"1\":-1}}}}"), [0, 3]),
            ("startingOffsets", |topic| format!("{{\"{topic}\":{{\"0\":1,\"1\":2}}}}"), [1, 2]),
            ("startingTimestamp", |_| "1500".to_owned(), [1, 1]),
            (
                "startingOffsetsByTimestamp",
                |topic| format!("{{\"{topic}\":{{\"0\":1000,\"1\":2001}}}}"),
                [0, 2],
            ),
        ];
        for (start, at, first) in starts {
            let case = format!("{subscription}, {start} {}", at("t"));
            let (topic, sender) = filled("starting").await;
            let folder = tempfile::tempdir().unwrap();
            let options = [(subscription, value(&topic)), (start, at(&topic))];
            assert_eq!(read(&options, folder.path()).await.unwrap(), all(first), "{case}");
            // Where a query starts is decided once: what comes while it is stopped is read, and nothing else.
            for partition in 0..2 {
                sender.send(&topic, &Record::value(partition, format!("{partition}/later")));
            }
            sender.flush();
            let later = ["0/later".to_owned(), "1/later".to_owned()].into();
            assert_eq!(read(&options, folder.path()).await.unwrap(), later, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_records_is_an_error_unless_the_strategy_is_latest() {
    let (topic, _) = filled("no-match").await;
    for start in [
        ("startingTimestamp", "3001".to_owned()),
        ("startingOffsetsByTimestamp", format!("{{\"{topic}\":{{\"0\":1000,\"1\":3001}}}}")),
    ] {
        for subscription in [("subscribe", topic.clone()), ("subscribePattern", format!("{topic}.*"))] {
            let with = |strategy: Option<&str>| {
                let strategy = strategy.map(|text| ("startingOffsetsByTimestampStrategy", text.to_owned()));
                [subscription.clone(), start.clone()].into_iter().chain(strategy).collect::<Vec<_>>()
            };
            for strategy in [None, Some("error")] {
                let folder = tempfile::tempdir().unwrap();
                let error = read(&with(strategy), folder.path()).await.unwrap_err().to_string();
                assert!(error.contains("3001 ms") && error.contains("Strategy to latest"), "{error}");
            }
            let folder = tempfile::tempdir().unwrap();
            let read = read(&with(Some("latest")), folder.path()).await.unwrap();
            assert!(!read.contains("1/2"), "{read:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_goes_to_the_topic_of_the_option_else_of_its_column() {
    let (events, _) = filled("topics-in").await;
    let (by_column, by_option) = (topic("by-column", 1).await, topic("by-option", 1).await);
    let brokers = brokers();
    let run = async |sink: &str, column: &str| {
        let folder = tempfile::tempdir().unwrap();
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{events}' OPTIONS ('startingOffsets' 'earliest');
             CREATE EXTERNAL TABLE rows STORED AS KAFKA LOCATION '{sink}';
             INSERT INTO rows SELECT value, {column} AS topic FROM events;"
        );
        let session = StreamSession::new()?;
        let writer = session.pipeline(&sql).await?.option("checkpointLocation", folder.path().display());
        let query = in_time("the start", writer.trigger(Trigger::Once).start()).await?;
        in_time("the end", query.await_termination()).await
    };
    run(&format!("kafka://{brokers}"), &format!("'{by_column}'")).await.unwrap();
    assert_eq!(everything(&by_column).len(), 6);
    run(&format!("kafka://{brokers}/{by_option}"), &format!("'{by_column}'")).await.unwrap();
    assert_eq!((everything(&by_column).len(), everything(&by_option).len()), (6, 6));
    let error = run(&format!("kafka://{brokers}"), "CAST(NULL AS STRING)").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    assert!(error.to_string().contains("topic"), "{error}");
    let error = run(&format!("kafka://{brokers}"), "'no-such-topic'").await.unwrap_err();
    assert!(error.to_string().contains("no-such-topic"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_may_have_any_name() {
    let (topic, _) = filled("names").await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["with blanks", "per%20cent", "question?", "hash#", "ü/ä", "a:b", "[x]", "star*"] {
        let checkpoint = folder.path().join(name);
        let options = [("subscribe", topic.clone()), ("startingOffsets", "earliest".to_owned())];
        assert_eq!(read(&options, &checkpoint).await.unwrap().len(), 6, "{name}");
        assert!(checkpoint.join("commits/0").exists(), "{name}");
        assert_eq!(read(&options, &checkpoint).await.unwrap().len(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_record_of_an_assigned_or_matched_topic_is_read_around_only_when_told() {
    for subscription in ["subscribePattern", "assign"] {
        let (topic, sender) = filled("lost").await;
        let folder = tempfile::tempdir().unwrap();
        let subscribed = match subscription {
            "assign" => format!("{{\"{topic}\":[0,1]}}"),
            _ => format!("{topic}.*"),
        };
        let options = |fail: &str| {
            [
                (subscription, subscribed.clone()),
                ("startingOffsets", "earliest".to_owned()),
                ("failOnDataLoss", fail.to_owned()),
            ]
        };
        read(&options("true"), folder.path()).await.unwrap();
        for offset in 3..6 {
            sender.send(&topic, &Record::value(0, format!("0/{offset}")));
        }
        sender.flush();
        crate::support::kafka::delete_records_before(&topic, 0, 5).await;
        let error = read(&options("true"), folder.path()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        let read = read(&options("false"), folder.path()).await.unwrap();
        assert_eq!(read, ["0/5".to_owned()].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn available_now_takes_all_of_two_limited_sources_and_counts_each() {
    let (first, second) = (topic("limited-1", 1).await, topic("limited-2", 1).await);
    let (sender, brokers) = (Sender::new(&brokers()), brokers());
    for (topic, records) in [(&first, 15), (&second, 7)] {
        (0..records).for_each(|n| sender.send(topic, &Record::value(0, format!("{n}"))));
    }
    sender.flush();
    let session = StreamSession::new().unwrap();
    for topic in [&first, &second] {
        let sql = format!(
            "CREATE EXTERNAL TABLE \"{topic}\" STORED AS KAFKA LOCATION 'kafka://{brokers}/{topic}'
             OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '5')"
        );
        session.sql(&sql).await.unwrap();
    }
    let union = format!("SELECT value FROM \"{first}\" UNION ALL SELECT value FROM \"{second}\"");
    let writer = session.sql(&union).await.unwrap().write_stream().format("noop");
    let query = in_time("the start", writer.trigger(Trigger::AvailableNow).start()).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let rows: Vec<Vec<u64>> = query
        .recent_progress()
        .iter()
        .map(|progress| progress.sources.iter().map(|source| source.num_input_rows).collect())
        .collect();
    assert_eq!(rows, [[5, 5], [5, 2], [5, 0]]);
}

#[tokio::test]
async fn a_memory_sink_needs_a_name() {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(Script::new(1)));
    let events = session.read_stream().format("scripted").load().unwrap();
    let error = events.write_stream().format("memory").start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("query_name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_shows_what_a_sink_measures_itself() {
    let (session, script, sink) = (StreamSession::new().unwrap(), Script::new(1), Recording::default());
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    ["a", "b"].iter().for_each(|text| script.push(0, *text));
    let events = session.read_stream().format("scripted").load().unwrap();
    let rows = events.select_columns(&["text"]).unwrap();
    for (format, expected) in [("recording", serde_json::json!({"rowsRecorded": "2"})), ("noop", ().into())] {
        let writer = rows.clone().write_stream().format(format).trigger(Trigger::AvailableNow);
        let query = in_time("the start", writer.start()).await.unwrap();
        in_time("the end", query.await_termination()).await.unwrap();
        let json: serde_json::Value = serde_json::from_str(&query.last_progress().unwrap().json()).unwrap();
        assert_eq!(json["sink"].get("metrics").cloned().unwrap_or_default(), expected, "{json}");
    }
}
