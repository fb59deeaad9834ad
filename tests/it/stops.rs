//! A clean stop says nothing, whatever the query is about.

use std::time::Duration;

use crate::crash::{Load, sql};
use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Record, Sender, brokers, ends, topic};

const PARTITIONS: i32 = crate::crash::PARTITIONS;

/// Starts, works, stops or ends by itself; all of it without a word.
async fn says_nothing(delivery: &str, trigger: &str, is_busy: bool) {
    let (source, sink) = (topic("stops-in", PARTITIONS).await, topic("stops-out", 1).await);
    let folder = tempfile::tempdir().unwrap();
    let (path, checkpoint) =
        (pipeline(folder.path(), &sql(&source, &sink)), folder.path().join("checkpoint"));
    let sender = Sender::new(&brokers());
    (0..PARTITIONS).for_each(|partition| sender.send(&source, &Record::value(partition, "0")));
    sender.flush();
    let load = is_busy.then(|| Load::start_at(&brokers(), &source, Duration::from_millis(5)));
    let engine = Engine::run_delivering(delivery, &path, &checkpoint, trigger);
    let commits = || std::fs::read_dir(checkpoint.join("commits")).map_or(0, Iterator::count);
    let ended = if ["available-now", "once"].contains(&trigger) {
        engine.ended().await
    } else {
        eventually("rows are written and committed", async || {
            (commits() > 0 && ends(&sink)[&0] > 0).then_some(())
        })
        .await;
        engine.signal("-TERM");
        engine.ended().await
    };
    drop(load);
    assert!(ended.status.success(), "{delivery}, {trigger}: {}", ended.stderr);
    assert_eq!(ended.stderr, "", "{delivery}, {trigger}, busy: {is_busy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_and_idle_queries_start_and_stop_without_a_word_under_every_trigger_and_delivery() {
    for delivery in ["at-least-once", "exactly-once"] {
        let triggers =
            ["continuous:100ms", "processing-time:0ms", "processing-time:100ms", "available-now", "once"];
        let idle = triggers.map(|trigger| says_nothing(delivery, trigger, false));
        futures::future::join_all(idle).await;
        let busy = triggers.map(|trigger| says_nothing(delivery, trigger, true));
        futures::future::join_all(busy).await;
    }
}
