//! Progress reports of epochs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use super::task::Sealed;
use crate::epoch::{Cut, EpochId, SourceOffsets};
use crate::query::{QueryShared, SinkProgress, SourceProgress, StreamingQueryProgress};
use crate::sink::Sink;
use crate::source::Source;
use crate::telemetry::{Acked, EpochFacts, EpochLatencies};

/// How often lag is looked at between epochs.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// Collects what an epoch did until it is committed.
pub(super) struct EpochReports {
    open: VecDeque<(EpochId, EpochReport)>,
    last_commit: Instant,
    /// When listeners last heard of the query: an epoch, or that it is idle.
    last_heard: Instant,
    last_lag: Instant,
    /// When the epoch that runs now began.
    began: (DateTime<Utc>, Instant),
}

struct EpochReport {
    timestamp: DateTime<Utc>,
    begun: Instant,
    /// Records read, by source.
    rows_in: Vec<u64>,
    rows_out: u64,
    bad_rows: u64,
    batches: u64,
    latencies: EpochLatencies,
    /// When the sink had all rows.
    taken: Instant,
    durations: BTreeMap<&'static str, u64>,
    /// The ends of the sources when the epoch's end was decided, where they are known.
    latest: Vec<Option<SourceOffsets>>,
}

impl EpochReports {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            open: VecDeque::new(),
            last_commit: now,
            last_heard: now,
            last_lag: now,
            began: (Utc::now(), now),
        }
    }

    /// The bounds of `epoch` are decided. `latest`: for each source its end, where it is known, and it took `looked` to
    /// find out.
    pub(super) fn begin(&mut self, epoch: EpochId, latest: Vec<Option<SourceOffsets>>, looked: Duration) {
        let (timestamp, begun) = self.began;
        // Under the continuous trigger the next epoch's records come from now on.
        self.began = (Utc::now(), Instant::now());
        let rows_in = vec![0; latest.len()];
        // The plan is made once, before the first epoch.
        let durations = [("latestOffset", millis(looked)), ("queryPlanning", 0)].into();
        self.open.push_back((
            epoch,
            EpochReport {
                timestamp,
                begun,
                rows_in,
                rows_out: 0,
                bad_rows: 0,
                batches: 0,
                latencies: EpochLatencies::default(),
                taken: begun,
                durations,
                latest,
            },
        ));
    }

    /// Whether listeners are to hear that the query has nothing to do: at most every `interval`.
    pub(super) fn is_idle_event_due(&mut self, interval: Duration) -> bool {
        is_due(&mut self.last_heard, interval)
    }

    /// Whether lag is to be looked at again.
    pub(super) fn is_lag_due(&mut self) -> bool {
        is_due(&mut self.last_lag, LAG_INTERVAL)
    }

    /// How long ago the epoch that runs now began.
    pub(super) fn since_began(&self) -> Duration {
        self.began.1.elapsed()
    }

    /// A batch is being planned: its time counts from here.
    pub(super) fn restart_clock(&mut self) {
        self.began = (Utc::now(), Instant::now());
    }

    /// A pipeline that reads `source` has reached the end of its epoch.
    pub(super) fn add_pipeline(&mut self, sealed: &Sealed, source: usize) {
        if let Some(report) = self.report(sealed.epoch) {
            report.rows_out += sealed.rows_out;
            report.bad_rows += sealed.bad_rows;
            report.batches += sealed.batches;
            report.latencies.add_task(&sealed.latencies);
            if let Some(rows) = report.rows_in.get_mut(source) {
                *rows += sealed.rows_in;
            }
        }
    }

    /// The sink has all that a pipeline wrote.
    pub(super) fn add_acked(&mut self, epoch: EpochId, acked: &Acked) {
        if let Some(report) = self.report(epoch) {
            report.latencies.add_acked(acked);
        }
    }

    /// The sink has all of the epoch.
    pub(super) fn all_is_taken(&mut self, epoch: EpochId) {
        if let Some(report) = self.report(epoch) {
            report.taken = Instant::now();
        }
    }

    pub(super) fn add_duration(&mut self, epoch: EpochId, phase: &'static str, began: Instant) {
        let millis = millis(began.elapsed());
        if let Some(report) = self.report(epoch) {
            *report.durations.entry(phase).or_default() += millis;
        }
    }

    fn report(&mut self, epoch: EpochId) -> Option<&mut EpochReport> {
        self.open.iter_mut().find(|(id, _)| *id == epoch).map(|(_, report)| report)
    }

    /// The epoch is committed: publishes its progress.
    pub(super) fn publish(
        &mut self,
        epoch: EpochId,
        shared: &QueryShared,
        sources: &[Arc<dyn Source>],
        sink: &dyn Sink,
        start: &Cut,
        end: &Cut,
    ) {
        let Some(position) = self.open.iter().position(|(id, _)| *id == epoch) else {
            return;
        };
        let Some((_, mut report)) = self.open.remove(position) else {
            return;
        };
        let since_last = self.last_commit.elapsed().as_secs_f64();
        let own = report.begun.elapsed();
        self.last_commit = Instant::now();
        self.last_heard = self.last_commit;
        report.durations.insert("triggerExecution", millis(own));
        let total: u64 = report.rows_in.iter().sum();
        let latency_slo = shared.telemetry.lock().on_epoch(&EpochFacts {
            epoch,
            rows_in: total,
            rows_out: report.rows_out,
            batches: report.batches,
            duration: own,
            commit: report.taken.elapsed(),
            latencies: &report.latencies,
        });
        let of_sources = sources.iter().zip(report.rows_in).zip(start.iter().zip(end)).zip(report.latest);
        let sources = of_sources.map(|(((source, rows), (start, end)), latest)| {
            let latest = latest.map(|latest| not_before(latest, end));
            SourceProgress {
                description: source.description(),
                start_offset: source.encode_offsets(start),
                end_offset: source.encode_offsets(end),
                latest_offset: latest.as_ref().map(|latest| source.encode_offsets(latest)),
                num_input_rows: rows,
                input_rows_per_second: rows as f64 / since_last,
                processed_rows_per_second: rows as f64 / own.as_secs_f64(),
                metrics: source.metrics(end, latest.as_ref()),
            }
        });
        shared.report(StreamingQueryProgress {
            id: shared.id,
            run_id: shared.run_id,
            name: shared.name.clone(),
            timestamp: report.timestamp.to_rfc3339_opts(SecondsFormat::Millis, true),
            batch_id: epoch.0,
            batch_duration: millis(own),
            num_input_rows: total,
            num_bad_rows: report.bad_rows,
            input_rows_per_second: total as f64 / since_last,
            processed_rows_per_second: total as f64 / own.as_secs_f64(),
            duration_ms: report
                .durations
                .into_iter()
                .map(|(phase, millis)| (phase.to_owned(), millis))
                .collect(),
            event_time: BTreeMap::new(),
            state_operators: Vec::new(),
            sources: sources.collect(),
            sink: SinkProgress {
                description: sink.description(),
                num_output_rows: report.rows_out,
                metrics: sink.metrics(),
            },
            observed_metrics: BTreeMap::new(),
            latency: report.latencies.summary(),
            latency_slo,
            restarts: shared.restarts(),
        });
    }
}

/// What was known of a source's ends may be older than what was read since.
fn not_before(mut latest: SourceOffsets, end: &SourceOffsets) -> SourceOffsets {
    for (partition, latest) in &mut latest {
        *latest = end.get(partition).copied().map_or(*latest, |end| end.max(*latest));
    }
    latest
}

/// Whether `interval` has passed since `last`, which is now then.
fn is_due(last: &mut Instant, interval: Duration) -> bool {
    let is_due = last.elapsed() >= interval;
    if is_due {
        *last = Instant::now();
    }
    is_due
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
