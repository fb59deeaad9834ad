//! From a parsed statement to a plan, with what only the text of a query can tell: where an operation stands in it.

use std::ops::ControlFlow;

use datafusion::datasource::TableType;
use datafusion::logical_expr::{DdlStatement, LogicalPlan};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Statement as SqlStatement, VisitMut, VisitorMut,
};

use super::StreamSession;
use super::place::Place;
use crate::error::Result;
use crate::plan::support::{find_unsupported, reads_stream};
use crate::plan::table::StreamTable;

/// Plans one statement. A query of a stream, or a view of one, that no trigger supports is refused here.
///
/// # Errors
/// The statement names what is not there, or asks for what no trigger supports.
pub(super) async fn plan(session: &StreamSession, mut statement: Statement) -> Result<LogicalPlan> {
    if let Statement::Statement(statement) = &mut statement {
        let _ = statement.visit(&mut SparkNames);
    }
    let streams = streams(session, &statement).await?;
    let state = session.context.state();
    let plan = state.statement_to_plan(statement.clone()).await?;
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

/// `explode(list)`, as Spark has it, is `unnest(list)`. SQL planners know the latter by its name, so that an alias among
/// the functions would not do.
struct SparkNames;

impl VisitorMut for SparkNames {
    type Break = ();

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
    matches!(name.0.as_slice(), [ObjectNamePart::Identifier(name)] if name.value.eq_ignore_ascii_case("explode"))
}

/// Whether a pipeline may run the statement before its `INSERT`.
pub(super) fn is_preparation(statement: &SqlStatement) -> bool {
    matches!(statement, SqlStatement::CreateView(_) | SqlStatement::CreateTable(_) | SqlStatement::Set(_))
}
