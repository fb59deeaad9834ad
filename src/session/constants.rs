//! Constants that grow: `repeat('x', 1000000000)` is evaluated while it is planned, and would take all memory.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Alias, Cast, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::error::{Error, Result};

/// Bytes of a constant at most.
const MAX_BYTES: f64 = (64 << 20) as f64;

/// Refuses a plan with a constant that is too large to be made.
///
/// # Errors
/// It has one.
pub(super) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|expression| match expression {
                Expr::ScalarFunction(function) if bytes(expression) > MAX_BYTES => {
                    Err(Error::query(format!(
                        "a call of {} makes a value of more than 64 MiB: write a smaller number",
                        function.name()
                    ))
                    .into())
                }
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(())
}

/// How large the value is, as far as constants tell.
fn bytes(expression: &Expr) -> f64 {
    match expression {
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(text) => text.map_or(0, str::len) as f64,
            None => value.size() as f64,
        },
        Expr::Alias(Alias { expr, .. }) | Expr::Cast(Cast { expr, .. }) => bytes(expr),
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => bytes(left) + bytes(right),
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let number = |at: usize| args.get(at).and_then(number);
            let first = args.first().map_or(1.0, bytes).max(1.0);
            match (func.name(), number(0), number(1)) {
                ("repeat" | "array_repeat" | "list_repeat", _, Some(count)) => first * count.max(0.0),
                ("lpad" | "rpad", _, Some(length)) => length,
                ("array_resize" | "list_resize", _, Some(length)) => 8.0 * length,
                ("space", Some(length), _) => length,
                ("range" | "generate_series", Some(end), None) if args.len() == 1 => 8.0 * end,
                ("range" | "generate_series" | "sequence", Some(start), Some(end)) => {
                    8.0 * (end - start).abs() / number(2).map_or(1.0, f64::abs).max(1.0)
                }
                _ => args.iter().map(bytes).sum(),
            }
        }
        _ => 1.0,
    }
}

/// A number that is written, or reckoned from such.
fn number(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::Literal(value, _) => value.to_string().parse().ok(),
        Expr::Alias(Alias { expr, .. }) | Expr::Cast(Cast { expr, .. }) => number(expr),
        Expr::Negative(expr) => number(expr).map(|value| -value),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (number(left)?, number(right)?);
            match op {
                Operator::Plus => Some(left + right),
                Operator::Minus => Some(left - right),
                Operator::Multiply => Some(left * right),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn checked(select: &str) -> Result<()> {
        let state = SessionContext::new().state();
        check(&state.create_logical_plan(&format!("SELECT {select}")).await.unwrap())
    }

    #[tokio::test]
    async fn what_is_too_large_to_be_made_is_refused_and_nothing_else() {
        for select in [
            "repeat('x', 100000000)",
            "repeat(repeat('ab', 10000), 10000)",
            "lpad('x', 2000000000)",
            "range(1, 1000000000)",
            "concat(repeat('x', 50000000), repeat('x', 50000000))",
            "length(repeat('x', 1000 * 1000 * 1000))",
        ] {
            let error = checked(select).await.unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Query, "{select}: {error}");
            assert!(error.to_string().contains("64 MiB"), "{select}: {error}");
        }
        for select in
            ["repeat('x', 1200000)", "repeat('x', 60000000)", "range(1, 1000)", "repeat('x', -1)", "1 + 1"]
        {
            checked(select).await.unwrap();
        }
    }
}
