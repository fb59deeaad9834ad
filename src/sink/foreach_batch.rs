//! The foreach-batch sink: each micro-batch goes to a function of the user's, as a whole.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::datasource::MemTable;
use datafusion::execution::SessionState;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::future::BoxFuture;
use tokio::runtime::Handle;

use super::{CollectingWriter, CommitMessage, Sink, SinkWriter, collected};
use crate::epoch::EpochId;
use crate::error::{Error, Result};

/// What [`foreach_batch`](crate::DataStreamWriter::foreach_batch) was given.
pub(crate) type BatchFunction =
    Arc<dyn Fn(DataFrame, EpochId) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// `function` in the form that is kept.
pub(crate) fn batch_function<Done>(
    function: impl Fn(DataFrame, EpochId) -> Done + Send + Sync + 'static,
) -> BatchFunction
where
    Done: Future<Output = Result<()>> + Send + 'static,
{
    Arc::new(move |rows, epoch| Box::pin(function(rows, epoch)))
}

/// Calls a function with the rows of each epoch.
pub(crate) struct ForeachBatchSink {
    function: BatchFunction,
    schema: SchemaRef,
    /// Of the query's session, so that its functions and tables are there.
    state: SessionState,
    /// The function may compute for long: not on the thread of the drivers.
    thread: Handle,
}

impl ForeachBatchSink {
    pub(crate) fn new(
        function: BatchFunction,
        schema: SchemaRef,
        state: SessionState,
        thread: Handle,
    ) -> Self {
        Self { function, schema, state, thread }
    }

    fn data_frame(&self, rows: Vec<RecordBatch>) -> Result<DataFrame> {
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![rows])?;
        Ok(SessionContext::new_with_state(self.state.clone()).read_table(Arc::new(table))?)
    }
}

impl fmt::Debug for ForeachBatchSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeachBatchSink")
    }
}

#[async_trait]
impl Sink for ForeachBatchSink {
    fn description(&self) -> String {
        "ForeachBatchSink".into()
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectingWriter::default()))
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let done = (self.function)(self.data_frame(collected(messages))?, epoch);
        let ended = self.thread.spawn(done).await.map_err(|e| {
            Error::internal(format!("the function of foreach_batch panicked in batch {epoch}")).with_source(e)
        })?;
        ended.map_err(|error| error.context(format!("the function of foreach_batch failed in batch {epoch}")))
    }
}
