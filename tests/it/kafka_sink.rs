//! Rows that Kafka cannot take: the error says which records of the source they come from; and rows that it takes slowly.

use epochflow::{Error, ErrorKind, RestartPolicy, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::kafka::{Record, Sender, brokers, everything, topic, unique};

/// The error of a query over the records `good`, `bad` of a topic with one partition, and that topic.
async fn failing(select: &str, sink: &str, options: &str) -> (Error, String) {
    let (source, brokers) = (topic("in", 1).await, brokers());
    let sender = Sender::new(&brokers);
    for value in ["good", "bad"] {
        sender.send(&source, &Record::value(0, value));
    }
    sender.flush();
    let session = StreamSession::new().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
           OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '1');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}' OPTIONS ({options});
         INSERT INTO out {select}"
    );
    let writer = session.pipeline(&sql).await.unwrap().restart(RestartPolicy::Never);
    let writer = writer.option("checkpointLocation", format!("memory://{}", unique("checkpoint")));
    let query = in_time("the start", writer.trigger(Trigger::AvailableNow).start()).await.unwrap();
    (in_time("the end", query.await_termination()).await.unwrap_err(), source)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_source_records_of_the_row() {
    let (sink, options) = (topic("out", 1).await, "'kafka.linger.ms' '0'");
    let is_bad = "CAST(value AS STRING) = 'bad'";
    let by_column = format!("SELECT value, CASE WHEN NOT {is_bad} THEN '{sink}' END AS topic FROM events");
    let unknown = format!(
        "SELECT value, CASE WHEN {is_bad} THEN 'no such topic!' ELSE '{sink}' END AS topic FROM events"
    );
    let partition = format!("SELECT value, CASE WHEN {is_bad} THEN 7 ELSE 0 END AS partition FROM events");
    let negative = format!("SELECT value, CASE WHEN {is_bad} THEN -1 ELSE 0 END AS partition FROM events");
    let large =
        format!("SELECT CASE WHEN {is_bad} THEN repeat('x', 100000) ELSE 'x' END AS value FROM events");
    for (select, sink, options, kind, hint) in [
        (&by_column, "", options, ErrorKind::Data, "no topic"),
        (&unknown, "", options, ErrorKind::Environment, "no such topic!"),
        (&partition, sink.as_str(), options, ErrorKind::Environment, "partition"),
        (&negative, sink.as_str(), options, ErrorKind::Data, "-1"),
        (&large, sink.as_str(), "'kafka.message.max.bytes' '50000'", ErrorKind::Data, "100000 bytes"),
    ] {
        let (error, source) = failing(select, sink, options).await;
        let text = error.to_string();
        assert!(text.starts_with(&format!("{source}-0, offset 1: ")) && text.contains(hint), "{text}");
        assert_eq!(error.kind(), kind, "{text}");
        let records = error.records().unwrap();
        assert_eq!((records.from, records.to), (1, 2));
    }
}

/// The broker refuses it, long after the row was written: the ack names the batch.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_comes_with_the_ack_names_the_records_too() {
    let sink = topic("out", 1).await;
    let select = "SELECT CASE WHEN CAST(value AS STRING) = 'bad' THEN repeat('x', 1200000) ELSE 'x' END AS value FROM events";
    // Of a topic that only the rows name, nobody asks for the limit.
    let by_column = select.replace(" AS value", &format!(" AS value, '{sink}' AS topic"));
    for (select, sink) in [(select, sink.as_str()), (&by_column, "")] {
        let (error, source) = failing(select, sink, "'kafka.message.max.bytes' '4000000'").await;
        assert!(error.to_string().starts_with(&format!("{source}-0, offset 1: ")), "{error}");
        assert!(
            error.to_string().contains("1200000 bytes") && error.to_string().contains("max.message.bytes"),
            "{error}"
        );
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_far_beyond_the_producers_buffer_wait_for_room() {
    let (source, brokers) = (topic("in", 1).await, brokers());
    let values: Vec<String> = (0..200).map(|number| format!("{number} ") + &"x".repeat(20_000)).collect();
    Sender::new(&brokers).send_all(&source, values.clone());
    for buffer in ["'kafka.queue.buffering.max.kbytes' '64'", "'kafka.buffer.memory' '65536'"] {
        let sink = topic("out", 1).await;
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
               OPTIONS ('startingOffsets' 'earliest');
             CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}' OPTIONS ({buffer});
             INSERT INTO out SELECT value FROM events"
        );
        let session = StreamSession::new().unwrap();
        let writer = session.pipeline(&sql).await.unwrap().restart(RestartPolicy::Never);
        let writer = writer.option("checkpointLocation", format!("memory://{}", unique("checkpoint")));
        let query = in_time("the start", writer.trigger(Trigger::AvailableNow).start()).await.unwrap();
        in_time("the end", query.await_termination()).await.unwrap();
        let arrived = everything(&sink).into_iter().map(|record| record.value.unwrap());
        assert!(arrived.eq(values.iter().map(|value| value.clone().into_bytes())), "{buffer}");
    }
}
