//! What a streaming query may ask for. Refuses the rest before anything starts, naming the operation and the way out.

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::table::StreamTable;
use crate::error::{Error, Result};

/// Checks a plan as it was written, before the optimiser rewrites it into something the user would not recognise.
///
/// # Errors
/// The first operation that neither trigger supports; a query without a streaming source.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    let mut streams = 0;
    plan.apply_with_subqueries(|node| {
        check_expressions(node)?;
        match node {
            LogicalPlan::TableScan(scan) => streams += usize::from(is_stream(scan)?),
            other => {
                if let Some((operation, way_out)) = unsupported(other) {
                    return Err(refuse(operation, way_out).into());
                }
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if streams == 0 {
        return Err(Error::query(
            "the query reads no stream; select from a table that is STORED AS KAFKA, or run it as a plain query",
        ));
    }
    Ok(())
}

fn refuse(operation: &str, way_out: &str) -> Error {
    Error::query(format!("{operation} is not supported on a stream under any trigger: {way_out}"))
}

const STATE: &str = "it needs all rows at once, and a stream has no end; write the rows out and do it in the system that reads them";

/// The operation's name and the way out; `None` for what may run.
fn unsupported(node: &LogicalPlan) -> Option<(&'static str, &'static str)> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_) => None,
        LogicalPlan::Aggregate(_) => Some(("aggregation (GROUP BY, count, sum, …)", STATE)),
        LogicalPlan::Window(_) => Some(("a window function (OVER)", STATE)),
        LogicalPlan::Sort(_) => Some(("sorting (ORDER BY)", STATE)),
        LogicalPlan::Distinct(_) => Some(("DISTINCT (also in UNION without ALL)", STATE)),
        LogicalPlan::Limit(_) => Some((
            "LIMIT or OFFSET",
            "a stream has no end and no order over its partitions; filter by a column instead",
        )),
        LogicalPlan::Join(_) => Some(("a join", STATE)),
        LogicalPlan::RecursiveQuery(_) => Some(("a recursive query", STATE)),
        LogicalPlan::Subquery(_) => Some(("a subquery in an expression", STATE)),
        LogicalPlan::EmptyRelation(_) => {
            Some(("a SELECT without FROM", "select the constants from the stream: SELECT 1 FROM events"))
        }
        LogicalPlan::Values(_) => Some(("VALUES", "a stream cannot be mixed with rows that are given once")),
        LogicalPlan::Repartition(_) => Some((
            "repartitioning",
            "each source partition is a pipeline of its own; add partitions to the topic",
        )),
        LogicalPlan::Dml(_) => {
            Some(("a nested INSERT, UPDATE or DELETE", "write INSERT INTO sink SELECT … alone"))
        }
        _ => {
            Some(("this statement", "a streaming query is a SELECT of columns and conditions from a stream"))
        }
    }
}

fn check_expressions(node: &LogicalPlan) -> std::result::Result<(), DataFusionError> {
    node.apply_expressions(|expression| {
        expression.apply(|expression| match expression {
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => {
                Err(refuse("a subquery in an expression", STATE).into())
            }
            Expr::Placeholder(placeholder) => Err(Error::query(format!(
                "the parameter {} has no value; write the value into the query",
                placeholder.id
            ))
            .into()),
            _ => Ok(TreeNodeRecursion::Continue),
        })
    })?;
    Ok(())
}

fn is_stream(scan: &TableScan) -> std::result::Result<bool, DataFusionError> {
    let provider = source_as_provider(&scan.source)?;
    if (provider.as_ref() as &dyn TableProvider).is::<StreamTable>() {
        return Ok(true);
    }
    Err(refuse(
        &format!("reading the static table '{}'", scan.table_name),
        "a streaming query selects from streams only",
    )
    .into())
}
