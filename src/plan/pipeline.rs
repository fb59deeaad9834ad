//! Binds a plan's leaves to open readers and opens one stream for each partition.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;

use super::check;
use super::table::{Flow, Slot, SourceExec};
use crate::epoch::Partition;
use crate::error::{Error, Result};
use crate::source::{PartitionReader, Source};

/// A source as the plan reads it.
pub(crate) struct PlannedSource {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) projection: Vec<usize>,
}

/// One partition's way through the plan.
pub(crate) struct Pipeline {
    /// Which of the plan's sources, in the order of the plan.
    pub(crate) source: usize,
    pub(crate) partition: Partition,
    pub(crate) flow: Arc<Flow>,
    pub(crate) stream: SendableRecordBatchStream,
}

/// The plan's sources, from left to right: the order of the offsets in a checkpoint.
pub(crate) fn sources(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<PlannedSource>> {
    let mut sources = Vec::new();
    plan.apply(|node| {
        if let Some(leaf) = node.downcast_ref::<SourceExec>() {
            sources.push(PlannedSource {
                source: Arc::clone(leaf.source()),
                projection: leaf.projection().to_vec(),
            });
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
        let Some(slot) = slots.get(source).and_then(|slots| slots.get(slot)) else {
            continue;
        };
        pipelines.push(Pipeline {
            source,
            partition: slot.partition.clone(),
            flow: Arc::clone(&slot.flow),
            stream,
        });
    }
    Ok(pipelines)
}
