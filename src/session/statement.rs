//! From a parsed statement to a plan, with what only the text of a query can tell: where an operation stands in it.

use std::ops::ControlFlow;

use datafusion::datasource::TableType;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Select, Statement as SqlStatement, TableFactor, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::place::Place;
use super::{StreamSession, constants, guard};
use crate::error::Result;
use crate::plan::lateral;
use crate::plan::support::{find_unsupported, reads_stream};
use crate::plan::table::StreamTable;

/// Plans one statement. A query of a stream, or a view of one, that no trigger supports is refused here.
///
/// # Errors
/// The statement names what is not there or not allowed, or asks for what no trigger supports.
pub(super) async fn plan(session: &StreamSession, mut statement: Statement) -> Result<LogicalPlan> {
    if let Statement::Statement(statement) = &mut statement {
        let _ = statement.visit(&mut Unnesting);
    }
    let streams = streams(session, &statement).await?;
    let state = session.context.state();
    let plan = lateral::lift(state.statement_to_plan(statement.clone()).await?)?;
    guard::check(session, &plan).await?;
    constants::check(&plan)?;
    let query = match &plan {
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => view.input.as_ref(),
        LogicalPlan::Ddl(_) | LogicalPlan::Explain(_) | LogicalPlan::Statement(_) => return Ok(plan),
        query => query,
    };
    if reads_stream(query)?
        && let Some(unsupported) = find_unsupported(query)?
    {
        let place = match &statement {
            Statement::Statement(statement) => {
                let is_aggregate = |name: &str| state.aggregate_functions().contains_key(name);
                Place::find(statement, unsupported.operation, &streams, &is_aggregate)
            }
            _ => None,
        };
        return Err(unsupported.error(place.as_deref()));
    }
    Ok(plan)
}

/// The names of streams in the statement.
///
/// # Errors
/// A table whose options are wrong for reading: it has no columns, and "no such column" would not say why.
async fn streams(session: &StreamSession, statement: &Statement) -> Result<Vec<String>> {
    let mut streams = Vec::new();
    for reference in session.context.state().resolve_table_references(statement)? {
        // What is not there is for the planner to say.
        let Ok(provider) = session.context.table_provider(reference.clone()).await else { continue };
        if let Some(table) = provider.downcast_ref::<StreamTable>() {
            table.check_readable()?;
            streams.push(reference.to_string());
        } else if provider.table_type() == TableType::View
            && let Some(plan) = provider.get_logical_plan()
            && reads_stream(&plan)?
        {
            streams.push(reference.to_string());
        }
    }
    Ok(streams)
}

/// Brings the ways to write it into the one that DataFusion plans: `unnest(list)` in a `SELECT`. `explode` is Spark's name;
/// the planner knows `unnest` by its name, so that an alias among the functions would not do. In a `FROM`, behind another
/// table, it is a lateral subquery.
struct Unnesting;

impl VisitorMut for Unnesting {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for (number, from) in select.from.iter_mut().enumerate() {
            let first = (number > 0).then_some(&mut from.relation);
            for factor in first.into_iter().chain(from.joins.iter_mut().map(|join| &mut join.relation)) {
                if let Some(lateral) = lateral_unnest(factor) {
                    *factor = lateral;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression
            && is_explode(&function.name)
        {
            function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]);
        }
        ControlFlow::Continue(())
    }
}

fn is_explode(name: &ObjectName) -> bool {
    is_named(name, "explode")
}

fn is_named(name: &ObjectName, wanted: &str) -> bool {
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case(wanted))
}

/// `UNNEST(a, b) AS t(x, y)` as `LATERAL (SELECT unnest(a), unnest(b)) AS t(x, y)`.
fn lateral_unnest(factor: &TableFactor) -> Option<TableFactor> {
    let is_unnest = |name: &ObjectName| is_explode(name) || is_named(name, "unnest");
    let (lists, alias) = match factor {
        TableFactor::UNNEST { array_exprs, alias, with_offset: false, with_ordinality: false, .. } => {
            (array_exprs.iter().map(ToString::to_string).collect::<Vec<_>>(), alias)
        }
        TableFactor::Function { name, args, alias, .. } if is_unnest(name) => {
            (args.iter().map(ToString::to_string).collect(), alias)
        }
        TableFactor::Table { name, args: Some(args), alias, .. } if is_unnest(name) => {
            (args.args.iter().map(ToString::to_string).collect(), alias)
        }
        _ => return None,
    };
    // As elsewhere, an alias without columns names the one column, too.
    let name = alias.as_ref().filter(|alias| alias.columns.is_empty() && lists.len() == 1);
    let name = name.map(|alias| format!(" AS {}", alias.name)).unwrap_or_default();
    let columns: Vec<_> = lists.iter().map(|list| format!("unnest({list}){name}")).collect();
    let select = format!("SELECT {}", columns.join(", "));
    let parsed = Parser::parse_sql(&GenericDialect {}, &select).ok()?.pop()?;
    let SqlStatement::Query(subquery) = parsed else { return None };
    Some(TableFactor::Derived { lateral: true, subquery, alias: alias.clone(), sample: None })
}

/// Whether a pipeline may run the statement before its `INSERT`.
pub(super) fn is_preparation(statement: &SqlStatement) -> bool {
    matches!(statement, SqlStatement::CreateView(_) | SqlStatement::CreateTable(_) | SqlStatement::Set(_))
}
