//! Where an operation stands in the text of a query.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinOperator, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned, Statement,
    TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Location, Span};

use crate::plan::support::Operation;

/// Looks for the first operation of one kind in the parts of a statement that read a stream.
pub(super) struct Place<'a> {
    operation: Operation,
    streams: &'a [String],
    is_aggregate: &'a dyn Fn(&str) -> bool,
    /// How many of the queries around the current node read static tables only.
    within_static: usize,
}

impl<'a> Place<'a> {
    /// As in `line 3, column 7`; `None` if the parser did not keep the place.
    pub(super) fn find(
        statement: &Statement,
        operation: Operation,
        streams: &'a [String],
        is_aggregate: &'a dyn Fn(&str) -> bool,
    ) -> Option<String> {
        let mut place = Place { operation, streams, is_aggregate, within_static: 0 };
        let ControlFlow::Break(Location { line, column }) = statement.visit(&mut place) else {
            return None;
        };
        Some(format!("line {line}, column {column}"))
    }

    fn at(&self, operation: Operation, span: Span) -> ControlFlow<Location> {
        let is_known = span.start.line > 0;
        if self.operation == operation && is_known && self.within_static == 0 {
            return ControlFlow::Break(span.start);
        }
        ControlFlow::Continue(())
    }

    /// Whether the query names tables and no stream is among them. A name that is not a stream may be a `WITH` of one.
    fn is_static(&self, query: &Query) -> bool {
        let mut names = Names::default();
        let _ = query.visit(&mut names);
        query.with.is_none()
            && !names.0.is_empty()
            && !self.streams.is_empty()
            && !names.0.iter().any(|name| self.is_stream(name))
    }

    fn is_stream(&self, name: &str) -> bool {
        self.streams.iter().any(|stream| stream.eq_ignore_ascii_case(name))
    }

    fn join(&self, select: &Select) -> ControlFlow<Location> {
        let joins = || select.from.iter().flat_map(|from| &from.joins);
        let reads_stream = |factor: &TableFactor| match factor {
            TableFactor::Table { name, .. } => self.is_stream(&name.to_string()),
            _ => false,
        };
        let is_outer =
            |operator: &JoinOperator| !matches!(operator, JoinOperator::Join(_) | JoinOperator::Inner(_));
        let join = joins()
            .find(|join| reads_stream(&join.relation))
            .or_else(|| joins().find(|join| is_outer(&join.join_operator)))
            .or_else(|| joins().next());
        match (join, select.from.get(1)) {
            (Some(join), _) => self.at(Operation::Join, join.relation.span()),
            (None, Some(second)) => self.at(Operation::Join, second.relation.span()),
            (None, None) => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Place<'_> {
    type Break = Location;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Location> {
        if self.is_static(query) {
            self.within_static += 1;
        }
        if let Some(order) = &query.order_by {
            self.at(Operation::Sort, order.span())?;
        }
        if let Some(limit) = &query.limit_clause {
            self.at(Operation::Limit, limit.span())?;
        }
        if let Some(fetch) = &query.fetch {
            self.at(Operation::Limit, fetch.span())?;
        }
        match query.body.as_ref() {
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, right, .. }
                if *set_quantifier != SetQuantifier::All =>
            {
                self.at(Operation::Distinct, right.span())
            }
            SetExpr::Values(values) => self.at(Operation::Values, values.span()),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Location> {
        if self.is_static(query) {
            self.within_static -= 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Location> {
        if select.distinct.is_some() {
            self.at(Operation::Distinct, select.select_token.0.span)?;
        }
        if let GroupByExpr::Expressions(expressions, _) = &select.group_by
            && let Some(first) = expressions.first()
        {
            self.at(Operation::Aggregate, first.span())?;
        }
        self.join(select)
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<Location> {
        match expression {
            Expr::Function(function) if function.over.is_some() => {
                self.at(Operation::Window, function.span())
            }
            Expr::Function(function)
                if (self.is_aggregate)(&function.name.to_string().to_ascii_lowercase()) =>
            {
                self.at(Operation::Aggregate, function.span())
            }
            Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } => {
                self.at(Operation::Subquery, expression.span())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The tables that are named in a part of a statement.
#[derive(Default)]
struct Names(Vec<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_relation(
        &mut self,
        relation: &datafusion::sql::sqlparser::ast::ObjectName,
    ) -> ControlFlow<()> {
        self.0.push(relation.to_string());
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn find(sql: &str, operation: Operation) -> Option<String> {
        let statement = Parser::parse_sql(&GenericDialect {}, sql).unwrap().remove(0);
        let streams = ["events".to_owned(), "other".to_owned()];
        Place::find(&statement, operation, &streams, &|name| name == "count" || name == "max")
    }

    #[test]
    fn the_line_and_column_of_each_operation() {
        for (sql, operation, expected) in [
            ("SELECT text,\n  count(*) FROM events", Operation::Aggregate, "line 2, column 3"),
            ("SELECT text FROM events\nGROUP BY text", Operation::Aggregate, "line 2, column 10"),
            ("SELECT text FROM events ORDER BY text", Operation::Sort, "line 1, column 34"),
            ("SELECT text FROM events\n\n LIMIT 5", Operation::Limit, "line 3, column 8"),
            ("SELECT *\nFROM (SELECT DISTINCT text FROM events)", Operation::Distinct, "line 2, column 7"),
            ("SELECT a FROM events\nUNION\nSELECT a FROM other", Operation::Distinct, "line 3, column 1"),
            ("SELECT row_number() OVER () FROM events", Operation::Window, "line 1, column 8"),
            (
                "SELECT 1 FROM events JOIN fixed ON a = b\nJOIN other ON a = c",
                Operation::Join,
                "line 2, column 6",
            ),
            (
                "SELECT (SELECT max(a) FROM fixed),\n count(*) FROM events",
                Operation::Aggregate,
                "line 2, column 2",
            ),
        ] {
            assert_eq!(find(sql, operation).as_deref(), Some(expected), "{sql}");
        }
    }
}
