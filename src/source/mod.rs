//! Sources: where records come from.
//!
//! A [`Source`] knows its partitions and offsets; it opens one [`PartitionReader`] a partition, which the plan's leaf
//! polls. A new source is one file that implements both and a [`SourceProvider`], and one line of registration.

pub(crate) mod kafka;
pub(crate) mod memory;
pub(crate) mod rate;
mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

pub(crate) use self::record::RecordColumns;
use crate::epoch::{Offset, Partition, SourceOffsets};
use crate::error::Result;
use crate::options::Options;

/// Makes sources of one format, such as `kafka`, from options.
pub trait SourceProvider: fmt::Debug + Send + Sync {
    /// The format's name in `read_stream().format(…)` and `STORED AS …`, in lower case.
    fn format(&self) -> &'static str;

    /// A source with these options. Does no I/O: a plan can be explained without the service behind it.
    ///
    /// # Errors
    /// An option that is unknown, missing or has no meaning.
    fn source(&self, options: &Options) -> Result<Arc<dyn Source>>;
}

/// Rows of a batch at most: enough for the operators to run at full speed, small beside the caches.
pub(crate) const MAX_BATCH_ROWS: usize = 4096;

/// How a query reads its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Batch by batch, up to ends that are planned from [`Source::latest_offsets`].
    MicroBatch,
    /// Without pause, up to wherever each partition is when an epoch ends.
    Continuous,
}

/// A micro-batch with fewer records waits, but not for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinRecords {
    /// So many records at least, over all partitions.
    pub records: u64,
    /// So long after the batch before at most.
    pub max_delay: Duration,
}

/// What is to be read, known when readers are opened.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    /// Where to begin in each partition; one reader a partition comes back, in this order.
    pub start: SourceOffsets,
    /// Columns of [`Source::record_schema`] to build, in this order. May be empty: only rows are counted then.
    pub projection: Vec<usize>,
}

/// A stream of records in partitions, each of which can be read again from any offset.
///
/// # Contract
/// Offsets of a partition only grow. Reading from offset `n` gives the record at `n` (or the next one that still
/// exists) first, in the same order each time.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// For progress and plans, such as `KafkaV2[Subscribe[in]]`.
    fn description(&self) -> String;

    /// Columns that a query may read.
    fn schema(&self) -> SchemaRef;

    /// Columns that readers can build: those of [`schema`](Source::schema), and behind them others that tell a record as it
    /// came. Columns `key`, `value` and `headers` of the Kafka source's types are a record; without them a dead letter
    /// holds all columns as JSON. A column `offset` tells where a record stands.
    fn record_schema(&self) -> SchemaRef {
        self.schema()
    }

    /// The source for one query under `mode`: an instance of its own where it keeps state for a query or differs by mode.
    /// `None`: this one serves every query. Does no I/O.
    ///
    /// # Errors
    /// The source cannot be read in that mode.
    fn for_query(&self, _mode: ReadMode) -> Result<Option<Arc<dyn Source>>> {
        Ok(None)
    }

    /// What `sources/<number>/0` is to keep of a new query in place of its first offsets, such as the time at which it
    /// began, as Spark's source of that format writes it. `None`: the first offsets.
    fn own_start(&self) -> Option<String> {
        None
    }

    /// Hears what [`own_start`](Source::own_start) gave when the query began, at each start, before any offsets are
    /// decoded.
    ///
    /// # Errors
    /// Text that is not this source's.
    fn recall_start(&self, _start: &str) -> Result<()> {
        Ok(())
    }

    /// The offsets as one line of JSON, as Spark writes them to the checkpoint.
    fn encode_offsets(&self, offsets: &SourceOffsets) -> String;

    /// The reverse of [`encode_offsets`](Source::encode_offsets).
    ///
    /// # Errors
    /// Text that is not this source's.
    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets>;

    /// Where a new query begins, by the source's options.
    async fn initial_offsets(&self) -> Result<SourceOffsets>;

    /// The end of each partition as of now. Partitions that did not exist before are among them.
    async fn latest_offsets(&self) -> Result<SourceOffsets>;

    /// The end of each partition that is being read, as far as reading has shown it: asks nobody and does not wait.
    /// `None` while it is not known for all of them.
    fn known_ends(&self) -> Option<SourceOffsets> {
        None
    }

    /// What progress shows as this source's `metrics` for an epoch that ended at `end`, when the source itself ended at
    /// `latest`.
    fn metrics(&self, end: &SourceOffsets, latest: Option<&SourceOffsets>) -> BTreeMap<String, String> {
        let _ = (end, latest);
        BTreeMap::new()
    }

    /// Where to go on after `committed`: the same offsets, with partitions that came since (from their first record)
    /// and without those that are gone.
    ///
    /// # Errors
    /// Data that `committed` still needs is gone, and the options do not accept that.
    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets>;

    /// The name of the cluster that the partitions belong to, if others know them by the same names: a sink on that cluster
    /// may keep the query's positions in them. For Kafka the cluster's id.
    async fn cluster(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// At most this many records in one micro-batch, over all partitions.
    fn max_records_per_batch(&self) -> Option<u64>;

    /// How long a micro-batch may wait for how many records; `None`: a batch takes what there is at once.
    fn min_records_per_batch(&self) -> Option<MinRecords> {
        None
    }

    /// One reader for each partition of `request.start`, in its order. Each reaches every end that
    /// [`latest_offsets`](Source::latest_offsets) names, also across offsets that hold no record.
    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>>;
}

/// When the records of a batch came into being, and into reach; what is not known is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordTimes {
    /// Timestamp of the oldest record, in milliseconds since 1970.
    pub oldest: Option<i64>,
    /// Since when the first record could have been handed out.
    pub arrived: Option<Instant>,
}

/// Reads one partition in order.
pub trait PartitionReader: Send {
    /// The partition that is read.
    fn partition(&self) -> &Partition;

    /// The next record to be handed out, or beyond it where offsets hold no record.
    fn position(&self) -> Offset;

    /// All that has arrived, at least one row and at most a batch full, but no record at or beyond `end`. Never waits
    /// for more to come: a record must not wait for another one. Pending (and the task woken later) only when there
    /// is nothing; the position may then have moved over offsets that hold no record.
    ///
    /// # Errors
    /// The partition can no longer be read; the reader is not polled again.
    fn poll_read(&mut self, cx: &mut Context<'_>, end: Offset) -> Poll<Result<RecordBatch>>;

    /// Of the batch that was handed out last: where latencies are measured from.
    fn times(&self) -> RecordTimes {
        RecordTimes::default()
    }
}
