//! Micro-batch triggers, on a scripted source.

use std::sync::Arc;
use std::time::Duration;

use epochflow::checkpoint::{Checkpoint, OffsetEntry, OffsetMetadata};
use epochflow::{EpochId, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use crate::support::in_time;
use crate::support::recording::Recording;
use crate::support::scripted::Script;

async fn start(script: &Script, sink: &Recording, trigger: Trigger, location: &str) -> StreamingQuery {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    let writer = events.select_columns(&["text"]).unwrap().write_stream().format("recording");
    let writer = writer.option("checkpointLocation", location).trigger(trigger);
    in_time("the start", writer.start()).await.unwrap()
}

fn filled(partitions: usize, records: usize) -> Script {
    let script = Script::new(partitions);
    for number in 0..records {
        script.push(number % partitions, number.to_string());
    }
    script
}

fn checkpoint(location: &str) -> Checkpoint {
    Checkpoint::open(location, &[]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn available_now_takes_what_is_there_in_batches_of_the_limit_and_ends() {
    let (script, sink) = (filled(2, 100).limited(30), Recording::default());
    let query = start(&script, &sink, Trigger::AvailableNow, "memory://available-now").await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(sink.written().len(), 100);
    let batches: Vec<u64> = query.recent_progress().iter().map(|progress| progress.num_input_rows).collect();
    assert_eq!(batches, [30, 30, 30, 10]);
    assert_eq!(sink.commits(), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn once_takes_all_of_it_in_one_batch_whatever_the_limit() {
    let (script, sink) = (filled(2, 100).limited(30), Recording::default());
    let query = start(&script, &sink, Trigger::Once, "memory://once").await;
    in_time("the end", query.await_termination()).await.unwrap();
    assert_eq!(query.recent_progress().len(), 1);
    assert_eq!(sink.written().len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_read_bounded_triggers_end_without_a_batch() {
    for (trigger, location) in
        [(Trigger::Once, "memory://empty-once"), (Trigger::AvailableNow, "memory://empty-now")]
    {
        let (script, sink) = (Script::new(3), Recording::default());
        let query = start(&script, &sink, trigger, location).await;
        in_time("the end", query.await_termination()).await.unwrap();
        assert!(checkpoint(location).facts().await.unwrap().offsets.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processing_time_goes_on_with_what_comes_later() {
    let (script, sink) = (filled(1, 3), Recording::default());
    let query =
        start(&script, &sink, Trigger::ProcessingTime(Duration::ZERO), "memory://processing-time").await;
    in_time("the first records", query.process_all_available()).await.unwrap();
    script.push(0, "later");
    in_time("the later record", query.process_all_available()).await.unwrap();
    assert_eq!(sink.written(), ["0", "1", "2", "later"]);
    in_time("the stop", query.stop()).await.unwrap();
    assert!(sink.commits().len() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_batch_that_was_not_committed_runs_again_with_the_same_bounds() {
    let location = "memory://rerun";
    let log = checkpoint(location);
    let script = filled(1, 5);
    let query = start(&script, &Recording::default(), Trigger::AvailableNow, location).await;
    in_time("the end", query.await_termination()).await.unwrap();
    for number in 5..20 {
        script.push(0, number.to_string());
    }
    // As a crash leaves it: batch 1 is planned up to offset 8, and more has come since.
    let entry =
        OffsetEntry { metadata: Some(OffsetMetadata::fresh(17)), offsets: vec![Some(r#"{"0":8}"#.into())] };
    log.put_offsets(EpochId(1), &entry).await.unwrap();
    let sink = Recording::default();
    let query = start(&script, &sink, Trigger::AvailableNow, location).await;
    in_time("the end", query.await_termination()).await.unwrap();
    let batches: Vec<(u64, String)> = query
        .recent_progress()
        .iter()
        .map(|progress| (progress.batch_id, progress.sources[0].end_offset.clone()))
        .collect();
    assert_eq!(batches, [(1, r#"{"0":8}"#.to_owned()), (2, r#"{"0":20}"#.to_owned())]);
    assert_eq!(sink.written(), (5..20).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(log.offsets(EpochId(1)).await.unwrap().unwrap(), entry, "the entry is not written anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_trigger_goes_on_where_another_stopped_and_repeats_nothing() {
    let (script, sink) = (Script::new(3), Recording::default());
    let triggers = [
        Trigger::Continuous(Duration::from_millis(20)),
        Trigger::ProcessingTime(Duration::ZERO),
        Trigger::AvailableNow,
        Trigger::Continuous(Duration::from_millis(20)),
        Trigger::Once,
        Trigger::ProcessingTime(Duration::from_millis(10)),
    ];
    let mut ids = Vec::new();
    for (round, trigger) in triggers.into_iter().enumerate() {
        for number in 0..10 {
            script.push(number % 3, format!("{round}/{number}"));
        }
        let query = start(&script, &sink, trigger, "memory://switch").await;
        ids.push(query.id());
        if trigger.is_bounded() {
            in_time("the end", query.await_termination()).await.unwrap();
        } else {
            in_time("the records", query.process_all_available()).await.unwrap();
            in_time("the stop", query.stop()).await.unwrap();
        }
    }
    let mut written = sink.written();
    written.sort();
    let mut expected: Vec<_> =
        (0..6).flat_map(|round| (0..10).map(move |n| format!("{round}/{n}"))).collect();
    expected.sort();
    assert_eq!(written, expected);
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "one query, one id");
    let facts = checkpoint("memory://switch").facts().await.unwrap();
    assert_eq!(facts.offsets, facts.commits);
    let last = facts.commits.last().unwrap().0;
    assert_eq!(facts.commits.len() as u64, last + 1, "ids have no gaps");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_commits_are_kept() {
    let (script, sink) = (filled(1, 250).limited(1), Recording::default());
    let query = start(&script, &sink, Trigger::AvailableNow, "memory://purge").await;
    in_time("the end", query.await_termination()).await.unwrap();
    let facts = checkpoint("memory://purge").facts().await.unwrap();
    assert_eq!(facts.commits.last(), Some(&EpochId(249)));
    // The purge runs beside the epochs, so a few may be waiting for the next one.
    assert!((100..110).contains(&facts.commits.len()), "{} commits", facts.commits.len());
}
