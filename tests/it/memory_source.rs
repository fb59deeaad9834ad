//! The memory stream: rows that a program adds reach its query under each trigger.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use epochflow::{ErrorKind, MemoryStream, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::in_time;
use crate::support::kafka::unique;
use crate::support::recording::Recording;

fn numbers(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    let numbers = Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef;
    RecordBatch::try_from_iter([("number", numbers)]).unwrap()
}

async fn start(stream: &MemoryStream, sink: &Recording, trigger: Trigger, location: &str) -> StreamingQuery {
    let session = StreamSession::new().unwrap();
    session.register_sink(Arc::new(sink.clone()));
    let rows = session.read_source(stream.clone()).unwrap();
    let writer = rows.write_stream().format("recording").trigger(trigger);
    in_time("the start", writer.option("checkpointLocation", location).start()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_once_each_whatever_trigger_reads_them() {
    let stream = MemoryStream::with_partitions(numbers([]).schema(), 2);
    let (sink, location) = (Recording::default(), format!("memory://{}", unique("memory")));
    let mut next = 0;
    let mut add = |count: i64| {
        stream.add(&numbers(next..next + count)).unwrap();
        next += count;
    };
    add(10);
    add(10_000);
    let triggers = [
        Trigger::Continuous(Duration::from_millis(10)),
        Trigger::AvailableNow,
        Trigger::ProcessingTime(Duration::ZERO),
        Trigger::Continuous(Duration::from_millis(10)),
    ];
    for trigger in triggers {
        add(3);
        let query = start(&stream, &sink, trigger, &location).await;
        if trigger.is_bounded() {
            in_time("the end", query.await_termination()).await.unwrap();
            continue;
        }
        in_time("the rows", query.process_all_available()).await.unwrap();
        add(2);
        in_time("the later rows", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
    }
    let mut written: Vec<i64> = sink.written().iter().map(|row| row.parse().unwrap()).collect();
    written.sort_unstable();
    assert!(written.into_iter().eq(0..next), "each of {next} rows came once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_counts_the_rows_of_each_partition() {
    let stream = MemoryStream::with_partitions(numbers([]).schema(), 3);
    let (sink, location) = (Recording::default(), format!("memory://{}", unique("memory")));
    stream.add_to(2, &numbers(0..5)).unwrap();
    stream.add_to(0, &numbers(5..6)).unwrap();
    let query = start(&stream, &sink, Trigger::Once, &location).await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(query.last_progress().unwrap().sources[0].end_offset, r#"{"0":1,"1":0,"2":5}"#);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let stream = MemoryStream::new(numbers([]).schema());
    let names = Arc::new(StringArray::from(vec!["a"])) as ArrayRef;
    let other = RecordBatch::try_from_iter([("name", names)]).unwrap();
    for error in [stream.add(&other).unwrap_err(), stream.add_to(1, &numbers([1])).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    }
}
