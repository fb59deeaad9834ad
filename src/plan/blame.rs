//! Which expression of a plan fails for a record.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::{FilterExec, batch_filter};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};

use super::table::SourceExec;

/// The innermost expression that fails when `record` goes through partition `partition` of `plan`; `None` if it is
/// behind an operator that cannot be played through here, such as a join.
pub(super) fn failing_expression(
    plan: &Arc<dyn ExecutionPlan>,
    partition: usize,
    record: &RecordBatch,
) -> Option<String> {
    match play(plan, partition, record) {
        Played::Failed(expression) => Some(expression),
        Played::Rows(_) | Played::Unknown => None,
    }
}

enum Played {
    Rows(RecordBatch),
    Failed(String),
    Unknown,
}

fn play(node: &Arc<dyn ExecutionPlan>, partition: usize, record: &RecordBatch) -> Played {
    if node.is::<SourceExec>() {
        return Played::Rows(record.clone());
    }
    if let Some(union) = node.downcast_ref::<UnionExec>() {
        let mut partition = partition;
        for input in union.inputs() {
            let count = input.output_partitioning().partition_count();
            if partition < count {
                return play(input, partition, record);
            }
            partition -= count;
        }
        return Played::Unknown;
    }
    let children = node.children();
    let [input] = children.as_slice() else { return Played::Unknown };
    let rows = match play(input, partition, record) {
        Played::Rows(rows) => rows,
        other => return other,
    };
    if let Some(filter) = node.downcast_ref::<FilterExec>() {
        filtered(filter, &rows)
    } else if let Some(projection) = node.downcast_ref::<ProjectionExec>() {
        projected(projection, &rows)
    } else if node.is::<CooperativeExec>() {
        Played::Rows(rows)
    } else {
        Played::Unknown
    }
}

fn filtered(filter: &FilterExec, rows: &RecordBatch) -> Played {
    if let Some(expression) = innermost(filter.predicate(), rows) {
        return Played::Failed(expression);
    }
    let Ok(rows) = batch_filter(rows, filter.predicate()) else { return Played::Unknown };
    match filter.projection() {
        Some(columns) => rows.project(columns).map_or(Played::Unknown, Played::Rows),
        None => Played::Rows(rows),
    }
}

fn projected(projection: &ProjectionExec, rows: &RecordBatch) -> Played {
    let mut columns = Vec::new();
    for projected in projection.expr() {
        let value = projected.expr.evaluate(rows).and_then(|value| value.into_array(rows.num_rows()));
        match value {
            Ok(column) => columns.push(column),
            Err(_) => return innermost(&projected.expr, rows).map_or(Played::Unknown, Played::Failed),
        }
    }
    RecordBatch::try_new(projection.schema(), columns).map_or(Played::Unknown, Played::Rows)
}

/// The innermost part of `expression` that fails, if it does.
fn innermost(expression: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Option<String> {
    expression.evaluate(rows).err()?;
    let inner = expression.children().into_iter().find_map(|child| innermost(child, rows));
    Some(inner.unwrap_or_else(|| expression.to_string()))
}
