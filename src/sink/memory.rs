//! The memory sink: committed rows as a table of the session, under the query's name.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::RwLock;

use super::{CollectingWriter, CommitMessage, Delivery, Sink, SinkOwner, SinkWriter, collected};
use crate::epoch::EpochId;
use crate::error::Result;

/// Rows of committed epochs.
pub(crate) struct MemoryTable {
    schema: SchemaRef,
    committed: RwLock<Committed>,
}

#[derive(Default)]
struct Committed {
    latest: Option<EpochId>,
    rows: Vec<RecordBatch>,
}

impl MemoryTable {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema, committed: RwLock::default() }
    }
}

impl fmt::Debug for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for MemoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let rows = self.committed.read().rows.clone();
        Ok(MemorySourceConfig::try_new_exec(&[rows], self.schema(), projection.cloned())?)
    }
}

/// Writes into a [`MemoryTable`].
#[derive(Debug)]
pub(crate) struct MemorySink {
    table: Arc<MemoryTable>,
}

impl MemorySink {
    pub(crate) fn new(table: Arc<MemoryTable>) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Sink for MemorySink {
    fn description(&self) -> String {
        "MemorySink".into()
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectingWriter::default()))
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let mut committed = self.table.committed.write();
        committed.latest = Some(epoch);
        committed.rows.extend(collected(messages));
        Ok(())
    }

    /// The table outlives a restart within the process.
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    async fn take_over(&self, _owner: &SinkOwner) -> Result<Option<EpochId>> {
        Ok(self.table.committed.read().latest)
    }
}
