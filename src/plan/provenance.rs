//! Carries the origin of each row through a plan: columns of the source are projected along, behind the query's own.

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan, Union, lit};
use datafusion::prelude::Column;

use super::support::reads_stream;
use crate::error::{Error, Result};
use crate::provenance::{OFFSET, PARTITION, SOURCE, TOPIC};

/// The source's columns that tell an origin, and the names under which they are carried.
const CARRIED: [(&str, &str); 3] = [("topic", TOPIC), ("partition", PARTITION), ("offset", OFFSET)];

/// `plan` with the columns [`SOURCE`], [`TOPIC`], [`PARTITION`] and [`OFFSET`] at the end of its rows.
///
/// # Errors
/// A source has no such columns, or `plan` holds what no streaming query may.
pub(super) fn carried(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(carry(plan, &mut 0)?)
}

/// `sources` counts the leaves from left to right, as the checkpoint does.
fn carry(plan: LogicalPlan, sources: &mut i64) -> DataFusionResult<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let number = *sources;
            *sources += 1;
            from_source(scan, number)
        }
        LogicalPlan::Projection(projection) => {
            let input = carry(Arc::unwrap_or_clone(projection.input), sources)?;
            let mut columns = projection.expr;
            for name in [SOURCE, TOPIC, PARTITION, OFFSET] {
                // Behind an alias or an unnesting it may have a qualifier.
                let (qualifier, field) = input.schema().qualified_field_with_unqualified_name(name)?;
                columns.push(Expr::Column(Column::from((qualifier, field))).alias(name));
            }
            Projection::try_new(columns, Arc::new(input)).map(LogicalPlan::Projection)
        }
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.into_iter();
            let inputs = inputs.map(|input| carry(Arc::unwrap_or_clone(input), sources).map(Arc::new));
            Union::try_new_with_loose_types(inputs.collect::<DataFusionResult<_>>()?).map(LogicalPlan::Union)
        }
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) => {
            let inputs = plan.inputs().into_iter();
            let inputs = inputs.map(|input| carry(input.clone(), sources));
            let inputs = inputs.collect::<DataFusionResult<_>>()?;
            // Of these only a filter has an expression that is not made of its fields.
            let expressions =
                if matches!(plan, LogicalPlan::Unnest(_)) { Vec::new() } else { plan.expressions() };
            plan.with_new_exprs(expressions, inputs)
        }
        LogicalPlan::Join(_) => {
            let carried = |input: &LogicalPlan, sources: &mut i64| {
                if reads_stream(input)? { carry(input.clone(), sources) } else { Ok(input.clone()) }
            };
            let inputs = plan.inputs().into_iter().map(|input| carried(input, sources));
            let inputs = inputs.collect::<DataFusionResult<_>>()?;
            plan.with_new_exprs(plan.expressions(), inputs)
        }
        other => Err(Error::internal(format!("no origin can be carried through {}", other.display())).into()),
    }
}

fn from_source(scan: TableScan, number: i64) -> DataFusionResult<LogicalPlan> {
    let own: Vec<Expr> = scan
        .projected_schema
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field))))
        .collect();
    let table = scan.table_name.clone();
    let all = scan.source.schema();
    let mut columns = own;
    columns.push(lit(number).alias(SOURCE));
    for (name, carried) in CARRIED {
        if all.column_with_name(name).is_none() {
            return Err(DataFusionError::from(Error::usage(format!(
                "provenance = headers needs sources with the columns topic, partition and offset, and '{table}' has no '{name}'"
            ))));
        }
        columns.push(Expr::Column(Column::new(Some(table.clone()), name)).alias(carried));
    }
    let filters = scan.filters;
    let whole =
        datafusion::logical_expr::LogicalPlanBuilder::scan_with_filters(table, scan.source, None, filters)?;
    whole.project(columns)?.build()
}
