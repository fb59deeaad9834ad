//! What a start costs when the logs are full: requests are counted, the time is only told.
#![expect(clippy::print_stdout, reason = "these are measures")]

use std::time::Instant;

use epochflow::checkpoint::{Checkpoint, CommitEntry, OffsetEntry, OffsetMetadata, RETAINED_COMMITS};
use epochflow::testing::{FaultyStore, Operation};
use epochflow::{EpochId, Trigger};

use crate::support::recording::Recording;
use crate::support::s3::Bucket;
use crate::support::scripted::Script;
use crate::support::scripted_query::{checkpoint_in, copy, in_memory};
use crate::support::{eventually, in_time};

/// As many epochs as are kept, of a query that has read a record of its one partition.
async fn fill(checkpoint: &Checkpoint) {
    checkpoint.query_id().await.unwrap();
    let offsets = vec![Some(r#"{"0":1}"#.to_owned())];
    let entry = OffsetEntry { metadata: Some(OffsetMetadata::fresh(1)), offsets };
    for epoch in (0..RETAINED_COMMITS).map(EpochId) {
        checkpoint.put_offsets(epoch, &entry).await.unwrap();
        checkpoint.put_commit(epoch, &CommitEntry::default()).await.unwrap();
    }
}

/// Starts a query on a full log, in `place`.
async fn start(place: &str, checkpoint: Checkpoint) {
    fill(&checkpoint).await;
    let (script, sink) = (Script::new(1), Recording::default());
    ["committed", "new"].into_iter().for_each(|row| script.push(0, row));
    let trigger = Trigger::Continuous(std::time::Duration::from_secs(3600));
    let writer = copy(&script, &sink, trigger).await.checkpoint(checkpoint);
    let began = Instant::now();
    let query = in_time("the start", writer.start()).await.unwrap();
    println!("a start on {place} with {RETAINED_COMMITS} commits took {:?}", began.elapsed());
    eventually("the new row is written", async || sink.has("new").then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(sink.written(), ["new"]);
}

/// Requests of a start after which nothing is read.
async fn requests(place: &str, store: &FaultyStore, checkpoint: Checkpoint) {
    fill(&checkpoint).await;
    store.take_calls();
    let (script, sink) = (Script::new(1), Recording::default());
    script.push(0, "committed");
    let writer = copy(&script, &sink, Trigger::AvailableNow).await.checkpoint(checkpoint);
    let query = in_time("the start", writer.start()).await.unwrap();
    in_time("the end", query.await_termination()).await.unwrap();
    let calls = store.take_calls();
    let listings = calls.iter().filter(|(operation, _)| *operation == Operation::List).count();
    println!("{} requests, {listings} of them listings, on {place}", calls.len());
    assert!(listings == 2 && calls.len() <= 5, "{place}: {calls:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_full_log_takes_a_handful_of_requests() {
    let store = in_memory();
    requests("memory", &store, checkpoint_in(&store)).await;
    let (store, checkpoint) = Bucket::new().counted();
    requests("S3", &store, checkpoint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_full_log_goes_on_after_its_last_commit() {
    let folder = tempfile::tempdir().unwrap();
    start("a local disk", Checkpoint::open(folder.path().to_str().unwrap(), &[]).unwrap()).await;
    start("S3", Bucket::new().checkpoint()).await;
}
