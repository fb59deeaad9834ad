//! The receiver: takes the time of each record as it comes, in a process of its own.

use std::io::{BufRead, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use rdkafka::Message;
use serde_json::{Value, json};

use super::clients::{self, Isolation};
use super::process::{Child, Lines, Role, option};
use super::record::{self, Digest, PROBE};
use super::send::say;
use super::subject::Route;
use super::{Result, Settings, sys};

/// How long to wait, once all is there, for what should not come.
const SURPLUS: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(50);
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// Reads a topic until `expected` records are there, or until a line comes on stdin.
#[derive(Debug, Args)]
pub(super) struct Receive {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    isolation: Isolation,
    /// How many records must come.
    #[arg(long)]
    expected: u64,
    /// Where to leave each record's times.
    #[arg(long)]
    samples: PathBuf,
}

/// A record that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) seq: u64,
    /// When it was due.
    pub(super) t0_ns: u64,
    /// When it was there.
    pub(super) received_ns: u64,
}

impl Sample {
    pub(super) fn latency_us(&self) -> u64 {
        self.received_ns.saturating_sub(self.t0_ns) / 1_000
    }
}

impl Receive {
    pub(super) fn run(&self) -> Result<()> {
        let told_to_stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&told_to_stop);
        std::thread::spawn(move || {
            let _line = std::io::stdin().lock().lines().next();
            told.store(true, Ordering::Relaxed);
        });
        let consumer = clients::consumer(&self.brokers, &self.topic, self.partitions, self.isolation)?;
        let mut received = Received::default();
        let mut reported = Instant::now();
        let mut complete = None;
        while !told_to_stop.load(Ordering::Relaxed) {
            match consumer.poll(POLL) {
                None => {}
                Some(Err(error)) => eprintln!("receiver: {error}"),
                Some(Ok(message)) => {
                    received.add(sys::now_ns(), message.payload().unwrap_or_default())?;
                }
            }
            if received.digest.count >= self.expected
                && complete.get_or_insert_with(Instant::now).elapsed() > SURPLUS
            {
                break;
            }
            if reported.elapsed() > REPORT_EVERY {
                reported = Instant::now();
                say(&received.report())?;
            }
        }
        write_samples(&self.samples, &received.samples)?;
        let Received { digest, duplicates, .. } = received;
        say(&json!({ "count": digest.count, "hash": digest.hash, "duplicates": duplicates }))
    }
}

/// What has come.
#[derive(Default)]
struct Received {
    digest: Digest,
    probes: u64,
    duplicates: u64,
    seen: Vec<bool>,
    samples: Vec<Sample>,
    /// How many samples the last report covered.
    reported: usize,
}

impl Received {
    /// What to show while it runs: latencies are of the records since the last report.
    fn report(&mut self) -> Value {
        let recent = &self.samples[std::mem::replace(&mut self.reported, self.samples.len())..];
        let mut latencies: Vec<u64> = recent.iter().map(Sample::latency_us).collect();
        latencies.sort_unstable();
        let at = |quantile: f64| latencies.get((latencies.len() as f64 * quantile) as usize);
        json!({
            "received": self.digest.count, "ready": self.probes > 0, "p50Us": at(0.5), "p99Us": at(0.99),
        })
    }

    fn add(&mut self, received_ns: u64, payload: &[u8]) -> Result<()> {
        let stamp = record::stamp(payload).ok_or_else(|| {
            format!("a record without seq and t0 came out: {}", String::from_utf8_lossy(payload))
        })?;
        if stamp.seq == PROBE {
            self.probes += 1;
            return Ok(());
        }
        let seq = usize::try_from(stamp.seq)?;
        if self.seen.len() <= seq {
            self.seen.resize(seq + 1, false);
        }
        if std::mem::replace(&mut self.seen[seq], true) {
            self.duplicates += 1;
            return Ok(());
        }
        self.digest.add(&stamp);
        self.samples.push(Sample { seq: seq as u64, t0_ns: stamp.t0_ns, received_ns });
        Ok(())
    }
}

/// Starts a receiver for what must come out of a route.
pub(super) fn start(settings: &Settings, route: &Route<'_>, expected: u64, lines: &Lines) -> Result<Child> {
    let mut command = settings.this_program("receive")?;
    command.args(["--brokers", &settings.brokers, "--topic", route.to]);
    command.args(["--partitions", &route.to_partitions.to_string()]);
    option(&mut command, "--isolation", settings.isolation);
    command.args(["--expected", &expected.to_string(), "--samples"]).arg(samples_path(route));
    Child::spawn(command, Role::Receiver, "the receiver", lines)
}

/// Where the receiver of a route leaves its samples.
fn samples_path(route: &Route<'_>) -> PathBuf {
    route.folder.join("samples")
}

/// What a receiver says in the end: what came, and how many records came twice.
pub(super) fn output(line: &Value) -> Option<(Digest, u64)> {
    let number = |name: &str| line[name].as_u64();
    Some((Digest { count: number("count")?, hash: number("hash")? }, number("duplicates")?))
}

fn write_samples(path: &Path, samples: &[Sample]) -> Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for Sample { seq, t0_ns, received_ns } in samples {
        for number in [seq, t0_ns, received_ns] {
            file.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}

/// What the receiver of a route has left, in the order in which the records came.
pub(super) fn samples(route: &Route<'_>) -> Result<Vec<Sample>> {
    read_samples(&samples_path(route))
}

fn read_samples(path: &Path) -> Result<Vec<Sample>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.read_to_end(&mut bytes)?;
    let (numbers, _) = bytes.as_chunks::<8>();
    let numbers: Vec<u64> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let (samples, _) = numbers.as_chunks::<3>();
    Ok(samples
        .iter()
        .map(|[seq, t0_ns, received_ns]| Sample { seq: *seq, t0_ns: *t0_ns, received_ns: *received_ns })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_once_and_a_probe_never() {
        let mut received = Received::default();
        for seq in [PROBE, 0, 2, 2, 1] {
            received.add(10, record::encode(seq, 5, r#""a":1"#).as_bytes()).unwrap();
        }
        assert_eq!((received.digest.count, received.duplicates, received.probes), (3, 1, 1));
        assert!(received.add(10, b"no JSON").is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        write_samples(file.path(), &received.samples).unwrap();
        assert_eq!(read_samples(file.path()).unwrap(), received.samples);
        assert_eq!(received.samples[1], Sample { seq: 2, t0_ns: 5, received_ns: 10 });
    }
}
