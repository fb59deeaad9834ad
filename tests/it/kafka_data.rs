//! What records may look like: each case arrives as it is.

use epochflow::Trigger;

use crate::support::copy::Copy;
use crate::support::kafka::{Record, Sender, brokers, ends, topic};

#[tokio::test(flavor = "multi_thread")]
async fn the_row_has_sparks_columns_and_types() {
    let topic = topic("in", 1).await;
    let options =
        [("subscribe", topic.as_str()), ("startingOffsets", "earliest"), ("includeHeaders", "true")];
    let sender = Sender::new(&brokers());
    sender.send(&topic, &Record { timestamp: Some(1_700_000_000_123), ..Record::value(0, "v") });
    sender.flush();
    let names =
        ["key", "value", "topic", "partition", "\"offset\"", "timestamp", "\"timestampType\"", "headers"];
    let types: Vec<String> = names.iter().map(|name| format!("arrow_typeof({name})")).collect();
    let select =
        format!("concat_ws(' ', CAST(timestamp AS BIGINT), \"timestampType\", {})", types.join(", "));
    let copy = Copy::new(&brokers(), &select, &options);
    copy.catch_up().await.unwrap();
    let row = &copy.written()[0];
    let expected = "1700000000123000 0 Binary Binary Utf8 Int32 Int64 Timestamp(µs) Int32 List(";
    assert!(row.starts_with(expected), "{row}");
    let headers = row.split_once("List(").unwrap().1;
    assert!(headers.contains(r#""key": Utf8"#) && headers.contains(r#""value": Binary"#), "{headers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_null_and_what_is_empty_stay_apart() {
    let topic = topic("in", 1).await;
    let sender = Sender::new(&brokers());
    let header = |value: Option<&[u8]>| vec![("h".to_owned(), value.map(<[u8]>::to_vec))];
    for record in [
        Record { key: Some(b"tombstone".to_vec()), ..Record::default() },
        Record { value: Some(Vec::new()), ..Record::default() },
        Record { key: Some(Vec::new()), value: Some(b"v".to_vec()), ..Record::default() },
        Record { headers: header(None), ..Record::value(0, "null header") },
        Record { headers: header(Some(b"")), ..Record::value(0, "empty header") },
    ] {
        sender.send(&topic, &record);
    }
    sender.flush();
    let select =
        "concat_ws(' ', \"offset\", key IS NULL, value IS NULL, coalesce(length(CAST(value AS STRING)), -1),
        headers IS NULL, headers[1]['value'] IS NULL)";
    let options =
        [("subscribe", topic.as_str()), ("startingOffsets", "earliest"), ("includeHeaders", "true")];
    let copy = Copy::new(&brokers(), select, &options);
    copy.catch_up().await.unwrap();
    assert_eq!(
        copy.written(),
        [
            "0 false true -1 true true",
            "1 true false 0 true true",
            "2 false false 1 true true",
            "3 true false 11 false true",
            "4 true false 12 false false",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_is_read_and_written() {
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
    let source = topic("in", 1).await;
    let text = |codec: &str| format!("{codec} {}", "compressible ".repeat(100));
    for codec in codecs {
        Sender::compressing(&brokers(), codec).send_all(&source, [text(codec)]);
    }
    let mut expected: Vec<String> = codecs.into_iter().map(text).collect();
    expected.sort();
    for codec in codecs {
        let sink = topic("out", 1).await;
        let session = epochflow::StreamSession::new().unwrap();
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{0}/{source}'
               OPTIONS ('startingOffsets' 'earliest');
             CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{0}/{sink}'
               OPTIONS ('kafka.compression.type' '{codec}');
             INSERT INTO copies SELECT value FROM events",
            brokers()
        );
        let writer = session.pipeline(&sql).await.unwrap().trigger(Trigger::Once);
        let location = format!("memory://{sink}");
        let query = writer.option("checkpointLocation", location).start().await.unwrap();
        query.await_termination().await.unwrap();
        let copy = Copy::values(&brokers(), &sink, &[]);
        copy.catch_up().await.unwrap();
        assert_eq!(copy.written(), expected, "{codec}");
        assert_eq!(ends(&sink)[&0], 5);
    }
}
