//! What SQL a stream takes, and what is refused before anything starts.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use epochflow::{ErrorKind, StreamDataFrame, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::scripted::Script;

fn session(script: &Script) -> StreamSession {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    session
}

/// Runs `sql` over one record and gives the rows as text.
async fn rows(sql: &str, record: &str) -> String {
    let script = Script::new(1);
    script.push(0, record);
    let session = session(&script);
    let writer = session.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}")).write_stream();
    let query = writer.format("memory").query_name("result").trigger(Trigger::AvailableNow).start();
    let query = in_time(sql, query).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    in_time(sql, query.await_termination()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    let rows = session.sql("SELECT * FROM result").await.unwrap().collect().await.unwrap();
    pretty_format_batches(&rows).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions() {
    let record = r#"{"user":{"name":"Ada"},"amount":42,"tags":["x","y"]}"#;
    for (expression, expected) in [
        ("'constant'", "constant"),
        ("1 + 2 * 3", "7"),
        ("CASE WHEN text LIKE '%Ada%' THEN 'yes' ELSE 'no' END", "yes"),
        ("text LIKE '%Grace%'", "false"),
        ("text ~ 'A[a-z]a'", "true"),
        ("regexp_replace('abc', 'b', 'x')", "axc"),
        ("CAST('12' AS INT) + 1", "13"),
        ("TRY_CAST(text AS INT) IS NULL", "true"),
        ("upper(substr('hello', 1, 2))", "HE"),
        ("concat('a', NULL, 'b')", "ab"),
        ("date_part('year', to_timestamp('2026-01-31T12:00:00'))", "2026"),
        ("date_trunc('hour', TIMESTAMP '2026-01-31 12:34:56')", "2026-01-31T12:00:00"),
        ("json_get_int(text, 'amount')", "42"),
        ("json_get_str(text, 'user', 'name')", "Ada"),
        ("text->'user'->>'name'", "Ada"),
        ("json_length(text, 'tags')", "2"),
        ("now() > TIMESTAMP '2026-01-01'", "true"),
        ("current_date() > DATE '2026-01-01'", "true"),
        ("coalesce(nullif(text, text), 'none')", "none"),
        ("encode(sha256('a'), 'hex')", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
    ] {
        let table = rows(&format!("SELECT {expression} AS result FROM events"), record).await;
        assert!(table.contains(&format!("| {expected} ")), "{expression}: expected {expected}\n{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shapes_of_queries() {
    for (sql, expected) in [
        ("SELECT text FROM events WHERE false", 0),
        ("SELECT text FROM events WHERE true", 1),
        ("SELECT text FROM events WHERE 1 = 0 AND text = 'a'", 0),
        ("SELECT * FROM (SELECT text AS t FROM events) AS inner_events WHERE t = 'a'", 1),
        ("WITH upper_events AS (SELECT upper(text) AS t FROM events) SELECT t FROM upper_events", 1),
        ("SELECT text FROM events UNION ALL SELECT text FROM events", 2),
        ("SELECT unnest([1, 2, 3]) AS n, text FROM events", 3),
        ("SELECT text FROM events WHERE text IN ('a', 'b') AND offset BETWEEN 0 AND 5", 1),
    ] {
        let table = rows(sql, "a").await;
        let found = table.lines().count().saturating_sub(4);
        assert_eq!(found, expected, "{sql}\n{table}");
    }
}

#[tokio::test]
async fn a_clock_function_is_not_frozen_at_planning() {
    let session = session(&Script::new(1));
    let rows = session.sql("SELECT now() AS t, current_date() AS d FROM events").await.unwrap();
    let plan = rows.write_stream().format("noop").explain().await.unwrap();
    assert!(plan.contains("now()") && plan.contains("current_date()"), "{plan}");
}

#[tokio::test]
async fn what_no_trigger_supports_is_refused_with_the_operation_and_the_way_out() {
    let session = session(&Script::new(1));
    session.sql("CREATE TABLE fixed AS VALUES (1)").await.unwrap();
    for (sql, operation, way_out) in [
        ("SELECT count(*) FROM events", "aggregation", "has no end"),
        ("SELECT text, count(*) FROM events GROUP BY text", "aggregation", "has no end"),
        ("SELECT text FROM events ORDER BY text", "sorting", "has no end"),
        ("SELECT DISTINCT text FROM events", "DISTINCT", "has no end"),
        ("SELECT text FROM events UNION SELECT text FROM events", "DISTINCT", "has no end"),
        ("SELECT text FROM events LIMIT 5", "LIMIT", "filter by a column"),
        ("SELECT row_number() OVER (ORDER BY text) FROM events", "window", "has no end"),
        ("SELECT a.text FROM events a JOIN events b ON a.text = b.text", "a join", "has no end"),
        ("SELECT text FROM events WHERE text IN (SELECT text FROM events)", "subquery", "has no end"),
        ("SELECT column1 FROM fixed", "static table 'fixed'", "streams only"),
        ("SELECT 1", "SELECT without FROM", "FROM events"),
        ("VALUES (1)", "VALUES", "given once"),
    ] {
        for trigger in [Trigger::Once, Trigger::default()] {
            let started = match session.sql(sql).await {
                Ok(rows) => rows.write_stream().format("noop").trigger(trigger).start().await,
                Err(error) => Err(error),
            };
            let error = started.expect_err(sql);
            assert_eq!(error.kind(), ErrorKind::Query, "{sql}: {error}");
            let message = error.to_string();
            assert!(message.contains(operation) && message.contains(way_out), "{sql}: {message}");
        }
    }
}

#[tokio::test]
async fn a_stream_is_not_collected() {
    let session = session(&Script::new(1));
    let error = session.sql("SELECT text FROM events").await.unwrap().collect().await.unwrap_err();
    assert!(error.to_string().contains("stream without end"), "{error}");
}

#[tokio::test]
async fn explain_in_sql_shows_the_leaf_and_its_columns() {
    let session = session(&Script::new(1));
    let explained = session.sql("EXPLAIN SELECT offset FROM events WHERE offset > 5").await.unwrap();
    let plan = pretty_format_batches(&explained.collect().await.unwrap()).unwrap().to_string();
    assert!(plan.contains("SourceExec: Scripted, projection=[offset]"), "{plan}");
}
