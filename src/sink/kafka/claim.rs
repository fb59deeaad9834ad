//! Taking over from whoever wrote for the same query before: both its producers, in their order, and then a look whether the
//! first is still ours.
//!
//! Two instances that start at once may cross: one fences the other's first producer, and is itself fenced at the second.
//! Whoever still has the first after it took the second has both, since any rival's way leads past the first; see
//! `docs/decisions/0013-two-producers-take-turns.md`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;

use super::exactly_once::{Keys, TransactionConfig, Transactions, newest};
use crate::epoch::{EpochId, Partition};
use crate::error::{Error, Result};
use crate::kafka::lookup::{LookUp, Patience, Subscription};
use crate::kafka::transactions::TransactionalProducer;
use crate::sink::SinkOwner;

const PATIENCE: Patience =
    Patience { request: Duration::from_secs(10), retries: 3, retry_after: Duration::from_secs(1) };

/// Half a take-over: the first producer is taken.
pub(super) struct Claim {
    name: String,
    look_up: LookUp,
    keys: Keys,
    /// Where the last end says that the group's offsets are.
    known: Vec<Partition>,
    first: TransactionalProducer,
    producer: ClientConfig,
    timeout: Duration,
}

impl Claim {
    /// Fences whoever has the first producer.
    ///
    /// # Errors
    /// The brokers do not answer or do not allow it, or there is no place to keep the epoch's number.
    pub(super) async fn begin(
        config: &TransactionConfig,
        producer: ClientConfig,
        owner: &SinkOwner,
        topic: Option<&Arc<str>>,
    ) -> Result<Self> {
        let name = format!("epochflow-{}", owner.query);
        let mut consumer = config.consumer.clone();
        consumer.set("group.id", &name);
        let look_up = LookUp::new(&consumer, PATIENCE)?;
        let keys = Keys::choose(owner, &look_up.cluster().await?, topic)?;
        let ends: Vec<_> = owner.sources.iter().map(|source| source.end.clone()).collect();
        let known = keys.offsets(&ends).into_iter().map(|(partition, _)| partition).collect();
        let timeout = config.timeout;
        let first = producer_of(&producer, &name, 0, timeout).await?;
        Ok(Self { name, look_up, keys, known, first, producer, timeout })
    }

    /// Fences whoever has the second producer. Then nothing can be committed any more but by us; also the last epoch that is
    /// committed.
    ///
    /// # Errors
    /// [`Fenced`](crate::ErrorKind::Fenced) if another has taken the first producer meanwhile; or the brokers do not answer
    /// or do not allow it.
    pub(super) async fn complete(self) -> Result<(Arc<Transactions>, Option<EpochId>)> {
        let second = producer_of(&self.producer, &self.name, 1, self.timeout).await?;
        let last = newest(&self.look_up.committed_metadata(self.known.clone()).await?, &self.name)?;
        let there = self.there().await?;
        let group = self.look_up.group()?;
        // Of sources whose partitions are all lost none is left to ask with.
        let are_lost = there.is_none() && !self.known.is_empty() && matches!(self.keys, Keys::Sources(_));
        let transactions = Arc::new(Transactions::new([self.first, second], group, self.keys, are_lost));
        if let Some(place) = there {
            let asked = Arc::clone(&transactions);
            blocking(move || asked.confirm(&place)).await?;
        }
        Ok((transactions, last))
    }

    /// A partition that the group may commit an offset for, of those that are known and still there.
    async fn there(&self) -> Result<Option<Partition>> {
        let known: BTreeSet<_> = self.known.iter().cloned().collect();
        if known.is_empty() {
            return Ok(None);
        }
        Ok(self.look_up.partitions(Subscription::Partitions(known)).await?.there.pop_first())
    }
}

async fn producer_of(
    config: &ClientConfig,
    name: &str,
    turn: usize,
    timeout: Duration,
) -> Result<TransactionalProducer> {
    let (config, id) = (config.clone(), format!("{name}-{turn}"));
    blocking(move || TransactionalProducer::new(&config, &id, timeout)).await
}

async fn blocking<T: Send + 'static>(step: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(step).await;
    done.map_err(|e| Error::internal("opening transactions ended early").with_source(e))?
}

#[cfg(test)]
mod tests {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    use rdkafka::client::DefaultClientContext;

    use super::*;
    use crate::epoch::SourceOffsets;
    use crate::error::ErrorKind;
    use crate::kafka::config::{Role, client_config};
    use crate::options::Options;
    use crate::sink::OwnedSource;

    /// A query into a topic of its own on a real broker.
    struct Stage {
        config: TransactionConfig,
        producer: ClientConfig,
        topic: Arc<str>,
        query: uuid::Uuid,
        cluster: String,
    }

    impl Stage {
        async fn new() -> Self {
            let brokers = std::env::var("EPOCHFLOW_TEST_KAFKA").expect(
                "this test needs a Kafka broker: run tests/run, or set EPOCHFLOW_TEST_KAFKA to host:port",
            );
            let query = uuid::Uuid::new_v4();
            let topic: Arc<str> = format!("claim-{query}").into();
            let mut options = Options::default();
            options.set("kafka.bootstrap.servers", &brokers);
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
            let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
            for created in admin.create_topics([&new], &AdminOptions::new()).await.unwrap() {
                created.unwrap();
            }
            let producer = client_config(&options, Role::Producer).unwrap();
            let config = TransactionConfig::new(&options, &producer).unwrap();
            let look_up = LookUp::new(&config.consumer, PATIENCE).unwrap();
            let cluster = look_up.cluster().await.unwrap();
            look_up.partitions(Subscription::Topics(vec![topic.to_string()])).await.unwrap();
            Self { config, producer, topic, query, cluster }
        }

        /// The topic stands for the source, too.
        async fn begin(&self, end: SourceOffsets) -> Claim {
            let sources = vec![OwnedSource { cluster: Some(self.cluster.clone()), end }];
            let owner = SinkOwner { query: self.query, sources };
            Claim::begin(&self.config, self.producer.clone(), &owner, Some(&self.topic)).await.unwrap()
        }

        fn end(&self) -> SourceOffsets {
            [(Partition::new(Arc::clone(&self.topic), 0), 0)].into()
        }
    }

    async fn commits(transactions: &Arc<Transactions>, epoch: u64, end: SourceOffsets) -> Result<()> {
        let transactions = Arc::clone(transactions);
        blocking(move || transactions.commit(EpochId(epoch), &[end])).await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_cross_only_the_one_that_has_the_first_producer_passes() {
        let stage = Stage::new().await;
        let loser = stage.begin(stage.end()).await;
        let winner = stage.begin(stage.end()).await;
        let (_winner, last) = winner.complete().await.unwrap();
        assert_eq!(last, None);
        // It takes the second producer from the winner, so each has one.
        let error = loser.complete().await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        // Whoever comes next has both, and finds no trace of those who asked.
        let (next, last) = stage.begin(stage.end()).await.complete().await.unwrap();
        assert_eq!(last, None);
        for turn in [0, 1] {
            next.producer(turn).begin().unwrap();
            commits(&next, turn as u64, stage.end()).await.unwrap();
        }
        let (_, last) = stage.begin(stage.end()).await.complete().await.unwrap();
        assert_eq!(last, Some(EpochId(1)));
    }

    /// A query that begins knows no partition yet with which it could ask.
    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_that_cross_at_the_very_beginning_the_loser_commits_not_even_an_epoch_without_rows() {
        let stage = Stage::new().await;
        let loser = stage.begin(SourceOffsets::default()).await;
        let winner = stage.begin(SourceOffsets::default()).await;
        let (winner, _) = winner.complete().await.unwrap();
        let (loser, _) = loser.complete().await.unwrap();
        let error = commits(&loser, 0, stage.end()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
        commits(&winner, 0, stage.end()).await.unwrap();
    }
}
