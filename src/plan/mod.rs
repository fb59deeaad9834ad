//! From a DataFusion plan to one pipeline for each source partition.
//!
//! `table.rs` puts sources into DataFusion as tables and leaves; `rules.rs` and `now.rs` make DataFusion fit for endless
//! input; `provenance.rs` adds the
//! rows' origin where a sink wants it; `support.rs` refuses queries before they are planned, `check.rs` plans before they run; `pipeline.rs` binds the
//! leaves to readers and opens the streams.

pub(crate) mod check;
pub(crate) mod now;
pub(crate) mod pipeline;
mod provenance;
pub(crate) mod rules;
pub(crate) mod support;
pub(crate) mod table;

use std::sync::Arc;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, displayable};

use crate::error::Result;

/// A query that was found fit to run: its sources are known, none of them is open.
#[derive(Clone, Debug)]
pub(crate) struct PlannedQuery {
    pub(crate) logical: LogicalPlan,
    pub(crate) physical: Arc<dyn ExecutionPlan>,
}

impl PlannedQuery {
    /// Checks, optimises and plans `logical`. Does no I/O.
    ///
    /// # Errors
    /// The query asks for what no trigger supports.
    pub(crate) async fn new(state: &SessionState, logical: LogicalPlan) -> Result<Self> {
        support::check(&logical)?;
        let logical = state.optimize(&logical)?;
        let physical = state.query_planner().create_physical_plan(&logical, state).await?;
        check::check_nodes(&physical)?;
        Ok(Self { logical, physical })
    }

    /// The same, with the origin of each row in columns behind those of the query.
    ///
    /// # Errors
    /// As [`new`](Self::new); a source whose records have no origin.
    pub(crate) async fn with_origins(state: &SessionState, logical: LogicalPlan) -> Result<Self> {
        support::check(&logical)?;
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
