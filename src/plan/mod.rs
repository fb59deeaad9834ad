//! From a DataFusion plan to one pipeline for each source partition.
//!
//! `table.rs` puts sources into DataFusion as tables and leaves; `rules.rs`, `now.rs` and `async_calls.rs` make DataFusion
//! fit for endless input, `join/` joins it with tables that end, `lateral.rs` with its own lists; `provenance.rs` adds the
//! rows' origin where a sink wants it; `support.rs` refuses queries before they are planned, `check.rs` plans before they
//! run; `pipeline.rs` binds the leaves to readers and opens the streams. `live.rs` is what changes while a query runs;
//! `trial.rs` finds the record that an operator fails for, `blame.rs` the expression.

mod async_calls;
mod blame;
pub(crate) mod check;
mod join;
pub(crate) mod lateral;
mod live;
pub(crate) mod now;
pub(crate) mod pipeline;
mod provenance;
pub(crate) mod rules;
pub(crate) mod support;
pub(crate) mod table;
pub(crate) mod trial;

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

use self::join::StaticJoinPlanner;
pub(crate) use self::live::Live;
use crate::error::Result;

/// A query that was found fit to run: its sources are known, none of them is open.
#[derive(Clone, Debug)]
pub(crate) struct PlannedQuery {
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
    pub(crate) live: Arc<Live>,
}

impl PlannedQuery {
    /// Checks, optimises and plans `logical`. Reads no stream and no table.
    ///
    /// # Errors
    /// The query asks for what no trigger supports.
    pub(crate) async fn new(state: &SessionState, logical: LogicalPlan) -> Result<Self> {
        check(&logical)?;
        let clock = Arc::default();
        let logical = state.optimize(&now::bind(logical, &clock)?)?;
        let logical = join::replace_joins(logical)?;
        let joins = Arc::new(StaticJoinPlanner::new(state));
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![joins]);
        let physical = planner.create_physical_plan(&logical, state).await?;
        check::check_nodes(&physical)?;
        let live = Arc::new(Live::new(clock, &physical)?);
        Ok(Self { logical, physical, live })
    }

    /// The same, with the origin of each row in columns behind those of the query.
    ///
    /// # Errors
    /// As [`new`](Self::new); a source whose records have no origin.
    pub(crate) async fn with_origins(state: &SessionState, logical: LogicalPlan) -> Result<Self> {
        check(&logical)?;
        Self::new(state, provenance::carried(logical)?).await
    }

    /// The plans as text, logical first.
    pub(crate) fn explain(&self) -> String {
        format!(
            "logical plan\n{}\n\nphysical plan, one pipeline for each source partition\n{}",
            self.logical.display_indent(),
            displayable(self.physical.as_ref()).indent(false)
        )
    }
}

/// # Errors
/// The query asks for what no trigger supports.
fn check(logical: &LogicalPlan) -> Result<()> {
    support::find_unsupported(logical)?.map_or(Ok(()), |unsupported| Err(unsupported.error(None)))
}
