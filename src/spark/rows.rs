//! The plan as a chain of PySpark's data frames.

use std::fmt::Write as _;

use datafusion::catalog::TableProvider;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::expression::{Printer, identifier};
use super::options::{Side, Table, table_options};
use super::{Refusal, SparkDifference, SparkTrigger, python};
use crate::plan::table::StreamTable;
use crate::query::Trigger;

/// What is read, and what becomes of it.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// One function for each table. Each call is a source of its own, as each mention in a query is here.
    pub(super) tables: Vec<(String, Table)>,
    /// The chain, as an expression of Python.
    pub(super) chain: String,
}

impl Rows {
    /// Notes what cannot be said in Spark.
    pub(super) fn of(
        plan: &LogicalPlan,
        trigger: SparkTrigger,
        differences: &mut Vec<SparkDifference>,
    ) -> Self {
        let mut visit = Visit { trigger, differences, tables: Vec::new() };
        let chain = visit.chain(plan);
        Self { chain, tables: visit.tables }
    }
}

struct Visit<'a> {
    trigger: SparkTrigger,
    differences: &'a mut Vec<SparkDifference>,
    tables: Vec<(String, Table)>,
}

impl Visit<'_> {
    fn chain(&mut self, plan: &LogicalPlan) -> String {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.chain(&alias.input),
            LogicalPlan::Filter(filter) => {
                let input = self.chain(&filter.input);
                let printer = Printer { schema: filter.input.schema() };
                let condition = printer.print(&filter.predicate).map(|printed| printed.text);
                let condition = self.or_note(condition, "WHERE", &filter.predicate);
                format!("{input}\n    .where({})", python(&condition))
            }
            LogicalPlan::Projection(projection) => {
                let mut chain = self.chain(&projection.input);
                chain += "\n    .selectExpr(";
                for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
                    let column = column(&Printer { schema: projection.input.schema() }, expr, field.name());
                    let column = self.or_note(column, &format!("column {}", field.name()), expr);
                    let _ = write!(chain, "\n        {},", python(&column));
                }
                chain + "\n    )"
            }
            LogicalPlan::Union(union) => {
                if matches!(self.trigger, SparkTrigger::Like(Trigger::Continuous(_))) {
                    self.note(
                        "UNION ALL".to_owned(),
                        "Spark's continuous trigger does not take it".to_owned(),
                        "export for a micro-batch trigger: --trigger processing-time:1s".to_owned(),
                    );
                }
                let mut chains: Vec<_> = union.inputs.iter().map(|input| self.chain(input)).collect();
                let rest = chains.split_off(1.min(chains.len()));
                let mut chain = chains.concat();
                for other in rest {
                    let _ = write!(chain, "\n    .union(\n        {}\n    )", other.replace('\n', "\n    "));
                }
                chain
            }
            LogicalPlan::Unnest(_) => {
                self.note(
                    "unnest".to_owned(),
                    "it was not found to be the same as Spark's explode, which drops nulls and which its continuous trigger does not take".to_owned(),
                    "write whole lists out, and take them apart in the system that reads them".to_owned(),
                );
                String::new()
            }
            other => {
                self.note(
                    other.display().to_string(),
                    "it has no counterpart that was checked".to_owned(),
                    "write a SELECT of columns and conditions".to_owned(),
                );
                String::new()
            }
        }
    }

    fn scan(&mut self, scan: &TableScan) -> String {
        let name = scan.table_name.table();
        let provider = source_as_provider(&scan.source).ok();
        let table = provider
            .as_ref()
            .and_then(|provider| (provider.as_ref() as &dyn TableProvider).downcast_ref::<StreamTable>());
        let place = format!("table {name}");
        let Some(table) = table else {
            self.note(place, "it is no stream".to_owned(), "read a table STORED AS KAFKA".to_owned());
            return String::new();
        };
        let table = match table_options(&table.format, &table.options, Side::Source, self.trigger) {
            Ok(table) => table,
            Err(refusals) => {
                for Refusal { what, way_out } in refusals {
                    self.note(place.clone(), what, way_out);
                }
                return String::new();
            }
        };
        let wanted = function_name(name);
        let mut function = wanted.clone();
        let mut number = 1;
        while self.tables.iter().any(|(known, other)| *known == function && *other != table) {
            number += 1;
            function = format!("{wanted}_{number}");
        }
        let call = format!("{function}()");
        if !self.tables.iter().any(|(known, _)| *known == function) {
            self.tables.push((function, table));
        }
        call
    }

    fn note(&mut self, place: String, what: String, way_out: String) {
        let difference = SparkDifference { place, what, way_out };
        // A table that is read twice says it once.
        if !self.differences.contains(&difference) {
            self.differences.push(difference);
        }
    }

    fn or_note(&mut self, printed: Result<String, Refusal>, clause: &str, expr: &Expr) -> String {
        printed.unwrap_or_else(|refusal| {
            let line = first_line(expr).map(|line| format!("line {line}, ")).unwrap_or_default();
            self.note(format!("{line}{clause}"), refusal.what, refusal.way_out);
            String::new()
        })
    }
}

/// `expression AS name`, or only the name of a column that is passed on: such a one may have any type.
fn column(printer: &Printer<'_>, expr: &Expr, name: &str) -> Result<String, Refusal> {
    let text = match expr.clone().unalias() {
        Expr::Column(column) if column.name == name => return Ok(identifier(name)),
        Expr::Column(column) => identifier(&column.name),
        _ => printer.print(expr)?.text,
    };
    Ok(format!("{text} AS {}", identifier(name)))
}

/// The line in the SQL of the first column that the expression names, if the session collects places.
fn first_line(expr: &Expr) -> Option<u64> {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut line = None;
    let visited = expr.apply(|expr| {
        line = expr.spans().and_then(|spans| spans.first()).map(|span| span.start.line);
        Ok(if line.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.ok().and(line)
}

/// `read_<table>`, in letters that Python takes.
fn function_name(table: &str) -> String {
    let letters = table.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    format!("read_{}", letters.collect::<String>())
}
