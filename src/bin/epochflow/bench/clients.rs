//! Topics and clients, all with the same settings.

use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::Result;

/// Settings of every consumer: the receiver's and the bare relay's. The engine's defaults are the same.
const CONSUMER: &[(&str, &str)] = &[
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    // The default stops a consumer that has fallen behind for up to a second.
    ("fetch.queue.backoff.ms", "5"),
    ("enable.auto.commit", "false"),
    // Only because librdkafka wants one for `assign`; nothing is committed to it.
    ("group.id", "epochflow-bench"),
];

/// Settings of every producer, beside `linger.ms`: the sender's and the bare relay's. The engine's defaults are the same.
const PRODUCER: &[(&str, &str)] =
    &[("acks", "all"), ("enable.idempotence", "true"), ("allow.auto.create.topics", "false")];

/// How long to wait for one message before looking at anything else.
pub(super) const POLL: Duration = Duration::from_millis(100);

/// What a reader sees of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Isolation {
    /// Records as soon as they are written.
    ReadUncommitted,
    /// Records of committed transactions only.
    ReadCommitted,
}

impl Isolation {
    fn setting(self) -> &'static str {
        match self {
            Self::ReadUncommitted => "read_uncommitted",
            Self::ReadCommitted => "read_committed",
        }
    }
}

fn config(brokers: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// A consumer of all of a topic's partitions, from their beginning.
pub(super) fn consumer(
    brokers: &str,
    topic: &str,
    partitions: i32,
    isolation: Isolation,
) -> Result<BaseConsumer> {
    let consumer: BaseConsumer =
        config(brokers, CONSUMER).set("isolation.level", isolation.setting()).create()?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

/// Keeps the first record that could not be delivered, for `Sender::check`.
#[derive(Default)]
pub(super) struct Reports(OnceLock<KafkaError>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            let _already_failed = self.0.set(error.clone());
        }
    }
}

/// A producer that never drops a record silently.
pub(super) struct Sender(ThreadedProducer<Reports>);

impl Sender {
    pub(super) fn new(brokers: &str, linger_ms: &str) -> Result<Self> {
        let mut config = config(brokers, PRODUCER);
        config.set("linger.ms", linger_ms);
        Ok(Self(config.create_with_context(Reports::default())?))
    }

    /// Hands a record over; waits only while the producer's queue is full.
    pub(super) fn send(&self, topic: &str, partition: i32, key: Option<&[u8]>, payload: &[u8]) -> Result<()> {
        loop {
            let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(payload);
            record.key = key;
            match self.0.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// Fails if any record so far could not be delivered.
    pub(super) fn check(&self) -> Result<()> {
        self.0.context().0.get().map_or(Ok(()), |error| Err(error.clone().into()))
    }

    /// Waits until every record is acknowledged.
    pub(super) fn finish(&self) -> Result<()> {
        self.0.flush(Duration::from_secs(60))?;
        self.check()
    }
}

/// Topics that are deleted again when this value is dropped.
pub(super) struct Topics {
    admin: AdminClient<DefaultClientContext>,
    names: Vec<String>,
}

impl Topics {
    pub(super) fn create(brokers: &str, topics: &[(&str, i32)]) -> Result<Self> {
        let admin: AdminClient<DefaultClientContext> = config(brokers, &[]).create()?;
        let new: Vec<_> =
            topics.iter().map(|(name, n)| NewTopic::new(name, *n, TopicReplication::Fixed(1))).collect();
        let names = topics.iter().map(|(name, _)| (*name).to_owned()).collect();
        let this = Self { admin, names };
        for result in block_on(this.admin.create_topics(&new, &AdminOptions::new()))? {
            result.map_err(|(topic, code)| format!("topic {topic} was not created: {code}"))?;
        }
        Ok(this)
    }
}

impl Drop for Topics {
    fn drop(&mut self) {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        if let Err(error) = block_on(self.admin.delete_topics(&names, &AdminOptions::new())) {
            eprintln!("epochflow bench: topics {} stay behind: {error}", names.join(", "));
        }
    }
}
