//! What a streaming query may ask for. Refuses the rest before anything starts, naming the operation and the way out.

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, TableScan};

use super::join::supported_kind;
use super::table::StreamTable;
use crate::error::{Error, Result};

/// What no trigger supports on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsupported {
    pub(crate) operation: Operation,
    /// As the message names it.
    name: String,
    way_out: String,
}

/// An operation that has a place in the text of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Aggregate,
    Window,
    Sort,
    Distinct,
    Limit,
    Join,
    Subquery,
    Values,
    Other,
}

impl Unsupported {
    fn new(operation: Operation, name: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { operation, name: name.into(), way_out: way_out.into() }
    }

    /// The error. `place`: where the operation stands in the text of the query, as in `line 3, column 7`.
    pub(crate) fn error(&self, place: Option<&str>) -> Error {
        let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
        let Self { name, way_out, .. } = self;
        Error::query(format!("{name}{place} is not supported on a stream under any trigger: {way_out}"))
    }
}

/// Checks a plan as it was written, before the optimiser rewrites it into something the user would not recognise.
/// The first operation that no trigger supports, if there is one.
///
/// # Errors
/// A parameter without a value.
pub(crate) fn find_unsupported(plan: &LogicalPlan) -> Result<Option<Unsupported>> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| match expression {
                Expr::Placeholder(placeholder) => Err(Error::query(format!(
                    "the parameter {} has no value; write the value into the query",
                    placeholder.id
                ))
                .into()),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    if reads_stream(plan)? { streaming(plan) } else { Ok(Some(without_stream(plan))) }
}

/// Whether the plan has no end.
pub(crate) fn reads_stream(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut reads = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && is_stream(scan)?
        {
            reads = true;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}

fn is_stream(scan: &TableScan) -> DataFusionResult<bool> {
    let provider = source_as_provider(&scan.source)?;
    Ok((provider.as_ref() as &dyn TableProvider).is::<StreamTable>())
}

/// A join may have one stream, and must not have to know all of it.
///
/// # Errors
/// The join needs rows that have not come yet.
pub(crate) fn check_join(join: &Join) -> Result<()> {
    unsupported_join(join)?.map_or(Ok(()), |unsupported| Err(unsupported.error(None)))
}

fn unsupported_join(join: &Join) -> Result<Option<Unsupported>> {
    let (left, right) = (reads_stream(&join.left)?, reads_stream(&join.right)?);
    Ok(if left && right {
        Some(Unsupported::new(
            Operation::Join,
            "a join of two streams",
            "it would have to keep the rows of both, and a stream has no end; join with a table or a file, or write the rows out and join in the system that reads them",
        ))
    } else if supported_kind(join, left).is_none() {
        Some(Unsupported::new(
            Operation::Join,
            format!(
                "a {} join that keeps all rows of the static side",
                join.join_type.to_string().to_uppercase()
            ),
            "which of them have no match is known only at the end, and a stream has none; write an inner join, or a LEFT JOIN with the stream on the left",
        ))
    } else {
        None
    })
}

const STATE: &str = "it needs all rows at once, and a stream has no end; write the rows out and do it in the system that reads them";

/// Looks at `node`, which reads a stream, and at what it reads the stream through. Static sides may do what they like.
fn streaming(node: &LogicalPlan) -> Result<Option<Unsupported>> {
    if let Some((operation, name, way_out)) = unsupported(node) {
        return Ok(Some(Unsupported::new(operation, name, way_out)));
    }
    if has_streaming_subquery(node)? {
        return Ok(Some(Unsupported::new(Operation::Subquery, "a subquery that reads a stream", STATE)));
    }
    match node {
        LogicalPlan::Join(join) => {
            if let Some(unsupported) = unsupported_join(join)? {
                return Ok(Some(unsupported));
            }
        }
        LogicalPlan::Union(union) => {
            for input in &union.inputs {
                if !reads_stream(input)? {
                    return Ok(Some(without_stream(input)));
                }
            }
        }
        _ => {}
    }
    for input in node.inputs() {
        if reads_stream(input)?
            && let Some(unsupported) = streaming(input)?
        {
            return Ok(Some(unsupported));
        }
    }
    Ok(None)
}

/// The operation, its name and the way out; `None` for what may run.
fn unsupported(node: &LogicalPlan) -> Option<(Operation, &'static str, &'static str)> {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::TableScan(_) => None,
        LogicalPlan::Aggregate(_) => {
            Some((Operation::Aggregate, "aggregation (GROUP BY, count, sum, …)", STATE))
        }
        LogicalPlan::Window(_) => Some((Operation::Window, "a window function (OVER)", STATE)),
        LogicalPlan::Sort(_) => Some((Operation::Sort, "sorting (ORDER BY)", STATE)),
        LogicalPlan::Distinct(_) => {
            Some((Operation::Distinct, "DISTINCT (also in UNION without ALL)", STATE))
        }
        LogicalPlan::Limit(_) => Some((
            Operation::Limit,
            "LIMIT or OFFSET",
            "a stream has no end and no order over its partitions; filter by a column instead",
        )),
        LogicalPlan::RecursiveQuery(_) => Some((Operation::Other, "a recursive query", STATE)),
        LogicalPlan::Repartition(_) => Some((
            Operation::Other,
            "repartitioning",
            "each source partition is a pipeline of its own; add partitions to the topic",
        )),
        LogicalPlan::Dml(_) => Some((
            Operation::Other,
            "a nested INSERT, UPDATE or DELETE",
            "write INSERT INTO sink SELECT … alone",
        )),
        _ => Some((
            Operation::Other,
            "this statement",
            "a streaming query is a SELECT of columns and conditions from a stream",
        )),
    }
}

fn has_streaming_subquery(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expression| {
        expression.apply(|expression| {
            let subquery = match expression {
                Expr::ScalarSubquery(subquery) => subquery,
                Expr::InSubquery(within) => &within.subquery,
                Expr::Exists(exists) => &exists.subquery,
                Expr::SetComparison(comparison) => &comparison.subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            found |= reads_stream(&subquery.subquery)?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// What is wrong with a query, or a part of a `UNION ALL`, that reads no stream.
fn without_stream(plan: &LogicalPlan) -> Unsupported {
    let input = match plan {
        LogicalPlan::TableScan(scan) => {
            return Unsupported::new(
                Operation::Other,
                format!("reading only the static table '{}'", scan.table_name),
                "a streaming query selects from streams only, and from tables that a stream is joined with",
            );
        }
        LogicalPlan::EmptyRelation(_) => {
            return Unsupported::new(
                Operation::Other,
                "a SELECT without FROM",
                "select the constants from the stream: SELECT 1 FROM events",
            );
        }
        other => other.inputs().into_iter().next(),
    };
    match input {
        Some(input) => without_stream(input),
        None => Unsupported::new(
            Operation::Values,
            "VALUES without a stream",
            "a stream cannot be mixed with rows that are given once; join with them",
        ),
    }
}
