//! Pipelines: SQL statements that create tables and views, and one `INSERT INTO sink SELECT …`.

use datafusion::common::TableReference;
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Insert, ObjectName, Statement as SqlStatement, TableObject};

use super::statement::{self, is_preparation};
use super::writer::{DataStreamWriter, StreamDataFrame};
use super::{StreamSession, parsing};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::table::StreamTable;

/// Stands in for `PARQUET` where a pipeline creates the table that it writes to.
pub(super) const PARQUET_SINK: &str = "PARQUET_SINK";

/// Runs what comes before and after, and hands back the `INSERT`.
pub(super) async fn pipeline(session: &StreamSession, sql: &str) -> Result<DataStreamWriter> {
    let mut writer = None;
    let statements = parsing::statements(sql)?;
    let target = statements.iter().find_map(target_of);
    for statement in statements {
        match statement {
            Statement::Statement(statement) => match *statement {
                SqlStatement::Insert(insert) => {
                    if writer.is_some() {
                        return Err(Error::query(
                            "the pipeline has more than one INSERT INTO; each is a query with a checkpoint of its own: put them into files of their own",
                        ));
                    }
                    writer = Some(insert_into(session, insert).await?);
                }
                SqlStatement::Query(query) => {
                    return Err(Error::query(format!(
                        "the pipeline has a SELECT that writes nowhere: put INSERT INTO before it: {query}"
                    )));
                }
                statement if is_preparation(&statement) => {
                    execute(session, Statement::Statement(Box::new(statement))).await?;
                }
                other => return Err(not_in_a_pipeline(&other.to_string())),
            },
            Statement::CreateExternalTable(mut create) => {
                let format = create.file_type.to_ascii_lowercase();
                if session.core.source(&format).is_err() && !is_file_format(session, &format) {
                    session.core.sink(&format)?;
                }
                if format == "parquet" && target.as_ref() == Some(&create.name.to_string()) {
                    create.file_type = PARQUET_SINK.into();
                }
                execute(session, Statement::CreateExternalTable(create)).await?;
            }
            other => return Err(not_in_a_pipeline(&other.to_string())),
        }
    }
    writer.ok_or_else(|| {
        Error::query("the pipeline has no INSERT INTO sink SELECT …, so there is nothing to run")
    })
}

/// The table that an `INSERT` names.
fn target_of(statement: &Statement) -> Option<String> {
    let Statement::Statement(statement) = statement else { return None };
    match statement.as_ref() {
        SqlStatement::Insert(Insert { table: TableObject::TableName(name), .. }) => Some(name.to_string()),
        _ => None,
    }
}

/// CSV, JSON, Parquet and what else DataFusion reads: tables to join with.
fn is_file_format(session: &StreamSession, format: &str) -> bool {
    session.context.state_ref().read().table_factories().contains_key(&format.to_ascii_uppercase())
}

fn not_in_a_pipeline(statement: &str) -> Error {
    // What stands in quotes may be a secret.
    let start: String = statement.chars().take_while(|c| *c != '\'').take(60).collect();
    Error::query(format!(
        "a pipeline may hold CREATE EXTERNAL TABLE, CREATE TABLE … AS, CREATE VIEW, SET and one INSERT INTO, not: {start}"
    ))
}

async fn execute(session: &StreamSession, statement: Statement) -> Result<()> {
    let plan = statement::plan(session, statement).await?;
    // What fails here fails for what the statement says, not for a record.
    session.execute(plan).await.map(drop).map_err(|error| match error.kind() {
        ErrorKind::Data => Error::query(error.to_string()),
        _ => error,
    })
}

/// A Kafka table's columns depend on the query, so the `SELECT` is planned alone and its columns are taken by name.
async fn insert_into(session: &StreamSession, insert: Insert) -> Result<DataStreamWriter> {
    let TableObject::TableName(name) = &insert.table else {
        return Err(Error::query("INSERT INTO needs the name of a table"));
    };
    let table = sink_table(session, name).await?;
    if insert.overwrite || insert.on.is_some() || insert.returning.is_some() || insert.replace_into {
        return Err(Error::query("a stream is appended to: write INSERT INTO sink SELECT … without more"));
    }
    let Some(select) = insert.source else {
        return Err(Error::query("INSERT INTO needs a SELECT"));
    };
    let state = session.context.state();
    let statement = Statement::Statement(Box::new(SqlStatement::Query(select)));
    let plan = statement::plan(session, statement).await?;
    let names: Vec<String> = insert.columns.iter().map(ObjectName::to_string).collect();
    let rows = renamed(DataFrame::new(state, plan), &names)?;
    Ok(rows.write_stream().format(&table.0).options(&table.1))
}

async fn sink_table(session: &StreamSession, name: &ObjectName) -> Result<(String, crate::options::Options)> {
    let reference = TableReference::parse_str(&name.to_string());
    let provider = session.context.table_provider(reference).await.map_err(|_| {
        Error::query(format!(
            "INSERT INTO {name}: there is no such table; create it with CREATE EXTERNAL TABLE {name} STORED AS KAFKA LOCATION 'kafka://host:port/topic'"
        ))
    })?;
    let table = provider.downcast_ref::<StreamTable>().ok_or_else(|| {
        Error::query(format!(
            "INSERT INTO {name}: the table is not a stream; create it STORED AS KAFKA, CONSOLE or NOOP"
        ))
    })?;
    Ok((table.format.clone(), table.options.clone()))
}

/// `INSERT INTO sink (key, value) SELECT a, b`: the listed names, in order.
fn renamed(rows: DataFrame, names: &[String]) -> Result<DataFrame> {
    if names.is_empty() {
        return Ok(rows);
    }
    let fields = rows.schema().fields().len();
    if fields != names.len() {
        return Err(Error::query(format!(
            "INSERT INTO names {} columns and the SELECT gives {fields}",
            names.len()
        )));
    }
    let columns: Vec<Expr> = rows
        .schema()
        .columns()
        .into_iter()
        .zip(names)
        .map(|(column, name)| Expr::Column(column).alias(name.trim_matches('"')))
        .collect();
    Ok(rows.select(columns)?)
}
