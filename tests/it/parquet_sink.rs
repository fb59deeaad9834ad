//! The Parquet sink: readers that go by its log see each row once, whatever happens.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::DataFrame;
use epochflow::{ErrorKind, Options, RestartPolicy, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::in_time;
use crate::support::kafka::unique;
use crate::support::scripted::Script;

const CONTINUOUS: Trigger = Trigger::Continuous(Duration::from_millis(20));

/// A session whose SQL may reach the folder.
fn session(folder: &tempfile::TempDir) -> StreamSession {
    StreamSession::builder().allow_location(folder.path().display()).build().unwrap()
}

struct Place {
    folder: tempfile::TempDir,
    session: StreamSession,
    script: Script,
}

impl Place {
    fn new(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = session(&folder);
        session.register_source(Arc::new(script.clone()));
        Self { folder, session, script }
    }

    fn out(&self) -> String {
        self.folder.path().join("out").to_str().unwrap().to_owned()
    }

    fn checkpoint(&self) -> std::path::PathBuf {
        self.folder.path().join("checkpoint")
    }

    fn push(&self, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| self.script.push(number % 2, number.to_string()));
    }

    async fn try_start(
        &self,
        trigger: Trigger,
        options: &[(&str, &str)],
    ) -> epochflow::Result<StreamingQuery> {
        let events = self.session.read_stream().format("scripted").load().unwrap();
        let mut writer = events.select_columns(&["text"]).unwrap().write_stream().format("parquet");
        writer = writer.option("path", self.out()).option("checkpointLocation", self.checkpoint().display());
        for (name, value) in options {
            writer = writer.option(*name, value);
        }
        in_time("the start", writer.trigger(trigger).restart(RestartPolicy::Never).start()).await
    }

    /// Runs until all that was pushed is committed.
    async fn run(&self, trigger: Trigger, options: &[(&str, &str)]) {
        let query = self.try_start(trigger, options).await.unwrap();
        if trigger.is_bounded() {
            in_time("the end", query.await_termination()).await.unwrap();
        } else {
            in_time("the records", query.process_all_available()).await.unwrap();
            in_time("the stop", query.stop()).await.unwrap();
        }
    }

    async fn read(&self) -> DataFrame {
        self.session.read_parquet_sink(&self.out(), Options::new()).await.unwrap()
    }

    async fn numbers(&self) -> Vec<usize> {
        numbers(&self.read().await.collect().await.unwrap())
    }

    fn files(&self, folder: &str) -> BTreeSet<String> {
        let Ok(files) = std::fs::read_dir(Path::new(&self.out()).join(folder)) else {
            return BTreeSet::new();
        };
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn data_files(&self) -> usize {
        self.files("").iter().filter(|name| name.ends_with(".parquet")).count()
    }
}

/// The first column, sorted.
fn numbers(batches: &[RecordBatch]) -> Vec<usize> {
    let mut numbers = Vec::new();
    for batch in batches {
        let text = cast(batch.column(0), &DataType::Utf8).unwrap();
        numbers.extend(text.as_string::<i32>().iter().map(|text| text.unwrap().parse::<usize>().unwrap()));
    }
    numbers.sort_unstable();
    numbers
}

fn all(count: usize) -> Vec<usize> {
    (0..count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_triggers_write_what_is_read_back_and_the_log_is_compacted() {
    let place = Place::new(Script::new(2).limited(1));
    place.push(0..24);
    place.run(Trigger::AvailableNow, &[]).await;
    assert_eq!(place.numbers().await, all(24));
    let log = place.files("_spark_metadata");
    assert!(log.contains("8") && log.contains("9.compact") && log.contains("10"), "{log:?}");
    let rows = place.read().await;
    for number in 24..28 {
        place.push(number..number + 1);
        place.run(CONTINUOUS, &[]).await;
    }
    assert_eq!(place.numbers().await, all(28));
    let again = numbers(&rows.collect().await.unwrap());
    assert_eq!(again, all(28), "a data frame of before sees what has come since");
}

/// A crash between any two steps of an epoch: `offsets/N`, the sink's commit, `commits/N`.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_step_leaves_each_row_once() {
    for (before, after) in [
        (Trigger::AvailableNow, Trigger::AvailableNow),
        (CONTINUOUS, CONTINUOUS),
        (Trigger::AvailableNow, CONTINUOUS),
        (CONTINUOUS, Trigger::AvailableNow),
    ] {
        for sink_has_committed in [true, false] {
            let place = Place::new(Script::new(2));
            place.push(0..10);
            place.run(before, &[]).await;
            place.push(10..20);
            place.run(before, &[]).await;
            let last = |folder: &Path| {
                let names = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name());
                names.filter_map(|name| name.to_str()?.parse::<u64>().ok()).max().unwrap()
            };
            let epoch = last(&place.checkpoint().join("commits"));
            std::fs::remove_file(place.checkpoint().join(format!("commits/{epoch}"))).unwrap();
            if !sink_has_committed {
                std::fs::remove_file(format!("{}/_spark_metadata/{epoch}", place.out())).unwrap();
            }
            let files = place.data_files();
            place.push(20..30);
            place.run(after, &[]).await;
            assert_eq!(place.numbers().await, all(30), "{before} {after} {sink_has_committed}");
            assert!(place.data_files() > files, "uncommitted files stay, and are not read");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_and_a_checkpoint_that_do_not_belong_together_are_refused() {
    let place = Place::new(Script::new(2));
    place.push(0..4);
    place.run(Trigger::AvailableNow, &[]).await;
    // A new checkpoint would take the folder's epochs for its own, and skip its rows.
    std::fs::rename(place.checkpoint(), place.folder.path().join("kept")).unwrap();
    let error = place.try_start(Trigger::AvailableNow, &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint, "{error}");
    // A new folder would begin in the middle, which no reader of the log accepts.
    std::fs::remove_dir_all(place.checkpoint()).unwrap();
    std::fs::rename(place.folder.path().join("kept"), place.checkpoint()).unwrap();
    std::fs::remove_dir_all(place.out()).unwrap();
    place.push(4..6);
    let query = place.try_start(Trigger::AvailableNow, &[]).await.unwrap();
    let error = in_time("the end", query.await_termination()).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::Checkpoint && error.to_string().contains("belong together"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_large_enough_or_old_enough_takes_no_more_rows() {
    for option in [("maxFileBytes", "1"), ("maxFileAge", "0")] {
        let place = Place::new(Script::new(1));
        let query = place.try_start(Trigger::Continuous(Duration::from_secs(3600)), &[option]).await.unwrap();
        for number in 0..3 {
            place.script.push(0, number.to_string());
            // Each row a batch, and so a file, of its own; all in one epoch.
            crate::support::eventually("the row is in a file", async || {
                (place.data_files() > number).then_some(())
            })
            .await;
        }
        assert!(place.files("_spark_metadata").is_empty(), "nothing is visible before the commit");
        in_time("the stop", query.stop()).await.unwrap();
        assert_eq!(place.files("_spark_metadata").into_iter().collect::<Vec<_>>(), ["0"]);
        assert_eq!((place.data_files(), place.numbers().await), (3, all(3)), "{option:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_in_sql_writes_partitions_and_sql_reads_the_committed_rows() {
    let place = Place::new(Script::new(2));
    place.push(0..10);
    let out = place.out();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS SCRIPTED LOCATION '-';
         CREATE EXTERNAL TABLE out STORED AS PARQUET LOCATION '{out}' PARTITIONED BY (kind) OPTIONS ('compression' 'zstd');
         INSERT INTO out SELECT text, CASE WHEN text < '5' THEN 'a b/c' END AS kind FROM events"
    );
    let writer = place.session.pipeline(&sql).await.unwrap();
    let writer = writer.option("checkpointLocation", place.checkpoint().display()).trigger(Trigger::Once);
    let query = in_time("the start", writer.start()).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let folders = place.files("");
    assert_eq!(
        folders.into_iter().collect::<Vec<_>>(),
        ["_spark_metadata", "kind=__HIVE_DEFAULT_PARTITION__", "kind=a b%2Fc"]
    );
    assert!(place.files("kind=a b%2Fc").iter().all(|name| name.ends_with(".zstd.parquet")));
    // As a crash leaves it: a file that no entry names.
    let committed = place.files("kind=a b%2Fc").into_iter().next().unwrap();
    let (from, to) =
        (format!("{out}/kind=a b%2Fc/{committed}"), format!("{out}/kind=a b%2Fc/part-stale.parquet"));
    std::fs::copy(from, to).unwrap();
    let session = session(&place.folder);
    let create = format!("CREATE EXTERNAL TABLE committed STORED AS PARQUET LOCATION '{out}'");
    session.sql(&create).await.unwrap();
    for (filter, expected) in [("kind = 'a b/c'", 0..5), ("kind IS NULL", 5..10), ("true", 0..10)] {
        let select = format!("SELECT text FROM committed WHERE {filter}");
        let rows = session.sql(&select).await.unwrap().collect().await.unwrap();
        assert_eq!(numbers(&rows), expected.collect::<Vec<_>>(), "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_object_store_will_do_and_types_come_back() {
    let place = Place::new(Script::new(1));
    place.push(0..1);
    let location = format!("memory://{}/rows", unique("parquet"));
    let events = place.session.read_stream().format("scripted").load().unwrap();
    let events = events.select_exprs(&[
        r#""offset""#,
        "text",
        "arrow_cast('2024-01-02T03:04:05.123456789', 'Timestamp(Nanosecond, None)') AS t",
    ]);
    let writer = events.unwrap().write_stream().format("parquet").option("path", &location);
    let writer = writer.option("checkpointLocation", format!("memory://{}", unique("checkpoint")));
    let query = writer.trigger(Trigger::Once).start().await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let rows = place.session.read_parquet_sink(&location, Options::new()).await.unwrap();
    let rows = rows.collect().await.unwrap();
    let schema = rows[0].schema();
    let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(
        (types[0].as_str(), types[2].as_str()),
        ("Int64", "Timestamp(µs)"),
        "Spark reads no nanoseconds"
    );
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_refused_before_the_start() {
    let place = Place::new(Script::new(2));
    for (options, hint) in [
        (&[("compression", "fast")][..], "none, snappy"),
        (&[("partitionBy", "kind")], "'kind'"),
        (&[("partitionBy", "text")], "at least one"),
        (&[("maxFileBytes", "0")], "'maxFileBytes'"),
        (&[("maxFileAge", "soon")], "time span"),
        (&[("compresion", "zstd")], "compresion"),
        (&[("path", "")], "is empty"),
    ] {
        let error = place.try_start(Trigger::Once, options).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Usage | ErrorKind::Query), "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert!(place.files("").is_empty(), "nothing was written");
}
