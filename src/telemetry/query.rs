//! What a query measures of itself over its epochs.

use std::time::{Duration, Instant};

use super::epoch::EpochLatencies;
use super::metrics::QueryMetrics;
use super::slo::{LatencySlo, SloChange, SloReport, SloTracker};
use crate::epoch::{EpochId, SourceOffsets};
use crate::error::ErrorKind;

/// Judges and publishes what epochs did.
#[derive(Debug)]
pub(crate) struct QueryTelemetry {
    name: String,
    started: Instant,
    slo: Option<SloTracker>,
    metrics: QueryMetrics,
}

/// What a committed epoch did.
#[derive(Debug)]
pub(crate) struct EpochFacts<'a> {
    pub(crate) epoch: EpochId,
    pub(crate) rows_in: u64,
    pub(crate) rows_out: u64,
    /// Batches that reached the sink.
    pub(crate) batches: u64,
    /// From its begin to its commit.
    pub(crate) duration: Duration,
    /// From the last acknowledgement to its commit.
    pub(crate) commit: Duration,
    pub(crate) latencies: &'a EpochLatencies,
}

impl QueryTelemetry {
    /// Of the query `name`, or with this id if it has none.
    pub(crate) fn new(name: String, slo: Option<LatencySlo>) -> Self {
        let metrics = QueryMetrics::new(&name, slo.is_some());
        Self { name, started: Instant::now(), slo: slo.map(SloTracker::new), metrics }
    }

    /// An epoch is committed; how it stands to the objective, if there is one.
    pub(crate) fn on_epoch(&mut self, facts: &EpochFacts<'_>) -> Option<SloReport> {
        self.metrics.on_epoch(facts);
        let (rows, late) = facts.latencies.end_to_end();
        let (report, change) = self.slo.as_mut()?.record(self.started.elapsed(), rows, late);
        self.metrics.on_slo(&report);
        let (name, objective, rate) = (&self.name, &report.objective, report.burn_rate_5m);
        match change {
            Some(SloChange::Began) => tracing::warn!(
                "query {name} misses its latencySlo {objective}: the error budget of the last 5 minutes burns at {rate} times the rate that it allows"
            ),
            Some(SloChange::Ended) => tracing::warn!("query {name} keeps its latencySlo {objective} again"),
            None => {}
        }
        Some(report)
    }

    /// How far a source's partitions at `position` are behind its ends.
    pub(crate) fn on_lag(&mut self, position: &SourceOffsets, ends: &SourceOffsets) {
        for (partition, end) in ends {
            if let Some(position) = position.get(partition) {
                self.metrics.on_lag(partition, end.saturating_sub(*position).max(0));
            }
        }
    }

    /// The query goes on after a failure of the kind `cause`.
    pub(crate) fn on_restart(&self, cause: ErrorKind) {
        self.metrics.on_restart(cause);
    }

    pub(crate) fn on_end(&self) {
        self.metrics.on_end();
    }
}
