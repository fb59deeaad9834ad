//! The Kafka source: one partition of the query for each partition of Kafka.
//!
//! Spark's options, row schema and offsets. `options.rs` parses, `offsets.rs` is the checkpoint's line, `reader.rs` reads
//! a partition, `decode.rs` turns messages into columns.

mod decode;
mod offsets;
mod options;
mod reader;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use self::options::{KafkaSourceOptions, Starting};
use self::reader::KafkaReader;
use super::{PartitionReader, ReadRequest, Source, SourceProvider};
use crate::epoch::{Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::consumer::PartitionedConsumer;
use crate::kafka::lookup::{LookUp, Point};
use crate::options::Options;

/// Makes Kafka sources. Every session knows it as `kafka`; it is public for looking at topics without a query.
#[derive(Debug)]
pub struct KafkaSourceProvider;

impl SourceProvider for KafkaSourceProvider {
    fn format(&self) -> &'static str {
        "kafka"
    }

    fn source(&self, options: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(KafkaSource::new(options)?))
    }
}

struct KafkaSource {
    options: KafkaSourceOptions,
    schema: SchemaRef,
    /// Made at the first question: a plan can be explained without a broker.
    look_up: parking_lot::Mutex<Option<LookUp>>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KafkaSource").field(&self.options.subscribed).finish()
    }
}

impl KafkaSource {
    fn new(options: &Options) -> Result<Self> {
        let options = KafkaSourceOptions::parse(options)?;
        let schema = decode::schema(options.include_headers);
        Ok(Self { options, schema, look_up: parking_lot::Mutex::new(None) })
    }

    fn look_up(&self) -> Result<LookUp> {
        let mut made = self.look_up.lock();
        if let Some(look_up) = &*made {
            return Ok(look_up.clone());
        }
        let look_up = LookUp::new(&self.options.client, self.options.patience)?;
        *made = Some(look_up.clone());
        Ok(look_up)
    }

    async fn partitions(&self) -> Result<BTreeSet<Partition>> {
        self.look_up()?.partitions(self.options.subscription.clone()).await
    }

    async fn at_times(&self, times: SourceOffsets) -> Result<SourceOffsets> {
        let look_up = self.look_up()?;
        let points =
            times.iter().map(|(partition, time)| (partition.clone(), Point::Timestamp(*time))).collect();
        let (found, after_all): (Vec<_>, Vec<_>) =
            look_up.offsets(points).await?.into_iter().partition(|(_, offset)| offset.is_some());
        let mut offsets: SourceOffsets = found
            .into_iter()
            .filter_map(|(partition, offset)| offset.map(|offset| (partition, offset)))
            .collect();
        if let Some((partition, _)) = after_all.first()
            && !self.options.latest_if_no_match
        {
            return Err(Error::new(
                ErrorKind::Environment,
                format!(
                    "no record of {partition} is at or after {} ms; set startingOffsetsByTimestampStrategy to latest to start at its end",
                    times.get(partition).copied().unwrap_or_default()
                ),
            ));
        }
        offsets.extend(
            look_up.ends(after_all.into_iter().map(|(partition, _)| partition), Point::Latest).await?,
        );
        Ok(offsets)
    }

    /// Offsets as the user gave them, with -1 and -2 looked up.
    async fn resolve(&self, given: &SourceOffsets) -> Result<SourceOffsets> {
        let look_up = self.look_up()?;
        let at = |mark: i64| given.iter().filter(move |(_, offset)| **offset == mark).map(|(p, _)| p.clone());
        let mut offsets: SourceOffsets =
            given.iter().filter(|(_, offset)| **offset >= 0).map(|(p, o)| (p.clone(), *o)).collect();
        offsets.extend(look_up.ends(at(-1), Point::Latest).await?);
        offsets.extend(look_up.ends(at(-2), Point::Earliest).await?);
        Ok(offsets)
    }
}

fn check_all_named(option: &str, given: &SourceOffsets, partitions: &BTreeSet<Partition>) -> Result<()> {
    let named: BTreeSet<Partition> = given.keys().cloned().collect();
    if named == *partitions {
        return Ok(());
    }
    let list = |set: BTreeSet<&Partition>| set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Err(Error::usage(format!(
        "option '{option}' must name every partition and no other (-1 is the latest, -2 the earliest); missing: [{}], unknown: [{}]",
        list(partitions.difference(&named).collect()),
        list(named.difference(partitions).collect()),
    )))
}

/// The error of `failOnDataLoss`.
fn data_loss(what: &str) -> Error {
    Error::new(
        ErrorKind::DataLoss,
        format!(
            "{what}: it has aged out, or its topic was deleted or made anew; set option 'failOnDataLoss' to false to go on with what is there"
        ),
    )
}

#[async_trait]
impl Source for KafkaSource {
    fn description(&self) -> String {
        format!("KafkaV2[{}]", self.options.subscribed)
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        offsets::encode(offsets)
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        offsets::decode(line)
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        let partitions = self.partitions().await?;
        let look_up = self.look_up()?;
        match &self.options.starting {
            Starting::Earliest => look_up.ends(partitions, Point::Earliest).await,
            Starting::Latest => look_up.ends(partitions, Point::Latest).await,
            Starting::Offsets(given) => {
                check_all_named("startingOffsets", given, &partitions)?;
                self.resolve(given).await
            }
            Starting::Time(millis) => {
                self.at_times(partitions.into_iter().map(|partition| (partition, *millis)).collect()).await
            }
            Starting::Times(given) => {
                check_all_named("startingOffsetsByTimestamp", given, &partitions)?;
                self.at_times(given.clone()).await
            }
        }
    }

    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        let partitions = self.partitions().await?;
        self.look_up()?.ends(partitions, Point::Latest).await
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        let partitions = self.partitions().await?;
        let look_up = self.look_up()?;
        let earliest = look_up.ends(partitions.iter().cloned(), Point::Earliest).await?;
        let latest = look_up.ends(partitions, Point::Latest).await?;
        let mut losses = Vec::new();
        for (partition, offset) in committed {
            match earliest.get(partition) {
                None => losses.push(format!("partition {partition} is gone")),
                Some(first) if offset < first => {
                    losses.push(format!("{partition} begins at {first}, the checkpoint stands at {offset}"));
                }
                _ => {}
            }
            if let Some(end) = latest.get(partition).filter(|end| *end < offset) {
                losses.push(format!("{partition} ends at {end}, the checkpoint stands at {offset}"));
            }
        }
        for (partition, first) in
            earliest.iter().filter(|(p, first)| **first > 0 && !committed.contains_key(*p))
        {
            losses.push(format!("the new partition {partition} begins at {first}"));
        }
        if !losses.is_empty() {
            let losses = losses.join("; ");
            if self.options.fail_on_data_loss {
                return Err(data_loss(&losses));
            }
            tracing::warn!(target: "epochflow::kafka", "some data may have been lost: {losses}");
        }
        // With failOnDataLoss=false a position outside of what is there moves to the first record that is.
        Ok(earliest
            .into_iter()
            .map(|(partition, first)| {
                let end = latest.get(&partition).copied().unwrap_or(first);
                let stands =
                    committed.get(&partition).copied().filter(|offset| (first..=end).contains(offset));
                (partition, stands.unwrap_or(first))
            })
            .collect())
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        self.options.max_records_per_batch
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        let projected = Arc::new(
            self.schema
                .project(&request.projection)
                .map_err(|e| Error::internal("bad projection").with_source(e))?,
        );
        let mut config = self.options.client.clone();
        // Tells where the partition ends, past offsets that hold no record: a batch could not reach its end otherwise.
        config.set("enable.partition.eof", "true");
        if !self.options.fail_on_data_loss {
            // librdkafka then goes on at the first record that is still there, by itself and at once.
            config.set("auto.offset.reset", "earliest");
        }
        let opened = tokio::task::spawn_blocking(move || {
            let queues = PartitionedConsumer::new(&config)?.assign(&request.start)?;
            let readers = queues.into_iter().zip(request.start).map(|(queue, (partition, start))| {
                let reader = KafkaReader::new(queue, partition, Arc::clone(&projected), start);
                Box::new(reader) as Box<dyn PartitionReader>
            });
            Ok(readers.collect())
        });
        opened.await.map_err(|e| Error::internal("opening a Kafka source ended early").with_source(e))?
    }
}
