//! What the driver knows of its pipelines, and how their offsets and the sources' cuts translate.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::task::Command;
use crate::epoch::{Cut, Offset, Partition, SourceOffsets};
use crate::error::{Error, Result};
use crate::plan::pipeline::Pipeline;
use crate::plan::table::Flow;

/// The pipelines of an open query, in the order of the plan's partitions.
pub(super) struct Slots {
    slots: Vec<Slot>,
    sources: usize,
}

struct Slot {
    source: usize,
    partition: Partition,
    flow: Arc<Flow>,
    commands: mpsc::Sender<Command>,
    /// End of the last epoch that the pipeline has ended.
    sealed: Offset,
    committed: Offset,
}

impl Slots {
    pub(super) fn new(sources: usize) -> Self {
        Self { slots: Vec::new(), sources }
    }

    /// Adds a pipeline that stands where its next epoch starts.
    pub(super) fn push(&mut self, pipeline: &Pipeline, commands: mpsc::Sender<Command>) {
        let flow = Arc::clone(&pipeline.flow);
        let at = flow.position();
        let (source, partition) = (pipeline.source, pipeline.partition.clone());
        self.slots.push(Slot { source, partition, flow, commands, sealed: at, committed: at });
    }

    /// Tells each pipeline what `command` makes of its number.
    ///
    /// # Errors
    /// A pipeline has more commands waiting than there can be.
    pub(super) fn command(&self, command: impl Fn(usize) -> Command) -> Result<()> {
        self.slots.iter().enumerate().try_for_each(|(number, slot)| {
            match slot.commands.try_send(command(number)) {
                // A pipeline that has ended has an error to tell, which ends the query.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => Err(Error::internal(format!(
                    "{} has more epochs in flight than were allowed",
                    slot.partition
                ))),
            }
        })
    }

    /// Pipeline `number` has ended an epoch at `end`; which source it reads.
    pub(super) fn seal(&mut self, number: usize, end: Offset) -> Option<usize> {
        let slot = self.slots.get_mut(number)?;
        slot.sealed = end;
        Some(slot.source)
    }

    pub(super) fn commit(&mut self, ends: &[Offset]) {
        for (slot, end) in self.slots.iter_mut().zip(ends) {
            slot.committed = *end;
        }
    }

    /// Whether some pipeline has read beyond the end of its last epoch.
    pub(super) fn have_moved(&self) -> bool {
        self.slots.iter().any(|slot| slot.flow.position() != slot.sealed)
    }

    /// Where each pipeline stands as of the last commit.
    pub(super) fn committed_ends(&self) -> Vec<Offset> {
        self.slots.iter().map(|slot| slot.committed).collect()
    }

    /// The same by source.
    pub(super) fn committed(&self) -> Cut {
        self.cut(&self.committed_ends())
    }

    /// Where each pipeline reads now, by source.
    pub(super) fn positions(&self) -> Cut {
        self.cut(&self.slots.iter().map(|slot| slot.flow.position()).collect::<Vec<_>>())
    }

    /// Offsets by pipeline as a cut.
    pub(super) fn cut(&self, ends: &[Offset]) -> Cut {
        let mut cut = vec![SourceOffsets::new(); self.sources];
        for (slot, end) in self.slots.iter().zip(ends) {
            if let Some(source) = cut.get_mut(slot.source) {
                source.insert(slot.partition.clone(), *end);
            }
        }
        cut
    }

    /// The reverse: a partition that is not in `cut` stays where it is.
    pub(super) fn ends(&self, cut: &Cut) -> Vec<Offset> {
        let at = |slot: &Slot| cut.get(slot.source).and_then(|offsets| offsets.get(&slot.partition)).copied();
        self.slots.iter().map(|slot| at(slot).unwrap_or(slot.committed)).collect()
    }

    /// Whether everything before `target` is committed. A partition that is gone has nothing left to commit.
    pub(super) fn have_committed(&self, target: &Cut) -> bool {
        self.slots.iter().all(|slot| {
            let wanted = target.get(slot.source).and_then(|offsets| offsets.get(&slot.partition));
            wanted.is_none_or(|wanted| slot.committed >= *wanted)
        })
    }
}
