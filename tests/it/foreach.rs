//! Code of the user's as a sink: `foreach` and `foreach_batch`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::prelude::DataFrame;
use epochflow::{
    DataStreamWriter, EpochId, Error, ErrorKind, ForeachWriter, RestartPolicy, Result, StreamDataFrame,
    StreamSession, Trigger,
};
use parking_lot::Mutex;

use crate::support::scripted::Script;
use crate::support::{eventually, in_time};

const CONTINUOUS: Trigger = Trigger::Continuous(Duration::from_millis(20));

fn rows(script: &Script) -> (StreamSession, DataStreamWriter) {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    let writer = events.select_columns(&["text"]).unwrap().write_stream();
    (session, writer.restart(RestartPolicy::Never))
}

fn texts(rows: &RecordBatch) -> Vec<String> {
    rows.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// Notes what it is asked to do; leaves out epochs and fails as told.
#[derive(Clone, Default)]
struct Notes {
    log: Arc<Mutex<Vec<String>>>,
    skip: Option<EpochId>,
    fail_on: Option<&'static str>,
    place: String,
}

#[async_trait]
impl ForeachWriter for Notes {
    async fn open(&mut self, partition: usize, epoch: EpochId) -> Result<bool> {
        self.place = format!("{partition}/{epoch}");
        self.log.lock().push(format!("open {}", self.place));
        Ok(self.skip != Some(epoch))
    }

    async fn process(&mut self, rows: &RecordBatch) -> Result<()> {
        for text in texts(rows) {
            if self.fail_on == Some(text.as_str()) {
                return Err(Error::new(ErrorKind::Data, format!("no more {text}")));
            }
            self.log.lock().push(format!("{} {text}", self.place));
        }
        Ok(())
    }

    async fn close(&mut self, error: Option<&Error>) -> Result<()> {
        let how = error.map_or("well".to_owned(), ToString::to_string);
        self.log.lock().push(format!("close {} {how}", self.place));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_partition_and_epoch_is_opened_and_closed_once_also_without_rows() {
    let script = Script::new(2).limited(2);
    for text in ["a", "b", "c"] {
        script.push(0, text);
    }
    let (notes, (_session, writer)) = (Notes::default(), rows(&script));
    let query = writer.foreach(notes.clone()).trigger(Trigger::AvailableNow).start().await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let log = notes.log.lock();
    let of = |place: &str| -> Vec<&str> {
        log.iter().map(String::as_str).filter(|line| line.contains(place)).collect()
    };
    assert_eq!(of("0/0"), ["open 0/0", "0/0 a", "0/0 b", "close 0/0 well"]);
    assert_eq!(of("0/1"), ["open 0/1", "0/1 c", "close 0/1 well"]);
    assert_eq!(of("1/0"), ["open 1/0", "close 1/0 well"]);
    assert_eq!(of("1/1"), ["open 1/1", "close 1/1 well"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_continuous_trigger_each_row_is_in_the_epoch_that_was_opened_for_it() {
    let (script, notes) = (Script::new(1), Notes::default());
    let (_session, writer) = rows(&script);
    let query = writer.foreach(notes.clone()).trigger(CONTINUOUS).start().await.unwrap();
    for number in 0..5 {
        script.push(0, format!("row{number}"));
        in_time("the row", query.process_all_available()).await.unwrap();
    }
    in_time("the stop", query.stop()).await.unwrap();
    let epochs: Vec<u64> = query.recent_progress().iter().map(|progress| progress.batch_id).collect();
    assert_eq!(epochs, [0, 1, 2, 3, 4]);
    let log = notes.log.lock();
    for epoch in 0..5 {
        let of_epoch: Vec<_> = log.iter().filter(|line| line.contains(&format!("0/{epoch}"))).collect();
        let expected =
            [format!("open 0/{epoch}"), format!("0/{epoch} row{epoch}"), format!("close 0/{epoch} well")];
        assert_eq!(of_epoch, expected.iter().collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_is_not_wanted_is_left_out_and_closed() {
    let script = Script::new(1).limited(1);
    script.push(0, "a");
    script.push(0, "b");
    let notes = Notes { skip: Some(EpochId(0)), ..Notes::default() };
    let (_session, writer) = rows(&script);
    let query = writer.foreach(notes.clone()).trigger(Trigger::AvailableNow).start().await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let expected = ["open 0/0", "close 0/0 well", "open 0/1", "0/1 b", "close 0/1 well"];
    let mut log = notes.log.lock().clone();
    log.sort_by_key(|line| line.split(' ').find(|word| word.contains('/')).unwrap().to_owned());
    assert_eq!(log, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_closes_the_writer_and_ends_the_query_with_the_records_it_is_about() {
    let script = Script::new(1);
    script.push(0, "bad");
    let notes = Notes { fail_on: Some("bad"), ..Notes::default() };
    let (_session, writer) = rows(&script);
    let query = writer.foreach(notes.clone()).trigger(Trigger::Once).start().await.unwrap();
    let error = in_time("the end", query.await_termination()).await.unwrap_err();
    let message = "the foreach sink's writer failed in process: no more bad";
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Data, format!("scripted-0, offset 0: {message}"))
    );
    assert_eq!(*notes.log.lock(), ["open 0/0".to_owned(), format!("close 0/0 {message}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_elsewhere_closes_open_writers_with_an_error() {
    let (script, notes) = (Script::new(2), Notes { fail_on: Some("bad"), ..Notes::default() });
    let (_session, writer) = rows(&script);
    let query = writer.foreach(notes.clone()).trigger(Trigger::Continuous(Duration::from_secs(3600)));
    let query = query.start().await.unwrap();
    script.push(0, "good");
    eventually("partition 0 has its row", async || {
        notes.log.lock().contains(&"0/0 good".to_owned()).then_some(())
    })
    .await;
    script.push(1, "bad");
    in_time("the end", query.await_termination()).await.unwrap_err();
    eventually("partition 0 is closed", async || {
        notes
            .log
            .lock()
            .iter()
            .find(|line| line.starts_with("close 0/0 the query ended before epoch 0"))
            .cloned()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_a_writer() {
    let (script, seen) = (Script::new(1), Arc::new(Mutex::new(Vec::new())));
    script.push(0, "a");
    let (_session, writer) = rows(&script);
    let log = Arc::clone(&seen);
    let query = writer.foreach(move |rows: RecordBatch| {
        let log = Arc::clone(&log);
        async move {
            log.lock().extend(texts(&rows));
            Ok(())
        }
    });
    let query = query.trigger(Trigger::Once).start().await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(*seen.lock(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreach_batch_gets_each_batch_as_a_data_frame_with_its_number() {
    let (script, seen) = (Script::new(2).limited(2), Arc::new(Mutex::new(Vec::new())));
    for text in ["a", "b", "c"] {
        script.push(0, text);
    }
    let (_session, writer) = rows(&script);
    let log = Arc::clone(&seen);
    let query = writer.foreach_batch(move |rows: DataFrame, epoch| {
        let log = Arc::clone(&log);
        async move {
            // What a stream refuses is allowed in a batch.
            let sorted = rows.sort_by(vec![datafusion::prelude::col("text")])?.collect().await?;
            log.lock().push((epoch.0, sorted.iter().flat_map(texts).collect::<Vec<_>>()));
            Ok(())
        }
    });
    let query = query.trigger(Trigger::AvailableNow).start().await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let batch =
        |epoch: u64, rows: &[&str]| (epoch, rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>());
    assert_eq!(*seen.lock(), [batch(0, &["a", "b"]), batch(1, &["c"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_foreach_batch_names_the_batch_and_leaves_it_uncommitted() {
    let script = Script::new(1);
    script.push(0, "a");
    let (_session, writer) = rows(&script);
    let query = writer.foreach_batch(|_, _| async { Err(Error::new(ErrorKind::Environment, "disk full")) });
    let query = query.trigger(Trigger::Once).start().await.unwrap();
    let error = in_time("the end", query.await_termination()).await.unwrap_err();
    assert_eq!(error.to_string(), "the function of foreach_batch failed in batch 0: disk full");
    assert!(query.last_progress().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_code_cannot_do_is_refused_before_the_start() {
    let (_session, writer) = rows(&Script::new(1));
    let error = writer.foreach_batch(|_, _| async { Ok(()) }).trigger(CONTINUOUS).start().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("micro-batch"), "{error}");
    let (_session, writer) = rows(&Script::new(1));
    let error = writer.foreach(Notes::default()).option("topic", "x").start().await.unwrap_err();
    assert!(error.to_string().contains("'topic'"), "{error}");
}
