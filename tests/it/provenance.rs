//! `provenance = headers`: each output record says where it comes from, and a reader drops repetitions by that.

use std::collections::BTreeMap;

use epochflow::{LastOrigins, Origin, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::kafka::{Receiver, Record, Sender, brokers, everything, topic};

fn origin(record: &Record) -> Option<Origin> {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default()));
    Origin::from_headers(headers).unwrap()
}

fn text(record: &Record) -> String {
    String::from_utf8(record.value.clone().unwrap()).unwrap()
}

/// Runs `select` from `events` into a new topic until it has caught up; what came out, `times` over.
async fn run(source: &str, select: &str, times: u32) -> Vec<Record> {
    let (brokers, sink) = (brokers(), topic("out", 1).await);
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
           OPTIONS ('startingOffsets' 'earliest', 'includeHeaders' 'true');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}'
           OPTIONS ('provenance' 'headers');
         INSERT INTO out {select}"
    );
    for _ in 0..times {
        let session = StreamSession::new().unwrap();
        let writer = session.pipeline(&sql).await.unwrap().trigger(Trigger::AvailableNow);
        // A new checkpoint each time: all of it comes again.
        let writer = writer.option("checkpointLocation", format!("memory://{}", uuid::Uuid::new_v4()));
        let query = in_time("the start", writer.start()).await.unwrap();
        in_time("the end", query.await_termination()).await.unwrap();
    }
    tokio::task::spawn_blocking(move || everything(&sink)).await.unwrap()
}

async fn filled(values: &[(i32, &str)]) -> String {
    let source = topic("in", 2).await;
    let sender = Sender::new(&brokers());
    for (partition, value) in values {
        let headers = vec![("trace".to_owned(), Some(b"t".to_vec()))];
        sender.send(&source, &Record { headers, ..Record::value(*partition, *value) });
    }
    sender.flush();
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_filters_aliases_and_unnesting_carry_their_record_and_their_number_in_it() {
    let source = filled(&[(0, "a,b,x"), (0, "x"), (0, "c,d"), (1, "e"), (1, "x,f")]).await;
    let select = "SELECT concat(word, '!') AS value, headers FROM
        (SELECT unnest(string_to_array(CAST(value AS STRING), ',')) AS word, headers FROM events) AS words
        WHERE word <> 'x'";
    let mut found: BTreeMap<i32, Vec<(String, i64, u64)>> = BTreeMap::new();
    for record in run(&source, select, 1).await {
        assert_eq!(record.headers[0].0, "trace", "the query's own headers stay");
        let origin = origin(&record).unwrap();
        assert_eq!((origin.source, &*origin.partition.topic), (0, source.as_str()));
        let rows = found.entry(origin.partition.number).or_default();
        rows.push((text(&record), origin.offset, origin.row));
    }
    let row = |text: &str, offset, row| (text.to_owned(), offset, row);
    assert_eq!(found[&0], [row("a!", 0, 0), row("b!", 0, 1), row("c!", 2, 0), row("d!", 2, 1)]);
    assert_eq!(found[&1], [row("e!", 0, 0), row("f!", 1, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_drops_what_comes_again_also_of_two_sources_over_one_topic() {
    let source = filled(&[(0, "a"), (0, "b"), (1, "c")]).await;
    let select = "SELECT CAST(value AS STRING) AS value FROM events UNION ALL
        SELECT upper(CAST(value AS STRING)) AS value FROM events WHERE partition = 0";
    let records = run(&source, select, 3).await;
    assert_eq!(records.len(), 15);
    let mut seen = LastOrigins::default();
    let fresh = records.iter().filter(|record| seen.is_new(&origin(record).unwrap()));
    let mut fresh: Vec<String> = fresh.map(text).collect();
    fresh.sort();
    assert_eq!(fresh, ["A", "B", "a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_nothing_is_added() {
    let (source, sink) = (filled(&[(0, "a")]).await, topic("out", 1).await);
    let brokers = brokers();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}' OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}';
         INSERT INTO out SELECT value FROM events"
    );
    let session = StreamSession::new().unwrap();
    let writer = session.pipeline(&sql).await.unwrap().trigger(Trigger::Once);
    let writer = writer.option("checkpointLocation", format!("memory://{}", uuid::Uuid::new_v4()));
    let query = in_time("the start", writer.start()).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let receiver = Receiver::new(&crate::support::kafka::brokers(), &sink);
    let records = tokio::task::spawn_blocking(move || receiver.take(1)).await.unwrap();
    assert_eq!(origin(&records[0]), None);
    assert!(records[0].headers.is_empty());
}
