//! Metrics of a query, through the `metrics` crate: whoever installs a recorder gets them, and without one they cost next to
//! nothing. docs/operations.md lists them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{
    Counter, Gauge, Histogram, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use super::epoch::STAGES;
use super::query::EpochFacts;
use super::slo::SloReport;
use crate::epoch::Partition;
use crate::error::ErrorKind;

/// Upper bounds of the latency buckets.
const BOUNDS: [Duration; 12] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// Handles on a query's metrics. Made when it starts: install the recorder before.
pub(super) struct QueryMetrics {
    query: Label,
    rows_read: Counter,
    rows_written: Counter,
    batches: Counter,
    epochs: Counter,
    restarts: Counter,
    epoch_duration: Histogram,
    commit_duration: Histogram,
    last_epoch: Gauge,
    last_commit: Gauge,
    is_active: Gauge,
    stages: [Stage; 4],
    lag: BTreeMap<Partition, Gauge>,
    slo: Option<Slo>,
}

impl fmt::Debug for QueryMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryMetrics").field("query", &self.query).finish_non_exhaustive()
    }
}

struct Stage {
    /// Rows up to each of [`BOUNDS`], and all of them.
    buckets: Vec<Counter>,
    rows: Counter,
    quantiles: [Gauge; 5],
}

impl Stage {
    fn new(stage: &'static str, query: &Label) -> Self {
        let labels = |more: Label| vec![query.clone(), Label::new("stage", stage), more];
        let bucket = |le: String| counter!("epochflow_latency_seconds_bucket", labels(Label::new("le", le)));
        let bounds = BOUNDS.iter().map(|bound| bound.as_secs_f64().to_string());
        let quantile = |quantile: &'static str| {
            gauge!("epochflow_latency_quantile_seconds", labels(Label::new("quantile", quantile)))
        };
        Self {
            buckets: bounds.chain(["+Inf".to_owned()]).map(bucket).collect(),
            rows: counter!(
                "epochflow_latency_seconds_count",
                vec![query.clone(), Label::new("stage", stage)]
            ),
            quantiles: ["0.5", "0.9", "0.99", "0.999", "1"].map(quantile),
        }
    }
}

struct Slo {
    rows: Counter,
    violations: Counter,
    burn_rates: [Gauge; 3],
    is_violated: Gauge,
}

impl Slo {
    fn new(query: &Label) -> Self {
        let burn_rate = |window: &'static str| {
            gauge!("epochflow_slo_burn_rate", vec![query.clone(), Label::new("window", window)])
        };
        Self {
            rows: counter!("epochflow_slo_rows_total", vec![query.clone()]),
            violations: counter!("epochflow_slo_violations_total", vec![query.clone()]),
            burn_rates: ["epoch", "5m", "1h"].map(burn_rate),
            is_violated: gauge!("epochflow_slo_violated", vec![query.clone()]),
        }
    }
}

impl QueryMetrics {
    pub(super) fn new(query: &str, has_slo: bool) -> Self {
        describe();
        let query = Label::new("query", query.to_owned());
        let labels = || vec![query.clone()];
        let metrics = Self {
            rows_read: counter!("epochflow_rows_read_total", labels()),
            rows_written: counter!("epochflow_rows_written_total", labels()),
            batches: counter!("epochflow_batches_total", labels()),
            epochs: counter!("epochflow_epochs_total", labels()),
            restarts: counter!("epochflow_restarts_total", labels()),
            epoch_duration: histogram!("epochflow_epoch_duration_seconds", labels()),
            commit_duration: histogram!("epochflow_commit_duration_seconds", labels()),
            last_epoch: gauge!("epochflow_last_epoch", labels()),
            last_commit: gauge!("epochflow_last_commit_timestamp_seconds", labels()),
            is_active: gauge!("epochflow_query_active", labels()),
            stages: STAGES.map(|stage| Stage::new(stage, &query)),
            lag: BTreeMap::new(),
            slo: has_slo.then(|| Slo::new(&query)),
            query,
        };
        // A counter that was never raised would not be there to compare with.
        metrics.restarts.increment(0);
        for cause in [ErrorKind::Transient, ErrorKind::Internal] {
            metrics.restarts_by(cause).increment(0);
        }
        metrics.is_active.set(1.0);
        metrics
    }

    pub(super) fn on_epoch(&self, facts: &EpochFacts<'_>) {
        self.rows_read.increment(facts.rows_in);
        self.rows_written.increment(facts.rows_out);
        self.batches.increment(facts.batches);
        self.epochs.increment(1);
        self.epoch_duration.record(facts.duration.as_secs_f64());
        self.commit_duration.record(facts.commit.as_secs_f64());
        self.last_epoch.set(facts.epoch.0 as f64);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_commit.set(now.as_secs_f64());
        for (stage, histogram) in self.stages.iter().zip(facts.latencies.stages()) {
            let Some(summary) = histogram.summary() else { continue };
            let counts = histogram.at_most(&BOUNDS).chain([summary.count]);
            stage.buckets.iter().zip(counts).for_each(|(bucket, rows)| bucket.increment(rows));
            stage.rows.increment(summary.count);
            let millis = [summary.p50, summary.p90, summary.p99, summary.p999, summary.max];
            stage.quantiles.iter().zip(millis).for_each(|(quantile, millis)| quantile.set(millis / 1000.0));
        }
    }

    pub(super) fn on_slo(&self, report: &SloReport) {
        let Some(slo) = &self.slo else { return };
        slo.rows.increment(report.rows);
        slo.violations.increment(report.violations);
        let rates = [report.burn_rate, report.burn_rate_5m, report.burn_rate_1h];
        slo.burn_rates.iter().zip(rates).for_each(|(gauge, rate)| gauge.set(rate));
        slo.is_violated.set(f64::from(u8::from(report.is_violated)));
    }

    pub(super) fn on_lag(&mut self, partition: &Partition, records: i64) {
        if let Some(gauge) = self.lag.get(partition) {
            return gauge.set(records as f64);
        }
        let labels = vec![
            self.query.clone(),
            Label::new("topic", partition.topic.to_string()),
            Label::new("partition", partition.number.to_string()),
        ];
        let gauge = gauge!("epochflow_lag_records", labels);
        gauge.set(records as f64);
        self.lag.insert(partition.clone(), gauge);
    }

    pub(super) fn on_restart(&self, cause: ErrorKind) {
        self.restarts.increment(1);
        self.restarts_by(cause).increment(1);
    }

    /// Kinds of errors are few, their messages are not.
    fn restarts_by(&self, cause: ErrorKind) -> Counter {
        let cause = Label::new("cause", format!("{cause:?}"));
        counter!("epochflow_restarts_by_cause_total", vec![self.query.clone(), cause])
    }

    pub(super) fn on_end(&self) {
        self.is_active.set(0.0);
    }
}

fn describe() {
    describe_counter!("epochflow_rows_read_total", "Records read in committed epochs.");
    describe_counter!("epochflow_rows_written_total", "Rows written in committed epochs.");
    describe_counter!("epochflow_batches_total", "Batches that reached the sink in committed epochs.");
    describe_counter!("epochflow_epochs_total", "Epochs committed.");
    describe_counter!("epochflow_restarts_total", "Restarts after a failure.");
    describe_counter!("epochflow_restarts_by_cause_total", "Restarts by the kind of the failure.");
    describe_histogram!("epochflow_epoch_duration_seconds", "From an epoch's begin to its commit.");
    describe_histogram!("epochflow_commit_duration_seconds", "From the last acknowledgement to the commit.");
    describe_gauge!("epochflow_last_epoch", "The epoch committed last.");
    describe_gauge!("epochflow_last_commit_timestamp_seconds", "When that was, in seconds since 1970.");
    describe_gauge!("epochflow_query_active", "1 while the query runs.");
    describe_counter!("epochflow_latency_seconds_bucket", "Rows that took up to le in this stage.");
    describe_counter!("epochflow_latency_seconds_count", "Rows measured in this stage.");
    describe_gauge!("epochflow_latency_quantile_seconds", "Quantiles of the last epoch's rows.");
    describe_gauge!("epochflow_lag_records", "Records between the query's position and the partition's end.");
    describe_counter!("epochflow_slo_rows_total", "Rows held against the latencySlo.");
    describe_counter!("epochflow_slo_violations_total", "Rows slower than the latencySlo's threshold.");
    describe_gauge!("epochflow_slo_burn_rate", "Late rows over the late rows that the latencySlo allows.");
    describe_gauge!("epochflow_slo_violated", "1 while the latencySlo is missed over five minutes.");
}
