//! A stream of rows that the program adds: for tests of queries.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;

use super::{MAX_BATCH_ROWS, PartitionReader, ReadRequest, Source};
use crate::epoch::{Offset, Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};

/// A stream whose rows are added by the program, to test a query without a broker, under any trigger.
///
/// Rows stay in memory for as long as the stream lives, so a query that is started again on its checkpoint finds them
/// where it left off. Clones share the rows; several queries may read them, each from the beginning. In the checkpoint
/// stands, by partition, how many rows were read, as with Spark's memory stream of the continuous trigger.
///
/// ```
/// use std::sync::Arc;
///
/// use arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use epochflow::{MemoryStream, StreamDataFrame, StreamSession, Trigger};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ids = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([("id", ids)])?;
/// let stream = MemoryStream::new(rows.schema());
/// stream.add(&rows)?;
///
/// let session = StreamSession::new()?;
/// let events = session.read_source(stream.clone())?;
/// session.context().register_table("events", events.into_view())?;
/// let query = session
///     .sql("SELECT id FROM events WHERE id > 1")
///     .await?
///     .write_stream()
///     .format("memory")
///     .query_name("large")
///     .trigger(Trigger::AvailableNow)
///     .start()
///     .await?;
/// query.await_termination().await?;
/// assert_eq!(session.sql("SELECT id FROM large").await?.count().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStream {
    schema: SchemaRef,
    partitions: Arc<[Mutex<Rows>]>,
    next: Arc<Mutex<usize>>,
}

/// The rows of one partition.
#[derive(Default)]
struct Rows {
    /// By the offset of their first row.
    batches: BTreeMap<Offset, RecordBatch>,
    end: Offset,
    /// Readers that wait for more.
    waiting: Vec<Waker>,
}

impl MemoryStream {
    /// A stream of one partition without rows.
    pub fn new(schema: SchemaRef) -> Self {
        Self::with_partitions(schema, 1)
    }

    /// A stream of `partitions` (at least one) without rows. A query has a pipeline for each.
    pub fn with_partitions(schema: SchemaRef, partitions: usize) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Mutex::default()).collect();
        Self { schema, partitions, next: Arc::default() }
    }

    /// Adds rows to the partition whose turn it is.
    ///
    /// # Errors
    /// The rows have other columns than the stream.
    pub fn add(&self, rows: &RecordBatch) -> Result<()> {
        let turn = {
            let mut next = self.next.lock();
            let turn = *next;
            *next = (turn + 1) % self.partitions.len();
            turn
        };
        self.add_to(turn, rows)
    }

    /// Adds rows to a partition, numbered from 0.
    ///
    /// # Errors
    /// The rows have other columns than the stream, or there is no such partition.
    pub fn add_to(&self, partition: usize, rows: &RecordBatch) -> Result<()> {
        let columns = |schema: &SchemaRef| -> Vec<_> {
            schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if columns(&rows.schema()) != columns(&self.schema) {
            return Err(Error::usage(format!(
                "rows of {} were added to a memory stream of {}; add rows with the stream's columns",
                rows.schema(),
                self.schema
            )));
        }
        let Some(partition) = self.partitions.get(partition) else {
            return Err(Error::usage(format!(
                "the memory stream has {} partitions and none with the number {partition}",
                self.partitions.len()
            )));
        };
        // With the stream's own idea of which columns may be null.
        let rows = RecordBatch::try_new(Arc::clone(&self.schema), rows.columns().to_vec())
            .map_err(|e| Error::usage("the rows do not fit the memory stream").with_source(e))?;
        let mut partition = partition.lock();
        if rows.num_rows() > 0 {
            let end = partition.end.saturating_add_unsigned(rows.num_rows() as u64);
            let start = std::mem::replace(&mut partition.end, end);
            partition.batches.insert(start, rows);
        }
        partition.waiting.drain(..).for_each(Waker::wake);
        Ok(())
    }

    fn numbered(&self) -> impl Iterator<Item = (Partition, &Mutex<Rows>)> {
        (0..).map(|number| Partition::new("memory", number)).zip(self.partitions.iter())
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStream")
            .field("schema", &self.schema)
            .field("partitions", &self.partitions.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for MemoryStream {
    fn description(&self) -> String {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("MemoryStream[{}]", columns.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        let by_number: BTreeMap<i32, Offset> =
            offsets.iter().map(|(p, offset)| (p.number, *offset)).collect();
        serde_json::to_string(&by_number).unwrap_or_default()
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        let refuse = |expected: &str| {
            Error::new(
                ErrorKind::Checkpoint,
                format!("offsets of a memory stream: expected {expected}, got {line}"),
            )
        };
        let by_number: BTreeMap<i32, Offset> =
            serde_json::from_str(line).map_err(|_| refuse(r#"JSON like {"0":3,"1":2}"#))?;
        if by_number.len() != self.partitions.len() {
            return Err(refuse(&format!("{} partitions", self.partitions.len())));
        }
        self.numbered()
            .map(|(partition, rows)| match by_number.get(&partition.number) {
                Some(offset) if (0..=rows.lock().end).contains(offset) => Ok((partition, *offset)),
                _ => Err(refuse("offsets of rows that this stream has had; it does not outlive the program")),
            })
            .collect()
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        Ok(self.numbered().map(|(partition, _)| (partition, 0)).collect())
    }

    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        Ok(self.numbered().map(|(partition, rows)| (partition, rows.lock().end)).collect())
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        Ok(committed.clone())
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        None
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        let reader = |(number, (partition, position))| {
            let (stream, projection) = (self.clone(), request.projection.clone());
            Box::new(MemoryReader { stream, number, partition, position, projection })
                as Box<dyn PartitionReader>
        };
        Ok(request.start.into_iter().enumerate().map(reader).collect())
    }
}

struct MemoryReader {
    stream: MemoryStream,
    number: usize,
    partition: Partition,
    position: Offset,
    projection: Vec<usize>,
}

impl PartitionReader for MemoryReader {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn position(&self) -> Offset {
        self.position
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, end: Offset) -> Poll<Result<RecordBatch>> {
        let Some(rows) = self.stream.partitions.get(self.number) else {
            return Poll::Ready(Err(Error::internal(format!("there is no partition {}", self.partition))));
        };
        let mut rows = rows.lock();
        let Some((start, batch)) =
            rows.batches.range(..=self.position).next_back().filter(|_| self.position < rows.end)
        else {
            rows.waiting.push(cx.waker().clone());
            return Poll::Pending;
        };
        let skipped = usize::try_from(self.position - start).unwrap_or(usize::MAX);
        let wanted = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(MAX_BATCH_ROWS);
        let taken = wanted.min(batch.num_rows().saturating_sub(skipped));
        let batch = batch.slice(skipped, taken).project(&self.projection);
        self.position = self.position.saturating_add_unsigned(taken as u64);
        Poll::Ready(batch.map_err(|e| Error::internal("bad projection").with_source(e)))
    }
}
