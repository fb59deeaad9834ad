//! `FROM events CROSS JOIN LATERAL (SELECT unnest(events.list) AS x)`: several rows for one, written as a join.
//!
//! DataFusion plans it as a join whose right side refers to columns of the left one, and can run it only where the right
//! side reads a table. A right side without a table is the left side with more columns, and rows, to it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::builder::unnest_with_options;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, SubqueryAlias, Unnest};

use crate::error::{Error, Result};

/// Puts the steps of such right sides on top of the left side.
///
/// # Errors
/// It is an outer join.
pub(crate) fn lift(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lifted = plan.transform_up(|node| {
        let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
        if !is_lateral(&join.right) {
            return Ok(Transformed::no(node));
        }
        let Some(mut lifted) = on_top_of(&join.left, &join.right)? else { return Ok(Transformed::no(node)) };
        if join.join_type != JoinType::Inner {
            return Err(Error::query(
                "only CROSS JOIN and JOIN can unnest: a LEFT JOIN LATERAL would keep rows whose list is empty; use coalesce to put something into it",
            )
            .into());
        }
        let equal = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        for condition in equal.chain(join.filter.clone()) {
            lifted = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(lifted))?);
        }
        Ok(Transformed::yes(lifted))
    })?;
    Ok(lifted.data)
}

fn is_lateral(right: &LogicalPlan) -> bool {
    match right {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}

/// `steps` with the rows of `left` where they had one row without columns; all columns of `left` come first. `None` if
/// they read a table.
fn on_top_of(left: &LogicalPlan, steps: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let under = |input: &LogicalPlan| on_top_of(left, input);
    Ok(match steps {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => Some(left.clone()),
        LogicalPlan::Subquery(subquery) => under(&subquery.subquery)?,
        LogicalPlan::Projection(Projection { expr, input, .. }) => match under(input)? {
            Some(input) => {
                let own = expr.iter().cloned().map(as_columns).collect::<DataFusionResult<Vec<_>>>()?;
                Some(projection(left, own, input)?)
            }
            None => None,
        },
        LogicalPlan::Filter(Filter { predicate, input, .. }) => match under(input)? {
            Some(input) => {
                Some(LogicalPlan::Filter(Filter::try_new(as_columns(predicate.clone())?, Arc::new(input))?))
            }
            None => None,
        },
        LogicalPlan::Unnest(Unnest { input, exec_columns, options, .. }) => match under(input)? {
            Some(input) => Some(unnest_with_options(input, exec_columns.clone(), options.clone())?),
            None => None,
        },
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => match under(input)? {
            Some(lifted) => {
                let own = input
                    .schema()
                    .iter()
                    .map(|(qualifier, field)| requalified(qualifier, field.name(), alias));
                Some(projection(left, own.collect(), lifted)?)
            }
            None => None,
        },
        _ => None,
    })
}

fn requalified(qualifier: Option<&TableReference>, name: &str, alias: &TableReference) -> Expr {
    Expr::Column(Column::new(qualifier.cloned(), name)).alias_qualified(Some(alias.clone()), name)
}

fn projection(left: &LogicalPlan, own: Vec<Expr>, input: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let columns = left.schema().columns().into_iter().map(Expr::Column).chain(own).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
}

/// What referred to the other side of the join is a column of the input now; names stay.
fn as_columns(expression: Expr) -> DataFusionResult<Expr> {
    let name = NamePreserver::new_for_projection().save(&expression);
    let expression = expression.transform_up(|expression| {
        Ok(match expression {
            Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
            other => Transformed::no(other),
        })
    })?;
    Ok(name.restore(expression.data))
}
