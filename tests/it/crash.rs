//! kill -9 at any moment, restart under either trigger: nothing is lost, and only uncommitted records are repeated.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Record, Sender, brokers, ends, everything, topic};

pub(crate) const PARTITIONS: i32 = 4;

/// Sends numbered records to all partitions until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<i64>>,
}

impl Load {
    pub(crate) fn start(topic: &str) -> Self {
        Self::start_at(&brokers(), topic, Duration::from_millis(2))
    }

    /// At other brokers, with a pause after each record.
    pub(crate) fn start_at(brokers: &str, topic: &str, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, brokers, topic) = (Arc::clone(&stop), brokers.to_owned(), topic.to_owned());
        let thread = std::thread::spawn(move || {
            let sender = Sender::new(&brokers);
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                for partition in 0..PARTITIONS {
                    sender.send(&topic, &Record::value(partition, format!("{number}")));
                }
                number += 1;
                std::thread::park_timeout(pause);
            }
            sender.flush();
            number
        });
        Self { stop, thread: Some(thread) }
    }

    /// Records sent to each partition.
    pub(crate) fn end(mut self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a run could see when it started: the end of the sink topic, and where the checkpoint said to begin.
struct RunStart {
    sink_end: i64,
    committed: BTreeMap<i32, i64>,
}

fn committed(checkpoint: &Path, source: &str) -> BTreeMap<i32, i64> {
    let ids = |folder: &str| -> Vec<u64> {
        let Ok(files) = std::fs::read_dir(checkpoint.join(folder)) else { return Vec::new() };
        files.filter_map(|file| file.unwrap().file_name().to_str().unwrap().parse().ok()).collect()
    };
    let Some(last) = ids("commits").into_iter().max() else { return BTreeMap::new() };
    let text = std::fs::read_to_string(checkpoint.join(format!("offsets/{last}"))).unwrap();
    let offsets: serde_json::Value = serde_json::from_str(text.split('\n').nth(2).unwrap()).unwrap();
    let partitions = offsets[source].as_object().unwrap().iter();
    partitions.map(|(number, offset)| (number.parse().unwrap(), offset.as_i64().unwrap())).collect()
}

/// Each row says which record it came from.
pub(crate) fn sql(source: &str, sink: &str) -> String {
    let brokers = brokers();
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
           OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '500');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}';
         INSERT INTO out SELECT concat(partition, '/', offset, '/', CAST(value AS STRING)) AS value
           FROM events WHERE value IS NOT NULL"
    )
}

pub(crate) fn parse(record: Record) -> (i32, i64) {
    let text = String::from_utf8(record.value.unwrap()).unwrap();
    let parts: Vec<i64> = text.split('/').map(|part| part.parse().unwrap()).collect();
    assert_eq!(parts[1], parts[2], "record {text}: the value at an offset is the one that was sent there");
    (i32::try_from(parts[0]).unwrap(), parts[1])
}

/// Counts every record by its source offset, and holds every repetition against the run that may have caused it.
fn check(rows: &[(i32, i64)], runs: &[RunStart], sent: i64, expect_no_repetition: bool) {
    let mut times: BTreeMap<(i32, i64), u32> = BTreeMap::new();
    rows.iter().for_each(|row| *times.entry(*row).or_default() += 1);
    for partition in 0..PARTITIONS {
        for offset in 0..sent {
            assert!(
                times.contains_key(&(partition, offset)),
                "record {partition}/{offset} of {sent} is lost"
            );
        }
    }
    assert_eq!(times.len() as i64, sent * i64::from(PARTITIONS), "no row without a record");
    for (number, run) in runs.iter().enumerate() {
        let from = usize::try_from(run.sink_end).unwrap();
        let to = runs.get(number + 1).map_or(rows.len(), |next| usize::try_from(next.sink_end).unwrap());
        let mut last: BTreeMap<i32, i64> = BTreeMap::new();
        for (partition, offset) in &rows[from..to] {
            let committed = run.committed.get(partition).copied().unwrap_or(0);
            assert!(
                *offset >= committed,
                "run {number} repeats {partition}/{offset}, committed up to {committed}"
            );
            let before = last.insert(*partition, *offset);
            assert!(
                before.is_none_or(|before| before < *offset),
                "run {number}: {partition}/{offset} out of order"
            );
        }
    }
    if expect_no_repetition {
        let repeated = times.iter().find(|(_, times)| **times > 1);
        assert_eq!(repeated, None, "clean stops repeat nothing");
    }
}

async fn rounds(rounds: u32, seed: u64, clean: bool) {
    let (source, sink) = (topic("in", PARTITIONS).await, topic("out", 1).await);
    let folder = tempfile::tempdir().unwrap();
    let (path, checkpoint) =
        (pipeline(folder.path(), &sql(&source, &sink)), folder.path().join("checkpoint"));
    let load = Load::start(&source);
    let mut random = StdRng::seed_from_u64(seed);
    let mut runs = Vec::new();
    let sink_end = || ends(&sink)[&0];
    for round in 0..rounds {
        let trigger = ["continuous:50ms", "processing-time:0ms", "continuous:100ms", "processing-time:30ms"]
            [round as usize % 4];
        let start = RunStart { sink_end: sink_end(), committed: committed(&checkpoint, &source) };
        let seen = start.sink_end;
        runs.push(start);
        let mut engine = Engine::run(&path, &checkpoint, trigger);
        // Now and then it dies before it has done anything.
        if clean || random.random_ratio(4, 5) {
            eventually("the run writes", async || {
                assert!(engine.is_running(), "seed {seed}, round {round}: the engine has ended by itself");
                (sink_end() > seen).then_some(())
            })
            .await;
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;
        if clean { engine.stop().await } else { engine.kill() }
    }
    let sent = load.end();
    runs.push(RunStart { sink_end: sink_end(), committed: committed(&checkpoint, &source) });
    let last = Engine::run(&path, &checkpoint, "available-now").ended().await;
    assert!(last.status.success(), "{}", last.stderr);
    let rows: Vec<_> = everything(&sink).into_iter().map(parse).collect();
    check(&rows, &runs, sent, clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_under_alternating_triggers_lose_nothing() {
    rounds(24, 20_260_131, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_stops_and_switches_both_ways_repeat_nothing() {
    rounds(6, 7, true).await;
}
