//! kill -9 at any moment under exactly-once delivery: a reader of committed records sees each once, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::crash::{Load, PARTITIONS, parse, sql};
use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Receiver, ends, topic};

/// Every record once, each partition's in the order in which they were sent.
fn check(rows: &[(i32, i64)], sent: i64, seed: u64) {
    let mut next: BTreeMap<i32, i64> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    for (partition, offset) in rows {
        let expected = next.get_mut(partition).unwrap();
        assert_eq!(*offset, *expected, "seed {seed}: partition {partition}");
        *expected += 1;
    }
    assert!(next.values().all(|seen| *seen == sent), "seed {seed}: {sent} were sent, {next:?} came");
}

/// `deliveries` and triggers take turns; each run ends by `kill -9`, or cleanly.
async fn rounds(rounds: usize, seed: u64, clean: bool, deliveries: &[&str]) {
    let (source, sink) = (topic("in", PARTITIONS).await, topic("out", 1).await);
    let folder = tempfile::tempdir().unwrap();
    let (path, checkpoint) =
        (pipeline(folder.path(), &sql(&source, &sink)), folder.path().join("checkpoint"));
    let load = Load::start(&source);
    let mut random = StdRng::seed_from_u64(seed);
    let triggers = ["continuous:50ms", "processing-time:0ms", "continuous:100ms", "processing-time:30ms"];
    for round in 0..rounds {
        let seen = ends(&sink)[&0];
        let delivery = deliveries[round % deliveries.len()];
        let mut engine = Engine::run_delivering(delivery, &path, &checkpoint, triggers[round % 4]);
        // Now and then it dies before it has done anything.
        if clean || random.random_ratio(4, 5) {
            eventually("the run writes", async || {
                assert!(engine.is_running(), "seed {seed}, round {round}: the engine has ended by itself");
                (ends(&sink)[&0] > seen).then_some(())
            })
            .await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        if clean { engine.stop().await } else { engine.kill() }
    }
    let sent = load.end();
    let last = Engine::run_delivering("exactly-once", &path, &checkpoint, "available-now").ended().await;
    assert!(last.status.success(), "{}", last.stderr);
    let rows: Vec<_> = Receiver::committed(&sink).into_iter().map(parse).collect();
    check(&rows, sent, seed);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_kills_under_alternating_triggers_show_every_record_once_in_order() {
    rounds(16, 20_260_201, false, &["exactly-once"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_switches_of_trigger_and_delivery_repeat_nothing() {
    rounds(6, 11, true, &["at-least-once", "exactly-once", "exactly-once"]).await;
}
