//! The Kafka sink: one record a row.
//!
//! Columns are taken by name, as in Spark: `value` (text or binary, required), `key`, `topic`, `partition`, `headers`;
//! beyond Spark a `timestamp`. Each writer counts the acks of its running epoch, so the end of an epoch waits for no flush.
//! `exactly_once.rs` puts each epoch into a transaction, `claim.rs` takes over from who did so before.

mod claim;
mod columns;
mod exactly_once;
mod origins;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use rdkafka::ClientConfig;

use self::columns::ColumnMap;
use self::exactly_once::{TransactionConfig, Transactions};
use self::origins::OriginColumns;
use self::writer::KafkaWriter;
use super::{CommitMessage, Delivery, Sink, SinkOwner, SinkProvider, SinkWriter, dead_letters};
use crate::epoch::{EpochId, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::config::{Role, check_options, client_config};
use crate::kafka::limits::{fit, largest_record, max_message_bytes};
use crate::kafka::producer::AckedProducer;
use crate::options::Options;
use crate::provenance::Provenance;

/// How long the brokers are asked for the limits of topics, which is best known and not needed.
const LIMIT_PATIENCE: Duration = Duration::from_secs(2);

/// Makes Kafka sinks.
#[derive(Debug)]
pub(crate) struct KafkaSinkProvider;

impl SinkProvider for KafkaSinkProvider {
    fn format(&self) -> &'static str {
        "kafka"
    }

    fn sink(&self, options: &Options, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        check_options(options)?;
        let topic = options.get("topic").map(|topic| Arc::from(topic.trim()));
        let columns = ColumnMap::new(schema, topic)?;
        let letters = options.get("deadLetterTopic").map(|topic| Arc::from(topic.trim()));
        let letters =
            letters.map(|topic| ColumnMap::new(&dead_letters::schema(), Some(topic))).transpose()?;
        let config = client_config(options, Role::Producer)?;
        let delivery = options.get("delivery").map_or(Ok(Delivery::default()), str::parse)?;
        let exactly_once =
            (delivery == Delivery::ExactlyOnce).then(|| TransactionConfig::new(options, &config));
        let origins = match options.get("provenance").map_or(Ok(Provenance::default()), str::parse)? {
            Provenance::None => None,
            Provenance::Headers => Some(OriginColumns::find(schema)?),
        };
        Ok(Arc::new(KafkaSink {
            columns,
            letters,
            origins,
            fitted: parking_lot::Mutex::new(Fitted {
                config: config.clone(),
                largest: largest_record(&config, None),
            }),
            config,
            producer: parking_lot::Mutex::new(None),
            exactly_once: exactly_once.transpose()?,
            transactions: parking_lot::Mutex::new(None),
        }))
    }
}

struct KafkaSink {
    columns: ColumnMap,
    /// For records that the query could not process: through the same producer, so that they share its guarantee.
    letters: Option<ColumnMap>,
    /// Where each row's origin goes into its headers.
    origins: Option<OriginColumns>,
    config: ClientConfig,
    /// Made by `open`.
    fitted: parking_lot::Mutex<Fitted>,
    /// Made by `open`, shared by all writers: one connection to each broker.
    producer: parking_lot::Mutex<Option<AckedProducer>>,
    exactly_once: Option<TransactionConfig>,
    /// Made by `take_over`; its producers are then used instead.
    transactions: parking_lot::Mutex<Option<Arc<Transactions>>>,
}

/// The producer's settings with the limits that the topics had when the sink was opened.
struct Fitted {
    config: ClientConfig,
    /// Bytes of the largest record that the sink's topic takes.
    largest: usize,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KafkaSink").field(&self.description()).finish()
    }
}

#[async_trait]
impl Sink for KafkaSink {
    fn description(&self) -> String {
        format!("KafkaTable[{}]", self.columns.topic.as_deref().unwrap_or("by column topic"))
    }

    async fn open(&self) -> Result<()> {
        if let Some(former) = self.producer.lock().take() {
            former.discard();
        }
        let mut config = self.config.clone();
        let maps = std::iter::once(&self.columns).chain(&self.letters);
        let topics: Vec<Arc<str>> = maps.filter_map(|map| map.topic.clone()).collect();
        let has_topic = self.columns.topic.is_some();
        let made = tokio::task::spawn_blocking(move || {
            let limits = max_message_bytes(&config, &topics, LIMIT_PATIENCE);
            fit(&mut config, &limits);
            let limit = limits.first().copied().flatten().filter(|_| has_topic);
            let producer = AckedProducer::new(&config)?;
            for topic in topics {
                wait_for_topic(&producer, &topic, config.get("bootstrap.servers").unwrap_or_default())?;
            }
            let largest = largest_record(&config, limit);
            Ok::<_, Error>((producer, Fitted { config, largest }))
        });
        let (producer, fitted) =
            made.await.map_err(|e| Error::internal("opening a Kafka sink ended early").with_source(e))??;
        *self.fitted.lock() = fitted;
        if self.exactly_once.is_none() {
            *self.producer.lock() = Some(producer);
        }
        Ok(())
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        let largest = self.fitted.lock().largest;
        if let Some(transactions) = &*self.transactions.lock() {
            let writer = KafkaWriter::exactly_once(
                Arc::clone(transactions),
                self.columns.clone(),
                self.letters.clone(),
                self.origins,
                largest,
            );
            return Ok(Box::new(writer));
        }
        let producer = self.producer.lock();
        let producer = producer.as_ref().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        let topics = producer.topics();
        let (columns, letters) = (self.columns.clone(), self.letters.clone());
        Ok(Box::new(KafkaWriter::new(topics, columns, letters, self.origins, largest)))
    }

    async fn commit(&self, _epoch: EpochId, _messages: Vec<CommitMessage>) -> Result<()> {
        // Every record is acknowledged by now, and readers have seen it long since.
        Ok(())
    }

    fn delivery(&self) -> Delivery {
        if self.exactly_once.is_some() { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce }
    }

    async fn take_over(&self, owner: &SinkOwner) -> Result<Option<EpochId>> {
        let Some(config) = &self.exactly_once else {
            return Ok(None);
        };
        // What an earlier run has left open is aborted.
        self.transactions.lock().take();
        let producer = self.fitted.lock().config.clone();
        let (transactions, last) =
            Transactions::take_over(config, producer, owner, self.columns.topic.as_ref()).await?;
        *self.transactions.lock() = Some(transactions);
        Ok(last)
    }

    async fn commit_at(
        &self,
        epoch: EpochId,
        ends: &[SourceOffsets],
        messages: Vec<CommitMessage>,
    ) -> Result<()> {
        let transactions = self.transactions.lock().clone();
        let Some(transactions) = transactions else {
            return self.commit(epoch, messages).await;
        };
        let ends = ends.to_vec();
        tokio::task::spawn_blocking(move || transactions.commit(epoch, &ends))
            .await
            .map_err(|e| Error::internal("committing a transaction ended early").with_source(e))?
    }
}

/// A broker that creates topics on demand needs a moment and a second question.
fn wait_for_topic(producer: &AckedProducer, topic: &str, brokers: &str) -> Result<()> {
    const ATTEMPTS: u32 = 5;
    let mut attempt = 1;
    loop {
        match producer.partition_count(topic, Duration::from_secs(10)) {
            Ok(count) if count > 0 => return Ok(()),
            Err(error) if producer.is_refused() => return Err(error),
            Err(error) if error.kind() == ErrorKind::Transient && attempt == 1 => {
                return Err(Error::new(
                    ErrorKind::Transient,
                    format!("{error}; check option 'kafka.bootstrap.servers' ({brokers}) and the network"),
                ));
            }
            Err(error) if attempt >= ATTEMPTS => {
                return Err(
                    error.context(format!("topic '{topic}' of the Kafka sink is not there; create it"))
                );
            }
            _ => {
                attempt += 1;
                std::thread::park_timeout(Duration::from_millis(200));
            }
        }
    }
}
