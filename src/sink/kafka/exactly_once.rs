//! One Kafka transaction an epoch, on two producers that take turns: while one commits epoch N, epoch N+1 is written with
//! the other.
//!
//! The epoch's number stands beside the offsets that its transaction commits for the query's own consumer group, so Kafka
//! itself says which epoch was the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::ConsumerGroupMetadata;

use super::claim::Claim;
use crate::epoch::{EpochId, Offset, Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::config::{Role, client_config};
use crate::kafka::transactions::TransactionalProducer;
use crate::options::{Options, invalid};
use crate::sink::SinkOwner;

/// Longer than the engine goes on without a commit, shorter than what brokers allow by default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// What the transactions need, from the options.
#[derive(Debug)]
pub(super) struct TransactionConfig {
    pub(super) consumer: ClientConfig,
    pub(super) timeout: Duration,
}

impl TransactionConfig {
    /// # Errors
    /// A setting that transactions do not allow.
    pub(super) fn new(options: &Options, producer: &ClientConfig) -> Result<Self> {
        if producer.get("enable.idempotence") == Some("false") {
            return Err(Error::usage(
                "delivery = exactly-once needs acknowledged, idempotent writes; remove kafka.acks, kafka.enable.idempotence and kafka.max.in.flight.requests.per.connection from the options of the sink",
            ));
        }
        let timeout = match producer.get("transaction.timeout.ms") {
            None => DEFAULT_TIMEOUT,
            Some(text) => text
                .parse()
                .map(Duration::from_millis)
                .map_err(|_| invalid("kafka.transaction.timeout.ms", text, "a number of milliseconds"))?,
        };
        let mut consumer = client_config(options, Role::Consumer)?;
        // Waits for transactions that are being ended.
        consumer.set("isolation.level", "read_committed");
        // The producer's settings are among these, and each would be reported as of no use.
        consumer.set("log_level", "3");
        Ok(Self { consumer, timeout })
    }
}

/// A query's transactions, from one take-over to the next.
pub(super) struct Transactions {
    producers: [TransactionalProducer; 2],
    /// Which of them has the oldest epoch that is not committed. Every epoch is written by all pipelines and committed once,
    /// in order, so they all count alike.
    turn: AtomicUsize,
    group: Arc<ConsumerGroupMetadata>,
    keys: Keys,
    /// The first producer was still ours after the second was taken. A query that begins knows no partition to ask with: it
    /// asks before its first commit.
    confirmed: AtomicBool,
}

/// Under which partitions the group's offsets are kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// Of the sources that are on the sink's cluster, by number: Kafka's tools then show how far behind the query is.
    Sources(Vec<usize>),
    /// No source is there: a partition of the sink's topic.
    Marker(Partition),
}

impl Transactions {
    /// With both producers taken. `confirmed`: no need to ask whether the first is still ours.
    pub(super) fn new(
        producers: [TransactionalProducer; 2],
        group: ConsumerGroupMetadata,
        keys: Keys,
        confirmed: bool,
    ) -> Self {
        Self {
            producers,
            turn: AtomicUsize::new(0),
            group: Arc::new(group),
            keys,
            confirmed: AtomicBool::new(confirmed),
        }
    }

    /// Takes over, with producers of these settings, from whoever wrote for the same query before; also the last epoch that
    /// is committed.
    ///
    /// # Errors
    /// As [`Claim::begin`] and [`Claim::complete`].
    pub(super) async fn take_over(
        config: &TransactionConfig,
        producer: ClientConfig,
        owner: &SinkOwner,
        topic: Option<&Arc<str>>,
    ) -> Result<(Arc<Self>, Option<EpochId>)> {
        Claim::begin(config, producer, owner, topic).await?.complete().await
    }

    /// Finds out that the first producer is still ours, with an offset for `place` that is not committed. Blocks.
    ///
    /// # Errors
    /// [`Fenced`](crate::ErrorKind::Fenced) if another instance has taken it, or the brokers do not answer.
    pub(super) fn confirm(&self, place: &Partition) -> Result<()> {
        self.producers[0].confirm(place, &self.group)?;
        self.confirmed.store(true, Ordering::Release);
        Ok(())
    }

    /// Which producer the next epoch begins with.
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Ordering::Acquire)
    }

    pub(super) fn producer(&self, turn: usize) -> &TransactionalProducer {
        &self.producers[turn % 2]
    }

    /// Commits the oldest epoch. Without a row it has no transaction, and the checkpoint alone keeps its offsets. Blocks.
    ///
    /// # Errors
    /// The transaction is aborted, or its fate is unknown: only another take-over tells.
    pub(super) fn commit(&self, epoch: EpochId, ends: &[SourceOffsets]) -> Result<()> {
        let (turn, offsets) = (self.turn(), self.keys.offsets(ends));
        if let Some((place, _)) = offsets.first()
            && !self.confirmed.load(Ordering::Acquire)
        {
            self.confirm(place)?;
        }
        self.producer(turn).commit(&offsets, &encode(epoch), &self.group)?;
        self.turn.store((turn + 1) % 2, Ordering::Release);
        Ok(())
    }
}

impl Keys {
    pub(super) fn choose(owner: &SinkOwner, cluster: &str, topic: Option<&Arc<str>>) -> Result<Self> {
        let here = owner.sources.iter().enumerate();
        let here: Vec<usize> = here
            .filter(|(_, source)| source.cluster.as_deref() == Some(cluster))
            .map(|(number, _)| number)
            .collect();
        match topic {
            _ if !here.is_empty() => Ok(Keys::Sources(here)),
            Some(topic) => Ok(Keys::Marker(Partition::new(Arc::clone(topic), 0))),
            None => Err(Error::usage(
                "delivery = exactly-once into topics by column needs a source on the same Kafka cluster, whose offsets carry the epoch; set option 'topic' instead",
            )),
        }
    }

    /// What an epoch's transaction commits.
    pub(super) fn offsets(&self, ends: &[SourceOffsets]) -> Vec<(Partition, Offset)> {
        match self {
            Keys::Sources(numbers) => numbers
                .iter()
                .filter_map(|number| ends.get(*number))
                .flat_map(|end| end.iter().map(|(partition, offset)| (partition.clone(), *offset)))
                .collect(),
            Keys::Marker(partition) => vec![(partition.clone(), 0)],
        }
    }
}

/// The text beside each offset.
fn encode(epoch: EpochId) -> String {
    format!("epoch {epoch}")
}

/// The newest epoch that stands beside the group's offsets.
///
/// # Errors
/// A text that is not ours.
pub(super) fn newest(metadata: &[String], group: &str) -> Result<Option<EpochId>> {
    let mut newest = None;
    for text in metadata {
        let epoch = text.strip_prefix("epoch ").and_then(|number| number.parse().ok()).map(EpochId);
        let Some(epoch) = epoch else {
            return Err(Error::new(
                ErrorKind::Environment,
                format!(
                    "the consumer group {group} holds an offset with '{text}' beside it, where epochflow writes an epoch; something else commits to this group: stop that, and delete the group"
                ),
            ));
        };
        newest = newest.max(Some(epoch));
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::OwnedSource;

    fn source(cluster: Option<&str>, topic: &str) -> OwnedSource {
        let end = [(Partition::new(topic, 0), 5), (Partition::new(topic, 1), 7)].into();
        OwnedSource { cluster: cluster.map(str::to_owned), end }
    }

    #[test]
    fn offsets_are_kept_under_sources_of_the_same_cluster_or_else_under_the_sinks_topic() {
        let out: Arc<str> = "out".into();
        let here = source(Some("here"), "in");
        let far = source(Some("far"), "in");
        let other = source(None, "numbers");
        let choose = |sources: &[&OwnedSource], topic: Option<&Arc<str>>| {
            let sources = sources.iter().map(|source| (*source).clone()).collect();
            Keys::choose(&SinkOwner { query: uuid::Uuid::nil(), sources }, "here", topic)
        };
        assert_eq!(choose(&[&here], Some(&out)).unwrap(), Keys::Sources(vec![0]));
        assert_eq!(choose(&[&far, &here], None).unwrap(), Keys::Sources(vec![1]));
        let marker = choose(&[&far, &other], Some(&out)).unwrap();
        assert_eq!(marker, Keys::Marker(Partition::new("out", 0)));
        assert!(choose(&[&other], None).unwrap_err().to_string().contains("set option 'topic'"));

        let ends = [far.end.clone(), here.end.clone()];
        assert_eq!(marker.offsets(&ends), [(Partition::new("out", 0), 0)]);
        assert_eq!(
            Keys::Sources(vec![1]).offsets(&ends),
            [(Partition::new("in", 0), 5), (Partition::new("in", 1), 7)]
        );
    }

    #[test]
    fn the_newest_epoch_counts_and_what_is_not_ours_is_refused() {
        let text = |epochs: &[u64]| epochs.iter().map(|epoch| encode(EpochId(*epoch))).collect::<Vec<_>>();
        assert_eq!(newest(&[], "g").unwrap(), None);
        assert_eq!(newest(&text(&[7, 12, 9]), "g").unwrap(), Some(EpochId(12)));
        assert!(newest(&["".to_owned()], "g").unwrap_err().to_string().contains("group g"));
    }
}
