//! Distributions of latencies, each row counted once.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Values are kept to two digits: 1 % at worst, in a few kilobytes.
const DIGITS: u8 = 2;

/// Latencies from a microsecond up; nothing is allocated before the first one.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyHistogram {
    micros: Option<Histogram<u64>>,
}

/// Percentiles of a latency, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LatencySummary {
    /// Rows that were measured.
    pub count: u64,
    /// Half of the rows took no longer.
    pub p50: f64,
    /// 90 % of them.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

impl LatencyHistogram {
    /// Counts `rows` that each took `latency`.
    pub(crate) fn record(&mut self, latency: Duration, rows: u64) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        if self.micros.is_none() {
            // Two digits are among those that it takes, so this does not fail.
            self.micros = Histogram::new(DIGITS).ok();
        }
        if let Some(histogram) = &mut self.micros {
            // It grows with what it sees, so there is no value that does not fit.
            let _ = histogram.record_n(micros, rows);
        }
    }

    /// Adds what `other` has counted.
    pub(crate) fn merge(&mut self, other: &LatencyHistogram) {
        match (&mut self.micros, &other.micros) {
            (_, None) => {}
            (None, Some(_)) => self.micros.clone_from(&other.micros),
            // Both grow, so there is no value that does not fit.
            (Some(into), Some(from)) => drop(into.add(from)),
        }
    }

    /// `None` if nothing was counted.
    pub(crate) fn summary(&self) -> Option<LatencySummary> {
        let histogram = self.micros.as_ref().filter(|histogram| !histogram.is_empty())?;
        let at = |quantile| millis(histogram.value_at_quantile(quantile));
        Some(LatencySummary {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: millis(histogram.max()),
        })
    }

    /// How many of the rows took no longer than each of `bounds`, to the precision of the histogram.
    pub(crate) fn at_most<'a>(&'a self, bounds: &'a [Duration]) -> impl Iterator<Item = u64> + 'a {
        bounds.iter().map(|bound| {
            let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
            self.micros.as_ref().map_or(0, |histogram| histogram.count_between(0, micros))
        })
    }

    /// Rows counted.
    pub(crate) fn count(&self) -> u64 {
        self.micros.as_ref().map_or(0, Histogram::len)
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_rows_and_to_one_percent() {
        let mut histogram = LatencyHistogram::default();
        assert_eq!(histogram.summary(), None);
        histogram.record(Duration::from_micros(100), 50);
        histogram.record(Duration::from_millis(1), 49);
        let mut other = LatencyHistogram::default();
        other.record(Duration::from_secs(3), 1);
        histogram.merge(&other);
        histogram.merge(&LatencyHistogram::default());
        let summary = histogram.summary().unwrap();
        assert_eq!((summary.count, histogram.count()), (100, 100));
        for (seen, expected) in [
            (summary.p50, 0.1),
            (summary.p90, 1.0),
            (summary.p99, 1.0),
            (summary.p999, 3000.0),
            (summary.max, 3000.0),
        ] {
            assert!((seen / expected - 1.0).abs() < 0.01, "{seen} for {expected}");
        }
        let bounds = [Duration::from_micros(500), Duration::from_millis(500), Duration::from_secs(10)];
        assert_eq!(histogram.at_most(&bounds).collect::<Vec<_>>(), [50, 99, 100]);
    }

    #[test]
    fn what_is_shorter_than_a_microsecond_counts_too() {
        let mut histogram = LatencyHistogram::default();
        histogram.record(Duration::ZERO, 3);
        assert_eq!(histogram.summary().unwrap().count, 3);
    }
}
