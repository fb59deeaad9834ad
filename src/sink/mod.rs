//! Sinks: where rows go.
//!
//! A [`Sink`] checks the rows' schema and commits epochs; each pipeline writes through a [`SinkWriter`] of its own. A new
//! sink is one file that implements both and a [`SinkProvider`], and one line of registration.

pub(crate) mod console;
pub(crate) mod dead_letters;
mod delivery;
pub(crate) mod foreach;
pub(crate) mod foreach_batch;
pub(crate) mod kafka;
pub(crate) mod memory;
pub(crate) mod noop;
pub(crate) mod parquet;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::future::BoxFuture;

pub use self::delivery::{Delivery, OwnedSource, SinkOwner};
use crate::epoch::{EpochId, SourceOffsets, SourceRange};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::telemetry::AckClock;

/// Makes sinks of one format, such as `kafka`, from options.
pub trait SinkProvider: fmt::Debug + Send + Sync {
    /// The format's name in `write_stream().format(…)` and `STORED AS …`, in lower case.
    fn format(&self) -> &'static str;

    /// A sink with these options for rows of `schema`. Does no I/O.
    ///
    /// # Errors
    /// An option that is unknown, missing or has no meaning; a column that is missing or of a wrong type.
    fn sink(&self, options: &Options, schema: &SchemaRef) -> Result<Arc<dyn Sink>>;

    /// Whether a query that writes here may keep its checkpoint in a temporary folder, and so start anew each time.
    fn allows_temporary_checkpoint(&self) -> bool {
        false
    }
}

/// Takes the rows of a query, epoch by epoch.
///
/// # Contract
/// [`commit`](Sink::commit) is called once for each epoch, in order, after the future of every writer's
/// [`seal`](SinkWriter::seal) has resolved.
///
/// After a crash an epoch that the checkpoint does not have may be **written and committed again**, though the sink has it
/// already: under a micro-batch trigger with the same bounds and so the same rows, under the continuous trigger with other
/// bounds.
///
/// A sink that can commit the rows of an epoch as a whole, and tell afterwards which epoch was the last, says so with
/// [`delivery`](Sink::delivery). The engine then logs an epoch's end before it commits it, asks at each start by
/// [`take_over`](Sink::take_over) which epoch was committed, and runs again exactly what was not: no epoch is committed twice,
/// under any trigger. Of an epoch without rows nothing need be kept.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// For progress and messages, such as `KafkaTable[out]`.
    fn description(&self) -> String;

    /// Called before the first writer, and again after a failure: the place to find out that a service or topic is not
    /// there, and to make clients anew.
    async fn open(&self) -> Result<()>;

    /// A writer for pipeline number `pipeline`. The rows before its first [`seal`](SinkWriter::seal) belong to `epoch`, those
    /// after it to the next one, and so on.
    fn writer(&self, pipeline: usize, epoch: EpochId) -> Result<Box<dyn SinkWriter>>;

    /// Makes an epoch visible; `messages` are what its writers' seals gave, in the order of the pipelines.
    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()>;

    /// What progress shows as this sink's `metrics`, read after each commit; by default nothing.
    fn metrics(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// What the sink promises; by default at-least-once.
    fn delivery(&self) -> Delivery {
        Delivery::AtLeastOnce
    }

    /// Exactly-once only: makes sure that nobody else can commit for this query any more, drops what is not committed, and
    /// tells the last epoch that is; `None` if there is none. Called after [`open`](Sink::open) and before the first writer.
    ///
    /// # Errors
    /// The sink cannot tell.
    async fn take_over(&self, _owner: &SinkOwner) -> Result<Option<EpochId>> {
        Ok(None)
    }

    /// [`commit`](Sink::commit) for a sink that keeps, with the rows, where the sources stand after the epoch (in the order
    /// of the plan). This is what the engine calls.
    async fn commit_at(
        &self,
        epoch: EpochId,
        _ends: &[SourceOffsets],
        messages: Vec<CommitMessage>,
    ) -> Result<()> {
        self.commit(epoch, messages).await
    }
}

/// Writes the rows of one pipeline.
#[async_trait]
pub trait SinkWriter: Send {
    /// Takes rows of the running epoch. Waits while the sink has no room, which holds the source back.
    ///
    /// # Errors
    /// A row that can never be written, or an earlier row that was not.
    async fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Whether the sink could ever take these rows; asked before they are written. Rows that it cannot take count as a record
    /// that the query cannot process, see option `badRecords`. By default it takes all.
    ///
    /// # Errors
    /// Of the kind [`Data`](crate::ErrorKind::Data): a row that can never be written.
    fn check(&mut self, _batch: &RecordBatch) -> Result<()> {
        Ok(())
    }

    /// Says which records the rows of the next [`write`](SinkWriter::write) come from, for writers that learn of a failure
    /// only after it: [`Error::at`](crate::Error::at). Errors of `write` itself get them from the engine.
    fn next_rows_are_of(&mut self, _records: &SourceRange) {}

    /// Takes records that the query could not process, with columns `key` and `value` (binary) and `headers`. Called only
    /// where the sink was made with the option `deadLetterTopic`.
    ///
    /// # Errors
    /// The sink has no place for them; otherwise as [`write`](SinkWriter::write).
    async fn write_dead_letters(&mut self, _letters: &RecordBatch) -> Result<()> {
        Err(Error::internal("the sink takes no dead letters"))
    }

    /// The same for a sink that learns when single rows are safe: it calls [`AckClock::start`] for the rows that it sends
    /// off together, and drops what it gets when the last of them is acknowledged. The engine calls this one. By default
    /// rows count as safe when [`write`](SinkWriter::write) has taken them.
    ///
    /// # Errors
    /// As [`write`](SinkWriter::write).
    async fn write_timed(&mut self, batch: &RecordBatch, acks: &AckClock) -> Result<()> {
        self.write(batch).await?;
        acks.written(batch.num_rows());
        Ok(())
    }

    /// Ends the running epoch; rows written from now on belong to the next one. Does not wait: the future resolves when
    /// all of the epoch's rows are safe in the sink, while the next epoch's are being written.
    fn seal(&mut self, epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>>;
}

/// What a writer tells [`Sink::commit`] about an epoch.
#[derive(Default)]
pub struct CommitMessage(Option<Box<dyn Any + Send>>);

impl CommitMessage {
    /// Nothing to say: the rows are where they belong.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Carries `content`, which the sink takes out as what it is.
    pub fn with(content: impl Any + Send) -> Self {
        Self(Some(Box::new(content)))
    }

    /// The content, if it is a `T`.
    pub fn take<T: Any>(self) -> Option<T> {
        self.0.and_then(|content| content.downcast().ok()).map(|content| *content)
    }
}

impl fmt::Debug for CommitMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommitMessage").field(&self.0.is_some()).finish()
    }
}

/// Keeps an epoch's rows until it is committed: the writer of sinks that show whole epochs.
#[derive(Debug, Default)]
pub(crate) struct CollectingWriter {
    rows: Vec<RecordBatch>,
}

#[async_trait]
impl SinkWriter for CollectingWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.push(batch.clone());
        Ok(())
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let rows = std::mem::take(&mut self.rows);
        Box::pin(std::future::ready(Ok(CommitMessage::with(rows))))
    }
}

/// The rows of [`CollectingWriter`]s, in the order of the pipelines.
pub(crate) fn collected(messages: Vec<CommitMessage>) -> Vec<RecordBatch> {
    messages.into_iter().filter_map(CommitMessage::take::<Vec<RecordBatch>>).flatten().collect()
}
