//! Joins of a stream with tables that end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use epochflow::{DataStreamWriter, ErrorKind, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::{eventually, in_time};

/// A session with the stream `events(text, offset)`, the table `users(id, name, age)` and a sink to look into.
async fn session(script: &Script, sink: &Recording) -> StreamSession {
    let session = StreamSession::builder().allow_location(std::env::temp_dir().display()).build().unwrap();
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    let users = "CREATE TABLE users (id VARCHAR, name VARCHAR, age INT) AS VALUES
        ('a', 'Ada', 36), ('b', 'Bob', 25), ('b', 'Bea', 61), (NULL, 'Nobody', 0)";
    session.sql(users).await.unwrap();
    session
}

async fn writer(session: &StreamSession, sql: &str) -> DataStreamWriter {
    let rows = session.sql(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.write_stream().format("recording")
}

async fn start(session: &StreamSession, sql: &str, trigger: Trigger) -> StreamingQuery {
    let writer = writer(session, sql).await.trigger(trigger);
    in_time(sql, writer.start()).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// What `sql` makes of the records a, x, b in this order.
async fn rows(sql: &str) -> Vec<String> {
    let (script, sink) = (Script::new(1), Recording::default());
    ["a", "x", "b"].into_iter().for_each(|text| script.push(0, text));
    let query = start(&session(&script, &sink).await, sql, Trigger::AvailableNow).await;
    in_time(sql, query.await_termination()).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    sink.written()
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_and_subqueries_with_a_static_side() {
    for (sql, expected) in [
        ("SELECT name FROM events JOIN users ON text = id", &["Ada", "Bob", "Bea"][..]),
        ("SELECT name FROM users JOIN events ON text = id", &["Ada", "Bob", "Bea"]),
        ("SELECT name FROM events, users WHERE text = id", &["Ada", "Bob", "Bea"]),
        ("SELECT name FROM events LEFT JOIN users ON text = id", &["Ada", "NULL", "Bob", "Bea"]),
        ("SELECT name FROM users RIGHT JOIN events ON text = id", &["Ada", "NULL", "Bob", "Bea"]),
        ("SELECT name FROM events LEFT JOIN users ON text = id AND age > 30", &["Ada", "NULL", "Bea"]),
        (
            "SELECT name FROM events LEFT JOIN users ON text = id AND age > \"offset\" * 100",
            &["Ada", "NULL", "NULL"],
        ),
        ("SELECT name FROM events LEFT JOIN users ON text = id WHERE age < 30", &["Bob"]),
        ("SELECT name FROM events JOIN users ON id < text WHERE age > 30", &["Ada", "Bea", "Ada"]),
        (
            "SELECT text || name FROM events CROSS JOIN (SELECT name FROM users WHERE age = 36)",
            &["aAda", "xAda", "bAda"],
        ),
        (
            "SELECT u.name FROM events JOIN users u ON text = u.id JOIN users v ON v.id = u.id AND v.age > u.age",
            &["Bob"],
        ),
        ("SELECT text FROM events WHERE text IN (SELECT id FROM users)", &["a", "b"]),
        ("SELECT text FROM events WHERE text NOT IN (SELECT id FROM users WHERE id IS NOT NULL)", &["x"]),
        ("SELECT text FROM events WHERE text NOT IN (SELECT id FROM users)", &[]),
        ("SELECT text FROM events WHERE text NOT IN (SELECT id FROM users WHERE false)", &["a", "x", "b"]),
        ("SELECT text FROM events WHERE EXISTS (SELECT 1 FROM users WHERE id = text AND age > 50)", &["b"]),
        ("SELECT text FROM events WHERE NOT EXISTS (SELECT 1 FROM users WHERE id = text)", &["x"]),
        (
            "SELECT text FROM events WHERE text = 'x' OR text IN (SELECT id FROM users WHERE age = 36)",
            &["a", "x"],
        ),
        ("SELECT text || (SELECT CAST(max(age) AS VARCHAR) FROM users) FROM events", &["a61", "x61", "b61"]),
        (
            "SELECT n FROM events JOIN (SELECT id, CAST(count(*) AS VARCHAR) AS n FROM users GROUP BY id) ON text = id",
            &["1", "2"],
        ),
        ("SELECT unnest([name, text]) FROM events JOIN users ON text = id WHERE age = 36", &["Ada", "a"]),
    ] {
        assert_eq!(rows(sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_multiplies_rows_gives_all_of_them_in_order() {
    let (script, sink) = (Script::new(1), Recording::default());
    (0..50).for_each(|number| script.push(0, number.to_string()));
    let session = session(&script, &sink).await;
    session.sql("CREATE TABLE numbers AS SELECT value AS n FROM generate_series(1, 3000)").await.unwrap();
    // More pairs than are looked at in one go.
    let sql = "SELECT text || '/' || CAST(n AS VARCHAR) FROM events CROSS JOIN numbers WHERE n >= 0";
    let query = start(&session, sql, Trigger::Once).await;
    in_time(sql, query.await_termination()).await.unwrap();
    let expected: Vec<_> = (0..50).flat_map(|text| (1..=3000).map(move |n| format!("{text}/{n}"))).collect();
    assert_eq!(sink.written(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joined_record_comes_out_at_once_in_every_partition() {
    let (script, sink) = (Script::new(3), Recording::default());
    let session = session(&script, &sink).await;
    let sql = "SELECT name FROM events LEFT JOIN users ON text = id AND age > 30";
    let query = start(&session, sql, Trigger::Continuous(Duration::from_secs(60))).await;
    for (number, (partition, text, row)) in
        [(0, "a", "Ada"), (2, "b", "Bea"), (1, "x", "NULL")].into_iter().enumerate()
    {
        script.push(partition, text);
        // No other record comes before this one is out, and no epoch ends.
        eventually(row, async || (sink.written().len() > number).then_some(())).await;
        assert_eq!(sink.written()[number], row);
    }
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_joined_and_read_anew_on_the_interval() {
    for trigger in [Trigger::Continuous(Duration::from_millis(50)), Trigger::ProcessingTime(Duration::ZERO)] {
        let folder = tempfile::tempdir().unwrap();
        let (script, sink) = (Script::new(1), Recording::default());
        let session = session(&script, &sink).await;
        std::fs::write(folder.path().join("1.csv"), "id,colour\na,red\n").unwrap();
        table(&session, "CSV", folder.path()).await;
        let sql = "SELECT coalesce(colour, 'none') FROM events LEFT JOIN files ON text = id";
        let writer = writer(&session, sql).await.option("staticReload", "20ms").trigger(trigger);
        let query = in_time("the start", writer.start()).await.unwrap();
        script.push(0, "b");
        eventually("the first row", async || sink.has("none").then_some(())).await;
        std::fs::write(folder.path().join("2.csv"), "id,colour\nb,blue\n").unwrap();
        eventually("a record is joined with the new file", async || {
            script.push(0, "b");
            sink.has("blue").then_some(())
        })
        .await;
        in_time("the stop", query.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parquet_and_json_files() {
    let folder = tempfile::tempdir().unwrap();
    let (script, sink) = (Script::new(1), Recording::default());
    let session = session(&script, &sink).await;
    let json = folder.path().join("json");
    std::fs::create_dir(&json).unwrap();
    std::fs::write(json.join("1.json"), "{\"id\":\"a\",\"colour\":\"green\"}\n").unwrap();
    table(&session, "JSON", &json).await;
    let parquet = folder.path().join("colours.parquet");
    session
        .sql("SELECT * FROM files")
        .await
        .unwrap()
        .write_parquet(parquet.to_str().unwrap(), datafusion::dataframe::DataFrameWriteOptions::new(), None)
        .await
        .unwrap();
    let created = format!("CREATE EXTERNAL TABLE colours STORED AS PARQUET LOCATION '{}'", parquet.display());
    session.sql(&created).await.unwrap();
    script.push(0, "a");
    let sql =
        "SELECT c.colour || f.colour FROM events JOIN files f ON text = f.id JOIN colours c ON text = c.id";
    let query = start(&session, sql, Trigger::AvailableNow).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(sink.written(), ["greengreen"]);
}

async fn table(session: &StreamSession, format: &str, location: &Path) {
    let location = location.display();
    let sql = format!("CREATE EXTERNAL TABLE files STORED AS {format} LOCATION '{location}/'");
    session.sql(&sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

#[tokio::test]
async fn a_pipeline_may_create_static_tables() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.csv"), "id,colour\na,red\n").unwrap();
    let session = StreamSession::builder().allow_location(folder.path().display()).build().unwrap();
    let location = folder.path().display();
    let sql = format!(
        "SET epochflow.static_reload = '5m';
         CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/in';
         CREATE EXTERNAL TABLE colours STORED AS CSV LOCATION '{location}/';
         CREATE TABLE sizes AS VALUES ('red', 5);
         CREATE EXTERNAL TABLE sink STORED AS NOOP LOCATION 'x';
         INSERT INTO sink SELECT colour, column2 FROM events
             JOIN colours ON id = CAST(value AS VARCHAR) JOIN sizes ON column1 = colour"
    );
    let plan = session.pipeline(&sql).await.unwrap().explain().await.unwrap();
    assert_eq!(plan.matches("StaticJoinExec: Inner").count(), 2, "{plan}");
}

#[tokio::test]
async fn joins_that_need_all_of_a_stream_are_refused() {
    let session = session(&Script::new(1), &Recording::default()).await;
    for (sql, hint) in [
        (
            "SELECT 1 FROM events a JOIN events b ON a.text = b.text",
            "a join of two streams (line 1, column 29)",
        ),
        (
            "SELECT name FROM users LEFT JOIN events ON text = id",
            "LEFT join that keeps all rows of the static side",
        ),
        (
            "SELECT name FROM events FULL JOIN users ON text = id",
            "FULL join that keeps all rows of the static side",
        ),
        ("SELECT name FROM users WHERE id IN (SELECT text FROM events)", "a subquery that reads a stream"),
        ("SELECT text FROM events UNION ALL SELECT name FROM users", "the static table 'users'"),
    ] {
        let error = session.sql(sql).await.expect_err(sql);
        assert_eq!(error.kind(), ErrorKind::Query, "{error}");
        assert!(error.to_string().contains(hint), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_table_that_cannot_be_read_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(&Script::new(1), &Recording::default()).await;
    let file = folder.path().join("1.csv");
    std::fs::write(&file, "id,colour\na,red\n").unwrap();
    table(&session, "CSV", folder.path()).await;
    std::fs::write(&file, "id,colour\na\n\"unfinished\n").unwrap();
    let writer = writer(&session, "SELECT colour FROM events JOIN files ON text = id").await;
    assert!(in_time("the start", writer.start()).await.is_err());
    let writer = self::writer(&session, "SELECT text FROM events").await.option("staticReload", "0s");
    let error = in_time("the start", writer.start()).await.unwrap_err();
    assert!(error.to_string().contains("staticReload") && error.kind() == ErrorKind::Usage, "{error}");
}
