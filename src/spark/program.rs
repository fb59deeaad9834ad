//! The text of the program.

use std::fmt::Write as _;
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;

use super::literal::Kind;
use super::options::{Side, Table, table_options};
use super::rows::Rows;
use super::{Refusal, SparkDifference, SparkQuery, SparkTrigger, location, python};
use crate::query::Trigger;

/// Settings of a Spark session that decide what an expression means. The first three are Spark 4's defaults.
const SETTINGS: &[(&str, &str)] = &[
    ("spark.sql.ansi.enabled", "true"),
    ("spark.sql.parser.escapedStringLiterals", "false"),
    ("spark.sql.timestampType", "TIMESTAMP_LTZ"),
    ("spark.sql.session.timeZone", "UTC"),
    ("spark.sql.caseSensitive", "true"),
    ("spark.sql.variable.substitute", "false"),
];

/// The sink's table, if it can be said in Spark.
pub(super) fn writer(
    query: &SparkQuery<'_>,
    schema: &DFSchema,
    trigger: SparkTrigger,
    differences: &mut Vec<SparkDifference>,
) -> Table {
    let mut refused = Vec::new();
    let table = table_options(query.format, query.options, Side::Sink, trigger).unwrap_or_else(|refusals| {
        refused.extend(refusals);
        Table { format: String::new(), options: Vec::new() }
    });
    if query.format.eq_ignore_ascii_case("kafka") {
        refused
            .extend(schema.fields().iter().filter_map(|field| kafka_column(field.name(), field.data_type())));
    }
    if let Some(Err(refusal)) = query.checkpoint.map(location::location) {
        refused.push(refusal);
    }
    if let SparkTrigger::RealTime(batch) = trigger
        && batch < Duration::from_secs(5)
    {
        refused.push(Refusal {
            what: format!("a batch in real time of {} ms", batch.as_millis()),
            way_out: "Spark takes 5 s or more: --trigger real-time:5s".into(),
        });
    }
    differences.extend(refused.into_iter().map(|Refusal { what, way_out }| SparkDifference {
        place: "INSERT INTO".into(),
        what,
        way_out,
    }));
    table
}

/// Where Spark's Kafka sink takes a column of this engine's otherwise.
fn kafka_column(name: &str, data_type: &DataType) -> Option<Refusal> {
    let refused = |what: &str, way_out: &str| Some(Refusal { what: what.into(), way_out: way_out.into() });
    match (name, Kind::of(data_type)) {
        ("timestamp", _) => refused(
            "a column 'timestamp' sets the record's time here, and Spark ignores it",
            "name the columns without it: SELECT key, value",
        ),
        ("partition", Some(Kind::Int)) | ("key" | "value", Some(Kind::Text | Kind::Binary)) => None,
        ("topic", Some(Kind::Text)) => None,
        ("partition", _) => {
            refused("Spark takes a column 'partition' of the type INT only", "CAST(… AS INT)")
        }
        ("key" | "value" | "topic", Some(Kind::Null)) => {
            refused(&format!("the column '{name}' is a NULL without a type"), "write CAST(NULL AS STRING)")
        }
        ("headers", _) if !has_binary_values(data_type) => {
            refused("Spark takes header values that are binary only", "pass the column headers on as it is")
        }
        _ => None,
    }
}

fn has_binary_values(headers: &DataType) -> bool {
    let DataType::List(entry) = headers else { return false };
    let DataType::Struct(fields) = entry.data_type() else { return false };
    fields.last().is_some_and(|value| Kind::of(value.data_type()) == Some(Kind::Binary))
}

/// The program.
pub(super) fn program(query: &SparkQuery<'_>, rows: &Rows, sink: &Table, trigger: SparkTrigger) -> String {
    let uses_environment = rows
        .tables
        .iter()
        .map(|(_, table)| table)
        .chain([sink])
        .any(|table| table.options.iter().any(|(_, value)| value.contains("os.environ[")));
    let (argument, checkpoint) = match query.checkpoint {
        Some(location) => ("", python(&location::location(location).unwrap_or_default())),
        None => (" CHECKPOINT", "sys.argv[1]".to_owned()),
    };
    let imports: String = [
        ("os", uses_environment),
        ("signal", true),
        ("sys", query.checkpoint.is_none()),
        ("threading", true),
    ]
    .into_iter()
    .filter(|(_, is_needed)| *is_needed)
    .map(|(module, _)| format!("import {module}\n"))
    .collect();
    let mut settings = String::new();
    for (name, value) in SETTINGS {
        let _ = write!(settings, "\n    .config(\"{name}\", \"{value}\")");
    }
    let mut text = format!(
        r#"# Printed by `epochflow export-spark`, for Apache Spark 4.1:
#   spark-submit --packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.1.2 THIS_FILE{argument}
# Stop epochflow first. Two queries on one checkpoint damage each other's plans.

{imports}
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName({name})
    # What the expressions below mean depends on these.{settings}
    .getOrCreate()
)
"#,
        name = python(query.name.unwrap_or("epochflow")),
    );
    for (function, table) in &rows.tables {
        let _ = write!(
            text,
            "\n\ndef {function}():\n    return (\n        spark.readStream.format({}){}\n        .load()\n    )\n",
            python(&table.format),
            options(table, 8)
        );
    }
    let (trigger, real_time) = trigger_calls(trigger);
    let _ = write!(
        text,
        r#"

rows = (
    {chain}
)

writer = (
    rows.writeStream.format({format}){options}
    .option("checkpointLocation", {checkpoint}){trigger}
)
{real_time}query = writer.start()
print(f"id {{query.id}}", flush=True)

# In a thread of its own: the main one is inside Spark.
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=query.stop).start())
query.awaitTermination()
spark.stop()
"#,
        chain = rows.chain,
        format = python(&sink.format),
        options = options(sink, 4),
    );
    text
}

fn options(table: &Table, indent: usize) -> String {
    table
        .options
        .iter()
        .map(|(name, value)| format!("\n{:indent$}.option({}, {value})", "", python(name)))
        .collect()
}

/// Calls of the writer, and statements after it.
fn trigger_calls(trigger: SparkTrigger) -> (String, String) {
    let millis = |interval: Duration| format!("\"{} milliseconds\"", interval.as_millis());
    let call = |call: String| (format!("\n    .trigger({call})"), String::new());
    match trigger {
        SparkTrigger::Like(Trigger::Continuous(interval)) => call(format!("continuous={}", millis(interval))),
        SparkTrigger::Like(Trigger::ProcessingTime(interval)) => {
            call(format!("processingTime={}", millis(interval)))
        }
        SparkTrigger::Like(Trigger::AvailableNow) => call("availableNow=True".to_owned()),
        SparkTrigger::Like(Trigger::Once) => call("once=True".to_owned()),
        SparkTrigger::RealTime(batch) => (
            "\n    .outputMode(\"update\")".to_owned(),
            format!(
                "# PySpark names this trigger from 4.2 on.\nreal_time = spark._jvm.org.apache.spark.sql.streaming.Trigger.RealTime({})\nwriter._jwrite = writer._jwrite.trigger(real_time)\n",
                millis(batch)
            ),
        ),
    }
}
