//! The operator: joins each batch of the stream at once with what the static side holds then.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::Stream;

use super::Kind;
use super::index::{Index, Probe};
use super::side::{StaticSide, evaluate};
use crate::error::{Error, Result};

/// Pairs of rows that are looked at in one go: bounds the memory of a join that multiplies rows.
const MAX_PAIRS: usize = 65_536;

/// What is joined with what, and what comes out.
#[derive(Debug)]
pub(super) struct JoinSpec {
    pub(super) kind: Kind,
    pub(super) stream_is_left: bool,
    pub(super) stream_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// What else a pair must fulfil; over the columns of `pairs`.
    pub(super) filter: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of both sides, as the query has them from left to right.
    pub(super) pairs: SchemaRef,
    pub(super) schema: SchemaRef,
}

/// Joins a stream with a [`StaticSide`]. As many partitions come out as the stream has; rows keep their order, and none
/// waits for another.
#[derive(Debug)]
pub(crate) struct StaticJoinExec {
    stream: Arc<dyn ExecutionPlan>,
    spec: Arc<JoinSpec>,
    side: Arc<StaticSide>,
    properties: Arc<PlanProperties>,
}

impl StaticJoinExec {
    pub(super) fn new(stream: Arc<dyn ExecutionPlan>, spec: Arc<JoinSpec>, side: Arc<StaticSide>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&spec.schema)),
            stream.output_partitioning().clone(),
            stream.pipeline_behavior(),
            stream.boundedness(),
        );
        Self { stream, spec, side, properties: Arc::new(properties) }
    }

    pub(crate) fn side(&self) -> &Arc<StaticSide> {
        &self.side
    }
}

impl DisplayAs for StaticJoinExec {
    fn fmt_as(&self, _t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.spec.stream_keys.iter().map(ToString::to_string).collect();
        write!(f, "StaticJoinExec: {:?}, stream keys=[{}]", self.spec.kind, keys.join(", "))?;
        self.spec.filter.iter().try_for_each(|filter| write!(f, ", filter={filter}"))?;
        write!(f, ", static side: {}", self.side.plan().display())
    }
}

impl ExecutionPlan for StaticJoinExec {
    fn name(&self) -> &'static str {
        "StaticJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.stream]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        for expression in self.spec.stream_keys.iter().chain(&self.spec.filter) {
            if visit(expression)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let [stream] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::from(Error::internal("a static join has one input")))?;
        Ok(Arc::new(Self::new(stream, Arc::clone(&self.spec), Arc::clone(&self.side))))
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
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        Ok(Box::pin(StaticJoinStream {
            input: self.stream.execute(partition, context)?,
            spec: Arc::clone(&self.spec),
            side: Arc::clone(&self.side),
            rest: None,
        }))
    }
}

struct StaticJoinStream {
    input: SendableRecordBatchStream,
    spec: Arc<JoinSpec>,
    side: Arc<StaticSide>,
    /// What is left of a batch that gives more pairs than are looked at in one go.
    rest: Option<Rest>,
}

struct Rest {
    batch: RecordBatch,
    index: Arc<Index>,
}

impl Stream for StaticJoinStream {
    type Item = DataFusionResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let work = match self.rest.take() {
                Some(rest) => rest,
                None => match ready!(self.input.as_mut().poll_next(cx)) {
                    Some(Ok(batch)) => Rest { batch, index: self.side.current()? },
                    other => return Poll::Ready(other),
                },
            };
            let (joined, rows) = join(&self.spec, &work)?;
            let left = work.batch.num_rows() - rows;
            if left > 0 {
                self.rest = Some(Rest { batch: work.batch.slice(rows, left), index: work.index });
            }
            if joined.num_rows() > 0 {
                return Poll::Ready(Some(Ok(joined)));
            }
        }
    }
}

impl RecordBatchStream for StaticJoinStream {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.spec.schema)
    }
}

/// Row numbers of the stream's batch and of the index, side by side, ordered by the former.
struct Pairs {
    stream: Vec<u32>,
    fixed: Vec<u32>,
}

/// Joins as many rows of the batch as have room, and tells how many.
fn join(spec: &JoinSpec, work: &Rest) -> Result<(RecordBatch, usize)> {
    let (batch, index) = (&work.batch, work.index.as_ref());
    let keys = evaluate(&spec.stream_keys, batch)?;
    let probe = index.probe(&keys)?;
    let (pairs, rows) = candidates(&probe, batch.num_rows());
    let batch = batch.slice(0, rows);
    let pairs = match &spec.filter {
        Some(filter) => fulfilling(spec, filter, pairs, &batch, index)?,
        None => pairs,
    };
    let joined = match spec.kind {
        Kind::Inner => {
            let fixed = UInt32Array::from(pairs.fixed);
            side_by_side(spec, &spec.schema, &UInt32Array::from(pairs.stream), &fixed, &batch, index)?
        }
        Kind::Outer => {
            let (stream, fixed) = with_unmatched(&pairs, rows);
            side_by_side(spec, &spec.schema, &stream, &fixed, &batch, index)?
        }
        Kind::Semi => kept(spec, &batch, |_, is_matched| is_matched, &pairs)?,
        Kind::Anti => kept(spec, &batch, |_, is_matched| !is_matched, &pairs)?,
        Kind::NotIn => {
            let is_certain = |row: usize| index.is_empty() || !(index.has_null_key() || probe.is_null(row));
            kept(spec, &batch, |row, is_matched| !is_matched && is_certain(row), &pairs)?
        }
        Kind::Mark => {
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(BooleanArray::from(matched(&pairs, rows))));
            record_batch(&spec.schema, columns, rows)?
        }
    };
    Ok((joined, rows))
}

/// All candidates of the first rows; at least one row's, and no more rows than have room.
fn candidates(probe: &Probe<'_>, rows: usize) -> (Pairs, usize) {
    let mut pairs = Pairs { stream: Vec::new(), fixed: Vec::new() };
    for row in 0..rows {
        let candidates = probe.candidates(row);
        if row > 0 && pairs.fixed.len() + candidates.len() > MAX_PAIRS {
            return (pairs, row);
        }
        // Batches are far smaller than 2^32 rows.
        let number = u32::try_from(row).unwrap_or(u32::MAX);
        pairs.stream.extend(std::iter::repeat_n(number, candidates.len()));
        pairs.fixed.extend(candidates);
    }
    (pairs, rows)
}

/// The pairs for which the filter holds.
fn fulfilling(
    spec: &JoinSpec,
    filter: &Arc<dyn PhysicalExpr>,
    pairs: Pairs,
    batch: &RecordBatch,
    index: &Index,
) -> Result<Pairs> {
    let (stream, fixed) = (UInt32Array::from(pairs.stream), UInt32Array::from(pairs.fixed));
    let both = side_by_side(spec, &spec.pairs, &stream, &fixed, batch, index)?;
    let holds = filter.evaluate(&both)?.into_array(both.num_rows())?;
    let holds = holds.as_boolean_opt().ok_or_else(|| Error::internal("a join's filter is not boolean"))?;
    let holding = (0..holds.len()).filter(|pair| holds.is_valid(*pair) && holds.value(*pair));
    let (stream, fixed) = holding.map(|pair| (stream.value(pair), fixed.value(pair))).unzip();
    Ok(Pairs { stream, fixed })
}

/// The pairs, and each row without one beside nothing.
fn with_unmatched(pairs: &Pairs, rows: usize) -> (UInt32Array, UInt32Array) {
    let mut stream = Vec::with_capacity(pairs.stream.len().max(rows));
    let mut fixed = Vec::with_capacity(stream.capacity());
    let mut found = pairs.stream.iter().zip(&pairs.fixed).peekable();
    for row in (0u32..).take(rows) {
        let before = stream.len();
        while let Some((_, fixed_row)) = found.next_if(|(of, _)| **of == row) {
            stream.push(row);
            fixed.push(Some(*fixed_row));
        }
        if stream.len() == before {
            stream.push(row);
            fixed.push(None);
        }
    }
    (UInt32Array::from(stream), UInt32Array::from(fixed))
}

fn matched(pairs: &Pairs, rows: usize) -> Vec<bool> {
    let mut matched = vec![false; rows];
    for row in &pairs.stream {
        if let Some(is_matched) = matched.get_mut(*row as usize) {
            *is_matched = true;
        }
    }
    matched
}

/// The stream's rows for which `keep` holds, given the row and whether something matches it.
fn kept(
    spec: &JoinSpec,
    batch: &RecordBatch,
    keep: impl Fn(usize, bool) -> bool,
    pairs: &Pairs,
) -> Result<RecordBatch> {
    let matched = matched(pairs, batch.num_rows());
    let mask: Vec<bool> =
        matched.into_iter().enumerate().map(|(row, is_matched)| keep(row, is_matched)).collect();
    let rows = filter_record_batch(batch, &BooleanArray::from(mask)).map_err(cannot_build)?;
    record_batch(&spec.schema, rows.columns().to_vec(), rows.num_rows())
}

/// A row for each pair, with the columns of both sides from left to right.
fn side_by_side(
    spec: &JoinSpec,
    schema: &SchemaRef,
    stream: &UInt32Array,
    fixed: &UInt32Array,
    batch: &RecordBatch,
    index: &Index,
) -> Result<RecordBatch> {
    let taken = |rows: &RecordBatch, numbers: &UInt32Array| {
        let columns = rows.columns().iter().map(|column| take(column, numbers, None).map_err(cannot_build));
        columns.collect::<Result<Vec<ArrayRef>>>()
    };
    let (stream_columns, fixed_columns) = (taken(batch, stream)?, taken(index.rows(), fixed)?);
    let (mut columns, right) =
        if spec.stream_is_left { (stream_columns, fixed_columns) } else { (fixed_columns, stream_columns) };
    columns.extend(right);
    record_batch(schema, columns, stream.len())
}

fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(cannot_build)
}

fn cannot_build(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot build the rows of a join: {error}")).with_source(error)
}
