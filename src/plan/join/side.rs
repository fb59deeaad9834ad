//! The static side of a join: a plan that ends, loaded at the start and again when asked to.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use datafusion::common::NullEquality;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::collect;
use parking_lot::Mutex;

use super::index::Index;
use crate::error::{Error, Result};

/// Rows to join with. A load prepares a new version beside the current one; [`swap`](StaticSide::swap) puts it in place.
pub(crate) struct StaticSide {
    plan: LogicalPlan,
    state: Arc<SessionState>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    nulls: NullEquality,
    versions: Mutex<Versions>,
}

#[derive(Default)]
struct Versions {
    current: Option<Arc<Index>>,
    loaded: Option<Arc<Index>>,
}

impl fmt::Debug for StaticSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticSide").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl StaticSide {
    pub(super) fn new(
        plan: LogicalPlan,
        state: Arc<SessionState>,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        nulls: NullEquality,
    ) -> Self {
        Self { plan, state, keys, nulls, versions: Mutex::default() }
    }

    pub(super) fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    /// Reads all rows anew. Planning lists the files; what it remembers of an earlier time is forgotten before.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(crate) async fn load(&self) -> Result<()> {
        if let Some(listed) = self.state.runtime_env().cache_manager.get_list_files_cache() {
            listed.clear();
        }
        let plan = self.state.query_planner().create_physical_plan(&self.plan, self.state.as_ref()).await?;
        let schema = plan.schema();
        let batches = collect(plan, self.state.task_ctx()).await?;
        let (keys, nulls) = (self.keys.clone(), self.nulls);
        // A large table takes a while, and the thread that waits here has queries to drive.
        let indexing = tokio::task::spawn_blocking(move || {
            let rows = concat_batches(&schema, &batches).map_err(|e| {
                Error::internal("cannot put the static side of a join together").with_source(e)
            })?;
            let keys = evaluate(&keys, &rows)?;
            Index::new(rows, &keys, nulls)
        });
        let index = indexing
            .await
            .map_err(|e| Error::internal("indexing a static table ended early").with_source(e))??;
        self.versions.lock().loaded = Some(Arc::new(index));
        Ok(())
    }

    /// What was loaded last is what batches are joined with from now on.
    pub(crate) fn swap(&self) {
        let mut versions = self.versions.lock();
        if let Some(loaded) = versions.loaded.take() {
            versions.current = Some(loaded);
        }
    }

    /// What to join a batch with; one batch sees one version.
    pub(super) fn current(&self) -> Result<Arc<Index>> {
        let versions = self.versions.lock();
        versions.current.clone().ok_or_else(|| Error::internal("a static table was not loaded"))
    }
}

/// The expressions' values for each row.
pub(super) fn evaluate(expressions: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let value =
        |expression: &Arc<dyn PhysicalExpr>| Ok(expression.evaluate(rows)?.into_array(rows.num_rows())?);
    expressions.iter().map(value).collect()
}
