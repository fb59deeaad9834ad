//! What a query may do with a stream beyond projections: several rows for one, async functions, clocks, JSON, Spark's SQL.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, ListArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type};
use datafusion::common::exec_err;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility, create_udf,
};
use epochflow::checkpoint::{Checkpoint, OffsetEntry, OffsetMetadata};
use epochflow::{EpochId, ErrorKind, StreamDataFrame, StreamSession, StreamingQuery, Trigger};
use tokio::sync::Barrier;

use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::{eventually, in_time};

fn session(script: &Script, sink: &Recording) -> StreamSession {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    session
}

async fn start(session: &StreamSession, sql: &str, trigger: Trigger) -> StreamingQuery {
    let rows = session.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let writer = rows.write_stream().format("recording").trigger(trigger);
    in_time(sql, writer.start()).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// What `sql` makes of `records`, in a session that has run `setup`.
async fn rows(setup: &[&str], sql: &str, records: &[&str]) -> Vec<String> {
    let (script, sink) = (Script::new(1), Recording::default());
    records.iter().for_each(|record| script.push(0, *record));
    let session = session(&script, &sink);
    for statement in setup {
        session.sql(statement).await.unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    let query = start(&session, sql, Trigger::Once).await;
    in_time(sql, query.await_termination()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    sink.written()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_rows_for_one_and_views() {
    let views: &[&str] = &[
        "CREATE VIEW words AS SELECT unnest(string_to_array(text, ' ')) AS word, \"offset\" FROM events",
        "CREATE VIEW long_words AS SELECT word FROM words WHERE length(word) > 1",
    ];
    for (sql, expected) in [
        ("SELECT explode(string_to_array(text, ' ')) AS word FROM events", &["a", "bb", "c", "dd"][..]),
        ("SELECT EXPLODE(ARRAY[text, 'x']) FROM events", &["a bb", "x", "c dd", "x"]),
        (
            "SELECT text || '/' || w FROM events CROSS JOIN UNNEST(string_to_array(text, ' ')) AS t(w)",
            &["a bb/a", "a bb/bb", "c dd/c", "c dd/dd"],
        ),
        (
            "SELECT e.text || '/' || w.w FROM events e, LATERAL explode(string_to_array(e.text, ' ')) AS w WHERE w.w > 'b'",
            &["a bb/bb", "c dd/c", "c dd/dd"],
        ),
        (
            "SELECT w FROM events e JOIN LATERAL (SELECT unnest(string_to_array(e.text, ' ')) AS w) AS t ON w <> 'a'",
            &["bb", "c", "dd"],
        ),
        (
            "SELECT w || n FROM events CROSS JOIN UNNEST(string_to_array(text, ' ')) t(w) CROSS JOIN UNNEST(['1', '2']) AS u(n) WHERE w = 'a'",
            &["a1", "a2"],
        ),
        ("SELECT upper(word) FROM long_words", &["BB", "DD"]),
        (
            "WITH w AS (SELECT word FROM words UNION ALL SELECT word FROM long_words) SELECT word FROM w WHERE word = 'bb'",
            &["bb", "bb"],
        ),
        (
            "SELECT CASE WHEN word = 'a' THEN 'first' ELSE CAST(\"offset\" AS VARCHAR) END FROM words",
            &["first", "0", "1", "1"],
        ),
    ] {
        assert_eq!(rows(views, sql, &["a bb", "c dd"]).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_ones_own_may_give_several_rows() {
    let (script, sink) = (Script::new(1), Recording::default());
    let session = session(&script, &sink);
    let element = Arc::new(Field::new_list_field(DataType::Int32, true));
    let up_to = create_udf(
        "up_to",
        vec![DataType::Utf8],
        DataType::List(element),
        Volatility::Immutable,
        Arc::new(|args: &[ColumnarValue]| {
            let texts = args[0].clone().into_array(1)?;
            let lists = texts.as_string::<i32>().iter().map(|text| {
                text.and_then(|text| text.parse::<i32>().ok()).map(|n| (1..=n).map(Some).collect::<Vec<_>>())
            });
            Ok(ColumnarValue::Array(Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))))
        }),
    );
    session.context().register_udf(up_to);
    ["3", "none", "1"].into_iter().for_each(|text| script.push(0, text));
    let query = start(&session, "SELECT unnest(up_to(text)) FROM events", Trigger::Once).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(sink.written(), ["1", "2", "3", "1"]);
}

/// Answers when as many calls are under way as the barrier wants.
#[derive(Debug)]
struct Remote {
    signature: Signature,
    together: Arc<Barrier>,
    under_way: AtomicUsize,
    most: Arc<AtomicUsize>,
    calls_of: Option<usize>,
}

impl Remote {
    fn new(together: usize, calls_of: Option<usize>) -> Self {
        Self {
            signature: Signature::exact(vec![DataType::Utf8], Volatility::Volatile),
            together: Arc::new(Barrier::new(together)),
            under_way: AtomicUsize::new(0),
            most: Arc::default(),
            calls_of,
        }
    }
}

impl PartialEq for Remote {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.most, &other.most)
    }
}
impl Eq for Remote {}
impl std::hash::Hash for Remote {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        "remote".hash(state);
    }
}

impl ScalarUDFImpl for Remote {
    fn name(&self) -> &'static str {
        "remote"
    }
    fn signature(&self) -> &Signature {
        &self.signature
    }
    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }
    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        exec_err!("called as if it were not async")
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Remote {
    fn ideal_batch_size(&self) -> Option<usize> {
        self.calls_of
    }

    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        self.most.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        self.together.wait().await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let texts = args.args[0].clone().into_array(args.number_rows)?;
        let answers = texts.as_string::<i32>().iter().map(|text| text.map(|text| format!("{text}!")));
        Ok(ColumnarValue::Array(Arc::new(answers.collect::<StringArray>())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_function_answers_for_each_record_at_once() {
    let (script, sink) = (Script::new(2), Recording::default());
    let session = session(&script, &sink);
    session.context().register_udf(AsyncScalarUDF::new(Arc::new(Remote::new(1, None))).into_scalar_udf());
    let sql = "SELECT remote(text) FROM events WHERE remote(text) <> 'x!'";
    let query = start(&session, sql, Trigger::Continuous(Duration::from_secs(60))).await;
    for (partition, text) in [(0, "a"), (1, "x"), (1, "b"), (0, "c")] {
        script.push(partition, text);
        if text != "x" {
            // No other record comes before this one is out.
            eventually(text, async || sink.has(&format!("{text}!")).then_some(())).await;
        }
    }
    assert!(!sink.has("x!"));
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_batch_are_called_side_by_side_within_a_bound() {
    let (script, sink) = (Script::new(1), Recording::default());
    let session = session(&script, &sink);
    // Nobody answers before 16 calls are under way.
    let remote = Remote::new(16, Some(1));
    let most = Arc::clone(&remote.most);
    session.context().register_udf(AsyncScalarUDF::new(Arc::new(remote)).into_scalar_udf());
    (0..48).for_each(|number| script.push(0, number.to_string()));
    let query = start(&session, "SELECT remote(text) FROM events", Trigger::Once).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(sink.written(), (0..48).map(|number| format!("{number}!")).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_runs_under_the_continuous_trigger() {
    let (script, sink) = (Script::new(1), Recording::default());
    let session = session(&script, &sink);
    let sql = "SELECT to_char(now(), '%s%f') FROM events";
    let query = start(&session, sql, Trigger::Continuous(Duration::from_secs(60))).await;
    for count in 1..=2 {
        script.push(0, "a");
        eventually("a row", async || (sink.written().len() == count).then_some(())).await;
    }
    let written = sink.written();
    assert!(written[0] < written[1], "{written:?}");
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_micro_batch_has_one_time_and_keeps_it_when_it_is_run_again() {
    let location = "memory://clock";
    let log = Checkpoint::open(location, &[]).unwrap();
    let (script, sink) = (Script::new(2), Recording::default());
    let sql = "SELECT CAST(now() AS VARCHAR) || ' ' || CAST(current_date() AS VARCHAR) || ' ' || CAST(current_time() AS VARCHAR) FROM events";
    let run = async |session: &StreamSession| {
        let rows = session.sql(sql).await.unwrap();
        let writer = rows.write_stream().format("recording").option("checkpointLocation", location);
        let query = in_time("the start", writer.trigger(Trigger::AvailableNow).start()).await.unwrap();
        in_time("the end", query.await_termination()).await.unwrap();
    };
    let session = session(&script, &sink);
    script.push(0, "a");
    script.push(1, "b");
    run(&session).await;
    let entry = log.offsets(EpochId(0)).await.unwrap().unwrap();
    let millis = entry.metadata.unwrap().batch_timestamp_ms;
    let written = sink.written();
    assert_eq!(written[0], written[1]);
    let planned = chrono::DateTime::from_timestamp_millis(millis).unwrap().naive_utc();
    assert!(
        written[0].starts_with(&planned.format("%Y-%m-%dT%H:%M:%S%.3f").to_string()),
        "{written:?} {planned}"
    );
    // As a crash leaves it: batch 1 was planned long ago.
    script.push(0, "c");
    let entry = OffsetEntry {
        metadata: Some(OffsetMetadata::fresh(86_417_005)),
        offsets: vec![Some(r#"{"0":2,"1":1}"#.into())],
    };
    log.put_offsets(EpochId(1), &entry).await.unwrap();
    run(&session).await;
    assert_eq!(sink.written()[2], "1970-01-02T00:00:17.005 1970-01-02 00:00:17.005");
    // What is no stream of that query goes on with the wall clock.
    let now = session
        .sql("SELECT CAST(now() AS VARCHAR) FROM (VALUES (1))")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    assert!(now[0].column(0).as_string_opt::<i32>().is_none_or(|now| now.value(0) > "2025"));
}

#[tokio::test]
async fn the_type_of_now_follows_the_time_zone() {
    let session = session(&Script::new(1), &Recording::default());
    session.sql("SET datafusion.execution.time_zone = '+02:00'").await.unwrap();
    let rows = session.sql("SELECT now() AS t FROM events").await.unwrap();
    assert_eq!(rows.schema().field(0).data_type().to_string(), r#"Timestamp(ns, "+02:00")"#);
    assert!(rows.write_stream().format("noop").explain().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn json_functions_of_spark_in_every_dialect() {
    let records = &[
        r#"{"a":1,"b":"x","c":[1,2],"d":{"e":1.5},"t":"2026-01-31","n":null}"#,
        r#"{"a":"no","b":{"raw":[1]},"c":3,"extra":true,"b":"second"}"#,
        r#"{"a":7,"b":"broken"#,
        "[]",
        "",
    ];
    for (expression, expected) in [
        ("from_json(text, 'a INT, b STRING')['a']", &["1", "NULL", "NULL", "NULL", "NULL"]),
        ("from_json(text, 'a INT, b STRING')['b']", &["x", r#"{"raw":[1]}"#, "NULL", "NULL", "NULL"]),
        ("from_json(text, 'a INT') IS NULL", &["false", "false", "false", "false", "true"]),
        ("from_json(text, 'c ARRAY<INT>')['c'][2]", &["2", "NULL", "NULL", "NULL", "NULL"]),
        ("from_json(text, 'd STRUCT<e: DOUBLE>')['d']['e']", &["1.5", "NULL", "NULL", "NULL", "NULL"]),
        ("from_json(text, 't DATE')['t']", &["2026-01-31", "NULL", "NULL", "NULL", "NULL"]),
        (
            "to_json(from_json(text, 'a BIGINT, d MAP<STRING, DECIMAL(4,1)>'))",
            &[r#"{"a":1,"d":{"e":1.5}}"#, "{}", "{}", "{}", "NULL"],
        ),
        ("to_json(from_json(text, 'c ARRAY<INT>'))", &[r#"{"c":[1,2]}"#, "{}", "{}", "{}", "NULL"]),
        ("get_json_object(text, '$.d.e')", &["1.5", "NULL", "NULL", "NULL", "NULL"]),
        ("get_json_object(text, '$.b')", &["x", r#"{"raw":[1]}"#, "NULL", "NULL", "NULL"]),
        ("text->>'b'", &["x", r#"{"raw":[1]}"#, "broken", "NULL", "NULL"]),
        (
            "to_json(named_struct('k', \"offset\"))",
            &[r#"{"k":0}"#, r#"{"k":1}"#, r#"{"k":2}"#, r#"{"k":3}"#, r#"{"k":4}"#],
        ),
    ] {
        let sql = format!("SELECT {expression} FROM events");
        let expected: Vec<&str> = expected.to_vec();
        // The lenient operator of another package is none of ours to judge on broken text.
        let compared = if expression.contains("->>") { 2 } else { records.len() };
        for setup in [&[][..], &["SET epochflow.sql_dialect = 'spark'"]] {
            let found = rows(setup, &sql, records).await;
            assert_eq!(found[..compared], expected[..compared], "{expression} after {setup:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_to_json_writes_from_json_reads_back() {
    for value in ["1", "-7", "NULL"] {
        let sql = format!(
            "SELECT concat_ws('|', back['value'], back['text'], back['list'][2], to_json(back) = json)
             FROM (SELECT from_json(json, 'value INT, text STRING, list ARRAY<DOUBLE>') AS back, json
                   FROM (SELECT to_json(named_struct('value', CAST({value} AS INT), 'text', text,
                                                     'list', make_array(0.5, 1.5))) AS json FROM events))"
        );
        let texts = ["plain", "with \"quotes\" and \\", "ü\n😀", ""];
        let expected = texts.map(|text| match value {
            "NULL" => format!("{text}|1.5|true"),
            _ => format!("{value}|{text}|1.5|true"),
        });
        assert_eq!(rows(&[], &sql, &texts).await, expected);
    }
}

#[tokio::test]
async fn a_record_is_parsed_once_however_many_of_its_fields_are_read() {
    let session = session(&Script::new(1), &Recording::default());
    let sql = "SELECT a * 2 AS x, b, to_json(named_struct('a', a, 'c', c)) AS y
               FROM (SELECT line['a'] AS a, line['b'] AS b, line['c'] AS c
                     FROM (SELECT from_json(text, 'a INT, b STRING, c DECIMAL(9, 2)') AS line FROM events))
               WHERE b <> 'x' AND c > 1";
    let plan = session.sql(sql).await.unwrap().write_stream().format("noop").explain().await.unwrap();
    let (_, physical) = plan.split_once("physical plan").unwrap();
    assert_eq!(physical.matches("from_json(").count(), 1, "{plan}");
}

#[tokio::test]
async fn a_schema_of_from_json_that_has_no_meaning_is_told_at_planning() {
    let session = session(&Script::new(1), &Recording::default());
    for (schema, hint) in [("'a WORD'", "no type 'WORD'"), ("text", "its schema as a text")] {
        let error = session.sql(&format!("SELECT from_json(text, {schema}) FROM events")).await.unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spark_dialect_brings_sparks_functions_and_keeps_the_clock() {
    let spark: &[&str] = &["SET epochflow.sql_dialect = 'spark'"];
    for (expression, expected) in [
        ("substring(text, -3)", "llo"),
        ("hex(255)", "FF"),
        ("parse_url('http://host/path?q=1', 'HOST')", "host"),
        ("date_add(DATE '2026-01-31', CAST(1 AS INT))", "2026-02-01"),
        ("now() > TIMESTAMP '2026-01-01 00:00:00'", "true"),
    ] {
        assert_eq!(
            rows(spark, &format!("SELECT {expression} FROM events"), &["hello"]).await,
            [expected],
            "{expression}"
        );
    }
    let session = session(&Script::new(1), &Recording::default());
    assert!(session.sql("SELECT parse_url(text, 'HOST') FROM events").await.is_err());
    let error = session.sql("SET epochflow.sql_dialect = 'cobol'").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("datafusion or spark"), "{error}");
}

#[tokio::test]
async fn a_refusal_names_the_place_in_the_text() {
    let session = session(&Script::new(1), &Recording::default());
    for (sql, place) in [
        ("SELECT text,\n  count(*)\nFROM events GROUP BY text", "(line 3, column 22)"),
        ("SELECT text FROM events\nORDER BY text", "(line 2, column 10)"),
        ("CREATE VIEW v AS\nSELECT DISTINCT text FROM events", "(line 2, column 1)"),
        ("SELECT a.text FROM events a\n  JOIN events b ON a.text = b.text", "(line 2, column 8)"),
    ] {
        let error = session.sql(sql).await.expect_err(sql);
        assert!(error.to_string().contains(place), "{error}");
    }
    let pipeline = "CREATE EXTERNAL TABLE s STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/in';
CREATE EXTERNAL TABLE o STORED AS NOOP LOCATION 'x';
INSERT INTO o SELECT value FROM s
LIMIT 3";
    let error = session.pipeline(pipeline).await.unwrap_err();
    assert!(error.to_string().contains("LIMIT or OFFSET (line 4, column 7)"), "{error}");
}
