//! Sources as DataFusion knows them: a table, and the leaf of a plan.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions, SchedulingType,
};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::Stream;
use parking_lot::Mutex;

use super::trial::{Next, Trial};
use crate::epoch::{Offset, Partition};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::source::{PartitionReader, Source};
use crate::telemetry::HandOver;

/// A table of `CREATE EXTERNAL TABLE … STORED AS <format>`, or of `read_stream().load()`.
///
/// The same table may be read from and written to, so what is wrong for reading is told when it is read.
#[derive(Debug)]
pub(crate) struct StreamTable {
    pub(crate) format: String,
    /// As given, for a sink that writes to this table.
    pub(crate) options: Options,
    source: Result<Arc<dyn Source>>,
}

impl StreamTable {
    pub(crate) fn new(format: impl Into<String>, options: Options, source: Result<Arc<dyn Source>>) -> Self {
        Self { format: format.into(), options, source }
    }

    /// # Errors
    /// The options are wrong for reading.
    pub(crate) fn check_readable(&self) -> Result<()> {
        self.source.as_ref().map(|_| ()).map_err(Clone::clone)
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        self.source
            .as_ref()
            .map_or_else(|_| Arc::new(arrow::datatypes::Schema::empty()), |source| source.schema())
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
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let source = self.source.as_ref().map_err(|error| DataFusionError::from(error.clone()))?;
        let all = || (0..source.schema().fields().len()).collect();
        Ok(Arc::new(SourceExec::new(Arc::clone(source), projection.cloned().unwrap_or_else(all))?))
    }
}

/// How far a pipeline may read and how far it has, shared between its leaf and whoever drives it.
///
/// Both run in the pipeline's task; others may look at the position and the count.
#[derive(Debug)]
pub(crate) struct Flow {
    end: AtomicI64,
    position: AtomicI64,
    drained: AtomicBool,
    rows: AtomicU64,
    /// Whether the records that were handed out went through.
    pub(crate) trial: Trial,
    hand_over: HandOver,
}

impl Flow {
    fn new(start: Offset) -> Self {
        Self {
            end: AtomicI64::new(start),
            position: AtomicI64::new(start),
            drained: AtomicBool::new(false),
            rows: AtomicU64::new(0),
            trial: Trial::default(),
            hand_over: HandOver::new(),
        }
    }

    /// Lets the leaf hand out records before `end`. Poll the pipeline afterwards: nothing else wakes it.
    pub(crate) fn set_end(&self, end: Offset) {
        self.drained.store(false, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
    }

    /// Whether the leaf was asked for more at its end. Operators ask for input only when they have passed on what they
    /// had, so all records before the position have then left the pipeline: the position is a consistent cut.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// The next record to be handed out.
    pub(crate) fn position(&self) -> Offset {
        self.position.load(Ordering::Relaxed)
    }

    /// Records handed out so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// When the last batch was handed out.
    pub(crate) fn hand_over(&self) -> &HandOver {
        &self.hand_over
    }
}

/// A reader in its place in the plan.
pub(crate) struct Slot {
    pub(crate) partition: Partition,
    pub(crate) flow: Arc<Flow>,
    /// Taken by the one stream that reads it.
    reader: Mutex<Option<Box<dyn PartitionReader>>>,
}

impl Slot {
    pub(crate) fn new(reader: Box<dyn PartitionReader>) -> Self {
        Self {
            partition: reader.partition().clone(),
            flow: Arc::new(Flow::new(reader.position())),
            reader: Mutex::new(Some(reader)),
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("partition", &self.partition)
            .field("flow", &self.flow)
            .finish_non_exhaustive()
    }
}

/// The leaf of a plan: an unbounded source, one partition for each of its own.
///
/// Planned without slots, as nothing is open yet; [`bind`](SourceExec::bind) gives it the source's partitions. Readers may
/// build columns behind those of the plan; operators do not see them.
#[derive(Debug)]
pub(crate) struct SourceExec {
    source: Arc<dyn Source>,
    projection: Vec<usize>,
    slots: Option<Arc<Vec<Slot>>>,
    properties: Arc<PlanProperties>,
}

impl SourceExec {
    fn new(source: Arc<dyn Source>, projection: Vec<usize>) -> DataFusionResult<Self> {
        let schema = Arc::new(source.schema().project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Unbounded { requires_infinite_memory: false },
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(Self { source, projection, slots: None, properties: Arc::new(properties) })
    }

    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    pub(crate) fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// The same leaf reading `slots`.
    pub(crate) fn bind(&self, slots: Arc<Vec<Slot>>) -> Self {
        let mut properties = PlanProperties::clone(&self.properties);
        properties.partitioning = Partitioning::UnknownPartitioning(slots.len());
        Self {
            source: Arc::clone(&self.source),
            projection: self.projection.clone(),
            slots: Some(slots),
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for SourceExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.properties.eq_properties.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "SourceExec: {}, projection=[{}]", self.source.description(), columns.join(", "))
    }
}

impl ExecutionPlan for SourceExec {
    fn name(&self) -> &'static str {
        "SourceExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        let Some(slots) = &self.slots else {
            return Err(Error::query(format!(
                "{} is a stream without end; start it with write_stream().start(), or as INSERT INTO with epochflow run",
                self.source.description()
            ))
            .into());
        };
        let slot = slots.get(partition);
        let reader = slot.and_then(|slot| slot.reader.lock().take());
        let (Some(slot), Some(reader)) = (slot, reader) else {
            return Err(Error::internal(format!(
                "partition {partition} of the source is read twice or not there"
            ))
            .into());
        };
        let schema = Arc::clone(self.properties.eq_properties.schema());
        Ok(Box::pin(SourceStream { schema, reader, flow: Arc::clone(&slot.flow), failed: false }))
    }
}

struct SourceStream {
    schema: SchemaRef,
    reader: Box<dyn PartitionReader>,
    flow: Arc<Flow>,
    failed: bool,
}

impl SourceStream {
    fn planned_columns(&self, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
        let columns = batch.columns().iter().take(self.schema.fields().len()).map(Arc::clone).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Stream for SourceStream {
    type Item = DataFusionResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let end = self.flow.end.load(Ordering::Relaxed);
        match self.flow.trial.next() {
            Next::Wait => return Poll::Pending,
            Next::HandOut(batch) => return Poll::Ready(Some(self.planned_columns(&batch))),
            Next::Read => {}
        }
        let first = self.reader.position();
        let polled =
            if self.reader.position() < end { self.reader.poll_read(cx, end) } else { Poll::Pending };
        self.flow.position.store(self.reader.position(), Ordering::Relaxed);
        match polled {
            Poll::Ready(Ok(batch)) => {
                self.flow.rows.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                let times = self.reader.times();
                self.flow.hand_over.note(times.arrived, times.oldest);
                let planned = self.planned_columns(&batch);
                self.flow.trial.begin(batch, first);
                Poll::Ready(Some(planned))
            }
            Poll::Ready(Err(error)) => {
                self.failed = true;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Pending => {
                if self.reader.position() >= end {
                    self.flow.drained.store(true, Ordering::Relaxed);
                }
                Poll::Pending
            }
        }
    }
}

impl RecordBatchStream for SourceStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
