//! A real broker, as tests see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::{PATIENCE, eventually};

/// The broker's address.
pub(crate) fn brokers() -> String {
    std::env::var("EPOCHFLOW_TEST_KAFKA")
        .expect("this test needs a Kafka broker: run tests/run, or set EPOCHFLOW_TEST_KAFKA to host:port")
}

/// A name that no other test uses.
pub(crate) fn unique(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Creates a topic with a unique name.
pub(crate) async fn topic(what: &str, partitions: i32) -> String {
    let name = unique(what);
    create(&name, partitions).await;
    name
}

/// Creates a topic, also one that was deleted just now.
pub(crate) async fn create(name: &str, partitions: i32) {
    create_at(&brokers(), name, (partitions, 1), &[]).await;
}

/// Creates one at other brokers, with so many partitions and replicas, and with settings of its own.
pub(crate) async fn create_at(
    brokers: &str,
    name: &str,
    (partitions, replicas): (i32, i32),
    settings: &[(&str, &str)],
) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    eventually("the topic can be created", async || {
        let created = admin_at(brokers).create_topics([&topic], &AdminOptions::new()).await.ok()?;
        created.into_iter().next()?.ok()
    })
    .await;
    wait_for_leaders(brokers, name, partitions as usize).await;
}

/// Changes a setting of a topic.
pub(crate) async fn set_at(brokers: &str, topic: &str, name: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(name, value);
    let changed = admin_at(brokers).alter_configs([&change], &AdminOptions::new()).await.unwrap();
    changed.into_iter().next().unwrap().unwrap();
}

/// Deletes a topic and waits until it is gone.
pub(crate) async fn delete(name: &str) {
    let deleted = admin().delete_topics(&[name], &AdminOptions::new()).await.unwrap();
    deleted.into_iter().next().unwrap().unwrap();
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
    eventually("the topic is gone", async || {
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        metadata.topics().iter().all(|topic| topic.name() != name).then_some(())
    })
    .await;
}

/// A topic is created before its partitions have leaders that everybody knows.
async fn wait_for_leaders(brokers: &str, topic: &str, partitions: usize) {
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    eventually("all partitions have leaders", async || {
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let led = metadata.topics()[0].partitions().iter().filter(|partition| partition.leader() >= 0);
        (led.count() == partitions).then_some(())
    })
    .await;
}

/// Adds partitions until the topic has `partitions`.
pub(crate) async fn grow(topic: &str, partitions: usize) {
    let grown =
        admin().create_partitions([&NewPartitions::new(topic, partitions)], &AdminOptions::new()).await;
    grown.unwrap().into_iter().next().unwrap().unwrap();
    wait_for_leaders(&brokers(), topic, partitions).await;
}

/// Ages out the records of a partition before `offset`.
pub(crate) async fn delete_records_before(topic: &str, partition: i32, offset: i64) {
    let mut until = TopicPartitionList::new();
    until.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    let deleted = admin().delete_records(&until, &AdminOptions::new()).await.unwrap();
    deleted.elements()[0].error().unwrap();
}

fn admin() -> AdminClient<DefaultClientContext> {
    admin_at(&brokers())
}

fn admin_at(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// Sends records one by one.
pub(crate) struct Sender {
    producer: BaseProducer,
}

/// A record as a test sends and receives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) timestamp: Option<i64>,
}

impl Record {
    pub(crate) fn value(partition: i32, value: impl Into<Vec<u8>>) -> Self {
        Self { partition, value: Some(value.into()), ..Self::default() }
    }
}

impl Sender {
    pub(crate) fn new(brokers: &str) -> Self {
        Self::compressing(brokers, "none")
    }

    /// Compresses with `codec`.
    pub(crate) fn compressing(brokers: &str, codec: &str) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("linger.ms", "0")
            .set("enable.idempotence", "true")
            .set("allow.auto.create.topics", "true")
            .set("compression.type", codec)
            .create()
            .unwrap();
        Self { producer }
    }

    /// Sends values to partition 0 of `topic` and makes sure of them.
    pub(crate) fn send_all<V: Into<Vec<u8>>>(&self, topic: &str, values: impl IntoIterator<Item = V>) {
        values.into_iter().for_each(|value| self.send(topic, &Record::value(0, value)));
        self.flush();
    }

    /// Queues a record; `flush` makes sure of it.
    pub(crate) fn send(&self, topic: &str, record: &Record) {
        loop {
            let mut message = BaseRecord::<[u8], [u8]>::to(topic).partition(record.partition);
            message.key = record.key.as_deref();
            message.payload = record.value.as_deref();
            message.timestamp = record.timestamp;
            if !record.headers.is_empty() {
                let all = record.headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                    all.insert(Header { key, value: value.as_deref() })
                });
                message.headers = Some(all);
            }
            match self.producer.send(message) {
                Ok(()) => break,
                Err((e, _))
                    if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) =>
                {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((e, _)) => panic!("{e}"),
            }
        }
        self.producer.poll(Duration::ZERO);
    }

    pub(crate) fn flush(&self) {
        self.producer.flush(PATIENCE).unwrap();
    }
}

/// Reads all partitions of a topic from the beginning.
pub(crate) struct Receiver {
    consumer: BaseConsumer,
}

impl Receiver {
    pub(crate) fn new(brokers: &str, topic: &str) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", unique("receiver"))
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics()[0].partitions() {
            assignment.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        Self { consumer }
    }

    /// Everything in `topic` that a reader of committed records sees.
    pub(crate) fn committed(topic: &str) -> Vec<Record> {
        Self::committed_at(&brokers(), topic)
    }

    /// The same at other brokers.
    pub(crate) fn committed_at(brokers: &str, topic: &str) -> Vec<Record> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("group.id", unique("committed"));
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let partitions = ends_at(brokers, topic, "read_uncommitted");
        let mut assignment = TopicPartitionList::new();
        for partition in partitions.keys() {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, mut at_end) = (Vec::new(), BTreeSet::new());
        while at_end.len() < partitions.len() {
            match consumer.poll(PATIENCE).expect("the end of each partition is told") {
                Ok(message) => records.push(record(&message)),
                Err(KafkaError::PartitionEOF(partition)) => drop(at_end.insert(partition)),
                Err(error) => panic!("{error}"),
            }
        }
        records
    }

    /// The next record, if one comes within `wait`.
    pub(crate) fn next(&self, wait: Duration) -> Option<Record> {
        let started = Instant::now();
        while started.elapsed() < wait {
            if let Some(Ok(message)) = self.consumer.poll(wait.saturating_sub(started.elapsed())) {
                return Some(record(&message));
            }
        }
        None
    }

    /// Exactly `count` records; fails if they do not come.
    pub(crate) fn take(&self, count: usize) -> Vec<Record> {
        (0..count)
            .map(|n| self.next(PATIENCE).unwrap_or_else(|| panic!("record {n} of {count} did not come")))
            .collect()
    }
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
    });
    Record {
        partition: message.partition(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
    }
}

/// The ends of a topic's partitions, records of open transactions included.
pub(crate) fn ends(topic: &str) -> BTreeMap<i32, i64> {
    ends_at(&brokers(), topic, "read_uncommitted")
}

/// The same at other brokers, or as a reader with `isolation` sees them.
pub(crate) fn ends_at(brokers: &str, topic: &str, isolation: &str) -> BTreeMap<i32, i64> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("isolation.level", isolation);
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions();
    let end = |id| consumer.fetch_watermarks(topic, id, PATIENCE).unwrap().1;
    partitions.iter().map(|partition| (partition.id(), end(partition.id()))).collect()
}

/// Everything in a topic up to its present ends.
pub(crate) fn everything(topic: &str) -> Vec<Record> {
    let total: i64 = ends(topic).values().sum();
    Receiver::new(&brokers(), topic).take(usize::try_from(total).unwrap())
}

/// The offsets that a consumer group has committed in a topic's partitions, with what stands beside them.
pub(crate) fn group_offsets(group: &str, topic: &str) -> BTreeMap<i32, (i64, String)> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers()).set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut asked = TopicPartitionList::new();
    for partition in ends(topic).keys() {
        asked.add_partition(topic, *partition);
    }
    let answer = consumer.committed_offsets(asked, PATIENCE).unwrap();
    let known = answer.elements().into_iter().filter_map(|element| {
        let offset = element.offset().to_raw().filter(|offset| *offset >= 0)?;
        Some((element.partition(), (offset, element.metadata().to_owned())))
    });
    known.collect()
}
