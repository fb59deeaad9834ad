//! Much more is in the source than fits into memory, and the sink is away.

use std::time::Duration;

use crate::support::broker::ProxiedBroker;
use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Receiver, Record, Sender, create_at, ends_at};
use crate::support::proxy::Weather;

const PARTITIONS: i32 = 8;
const RECORDS: usize = 12_000;
const BYTES: usize = 20_000;
/// Of the source's records and of the producer's queue; what the process may grow by is the sum, and as much again for what
/// allocators keep.
const BUFFERED: u64 = 32 << 20;
const QUEUED: u64 = 16 << 20;
/// For all else that a process comes to need.
const BESIDES: u64 = 16 << 20;

/// A figure of /proc/PID/status, in bytes.
fn memory(engine: &Engine, figure: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", engine.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn record(number: usize) -> Record {
    let partition = i32::try_from(number).unwrap() % PARTITIONS;
    let mut value = format!("{number} ");
    value.extend(std::iter::repeat_n('x', BYTES));
    Record::value(partition, value)
}

/// Runs a query while its sink is away and its source fills up; how far beyond its start its memory grew.
async fn grown(broker: &ProxiedBroker, delivery: &str, (source, sink): (&str, &str)) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{}/{source}'
           OPTIONS ('startingOffsets' 'earliest', 'maxBufferedBytes' '{BUFFERED}');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{}/{sink}'
           OPTIONS ('kafka.queue.buffering.max.kbytes' '{}');
         INSERT INTO out SELECT value FROM events",
        broker.direct(),
        broker.proxied(),
        QUEUED / 1024
    );
    let (path, checkpoint) = (pipeline(folder.path(), &sql), folder.path().join("checkpoint"));
    let engine = Engine::run_delivering(delivery, &path, &checkpoint, "continuous:500ms");
    let committed = async || std::fs::read_dir(checkpoint.join("commits")).ok()?.next().map(drop);
    // One record through, so that all clients are there.
    let sender = Sender::new(&broker.direct());
    sender.send(source, &record(0));
    sender.flush();
    eventually("the query runs", committed).await;
    let start = memory(&engine, "VmRSS");
    broker.proxy.set(Weather::Away);
    (1..RECORDS).for_each(|number| sender.send(source, &record(number)));
    sender.flush();
    let mut seen = (0, 0);
    eventually("its memory grows no more", async || {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = memory(&engine, "VmRSS");
        seen = if now.abs_diff(seen.0) > 1 << 20 { (now, 0) } else { (seen.0, seen.1 + 1) };
        (seen.1 >= 4).then_some(())
    })
    .await;
    broker.proxy.set(Weather::Fair);
    let (brokers, topic) = (broker.direct(), sink.to_owned());
    // Only those that are committed, as they come.
    eventually("all is out", async || {
        let (brokers, topic) = (brokers.clone(), topic.clone());
        let ends = tokio::task::spawn_blocking(move || ends_at(&brokers, &topic, "read_committed"));
        (ends.await.unwrap().values().sum::<i64>() >= RECORDS as i64).then_some(())
    })
    .await;
    let grown = memory(&engine, "VmHWM").saturating_sub(start);
    engine.stop().await;
    if delivery == "at-least-once" {
        assert_eq!(ends_at(&brokers, &topic, "read_committed").values().sum::<i64>(), RECORDS as i64);
    }
    let records = tokio::task::spawn_blocking(move || Receiver::new(&brokers, &topic).take(RECORDS));
    let number = |record: Record| -> usize {
        let value = record.value.unwrap();
        std::str::from_utf8(&value).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    let mut numbers: Vec<_> = records.await.unwrap().into_iter().map(number).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..RECORDS), "{delivery}: {} of {RECORDS} rows", numbers.len());
    grown
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_while_the_sink_is_away_and_hundreds_of_megabytes_wait() {
    let broker = ProxiedBroker::start();
    let bound = 2 * (BUFFERED + QUEUED) + BESIDES;
    for delivery in super::flow::BOTH {
        let (source, sink) = (format!("in-{delivery}"), format!("out-{delivery}"));
        create_at(&broker.direct(), &source, (PARTITIONS, 1), &[]).await;
        create_at(&broker.direct(), &sink, (4, 1), &[]).await;
        let grown = grown(&broker, delivery, (&source, &sink)).await;
        println!("{delivery}: {} MiB above the start, {} waited", grown >> 20, (RECORDS * BYTES) >> 20);
        assert!(grown < bound, "{delivery}: {grown} bytes above the start; the bound is {bound}");
        assert!((bound as usize) < RECORDS * BYTES / 2, "a bound that could not fail");
    }
}
