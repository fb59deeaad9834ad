//! One latency run: an open-loop sender, a subject between two topics, a receiver.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;

use crate::kafka::{self, POLL, Sender, Topics};
use crate::record::{self, PROBE, Record};
use crate::subject::{Child, Route, Subject, Usage};
use crate::{Args, Result, sys};

const RECORD_BYTES: usize = 110;
/// A record waits for no other one.
const LINGER_MS: &str = "0";
/// The schedule's first seconds, sent and received but not measured.
const WARM_UP_SECONDS: u64 = 2;
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long after the last record was sent the receiver still waits for the missing ones.
const GRACE: Duration = Duration::from_secs(10);
/// Above this the sender, not the subject, was measured.
const LATE_US: u64 = 2_000;

/// What one run gave. Histograms in µs.
pub(crate) struct Run {
    pub(crate) subject: Subject,
    pub(crate) rate: u64,
    pub(crate) repeat: usize,
    pub(crate) latency: Histogram<u64>,
    pub(crate) lateness: Histogram<u64>,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) usage: Option<Usage>,
}

impl Run {
    pub(crate) fn late_generator(&self) -> bool {
        self.lateness.value_at_quantile(0.99) > LATE_US
    }
}

pub(crate) fn run(args: &Args, subject: Subject, rate: u64, repeat: usize) -> Result<Run> {
    let name = format!("bench-{}-{}-{rate}-{repeat}", std::process::id(), subject.name());
    let (from, to) = match subject {
        Subject::Hop => (name.clone(), name),
        _ => (format!("{name}-in"), format!("{name}-out")),
    };
    let wanted = [(from.as_str(), 1), (to.as_str(), 1)];
    let _topics = Topics::create(&args.brokers, if from == to { &wanted[..1] } else { &wanted })?;
    let route = Route { from: &from, partitions: 1, to: &to, linger_ms: LINGER_MS };
    let mut child = subject.start(args, &route)?;
    let consumer = kafka::consumer(&args.brokers, &to, 1)?;
    let sender = Sender::new(&args.brokers, LINGER_MS)?;
    await_ready(&sender, &from, &consumer, child.as_mut())?;

    let before = child.as_ref().map(Child::usage).transpose()?;
    let schedule = Schedule::new(subject, rate, args.seconds);
    let mut received = Received::new(&schedule)?;
    let lateness = std::thread::scope(|scope| {
        let sending = scope.spawn(|| schedule.send(&sender, &from));
        let mut give_up = None;
        while received.missing > 0 {
            if sending.is_finished() {
                let give_up = give_up.get_or_insert_with(|| Instant::now() + GRACE);
                if Instant::now() > *give_up {
                    break;
                }
            }
            match consumer.poll(POLL) {
                None => child.as_mut().map_or(Ok(()), Child::check)?,
                Some(Err(error)) => eprintln!("receiver: {error}"),
                Some(Ok(message)) => received.add(sys::now_ns(), message.payload().unwrap_or_default())?,
            }
        }
        sending.join().unwrap_or_else(|_| Err("the sender panicked".into()))
    })?;

    let usage = child.as_ref().map(Child::usage).transpose()?.zip(before);
    let usage =
        usage.map(|(after, before)| Usage { cpu_seconds: after.cpu_seconds - before.cpu_seconds, ..after });
    child.map_or(Ok(()), Child::stop)?;
    let Received { latency, missing: lost, duplicates, .. } = received;
    Ok(Run { subject, rate, repeat, latency, lateness, lost, duplicates, usage })
}

/// Sends probes until one comes out at the other end.
fn await_ready(
    sender: &Sender,
    from: &str,
    consumer: &BaseConsumer,
    mut child: Option<&mut Child>,
) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while Instant::now() < deadline {
        child.as_deref_mut().map_or(Ok(()), Child::check)?;
        sender.send(from, 0, None, record::encode(PROBE, sys::now_ns(), true, RECORD_BYTES).as_bytes())?;
        if let Some(Ok(_)) = consumer.poll(POLL) {
            return Ok(());
        }
    }
    Err(format!("nothing came out within {} s", READY_WITHIN.as_secs()).into())
}

/// Record `seq` is due at `start_ns + seq / rate`, whatever became of those before it.
struct Schedule {
    start_ns: u64,
    rate: u64,
    first_measured: u64,
    count: u64,
    one_in: u64,
}

impl Schedule {
    fn new(subject: Subject, rate: u64, seconds: u64) -> Self {
        let first_measured = rate * WARM_UP_SECONDS;
        let count = first_measured + rate * seconds;
        Self { start_ns: sys::now_ns(), rate, first_measured, count, one_in: subject.one_in() }
    }

    /// Every 50th record is one that the filters let pass, in the runs without a filter too.
    fn matches(seq: u64) -> bool {
        seq.is_multiple_of(Subject::Filter1In50.one_in())
    }

    /// How many measured records must come out.
    fn expected(&self) -> u64 {
        (self.first_measured..self.count).filter(|seq| seq.is_multiple_of(self.one_in)).count() as u64
    }

    /// Sends all records; returns by how much each left late.
    fn send(&self, sender: &Sender, topic: &str) -> Result<Histogram<u64>> {
        sys::exact_sleep();
        let mut lateness = Histogram::new(3)?;
        for seq in 0..self.count {
            let due = self.start_ns + (u128::from(seq) * 1_000_000_000 / u128::from(self.rate)) as u64;
            let payload = record::encode(seq as i64, due, Self::matches(seq), RECORD_BYTES);
            sys::sleep_until(due);
            if seq >= self.first_measured {
                lateness.record((sys::now_ns() - due) / 1_000)?;
            }
            sender.send(topic, 0, None, payload.as_bytes())?;
        }
        sender.finish()?;
        Ok(lateness)
    }
}

/// What has come out.
struct Received {
    latency: Histogram<u64>,
    first_measured: u64,
    seen: Vec<bool>,
    missing: u64,
    duplicates: u64,
}

impl Received {
    fn new(schedule: &Schedule) -> Result<Self> {
        let Schedule { first_measured, count, .. } = *schedule;
        let (seen, missing) = (vec![false; count as usize], schedule.expected());
        Ok(Self { latency: Histogram::new(3)?, first_measured, seen, missing, duplicates: 0 })
    }

    fn add(&mut self, now_ns: u64, payload: &[u8]) -> Result<()> {
        let record: Record = serde_json::from_slice(payload)?;
        if record.seq == PROBE {
            return Ok(());
        }
        let seq = record.seq as u64;
        let seen = self.seen.get_mut(seq as usize).ok_or("a record came out that was never sent")?;
        if std::mem::replace(seen, true) {
            self.duplicates += 1;
        } else if seq >= self.first_measured {
            self.latency.record(now_ns.saturating_sub(record.ts) / 1_000)?;
            self.missing =
                self.missing.checked_sub(1).ok_or("a record passed that should have been filtered out")?;
        }
        Ok(())
    }
}
