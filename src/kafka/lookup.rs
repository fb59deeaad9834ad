//! Questions to the brokers: which partitions are there, and where do they begin and end.
//!
//! A client of its own: on the reader's connection an answer would queue behind a parked fetch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};
use regex::Regex;

use super::config::refused_client;
use super::consumer::{LoggingConsumer, LoggingContext, serve_events};
use super::{Lease, kafka_error, lease};
use crate::epoch::{Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};

/// Which partitions a source reads.
#[derive(Clone, Debug)]
pub(crate) enum Subscription {
    Topics(Vec<String>),
    Pattern(Regex),
    Partitions(BTreeSet<Partition>),
}

/// A point in a partition that only the broker can turn into an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    Earliest,
    Latest,
    /// The first record at or after this time, in milliseconds since 1970.
    Timestamp(i64),
}

/// How long and how often to ask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) request: Duration,
    pub(crate) retries: u32,
    pub(crate) retry_after: Duration,
}

/// Asks brokers, off the async workers.
#[derive(Clone)]
pub(crate) struct LookUp {
    consumer: Arc<LoggingConsumer>,
    brokers: String,
    patience: Patience,
    _lease: Lease,
}

impl LookUp {
    pub(crate) fn new(config: &ClientConfig, patience: Patience) -> Result<Self> {
        let (lease, in_use) = lease();
        let consumer: LoggingConsumer = config
            .create_with_context(LoggingContext(in_use.clone()))
            .map_err(|e| refused_client(config, &e))?;
        let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        let consumer = Arc::new(consumer);
        serve_events(Arc::clone(&consumer), in_use)?;
        Ok(Self { consumer, brokers, patience, _lease: lease })
    }

    /// The partitions of `subscription` as they are now.
    ///
    /// # Errors
    /// A named topic or partition does not exist, or no broker answers.
    pub(crate) async fn partitions(&self, subscription: Subscription) -> Result<BTreeSet<Partition>> {
        self.ask(move |this| match &subscription {
            Subscription::Topics(topics) => {
                let mut found = BTreeSet::new();
                for topic in topics {
                    found.extend(this.partitions_of(topic)?);
                }
                Ok(found)
            }
            Subscription::Pattern(pattern) => this.matching(pattern),
            Subscription::Partitions(wanted) => {
                let topics: BTreeSet<_> = wanted.iter().map(|partition| &partition.topic).collect();
                let mut found = BTreeSet::new();
                for topic in topics {
                    found.extend(this.partitions_of(topic)?);
                }
                match wanted.difference(&found).next() {
                    Some(missing) => Err(Error::new(
                        ErrorKind::Environment,
                        format!("partition {missing} of option 'assign' does not exist"),
                    )),
                    None => Ok(wanted.clone()),
                }
            }
        })
        .await
    }

    /// The offsets of these points; a time after the last record is `None`.
    ///
    /// # Errors
    /// A partition does not exist, or no broker answers.
    pub(crate) async fn offsets(
        &self,
        points: Vec<(Partition, Point)>,
    ) -> Result<Vec<(Partition, Option<i64>)>> {
        if points.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(move |this| {
            let mut list = TopicPartitionList::with_capacity(points.len());
            for (partition, point) in &points {
                // The protocol takes -1 and -2 for the ends in the place of a time: one request a broker for all.
                let offset = match point {
                    Point::Earliest => KafkaOffset::Beginning,
                    Point::Latest => KafkaOffset::End,
                    Point::Timestamp(millis) => KafkaOffset::Offset(*millis),
                };
                list.add_partition_offset(&partition.topic, partition.number, offset)
                    .map_err(|e| kafka_error("cannot ask for offsets", e))?;
            }
            let answer = this
                .consumer
                .offsets_for_times(list, this.patience.request)
                .map_err(|e| this.unanswered("offsets", e))?;
            let mut offsets = Vec::with_capacity(points.len());
            for (partition, _) in &points {
                let element = answer.find_partition(&partition.topic, partition.number).ok_or_else(|| {
                    Error::new(ErrorKind::Transient, format!("no broker told the offset of {partition}"))
                })?;
                element
                    .error()
                    .map_err(|e| kafka_error(&format!("cannot look up the offset of {partition}"), e))?;
                offsets.push((partition.clone(), element.offset().to_raw().filter(|offset| *offset >= 0)));
            }
            Ok(offsets)
        })
        .await
    }

    /// The first or the next offset of each partition.
    ///
    /// # Errors
    /// As [`offsets`](LookUp::offsets).
    pub(crate) async fn ends(
        &self,
        partitions: impl IntoIterator<Item = Partition>,
        point: Point,
    ) -> Result<SourceOffsets> {
        let points = partitions.into_iter().map(|partition| (partition, point)).collect();
        let offsets = self.offsets(points).await?;
        offsets
            .into_iter()
            .map(|(partition, offset)| match offset {
                Some(offset) => Ok((partition, offset)),
                None => {
                    Err(Error::new(ErrorKind::Transient, format!("no broker told the offset of {partition}")))
                }
            })
            .collect()
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&LookUp) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let this = self.clone();
        let mut retries_left = self.patience.retries;
        let question = Arc::new(question);
        loop {
            let (this, asked) = (this.clone(), Arc::clone(&question));
            let answer = tokio::task::spawn_blocking(move || asked(&this))
                .await
                .map_err(|e| Error::internal("a look-up ended early").with_source(e))?;
            match answer {
                Err(error) if error.kind() == ErrorKind::Transient && retries_left > 0 => {
                    tracing::debug!(target: "epochflow::kafka", "asking again: {error}");
                    retries_left -= 1;
                    tokio::time::sleep(self.patience.retry_after).await;
                }
                answer => return answer,
            }
        }
    }

    fn partitions_of(&self, topic: &str) -> Result<Vec<Partition>> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), self.patience.request)
            .map_err(|e| self.unanswered(&format!("topic '{topic}'"), e))?;
        let found = metadata.topics().iter().find(|candidate| candidate.name() == topic);
        let Some(found) = found else {
            return Err(self.no_topic(topic));
        };
        match found.error().map(RDKafkaErrorCode::from) {
            // Just created: the broker knows the name before the partitions.
            None if found.partitions().is_empty() => {
                Err(Error::new(ErrorKind::Transient, format!("topic '{topic}' has no partitions yet")))
            }
            None => Ok(numbered(topic, found.partitions())),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(self.no_topic(topic))
            }
            Some(code) => {
                Err(kafka_error(&format!("cannot look up topic '{topic}'"), KafkaError::MetadataFetch(code)))
            }
        }
    }

    fn matching(&self, pattern: &Regex) -> Result<BTreeSet<Partition>> {
        let metadata = self
            .consumer
            .fetch_metadata(None, self.patience.request)
            .map_err(|e| self.unanswered("the list of topics", e))?;
        let is_wanted = |name: &str| pattern.find(name).is_some_and(|found| found.len() == name.len());
        let mut partitions = BTreeSet::new();
        for topic in metadata.topics().iter().filter(|topic| is_wanted(topic.name())) {
            match topic.error().map(RDKafkaErrorCode::from) {
                None => partitions.extend(numbered(topic.name(), topic.partitions())),
                // Deleted in between. Any other error passes: a topic without a leader for a moment is not gone.
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
                Some(code) => {
                    let doing = format!("cannot look up topic '{}'", topic.name());
                    return Err(kafka_error(&doing, KafkaError::MetadataFetch(code)));
                }
            }
        }
        Ok(partitions)
    }

    fn no_topic(&self, topic: &str) -> Error {
        Error::new(
            ErrorKind::Environment,
            format!(
                "topic '{topic}' does not exist at {}; create it or correct the topic's name",
                self.brokers
            ),
        )
    }

    fn unanswered(&self, what: &str, error: KafkaError) -> Error {
        let brokers = &self.brokers;
        kafka_error(
            &format!(
                "no broker at {brokers} told {what}; check option 'kafka.bootstrap.servers', the network, and kafka.security.protocol, kafka.ssl.* and kafka.sasl.* if the broker asks for them"
            ),
            error,
        )
    }
}

fn numbered(topic: &str, partitions: &[rdkafka::metadata::MetadataPartition]) -> Vec<Partition> {
    let topic: Arc<str> = topic.into();
    partitions.iter().map(|partition| Partition::new(Arc::clone(&topic), partition.id())).collect()
}
