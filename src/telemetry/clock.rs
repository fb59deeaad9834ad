//! Where latencies are measured: once for each batch, by whoever has it in hand.
//!
//! A pipeline's task is alone with its [`PipelineClock`]. Acknowledgements come on another thread, which is alone with the
//! epoch's [`Acked`] until the last of them is there: the lock never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::histogram::LatencyHistogram;

/// No timestamp.
const UNKNOWN: i64 = i64::MIN;

/// What a leaf notes of the batch that it hands to the operators, for the task that writes what comes of it. Both run on
/// one thread.
#[derive(Debug)]
pub(crate) struct HandOver {
    base: Instant,
    /// Nanoseconds from `base`.
    arrived: AtomicU64,
    handed: AtomicU64,
    oldest: AtomicI64,
}

impl HandOver {
    pub(crate) fn new() -> Self {
        let (arrived, handed) = Default::default();
        Self { base: Instant::now(), arrived, handed, oldest: AtomicI64::new(UNKNOWN) }
    }

    /// A batch is handed over now; it arrived then, and its oldest record is of that time (milliseconds since 1970).
    pub(crate) fn note(&self, arrived: Option<Instant>, oldest: Option<i64>) {
        let handed = nanos(self.base.elapsed());
        let arrived = arrived.map_or(handed, |arrived| nanos(arrived.saturating_duration_since(self.base)));
        self.arrived.store(arrived, Ordering::Relaxed);
        self.handed.store(handed, Ordering::Relaxed);
        self.oldest.store(oldest.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }
}

/// What a task has measured of an epoch.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskLatencies {
    pub(crate) fetch_to_hand_over: LatencyHistogram,
    pub(crate) operators: LatencyHistogram,
}

/// Measures one pipeline, from the hand-over to the sink's answer.
#[derive(Debug)]
pub(crate) struct PipelineClock {
    latencies: TaskLatencies,
    acks: AckClock,
}

impl PipelineClock {
    /// `late_beyond`: what is slower from end to end is counted as late.
    pub(crate) fn new(late_beyond: Option<Duration>) -> Self {
        let late_beyond = late_beyond.unwrap_or(Duration::MAX);
        let epoch = Arc::new(EpochAcks { late_beyond, acked: Mutex::default() });
        Self { latencies: TaskLatencies::default(), acks: AckClock { epoch, oldest: None } }
    }

    /// What comes next out of the operators came from this batch.
    pub(crate) fn acks(&mut self, hand_over: &HandOver) -> &AckClock {
        let oldest = hand_over.oldest.load(Ordering::Relaxed);
        self.acks.oldest = (oldest != UNKNOWN).then_some(oldest);
        &self.acks
    }

    /// The sink has been given `rows` of this batch.
    pub(crate) fn written(&mut self, hand_over: &HandOver, rows: u64) {
        let now = nanos(hand_over.base.elapsed());
        let handed = hand_over.handed.load(Ordering::Relaxed);
        let waited = handed.saturating_sub(hand_over.arrived.load(Ordering::Relaxed));
        self.latencies.fetch_to_hand_over.record(Duration::from_nanos(waited), rows);
        self.latencies.operators.record(Duration::from_nanos(now.saturating_sub(handed)), rows);
    }

    /// The epoch ends: what was measured of it, and what will have been when its last row is acknowledged.
    pub(crate) fn seal(&mut self) -> (TaskLatencies, Arc<EpochAcks>) {
        let late_beyond = self.acks.epoch.late_beyond;
        let next = Arc::new(EpochAcks { late_beyond, acked: Mutex::default() });
        (std::mem::take(&mut self.latencies), std::mem::replace(&mut self.acks.epoch, next))
    }
}

/// What acknowledgements of an epoch have shown.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    pub(crate) produce_to_ack: LatencyHistogram,
    pub(crate) end_to_end: LatencyHistogram,
    /// Rows that took longer from end to end than they should.
    pub(crate) late: u64,
}

#[derive(Debug)]
pub(crate) struct EpochAcks {
    late_beyond: Duration,
    acked: Mutex<Acked>,
}

impl EpochAcks {
    /// To be called when all rows of the epoch are safe.
    pub(crate) fn take(&self) -> Acked {
        std::mem::take(&mut self.acked.lock())
    }

    fn acked(&self, since: Option<Instant>, oldest: Option<i64>, rows: u64) {
        let end_to_end = oldest.map(since_millis);
        let produced = since.map(|since| since.elapsed());
        let mut acked = self.acked.lock();
        if let Some(latency) = produced {
            acked.produce_to_ack.record(latency, rows);
        }
        if let Some(latency) = end_to_end {
            acked.end_to_end.record(latency, rows);
            if latency > self.late_beyond {
                acked.late += rows;
            }
        }
    }
}

/// Lets a sink's writer say when rows are safe. Made by the engine for each batch, see
/// [`SinkWriter::write_timed`](crate::SinkWriter::write_timed).
#[derive(Debug)]
pub struct AckClock {
    epoch: Arc<EpochAcks>,
    oldest: Option<i64>,
}

impl AckClock {
    /// `rows` are on their way to the sink from now on.
    pub fn start(&self, rows: usize) -> Unacked {
        let epoch = Arc::clone(&self.epoch);
        Unacked { epoch, oldest: self.oldest, since: Instant::now(), rows: rows as u64 }
    }

    /// `rows` are where they belong; a sink that learns of no single acknowledgements can say no more.
    pub(crate) fn written(&self, rows: usize) {
        self.epoch.acked(None, self.oldest, rows as u64);
    }
}

/// Rows on their way to a sink: drop it when the last of them is acknowledged.
#[derive(Debug)]
#[must_use = "the rows count as acknowledged when this is dropped"]
pub struct Unacked {
    epoch: Arc<EpochAcks>,
    oldest: Option<i64>,
    since: Instant,
    rows: u64,
}

impl Drop for Unacked {
    fn drop(&mut self) {
        self.epoch.acked(Some(self.since), self.oldest, self.rows);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Time since a record's timestamp; none if the clock that made it is ahead of ours.
fn since_millis(millis: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(u64::try_from(millis).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis_ago(millis: i64) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(now.as_millis()).unwrap() - millis
    }

    #[test]
    fn an_epochs_rows_are_measured_in_it_and_late_ones_counted() {
        let mut clock = PipelineClock::new(Some(Duration::from_secs(60)));
        let hand_over = HandOver::new();
        hand_over.note(Some(Instant::now()), Some(millis_ago(1000)));
        let in_time = clock.acks(&hand_over).start(2);
        clock.written(&hand_over, 2);
        hand_over.note(None, Some(millis_ago(120_000)));
        let late = clock.acks(&hand_over).start(3);
        clock.written(&hand_over, 3);
        let (task, first) = clock.seal();
        assert_eq!((task.fetch_to_hand_over.count(), task.operators.count()), (5, 5));
        // Of the next epoch, and acknowledged before the first one's.
        hand_over.note(None, Some(millis_ago(-10_000)));
        drop(clock.acks(&hand_over).start(1));
        drop(in_time);
        drop(late);
        let acked = first.take();
        assert_eq!((acked.produce_to_ack.count(), acked.end_to_end.count(), acked.late), (5, 5, 3));
        let summary = acked.end_to_end.summary().unwrap();
        assert!(summary.p50 >= 119_000.0, "{summary:?}");
        let acked = clock.seal().1.take();
        let summary = acked.end_to_end.summary().unwrap();
        assert_eq!((summary.count, summary.max, acked.late), (1, 0.001, 0), "a clock that is ahead");
    }

    #[test]
    fn without_timestamps_and_acks_nothing_is_made_up() {
        let mut clock = PipelineClock::new(None);
        let hand_over = HandOver::new();
        hand_over.note(None, None);
        clock.acks(&hand_over).written(4);
        let acked = clock.seal().1.take();
        assert_eq!((acked.produce_to_ack.count(), acked.end_to_end.count()), (0, 0));
    }
}
