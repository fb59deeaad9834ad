//! Records through a real broker: nothing of them is lost or changed on the way.

use std::time::Duration;

use epochflow::{ErrorKind, StreamSession, StreamingQuery, Trigger};

use crate::support::in_time;
use crate::support::kafka::{
    Receiver, Record, Sender, brokers, delete_records_before, ends, everything, grow, topic, unique,
};

async fn start(
    select: &str,
    source: &str,
    sink: &str,
    options: &str,
    trigger: Trigger,
) -> epochflow::Result<StreamingQuery> {
    let session = StreamSession::new()?;
    let brokers = brokers();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
           OPTIONS ('startingOffsets' 'earliest'{options});
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}';
         INSERT INTO out {select}"
    );
    let location = format!("memory://{}", unique("checkpoint"));
    let writer = session.pipeline(&sql).await?.option("checkpointLocation", location).trigger(trigger);
    in_time("the start", writer.start()).await
}

async fn copied(select: &str, options: &str, records: &[Record]) -> Vec<Record> {
    let (source, sink) = (topic("in", 2).await, topic("out", 2).await);
    let sender = Sender::new(&brokers());
    records.iter().for_each(|record| sender.send(&source, record));
    sender.flush();
    let query = start(select, &source, &sink, options, Trigger::AvailableNow).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    everything(&sink)
}

#[tokio::test(flavor = "multi_thread")]
async fn key_value_partition_headers_and_timestamp_arrive_as_they_were() {
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let records = [
        Record {
            partition: 1,
            key: Some(b"k".to_vec()),
            value: Some(vec![0, 255, 10]),
            headers: vec![header("a", Some(b"1")), header("a", None), header("b", Some(b""))],
            timestamp: Some(1_700_000_000_123),
        },
        Record {
            partition: 0,
            key: Some(Vec::new()),
            value: Some(Vec::new()),
            timestamp: Some(7),
            ..Record::default()
        },
        Record { partition: 1, key: Some(b"tombstone".to_vec()), timestamp: Some(8), ..Record::default() },
        Record { partition: 0, value: Some(b"no key".to_vec()), timestamp: Some(9), ..Record::default() },
    ];
    let select = "SELECT key, value, partition, headers, timestamp FROM events";
    let mut arrived = copied(select, ", 'includeHeaders' 'true'", &records).await;
    arrived.sort_by_key(|record| record.timestamp);
    let mut expected = records.to_vec();
    expected.sort_by_key(|record| record.timestamp);
    assert_eq!(arrived, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_tells_topic_partition_offset_and_kind_of_timestamp() {
    let records: Vec<Record> = (0..4).map(|number| Record::value(number % 2, "x")).collect();
    let select = r#"SELECT concat(partition, '/', offset, '/', "timestampType", '/', starts_with(topic, 'in-')) AS value FROM events"#;
    let mut values: Vec<String> = copied(select, "", &records)
        .await
        .into_iter()
        .map(|record| String::from_utf8(record.value.unwrap()).unwrap())
        .collect();
    values.sort();
    assert_eq!(values, ["0/0/0/true", "0/1/0/true", "1/0/0/true", "1/1/0/true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_land_where_javas_partitioner_puts_them() {
    // As Java's client (kafka-clients 3.9.1) says: Utils.toPositive(Utils.murmur2(key)) % 7.
    let expected = [
        ("a", 5),
        ("b", 6),
        ("c", 0),
        ("kafka", 3),
        ("epoch", 1),
        ("", 2),
        ("21", 3),
        ("foobar", 0),
        ("a-little-bit-long-string", 1),
    ];
    let (source, sink) = (topic("in", 1).await, topic("out", 7).await);
    let sender = Sender::new(&brokers());
    for (key, _) in expected {
        sender.send(&source, &Record { key: Some(key.into()), value: Some("v".into()), ..Record::default() });
    }
    sender.flush();
    let query =
        start("SELECT key, value FROM events", &source, &sink, "", Trigger::AvailableNow).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let mut landed: Vec<_> = everything(&sink)
        .into_iter()
        .map(|record| (String::from_utf8(record.key.unwrap()).unwrap(), record.partition))
        .collect();
    let mut expected = expected.map(|(key, partition)| (key.to_owned(), partition)).to_vec();
    landed.sort();
    expected.sort();
    assert_eq!(landed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reaches_its_end_across_offsets_that_hold_no_record() {
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let sent_source = source.clone();
    // Each transaction ends with a marker that has an offset and is no record; the aborted one is not to be seen.
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers())
            .set("transactional.id", unique("transaction"))
            .create()
            .unwrap();
        let timeout = Duration::from_secs(30);
        producer.init_transactions(timeout).unwrap();
        for (value, commit) in [("one", true), ("aborted", false), ("two", true)] {
            producer.begin_transaction().unwrap();
            producer.send(BaseRecord::<(), str>::to(&sent_source).payload(value)).unwrap();
            producer.flush(timeout).unwrap();
            if commit { producer.commit_transaction(timeout) } else { producer.abort_transaction(timeout) }
                .unwrap();
        }
    })
    .await
    .unwrap();
    let options = ", 'kafka.isolation.level' 'read_committed'";
    let query =
        start("SELECT value FROM events", &source, &sink, options, Trigger::AvailableNow).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let values: Vec<_> = everything(&sink).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"one", b"two"]);
    let end = query.last_progress().unwrap().sources[0].end_offset.clone();
    assert_eq!(end, format!(r#"{{"{source}":{{"0":{}}}}}"#, ends(&source)[&0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_join_a_running_query_from_their_first_record() {
    for trigger in [Trigger::Continuous(Duration::from_millis(100)), Trigger::ProcessingTime(Duration::ZERO)]
    {
        let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
        let query = start("SELECT value FROM events", &source, &sink, "", trigger).await.unwrap();
        let sender = Sender::new(&brokers());
        sender.send(&source, &Record::value(0, "old"));
        sender.flush();
        grow(&source, 3).await;
        // The sender must learn of the new partitions, too.
        let sender = Sender::new(&brokers());
        sender.send(&source, &Record::value(2, "new"));
        sender.flush();
        let receiver = Receiver::new(&brokers(), &sink);
        let arrived = tokio::task::spawn_blocking(move || receiver.take(2)).await.unwrap();
        let mut values: Vec<_> = arrived.into_iter().map(|record| record.value.unwrap()).collect();
        values.sort();
        assert_eq!(values, [b"new", b"old"], "{trigger}");
        assert!(query.is_active());
        in_time("the stop", query.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_at_the_start() {
    let there = topic("there", 1).await;
    let select = "SELECT value FROM events";
    for (source, sink) in [("no-such-topic", there.as_str()), (there.as_str(), "no-such-topic")] {
        let error = start(select, source, sink, "", Trigger::Once).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Environment, "{error}");
        assert!(error.to_string().contains("no-such-topic"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_records_end_the_query_unless_it_may_go_on_without_them() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let send = |range: std::ops::Range<u32>| {
        let sender = Sender::new(&brokers());
        range.for_each(|number| sender.send(&source, &Record::value(0, number.to_string())));
        sender.flush();
    };
    send(0..3);
    let session = StreamSession::new().unwrap();
    let location = format!("memory://{}", unique("checkpoint"));
    let start = async |fail_on_data_loss: bool, trigger: Trigger| {
        let sql = format!(
            "CREATE OR REPLACE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{0}/{source}'
               OPTIONS ('startingOffsets' 'earliest', 'failOnDataLoss' '{fail_on_data_loss}');
             CREATE OR REPLACE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{0}/{sink}';
             INSERT INTO out SELECT value FROM events",
            brokers()
        );
        let writer = session.pipeline(&sql).await.unwrap().option("checkpointLocation", &location);
        in_time("the start", writer.trigger(trigger).start()).await
    };
    let query = start(true, Trigger::AvailableNow).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    send(3..10);
    delete_records_before(&source, 0, 7).await;
    for trigger in [Trigger::AvailableNow, Trigger::Continuous(Duration::from_millis(50))] {
        let error = start(true, trigger).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        assert!(error.to_string().contains("failOnDataLoss"), "{error}");
    }
    let query = start(false, Trigger::Continuous(Duration::from_millis(50))).await.unwrap();
    in_time("what is left", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    let values: Vec<_> = everything(&sink).into_iter().map(|record| record.value.unwrap()).collect();
    assert_eq!(values, [b"0", b"1", b"2", b"7", b"8", b"9"]);
}
