//! The evidence that what is exported means the same: each expression of `EXPRESSIONS` over each row of samples, here
//! and, by `tests/spark/expressions.py`, in Spark. Both are compared with one file.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::datasource::MemTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::{Value, json};

use super::expression::Printer;
use super::literal::Kind;
use super::{Refusal, functions};
use crate::plan::rules;

const FILE: &str = "tests/data/spark-4.1.2/expressions.json";
const BLESS: &str = "EPOCHFLOW_BLESS";

/// Over the columns of [`samples`].
const EXPRESSIONS: &[&str] = &[
    // Literals.
    "CAST(NULL AS STRING)",
    "'a''b\\c\"d%_é\n$x{y}'",
    "5",
    "-9223372036854775807",
    "1.5",
    "X'00FF'",
    "true",
    "DATE '2024-02-29'",
    "TIMESTAMP '2024-02-29 23:59:59.123456'",
    // Casts.
    "CAST(b AS STRING)",
    "CAST(s AS BYTEA)",
    "CAST(s AS INT)",
    "CAST(s AS BIGINT)",
    "CAST(s AS SMALLINT)",
    "CAST(s AS DOUBLE)",
    "CAST(s AS FLOAT)",
    "CAST(s AS BOOLEAN)",
    "CAST(s AS DATE)",
    "CAST(CAST(s AS DATE) AS STRING)",
    "CAST(i AS STRING)",
    "CAST(l AS STRING)",
    "CAST(x AS STRING)",
    "CAST(i AS BIGINT)",
    "CAST(l AS INT)",
    "CAST(l AS SMALLINT)",
    "CAST(l AS TINYINT)",
    "CAST(l AS DOUBLE)",
    "CAST(i AS FLOAT)",
    "CAST(d AS BIGINT)",
    "CAST(d AS INT)",
    "CAST(d AS FLOAT)",
    "CAST(l AS BOOLEAN)",
    "CAST(x AS INT)",
    "CAST(t AS DATE)",
    "CAST(CAST(t AS DATE) AS STRING)",
    "TRY_CAST(l AS INT)",
    "TRY_CAST(i AS SMALLINT)",
    // Comparison and logic.
    "s = r",
    "s <> r",
    "s < r",
    "s >= r",
    "b = c",
    "b < c",
    "i = j",
    "i < l",
    "l >= m",
    "l BETWEEN i AND m",
    "l NOT BETWEEN 0 AND 10",
    "d > 1.5",
    "d = 1.5",
    "d <= 100.0",
    "d <> -1.5",
    "x = y",
    "x < y",
    "t < TIMESTAMP '2024-02-29 12:00:00'",
    "t >= TIMESTAMP '1970-01-01 00:00:00.000001'",
    "CAST(t AS DATE) = DATE '2024-02-29'",
    "x AND y",
    "x OR y",
    "NOT x",
    "s IS NULL",
    "s IS NOT NULL",
    "x IS TRUE",
    "x IS NOT TRUE",
    "x IS FALSE",
    "x IS NOT FALSE",
    "x IS UNKNOWN",
    "x IS NOT UNKNOWN",
    "s IS DISTINCT FROM r",
    "i IS NOT DISTINCT FROM j",
    "s IN ('abc', 'ABC', '')",
    "i NOT IN (0, 1, j)",
    "i IN (0, NULL)",
    "d IN (1.5, 2.5)",
    "s LIKE 'a%'",
    "s LIKE '%b_'",
    "s LIKE '_'",
    "s NOT LIKE '%\\%%'",
    "s LIKE '%é%'",
    "CASE WHEN i > 0 THEN 'positive' WHEN i < 0 THEN 'negative' ELSE s END",
    "CASE s WHEN 'abc' THEN 1 WHEN 'ABC' THEN 2 END",
    // Arithmetic.
    "i + j",
    "i - j",
    "i * j",
    "i / j",
    "i % j",
    "l + m",
    "l - m",
    "l * m",
    "l / m",
    "l % m",
    "l / 7",
    "l % 7",
    "i + l",
    "-l",
    "l & m",
    "l | m",
    "l ^ m",
    "d + e",
    "d - e",
    "d * e",
    "d / e",
    "d % e",
    "d * 1.1 + l",
    "abs(l)",
    "abs(d)",
    "sqrt(abs(d))",
    "isnan(d)",
    "to_hex(l)",
    "to_hex(i)",
    // Text.
    "upper(s)",
    "lower(s)",
    "trim(s)",
    "ltrim(s)",
    "rtrim(s)",
    "reverse(s)",
    "length(s)",
    "char_length(s)",
    "octet_length(s)",
    "bit_length(s)",
    "ascii(s)",
    "substr(s, 1)",
    "substr(s, 2)",
    "substr(s, 2, 3)",
    "substring(s, 3, 0)",
    "left(s, 2)",
    "left(s, 0)",
    "right(s, 2)",
    "right(s, 0)",
    "lpad(s, 6, '*é')",
    "lpad(s, 2, 'x')",
    "lpad(s, 6)",
    "rpad(s, 6, '*é')",
    "rpad(s, 2)",
    "repeat(s, 2)",
    "repeat(s, 0)",
    "replace(s, 'b', 'xyz')",
    "replace(s, 'a', '')",
    "translate(s, 'abc', 'xy')",
    "translate(s, r, s)",
    "starts_with(s, r)",
    "starts_with(s, 'ab')",
    "ends_with(s, r)",
    "ends_with(s, 'c')",
    "contains(s, r)",
    "contains(s, 'é')",
    "strpos(s, r)",
    "position('b' IN s)",
    "split_part(s, ',', 1)",
    "split_part(s, ',', 2)",
    "split_part(s, ', ', 9)",
    "levenshtein(s, r)",
    "concat(s, '/', r)",
    "concat(s, i, '-', l)",
    "concat(x, s)",
    "s || r",
    "s || '/' || i",
    "concat_ws(',', s, r)",
    "concat_ws(s, 'a', r, 'b')",
    "s ~ 'b'",
    "s !~ '^a'",
    "regexp_like(s, '^[a-z]+(,|%)')",
    "regexp_like(s, '[^a-c]')",
    "regexp_like(s, 'a\\.b|[0-9]+')",
    "regexp_replace(s, '[b-d]+', '_', 'g')",
    "regexp_replace(s, 'a(b|c)?', '-', 'g')",
    "md5(s)",
    "md5(b)",
    "sha224(s)",
    "sha256(s)",
    "sha256(b)",
    "sha384(b)",
    "sha512(s)",
    "encode(b, 'hex')",
    "encode(sha256(s), 'hex')",
    "coalesce(s, r, 'none')",
    "coalesce(d, 1.5)",
    "ifnull(i, j)",
    "nullif(s, 'abc')",
    "nullif(i, j)",
    "greatest(s, r)",
    "greatest(i, j, 3)",
    "least(l, m)",
    "least(t, TIMESTAMP '2024-01-01')",
    // Times.
    "date_part('year', t)",
    "date_part('quarter', t)",
    "extract(MONTH FROM t)",
    "extract(WEEK FROM t)",
    "extract(DAY FROM t)",
    "date_part('doy', t)",
    "date_part('hour', t)",
    "date_part('minute', t)",
    "date_part('year', CAST(t AS DATE))",
    "date_trunc('year', t)",
    "date_trunc('quarter', t)",
    "date_trunc('month', t)",
    "date_trunc('week', t)",
    "date_trunc('day', t)",
    "date_trunc('hour', t)",
    "date_trunc('minute', t)",
    "date_trunc('second', t)",
];

/// Values that are known for trouble, once with themselves and once with others.
fn samples() -> RecordBatch {
    let s = [
        Some("abc"),
        Some("ABC"),
        Some(""),
        None,
        Some(" a b\t"),
        Some("héllo wörld"),
        Some("ß İ ǅ Σας"),
        Some("12"),
        Some(" 12 "),
        Some("-7.5"),
        Some("1e3"),
        Some("true"),
        Some("f"),
        Some("2024-02-29"),
        Some("a,b, c"),
        Some("50%_\\x"),
        Some("😀b"),
        Some("a\nb"),
        Some("a.b"),
        Some("NaN"),
        Some("9223372036854775807"),
        Some("32768"),
        Some("abc"),
        Some("+5"),
    ]; // fmt: keep
    let b: [Option<&[u8]>; 8] = [
        Some(b"abc"),
        Some(b""),
        None,
        Some(b"\x00\xff"),
        Some("é".as_bytes()),
        Some(b"\xc3"),
        Some(b"abd"),
        Some(b"ab"),
    ];
    let i = [Some(0), Some(1), Some(-1), None, Some(7), Some(i32::MAX), Some(i32::MIN), Some(-8), Some(100)];
    let l = [
        Some(0),
        Some(5),
        None,
        Some(-5),
        Some(7),
        Some(i64::MAX),
        Some(i64::MIN),
        Some(1 << 40),
        Some(-129),
        Some(9_007_199_254_740_993),
        Some(65_535),
    ]; // fmt: keep
    let d = [
        Some(0.0),
        Some(-0.0),
        Some(1.5),
        None,
        Some(-1.5),
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        Some(1e300),
        Some(2.5),
        Some(0.1),
        Some(123_456_789.987),
        Some(-99.99),
    ]; // fmt: keep
    let x = [Some(true), Some(false), None];
    let t = [
        Some(0),
        Some(-1),
        None,
        Some(1_709_251_199_123_456),
        Some(1_709_164_800_000_000),
        Some(1_735_689_599_999_999),
        Some(-62_135_596_800_000_000),
        Some(1_483_228_800_000_001),
        Some(253_402_300_799_999_999),
        Some(951_782_400_000_000),
    ]; // fmt: keep
    let rows = 72;
    fn column<T: Copy>(values: &[T], rows: usize, step: usize) -> impl Iterator<Item = T> {
        (0..rows).map(move |row| values[(row * step + row / values.len() * (step - 1)) % values.len()])
    }
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("s", Arc::new(column(&s, rows, 1).collect::<StringArray>())),
        ("r", Arc::new(column(&s, rows, 5).collect::<StringArray>())),
        ("b", Arc::new(column(&b, rows, 1).collect::<BinaryArray>())),
        ("c", Arc::new(column(&b, rows, 3).collect::<BinaryArray>())),
        ("i", Arc::new(column(&i, rows, 1).collect::<Int32Array>())),
        ("j", Arc::new(column(&i, rows, 2).collect::<Int32Array>())),
        ("l", Arc::new(column(&l, rows, 1).collect::<Int64Array>())),
        ("m", Arc::new(column(&l, rows, 3).collect::<Int64Array>())),
        ("d", Arc::new(column(&d, rows, 1).collect::<Float64Array>())),
        ("e", Arc::new(column(&d, rows, 5).collect::<Float64Array>())),
        ("x", Arc::new(column(&x, rows, 1).collect::<BooleanArray>())),
        ("y", Arc::new(column(&x, rows, 2).collect::<BooleanArray>())),
        ("t", Arc::new(column(&t, rows, 1).collect::<TimestampMicrosecondArray>())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// Values without loss: integers, days and microseconds as numbers, binary and the bits of a double in hex.
fn values(array: &ArrayRef) -> Vec<Value> {
    fn hex(bytes: &[u8]) -> Value {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
    }
    let each = |value: &dyn Fn(usize) -> Value| -> Vec<Value> {
        (0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { value(row) }).collect()
    };
    let cast = |to: DataType| cast(array, &to).unwrap();
    let text = |array: &ArrayRef| array.as_string::<i32>().clone();
    match Kind::of(array.data_type()).unwrap() {
        Kind::Boolean => each(&|row| array.as_boolean().value(row).into()),
        kind if kind.is_integer() => {
            let array = cast(DataType::Int64);
            each(&|row| array.as_primitive::<Int64Type>().value(row).into())
        }
        kind if kind.is_float() => {
            let array = cast(DataType::Float64);
            each(&|row| {
                let value = array.as_primitive::<Float64Type>().value(row);
                if value.is_nan() { "NaN".into() } else { hex(&value.to_be_bytes()) }
            })
        }
        Kind::Text => {
            let array = text(&cast(DataType::Utf8));
            each(&|row| array.value(row).into())
        }
        Kind::Binary => {
            let array = cast(DataType::Binary);
            each(&|row| hex(array.as_binary::<i32>().value(row)))
        }
        Kind::Date => each(&|row| array.as_primitive::<Date32Type>().value(row).into()),
        Kind::Timestamp => {
            let array = cast(DataType::Timestamp(TimeUnit::Microsecond, None));
            each(&|row| array.as_primitive::<TimestampMicrosecondType>().value(row).into())
        }
        kind => panic!("{kind:?}"),
    }
}

fn context(batch: &RecordBatch) -> SessionContext {
    let builder = SessionStateBuilder::new().with_config(rules::streaming_config(SessionConfig::new()));
    let mut context = SessionContext::new_with_state(rules::streaming_state(builder).build());
    datafusion_functions_json::register_all(&mut context).unwrap();
    let table = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]).unwrap();
    context.register_table("samples", Arc::new(table)).unwrap();
    context
}

/// The plan with explicit casts, and the expression in Spark's SQL.
async fn planned(context: &SessionContext, sql: &str) -> (LogicalPlan, Result<String, Refusal>) {
    let state = context.state();
    let plan = state.create_logical_plan(&format!("SELECT {sql} AS result FROM samples")).await;
    let plan = plan.unwrap_or_else(|e| panic!("{sql}: {}", e.strip_backtrace()));
    let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {});
    let plan = plan.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let LogicalPlan::Projection(projection) = &plan else { panic!("{sql}: {plan}") };
    let printer = Printer { schema: projection.input.schema() };
    let printed = printer.print(&projection.expr[0]).map(|printed| printed.text);
    (plan, printed)
}

/// The values here, `{"fails": true}` for a row that ends a query.
fn evaluated(context: &SessionContext, plan: &LogicalPlan, samples: &RecordBatch) -> Vec<Value> {
    let LogicalPlan::Projection(projection) = plan else { panic!("{plan}") };
    let schema = projection.input.schema();
    // As the optimiser does: some functions exist in plans only.
    let simplifier = ExprSimplifier::new(SimplifyContext::builder().with_schema(Arc::clone(schema)).build());
    let expr = simplifier.simplify(projection.expr[0].clone()).unwrap();
    let expr = context.create_physical_expr(expr, schema).unwrap();
    let run = |rows: &RecordBatch| Some(values(&expr.evaluate(rows).ok()?.into_array(rows.num_rows()).ok()?));
    let one_by_one = || {
        // Not a slice: a cast looks at all bytes behind one.
        let row = |row: u32| take_record_batch(samples, &UInt32Array::from(vec![row])).unwrap();
        let rows = 0..u32::try_from(samples.num_rows()).unwrap();
        rows.flat_map(|n| run(&row(n)).unwrap_or_else(|| vec![json!({ "fails": true })])).collect()
    };
    run(samples).unwrap_or_else(one_by_one)
}

/// With `EPOCHFLOW_BLESS` set the file is written anew; `tests/spark/expressions.py` then has to be run.
#[tokio::test]
async fn expressions_give_the_values_that_spark_gives() {
    let samples = samples();
    let context = context(&samples);
    let (mut expressions, mut problems) = (Vec::new(), Vec::new());
    for sql in EXPRESSIONS {
        let (plan, spark) = planned(&context, sql).await;
        let spark = match spark {
            Ok(spark) => spark,
            Err(refusal) => {
                problems.push(format!("{sql} is refused: {}", refusal.what));
                continue;
            }
        };
        let kind = Kind::of(plan.schema().field(0).data_type()).unwrap();
        let values = evaluated(&context, &plan, &samples);
        expressions.push(json!({ "sql": sql, "spark": spark, "type": kind.name(), "values": values }));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let columns: serde_json::Map<String, Value> = samples
        .schema()
        .fields()
        .iter()
        .zip(samples.columns())
        .map(|(field, array)| {
            let kind = Kind::of(field.data_type()).unwrap();
            (field.name().clone(), json!({ "type": kind.name(), "values": values(array) }))
        })
        .collect();
    let lines = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(",\n");
    let found = format!(
        "{{\"columns\": {},\n\"expressions\": [\n{}\n]}}\n",
        Value::from(columns),
        lines(&expressions)
    );
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(FILE);
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(&file, found).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected, "set {BLESS}=1, and compare with Spark: tests/run-spark");
    }
    assert_eq!(found.len(), expected.len());
}

/// Nothing is on the list without evidence.
#[tokio::test]
async fn every_function_on_the_list_is_compared() {
    let context = context(&samples());
    let mut called = BTreeSet::new();
    for sql in EXPRESSIONS {
        use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
        let (plan, _) = planned(&context, sql).await;
        for expr in plan.expressions() {
            expr.apply(|expr| {
                if let datafusion::logical_expr::Expr::ScalarFunction(function) = expr {
                    called.insert(function.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        }
    }
    let missing: Vec<_> = functions::names().filter(|name| !called.contains(*name)).collect();
    assert!(missing.is_empty(), "not compared: {missing:?}");
}

#[test]
fn the_page_names_every_function_on_the_lists() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/coming-from-spark.md")).unwrap();
    let missing: Vec<_> = functions::names()
        .chain(functions::different())
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    assert!(missing.is_empty(), "docs/coming-from-spark.md lacks {missing:?}");
}

#[tokio::test]
async fn what_differs_is_refused_with_the_reason_and_the_way_out() {
    let context = context(&samples());
    for (sql, what, way_out) in [
        ("CAST(d AS STRING)", "gives another value", "BIGINT"),
        ("CAST(t AS STRING)", "gives another value", "date_part"),
        ("CAST(t AS BIGINT)", "gives another value", "date_trunc"),
        ("TRY_CAST(s AS INT)", "other texts", "CAST"),
        ("d = e", "-0.0", "literal"),
        ("d > 0.0", "-0.0", "literal"),
        ("s ILIKE 'a%'", "ILIKE", "lower"),
        ("s LIKE r", "no literal", "pattern"),
        ("substr(s, i)", "from 1", "literal number"),
        ("substr(s, -2)", "from 1", "literal number"),
        ("left(s, -1)", "from 0", "literal number"),
        ("replace(s, '', 'x')", "not empty", "literal"),
        ("s ~ 'a.c'", "literal pattern", "punctuation"),
        ("s ~ '\\d+'", "literal pattern", "punctuation"),
        ("regexp_like(s, '(?i)a')", "literal pattern", "punctuation"),
        ("regexp_like(s, '[a&&b]')", "literal pattern", "punctuation"),
        ("regexp_replace(s, 'a', 'b')", "regexp_replace() with these arguments", "docs"),
        ("regexp_replace(s, 'a?', 'b', 'g')", "empty text", "pattern"),
        ("regexp_replace(s, '(a)', '$1', 'g')", "$", "replacement"),
        ("initcap(s)", "after a blank in Spark", "upper"),
        ("chr(i)", "modulo 256", "literal"),
        ("round(d)", "decimal notation", "BIGINT"),
        ("now()", "each micro-batch", "timestamp"),
        ("json_get_str(s, 'a')", "no counterpart", "LIKE"),
        ("s->'a'->>'b'", "no counterpart", "LIKE"),
        ("greatest(d, e)", "-0.0", "CASE"),
        ("date_part('second', t)", "one of the literals", "hour"),
        ("t + INTERVAL '1 hour'", "Interval", "use text"),
        ("arrow_cast(i, 'UInt32')", "UInt32", "signed integer"),
        ("make_array(i)", "List", "use text"),
    ] {
        let (_, printed) = planned(&context, sql).await;
        let refusal = printed.expect_err(sql);
        assert!(refusal.what.contains(what) && refusal.way_out.contains(way_out), "{sql}: {refusal:?}");
    }
}
