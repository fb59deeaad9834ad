//! The foreach sink: rows go to code of the user's, partition by partition.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{CommitMessage, Sink, SinkWriter};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

/// Takes the rows of one partition in one epoch: `open`, any number of `process`, `close`.
///
/// A clone of what is given to [`foreach`](crate::DataStreamWriter::foreach) is made for each partition and epoch, also for
/// an epoch without rows. What they share, such as a connection pool, is kept behind an `Arc`. The next epoch's rows do
/// not wait for this one's `close`.
///
/// Any closure from a [`RecordBatch`] to a future is a `ForeachWriter` that needs no opening and closing.
///
/// # Exactly-once
/// Under a micro-batch trigger an epoch that comes again after a crash has the same rows. Where `close` makes the rows and
/// the epoch's number visible in one transaction, and `open` gives `false` for an epoch that is visible already, each row
/// takes effect once. Numbers of partitions may change at a restart when a source has got new ones. Under the continuous
/// trigger an epoch that comes again has other rows: there the sink is at-least-once.
#[async_trait]
pub trait ForeachWriter: Send {
    /// Prepares for the rows of `epoch` that come from pipeline number `partition`. `false` leaves them out; `close` is
    /// called all the same.
    async fn open(&mut self, _partition: usize, _epoch: EpochId) -> Result<bool> {
        Ok(true)
    }

    /// Takes all rows that have arrived: one or thousands.
    async fn process(&mut self, rows: &RecordBatch) -> Result<()>;

    /// The end of the epoch, or the error that keeps it from ending. Called once after each `open`, unless the process ends.
    async fn close(&mut self, _error: Option<&Error>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl<F, Done> ForeachWriter for F
where
    F: FnMut(RecordBatch) -> Done + Send,
    Done: Future<Output = Result<()>> + Send,
{
    async fn process(&mut self, rows: &RecordBatch) -> Result<()> {
        self(rows.clone()).await
    }
}

type MakeWriter = dyn Fn() -> Box<dyn ForeachWriter> + Send + Sync;

/// Writes through clones of a [`ForeachWriter`].
pub(crate) struct ForeachSink {
    make: Arc<MakeWriter>,
}

impl ForeachSink {
    pub(crate) fn new(writer: impl ForeachWriter + Clone + Sync + 'static) -> Self {
        Self { make: Arc::new(move || Box::new(writer.clone())) }
    }
}

impl fmt::Debug for ForeachSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachSink")
    }
}

#[async_trait]
impl Sink for ForeachSink {
    fn description(&self) -> String {
        "ForeachSink".into()
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, pipeline: usize, epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(PartitionWriter { make: Arc::clone(&self.make), partition: pipeline, epoch, open: None }))
    }

    async fn commit(&self, _epoch: EpochId, _messages: Vec<CommitMessage>) -> Result<()> {
        Ok(())
    }
}

struct PartitionWriter {
    make: Arc<MakeWriter>,
    partition: usize,
    /// The running one.
    epoch: EpochId,
    /// From the epoch's first rows on.
    open: Option<OpenWriter>,
}

#[async_trait]
impl SinkWriter for PartitionWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => OpenWriter::new((self.make)(), self.partition, self.epoch).await?,
        };
        match open.process(batch).await {
            Ok(()) => self.open = Some(open),
            Err(error) => {
                open.close_after(&error).await;
                return Err(error);
            }
        }
        Ok(())
    }

    fn seal(&mut self, epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        self.epoch = epoch.next();
        let (open, make, partition) = (self.open.take(), Arc::clone(&self.make), self.partition);
        Box::pin(async move {
            let open = match open {
                Some(open) => open,
                None => OpenWriter::new(make(), partition, epoch).await?,
            };
            open.close().await.map(|()| CommitMessage::empty())
        })
    }
}

/// A writer between `open` and `close`; when it is dropped there, it is closed with an error.
struct OpenWriter {
    writer: Option<Box<dyn ForeachWriter>>,
    wants_rows: bool,
    partition: usize,
    epoch: EpochId,
}

impl OpenWriter {
    async fn new(writer: Box<dyn ForeachWriter>, partition: usize, epoch: EpochId) -> Result<Self> {
        // Made first: `close` follows also where `open` fails.
        let mut open = Self { writer: Some(writer), wants_rows: false, partition, epoch };
        let opened = match &mut open.writer {
            Some(writer) => writer.open(partition, epoch).await.map_err(|e| failed("open", e)),
            None => Ok(false),
        };
        match opened {
            Ok(wants_rows) => {
                open.wants_rows = wants_rows;
                Ok(open)
            }
            Err(error) => {
                open.close_after(&error).await;
                Err(error)
            }
        }
    }

    async fn process(&mut self, rows: &RecordBatch) -> Result<()> {
        match &mut self.writer {
            Some(writer) if self.wants_rows => writer.process(rows).await.map_err(|e| failed("process", e)),
            _ => Ok(()),
        }
    }

    async fn close(mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.close(None).await.map_err(|e| failed("close", e)),
            None => Ok(()),
        }
    }

    /// Closes because of `error`, which is what the user is told of.
    async fn close_after(mut self, error: &Error) {
        if let Some(writer) = self.writer.take() {
            close_after(writer, error).await;
        }
    }
}

impl Drop for OpenWriter {
    fn drop(&mut self) {
        let (Some(writer), Ok(runtime)) = (self.writer.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let (partition, epoch) = (self.partition, self.epoch);
        runtime.spawn(async move {
            let error = Error::new(
                ErrorKind::Transient,
                format!(
                    "the query ended before epoch {epoch} did, in partition {partition} of the foreach sink"
                ),
            );
            close_after(writer, &error).await;
        });
    }
}

async fn close_after(mut writer: Box<dyn ForeachWriter>, error: &Error) {
    if let Err(error) = writer.close(Some(error)).await {
        tracing::warn!("a writer of the foreach sink could not be closed: {error}");
    }
}

fn failed(step: &str, error: Error) -> Error {
    error.context(format!("the foreach sink's writer failed in {step}"))
}
