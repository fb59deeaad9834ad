//! Binds a plan's leaves to open readers and opens one stream for each partition.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;

use super::table::{Flow, Slot, SourceExec};
use super::{blame, check};
use crate::epoch::Partition;
use crate::error::{Error, Result};
use crate::source::{PartitionReader, RecordColumns, Source};

/// A source as the plan reads it.
pub(crate) struct PlannedSource {
    pub(crate) source: Arc<dyn Source>,
    /// What its readers build.
    pub(crate) columns: Arc<RecordColumns>,
}

/// One partition's way through the plan.
pub(crate) struct Pipeline {
    /// Which of the plan's sources, in the order of the plan.
    pub(crate) source: usize,
    pub(crate) partition: Partition,
    pub(crate) flow: Arc<Flow>,
    pub(crate) stream: SendableRecordBatchStream,
    pub(crate) records: Records,
}

/// What can be told of a pipeline's records.
pub(crate) struct Records {
    pub(crate) columns: Arc<RecordColumns>,
    plan: Arc<dyn ExecutionPlan>,
    /// The number of the pipeline's partition among the plan's.
    output: usize,
}

impl Records {
    /// The expression that fails for `record`, as far as it can be told.
    pub(crate) fn failing_expression(&self, record: &RecordBatch) -> Option<String> {
        let own: Vec<usize> = (0..self.columns.own).collect();
        blame::failing_expression(&self.plan, self.output, &record.project(&own).ok()?)
    }
}

/// The plan's sources, from left to right: the order of the offsets in a checkpoint. `whole`: records must be told as they
/// came.
pub(crate) fn sources(plan: &Arc<dyn ExecutionPlan>, whole: bool) -> Result<Vec<PlannedSource>> {
    let mut sources = Vec::new();
    plan.apply(|node| {
        if let Some(leaf) = node.downcast_ref::<SourceExec>() {
            let source = Arc::clone(leaf.source());
            let columns = Arc::new(RecordColumns::new(source.as_ref(), leaf.projection(), whole));
            sources.push(PlannedSource { source, columns });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(sources)
}

/// Opens the pipelines of `plan` over `readers`: for each source, in the order of [`sources`], one a partition.
///
/// # Errors
/// The plan brings partitions together.
pub(crate) fn open(
    plan: &Arc<dyn ExecutionPlan>,
    sources: &[PlannedSource],
    readers: Vec<Vec<Box<dyn PartitionReader>>>,
    context: &Arc<TaskContext>,
) -> Result<Vec<Pipeline>> {
    let slots: Vec<Arc<Vec<Slot>>> =
        readers.into_iter().map(|readers| Arc::new(readers.into_iter().map(Slot::new).collect())).collect();
    let mut unbound = slots.iter();
    let bound = Arc::clone(plan).transform_up(|node| match node.downcast_ref::<SourceExec>() {
        Some(leaf) => {
            let slots = unbound.next().ok_or_else(|| Error::internal("more leaves than sources"))?;
            Ok(Transformed::yes(Arc::new(leaf.bind(Arc::clone(slots))) as Arc<dyn ExecutionPlan>))
        }
        None => Ok(Transformed::no(node)),
    })?;
    let plan = bound.data;
    check::check_nodes(&plan)?;
    // UNION ALL puts its inputs' partitions one after the other, so output `i` is input `i` counted through all sources.
    let inputs: Vec<(usize, usize)> = slots
        .iter()
        .enumerate()
        .flat_map(|(source, slots)| (0..slots.len()).map(move |slot| (source, slot)))
        .collect();
    check::check_partitions(&plan, inputs.len())?;
    let mut pipelines = Vec::with_capacity(inputs.len());
    for (output, (source, slot)) in inputs.into_iter().enumerate() {
        let stream = plan.execute(output, Arc::clone(context))?;
        let Some((slots, planned)) = slots.get(source).zip(sources.get(source)) else {
            continue;
        };
        let Some(slot) = slots.get(slot) else {
            continue;
        };
        pipelines.push(Pipeline {
            source,
            partition: slot.partition.clone(),
            flow: Arc::clone(&slot.flow),
            stream,
            records: Records { columns: Arc::clone(&planned.columns), plan: Arc::clone(&plan), output },
        });
    }
    Ok(pipelines)
}
