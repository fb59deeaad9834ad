//! What a running query sees and that changes under it: the clock and the static sides of its joins.

use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;

use super::join::{StaticJoinExec, StaticSide};
use super::now::QueryClock;
use crate::error::Result;

/// One query's own; no two queries share it.
#[derive(Debug)]
pub(crate) struct Live {
    clock: Arc<QueryClock>,
    sides: Vec<Arc<StaticSide>>,
}

impl Live {
    /// Of `plan`, whose clock functions read `clock`.
    pub(super) fn new(clock: Arc<QueryClock>, plan: &Arc<dyn ExecutionPlan>) -> Result<Self> {
        let mut sides = Vec::new();
        plan.apply(|node| {
            sides.extend(node.downcast_ref::<StaticJoinExec>().map(|join| Arc::clone(join.side())));
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(Self { clock, sides })
    }

    pub(crate) fn has_static_sides(&self) -> bool {
        !self.sides.is_empty()
    }

    /// Reads all static sides anew. They are not seen before [`swap`](Live::swap).
    ///
    /// # Errors
    /// A table cannot be read.
    pub(crate) async fn load(&self) -> Result<()> {
        for side in &self.sides {
            side.load().await?;
        }
        Ok(())
    }

    /// Batches see from now on what was loaded last.
    pub(crate) fn swap(&self) {
        self.sides.iter().for_each(|side| side.swap());
    }

    /// A micro-batch begins: it sees one version of each static side, and one time for all of its rows, that of its entry
    /// in the log, so that it gives the same rows when it is run again. `None`: the entry names no time.
    pub(crate) fn begin_batch(&self, timestamp_ms: Option<i64>) {
        self.swap();
        self.clock.stop_at(timestamp_ms);
    }
}
