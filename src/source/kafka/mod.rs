//! The Kafka source: one partition of the query for each partition of Kafka.
//!
//! Spark's options, row schema and offsets. `options.rs` parses, `offsets.rs` is the checkpoint's line, `reader.rs` reads
//! a partition, `decode.rs` turns messages into columns.

mod decode;
mod lag;
mod memory;
mod offsets;
mod options;
mod reader;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;

use self::memory::Share;
use self::options::{KafkaSourceOptions, Starting};
use self::reader::KafkaReader;
use super::{MinRecords, PartitionReader, ReadRequest, Source, SourceProvider};
use crate::epoch::{Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::consumer::{PartitionedConsumer, Watermarks};
use crate::kafka::lookup::{LookUp, Partitions, Point};
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
    look_up: Mutex<Option<LookUp>>,
    /// The partitions as of a short time ago: an idle query asks for its ends a hundred times a second.
    known: Mutex<Option<(Instant, BTreeSet<Partition>)>>,
    /// Of the partitions that are being read.
    watermarks: Mutex<Option<Watermarks>>,
}

/// How long [`KafkaSource::latest_offsets`] takes partitions for known.
const KNOWN_FOR: Duration = Duration::from_secs(1);

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KafkaSource").field(&self.options.subscribed).finish()
    }
}

impl KafkaSource {
    fn new(options: &Options) -> Result<Self> {
        let options = KafkaSourceOptions::parse(options)?;
        let schema = decode::schema(options.include_headers);
        let (look_up, known, watermarks) = Default::default();
        Ok(Self { options, schema, look_up, known, watermarks })
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

    async fn partitions(&self) -> Result<Partitions> {
        let found = self.look_up()?.partitions(self.options.subscription.clone()).await?;
        *self.known.lock() = Some((Instant::now(), found.there.clone()));
        Ok(found)
    }

    /// Partitions with their first and their next offsets, and what of `committed` is lost. What brokers tell while a
    /// leader moves may look like a loss, so that is asked again.
    async fn present(
        &self,
        committed: &SourceOffsets,
    ) -> Result<(SourceOffsets, SourceOffsets, Vec<String>)> {
        let look_up = self.look_up()?;
        let mut retries_left = self.options.patience.retries;
        loop {
            let Partitions { there, missing } = self.partitions().await?;
            let is_new = |topic| committed.keys().all(|partition| partition.topic != topic);
            if let Some((_, error)) = missing.into_iter().find(|(topic, _)| is_new(Arc::clone(topic))) {
                return Err(error);
            }
            let earliest = look_up.ends(there.iter().cloned(), Point::Earliest).await?;
            let latest = look_up.ends(there, Point::Latest).await?;
            let losses = losses(committed, &earliest, &latest);
            if losses.is_empty() || retries_left == 0 {
                return Ok((earliest, latest, losses));
            }
            retries_left -= 1;
            tokio::time::sleep(self.options.patience.retry_after).await;
        }
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

/// What the checkpoint needs and is not there any more, in words.
fn losses(committed: &SourceOffsets, earliest: &SourceOffsets, latest: &SourceOffsets) -> Vec<String> {
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
    for (partition, first) in earliest.iter().filter(|(p, first)| **first > 0 && !committed.contains_key(*p))
    {
        losses.push(format!("the new partition {partition} begins at {first}"));
    }
    losses
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

    fn record_schema(&self) -> SchemaRef {
        decode::schema(true)
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        offsets::encode(offsets)
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        offsets::decode(line)
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        let Partitions { there: partitions, missing } = self.partitions().await?;
        if let Some((_, error)) = missing.into_iter().next() {
            return Err(error);
        }
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
        let known = self.known.lock().clone().filter(|(since, _)| since.elapsed() < KNOWN_FOR);
        let partitions = match known {
            Some((_, partitions)) => partitions,
            // What is gone is for `resume_offsets` to judge.
            None => self.partitions().await?.there,
        };
        let ends = self.look_up()?.ends(partitions, Point::Latest).await;
        if ends.is_err() {
            *self.known.lock() = None;
        }
        ends
    }

    fn known_ends(&self) -> Option<SourceOffsets> {
        self.watermarks.lock().as_ref()?.ends()
    }

    fn metrics(&self, end: &SourceOffsets, latest: Option<&SourceOffsets>) -> BTreeMap<String, String> {
        latest.map(|latest| lag::metrics(end, latest)).unwrap_or_default()
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        let (earliest, latest, losses) = self.present(committed).await?;
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

    async fn cluster(&self) -> Result<Option<String>> {
        self.look_up()?.cluster().await.map(Some)
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        self.options.max_records_per_batch
    }

    fn min_records_per_batch(&self) -> Option<MinRecords> {
        self.options.min_records_per_batch
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        let projected = Arc::new(
            self.record_schema()
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
        let share = Share::of(self.options.max_buffered_bytes, request.start.len());
        share.limit(&mut config);
        let opened = tokio::task::spawn_blocking(move || {
            let consumer = PartitionedConsumer::new(&config)?;
            let queues = consumer.assign(&request.start)?;
            let watermarks = consumer.watermarks(request.start.keys().cloned());
            let readers = queues.into_iter().zip(request.start).map(|(queue, (partition, start))| {
                let reader =
                    KafkaReader::new(queue, partition, Arc::clone(&projected), start, share.batch_bytes);
                Box::new(reader) as Box<dyn PartitionReader>
            });
            Ok::<_, Error>((readers.collect(), watermarks))
        });
        let (readers, watermarks) = opened
            .await
            .map_err(|e| Error::internal("opening a Kafka source ended early").with_source(e))??;
        *self.watermarks.lock() = Some(watermarks);
        Ok(readers)
    }
}
