//! Progress reports of epochs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use crate::epoch::{Cut, EpochId};
use crate::query::{QueryShared, SinkProgress, SourceProgress, StreamingQueryProgress};
use crate::sink::Sink;
use crate::source::Source;

/// Collects what an epoch did until it is committed.
pub(super) struct EpochReports {
    open: VecDeque<(EpochId, EpochReport)>,
    last_commit: Instant,
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
    durations: BTreeMap<&'static str, u64>,
    latest: Option<Cut>,
}

impl EpochReports {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { open: VecDeque::new(), last_commit: now, began: (Utc::now(), now) }
    }

    /// The bounds of `epoch` are decided. `latest`: the ends of the sources, if they were asked.
    pub(super) fn begin(&mut self, epoch: EpochId, sources: usize, latest: Option<Cut>) {
        let (timestamp, begun) = self.began;
        // Under the continuous trigger the next epoch's records come from now on.
        self.began = (Utc::now(), Instant::now());
        let (rows_out, bad_rows, durations) = (0, 0, BTreeMap::new());
        self.open.push_back((
            epoch,
            EpochReport {
                timestamp,
                begun,
                rows_in: vec![0; sources],
                rows_out,
                bad_rows,
                durations,
                latest,
            },
        ));
    }

    /// A batch is being planned: its time counts from here.
    pub(super) fn restart_clock(&mut self) {
        self.began = (Utc::now(), Instant::now());
    }

    pub(super) fn add_rows(&mut self, epoch: EpochId, source: usize, rows_in: u64, rows_out: u64) {
        if let Some(report) = self.report(epoch) {
            report.rows_out += rows_out;
            if let Some(rows) = report.rows_in.get_mut(source) {
                *rows += rows_in;
            }
        }
    }

    pub(super) fn add_bad_rows(&mut self, epoch: EpochId, rows: u64) {
        if let Some(report) = self.report(epoch) {
            report.bad_rows += rows;
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
        report.durations.insert("triggerExecution", millis(own));
        let total: u64 = report.rows_in.iter().sum();
        let per_source = sources.iter().zip(&report.rows_in).zip(start.iter().zip(end)).enumerate();
        let sources = per_source.map(|(number, ((source, rows), (start, end)))| SourceProgress {
            description: source.description(),
            start_offset: source.encode_offsets(start),
            end_offset: source.encode_offsets(end),
            latest_offset: report
                .latest
                .as_ref()
                .and_then(|cut| cut.get(number))
                .map(|cut| source.encode_offsets(cut)),
            num_input_rows: *rows,
            input_rows_per_second: *rows as f64 / since_last,
            processed_rows_per_second: *rows as f64 / own.as_secs_f64(),
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
            duration_ms: report.durations,
            state_operators: Vec::new(),
            sources: sources.collect(),
            sink: SinkProgress { description: sink.description(), num_output_rows: report.rows_out },
        });
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
