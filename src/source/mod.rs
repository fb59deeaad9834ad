//! Sources: where records come from.
//!
//! A [`Source`] knows its partitions and offsets; it opens one [`PartitionReader`] a partition, which the plan's leaf
//! polls. A new source is one file that implements both and a [`SourceProvider`], and one line of registration.

pub(crate) mod kafka;
mod record;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

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

    /// Where to go on after `committed`: the same offsets, with partitions that came since (from their first record)
    /// and without those that are gone.
    ///
    /// # Errors
    /// Data that `committed` still needs is gone, and the options do not accept that.
    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets>;

    /// At most this many records in one micro-batch, over all partitions.
    fn max_records_per_batch(&self) -> Option<u64>;

    /// One reader for each partition of `request.start`, in its order. Each reaches every end that
    /// [`latest_offsets`](Source::latest_offsets) names, also across offsets that hold no record.
    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>>;
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
}
