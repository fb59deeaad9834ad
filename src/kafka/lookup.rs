//! Questions to the brokers: which partitions are there, and where do they begin and end.
//!
//! A client of its own: on the reader's connection an answer would queue behind a parked fetch.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataPartition};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};
use regex::Regex;

use super::config::refused_client;
use super::consumer::{LoggingConsumer, LoggingContext, serve_events};
use super::{InUse, Lease, kafka_error, lease};
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

/// What there is of a subscription.
#[derive(Debug)]
pub(crate) struct Partitions {
    pub(crate) there: BTreeSet<Partition>,
    /// By its topic, what was asked for by name and does not exist.
    pub(crate) missing: Vec<(Arc<str>, Error)>,
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
    in_use: InUse,
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
        serve_events(Arc::clone(&consumer), in_use.clone())?;
        Ok(Self { consumer, brokers, patience, in_use, _lease: lease })
    }

    /// The partitions of `subscription` as they are now.
    ///
    /// # Errors
    /// No broker answers.
    pub(crate) async fn partitions(&self, subscription: Subscription) -> Result<Partitions> {
        self.ask(move |this| match &subscription {
            Subscription::Topics(topics) => this.named(topics.iter().map(String::as_str)),
            Subscription::Pattern(pattern) => {
                Ok(Partitions { there: this.matching(pattern)?, missing: Vec::new() })
            }
            Subscription::Partitions(wanted) => {
                let topics: BTreeSet<&str> = wanted.iter().map(|partition| &*partition.topic).collect();
                let mut found = this.named(topics.into_iter())?;
                let known = |partition: &&Partition| {
                    !found.there.contains(partition)
                        && found.missing.iter().all(|(topic, _)| *topic != partition.topic)
                };
                let missing: Vec<_> = wanted.iter().filter(known).map(no_partition).collect();
                found.missing.extend(missing);
                found.there.retain(|partition| wanted.contains(partition));
                Ok(found)
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
                .in_use
                .ask(this.patience.request, |wait| this.consumer.offsets_for_times(list.clone(), wait))
                .map_err(|e| this.no_offset("offsets", e))?;
            let mut offsets = Vec::with_capacity(points.len());
            for (partition, _) in &points {
                let element = answer.find_partition(&partition.topic, partition.number).ok_or_else(|| {
                    Error::new(ErrorKind::Transient, format!("no broker told the offset of {partition}"))
                })?;
                element.error().map_err(|e| this.no_offset(&format!("the offset of {partition}"), e))?;
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

    /// The id of the cluster, which all its brokers know.
    ///
    /// # Errors
    /// No broker answers.
    pub(crate) async fn cluster(&self) -> Result<String> {
        self.ask(|this| {
            let id = this.consumer.client().fetch_cluster_id(this.patience.request);
            id.ok_or_else(|| {
                let brokers = &this.brokers;
                Error::new(ErrorKind::Transient, format!("no broker at {brokers} told the id of its cluster"))
            })
        })
        .await
    }

    /// What stands beside the offsets that the client's group has committed in `partitions`, in transactions that are
    /// complete. Partitions without such an offset are left out.
    ///
    /// # Errors
    /// No broker answers, or the group or a topic may not be read.
    pub(crate) async fn committed_metadata(&self, partitions: Vec<Partition>) -> Result<Vec<String>> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(move |this| {
            let mut list = TopicPartitionList::with_capacity(partitions.len());
            for partition in &partitions {
                list.add_partition(&partition.topic, partition.number);
            }
            let doing = "cannot ask for the group's offsets";
            let answer = this
                .consumer
                .committed_offsets(list, this.patience.request)
                .map_err(|e| kafka_error(doing, e))?;
            let mut found = Vec::new();
            for element in answer.elements() {
                element.error().map_err(|e| kafka_error(doing, e))?;
                if matches!(element.offset(), KafkaOffset::Offset(_)) {
                    found.push(element.metadata().to_owned());
                }
            }
            Ok(found)
        })
        .await
    }

    /// The client's group as a transaction names it. Nobody joins it, so it has no members to be told apart.
    pub(crate) fn group(&self) -> Result<ConsumerGroupMetadata> {
        self.consumer.group_metadata().ok_or_else(|| Error::internal("a consumer without a group"))
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

    fn metadata(&self, topic: Option<&str>, what: &str) -> Result<Metadata> {
        let asked = self.in_use.ask(self.patience.request, |wait| self.consumer.fetch_metadata(topic, wait));
        asked.map_err(|e| self.unanswered(what, e))
    }

    fn named<'a>(&self, topics: impl Iterator<Item = &'a str>) -> Result<Partitions> {
        let mut found = Partitions { there: BTreeSet::new(), missing: Vec::new() };
        for topic in topics {
            match self.partitions_of(topic)? {
                Some(partitions) => found.there.extend(partitions),
                None => found.missing.push((topic.into(), self.no_topic(topic))),
            }
        }
        Ok(found)
    }

    /// `None` where there is no such topic.
    fn partitions_of(&self, topic: &str) -> Result<Option<Vec<Partition>>> {
        let metadata = self.metadata(Some(topic), &format!("topic '{topic}'"))?;
        let found = metadata.topics().iter().find(|candidate| candidate.name() == topic);
        let Some(found) = found else {
            return Ok(None);
        };
        match found.error().map(RDKafkaErrorCode::from) {
            // Just created: the broker knows the name before the partitions.
            None if found.partitions().is_empty() => {
                Err(Error::new(ErrorKind::Transient, format!("topic '{topic}' has no partitions yet")))
            }
            None => Ok(Some(numbered(topic, found.partitions()))),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
            Some(code) => {
                Err(kafka_error(&format!("cannot look up topic '{topic}'"), KafkaError::MetadataFetch(code)))
            }
        }
    }

    fn matching(&self, pattern: &Regex) -> Result<BTreeSet<Partition>> {
        let metadata = self.metadata(None, "the list of topics")?;
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

    /// A partition that is unknown was there a moment before: whoever asks again learns what there is now.
    fn no_offset(&self, what: &str, error: KafkaError) -> Error {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition) => {
                Error::new(
                    ErrorKind::Transient,
                    format!("a partition went while its broker was asked for {what}"),
                )
                .with_source(error)
            }
            _ => self.unanswered(what, error),
        }
    }

    fn unanswered(&self, what: &str, error: KafkaError) -> Error {
        let brokers = &self.brokers;
        let doing = format!(
            "no broker at {brokers} told {what}; check the options kafka.bootstrap.servers and kafka.security.protocol, and the network"
        );
        self.in_use.unanswered(&doing, error)
    }
}

fn no_partition(partition: &Partition) -> (Arc<str>, Error) {
    let message = format!("partition {partition} of option 'assign' does not exist");
    (Arc::clone(&partition.topic), Error::new(ErrorKind::Environment, message))
}

fn numbered(topic: &str, partitions: &[MetadataPartition]) -> Vec<Partition> {
    let topic: Arc<str> = topic.into();
    partitions.iter().map(|partition| Partition::new(Arc::clone(&topic), partition.id())).collect()
}
