//! A latency objective, and how fast its error budget is used up. Pure: the caller brings the time.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::options::parse_duration;

/// The windows over which the budget is watched.
const SHORT: Duration = Duration::from_secs(5 * 60);
const LONG: Duration = Duration::from_secs(60 * 60);
/// What is counted together: the windows end with one of these.
const SLICE: Duration = Duration::from_secs(5);

/// A promise about latency from end to end, such as `5ms@p99`: 99 of 100 rows take no longer than 5 ms.
///
/// ```
/// use std::time::Duration;
/// use epochflow::LatencySlo;
///
/// let slo: LatencySlo = "5ms@p99.9".parse()?;
/// assert_eq!((slo.threshold(), slo.to_string().as_str()), (Duration::from_millis(5), "5ms@p99.9"));
/// # Ok::<_, epochflow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencySlo {
    threshold: Duration,
    percentile: f64,
}

impl LatencySlo {
    /// What a row may take.
    pub fn threshold(&self) -> Duration {
        self.threshold
    }

    /// The share of rows that may take longer.
    fn budget(&self) -> f64 {
        1.0 - self.percentile / 100.0
    }
}

impl FromStr for LatencySlo {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::usage(format!(
                "'{text}' is not a latency objective; write a time span, @p and a percentile between 0 and 100, such as 5ms@p99"
            ))
        };
        let (threshold, percentile) = text.trim().split_once("@p").ok_or_else(refuse)?;
        let threshold = parse_duration(threshold).map_err(|_| refuse())?;
        let percentile: f64 = percentile.parse().map_err(|_| refuse())?;
        if threshold.is_zero() || !(percentile > 0.0 && percentile < 100.0) {
            return Err(refuse());
        }
        Ok(Self { threshold, percentile })
    }
}

impl fmt::Display for LatencySlo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms@p{}", self.threshold.as_millis(), self.percentile)
    }
}

/// How an epoch, and the time before it, stand to the objective.
///
/// A burn rate is the share of late rows over the share that may be late: at 1 the budget is used up exactly; above 1 the
/// objective is missed over that time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SloReport {
    /// The objective, such as `5ms@p99`.
    pub objective: String,
    /// Rows of the epoch.
    pub rows: u64,
    /// Those that took longer than the objective allows.
    pub violations: u64,
    /// Of the epoch.
    pub burn_rate: f64,
    /// Of the last five minutes.
    #[serde(rename = "burnRate5m")]
    pub burn_rate_5m: f64,
    /// Of the last hour.
    #[serde(rename = "burnRate1h")]
    pub burn_rate_1h: f64,
    /// Whether the objective is missed: over the last five minutes the burn rate is above 1.
    pub is_violated: bool,
}

/// The objective is missed from now on, or kept again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SloChange {
    Began,
    Ended,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rows: u64,
    late: u64,
}

/// Counts rows against an objective.
#[derive(Debug)]
pub(crate) struct SloTracker {
    slo: LatencySlo,
    /// By when each began (a multiple of the slice), oldest first; no more than an hour of them.
    slices: VecDeque<(Duration, Counts)>,
    is_violated: bool,
}

impl SloTracker {
    pub(crate) fn new(slo: LatencySlo) -> Self {
        Self { slo, slices: VecDeque::new(), is_violated: false }
    }

    /// Takes in an epoch that was committed at `now` (since any fixed time): `late` of its `rows` took too long.
    pub(crate) fn record(&mut self, now: Duration, rows: u64, late: u64) -> (SloReport, Option<SloChange>) {
        let slice = SLICE * u32::try_from(now.as_secs() / SLICE.as_secs()).unwrap_or(u32::MAX);
        match self.slices.back_mut().filter(|(begun, _)| *begun == slice) {
            Some((_, counts)) => *counts = Counts { rows: counts.rows + rows, late: counts.late + late },
            None => self.slices.push_back((slice, Counts { rows, late })),
        }
        while self.slices.front().is_some_and(|(begun, _)| *begun + LONG <= now) {
            self.slices.pop_front();
        }
        let burn_rate_5m = self.burn_rate(self.within(SHORT, now));
        let is_violated = burn_rate_5m > 1.0;
        let change = match (self.is_violated, is_violated) {
            (false, true) => Some(SloChange::Began),
            (true, false) => Some(SloChange::Ended),
            _ => None,
        };
        self.is_violated = is_violated;
        let report = SloReport {
            objective: self.slo.to_string(),
            rows,
            violations: late,
            burn_rate: self.burn_rate(Counts { rows, late }),
            burn_rate_5m,
            burn_rate_1h: self.burn_rate(self.within(LONG, now)),
            is_violated,
        };
        (report, change)
    }

    fn within(&self, window: Duration, now: Duration) -> Counts {
        let counted = self.slices.iter().rev().take_while(|(begun, _)| *begun + window > now);
        counted.fold(Counts::default(), |sum, (_, counts)| Counts {
            rows: sum.rows + counts.rows,
            late: sum.late + counts.late,
        })
    }

    /// To a thousandth; 0 where there were no rows.
    fn burn_rate(&self, counts: Counts) -> f64 {
        if counts.rows == 0 {
            return 0.0;
        }
        let rate = counts.late as f64 / counts.rows as f64 / self.slo.budget();
        (rate * 1000.0).round() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn tracker() -> SloTracker {
        SloTracker::new("5ms@p99".parse().unwrap())
    }

    #[test]
    fn objectives_survive_their_text_and_others_are_refused() {
        for (text, shown) in
            [("5ms@p99", "5ms@p99"), (" 1 second@p50 ", "1000ms@p50"), ("20ms@p99.9", "20ms@p99.9")]
        {
            let slo: LatencySlo = text.parse().unwrap();
            assert_eq!(slo.to_string(), shown);
            assert_eq!(slo.to_string().parse::<LatencySlo>().unwrap(), slo);
        }
        for text in ["", "5ms", "5@p99", "5ms@99", "5ms@p0", "5ms@p100", "5ms@pNaN", "0ms@p99", "5ms@p-1"] {
            let error = text.parse::<LatencySlo>().expect_err(text);
            assert!(error.to_string().contains("5ms@p99"), "{error}");
        }
    }

    #[test]
    fn the_burn_rate_is_late_rows_over_the_budget() {
        let mut tracker = tracker();
        let (report, change) = tracker.record(SECOND, 1000, 10);
        assert_eq!((report.burn_rate, report.burn_rate_5m, report.burn_rate_1h), (1.0, 1.0, 1.0));
        assert_eq!((report.violations, report.is_violated, change), (10, false, None));
        let (report, _) = tracker.record(2 * SECOND, 0, 0);
        assert_eq!((report.burn_rate, report.burn_rate_5m), (0.0, 1.0), "an epoch without rows");
    }

    #[test]
    fn a_violation_begins_once_and_ends_when_the_short_window_has_recovered() {
        let mut tracker = tracker();
        assert_eq!(tracker.record(Duration::ZERO, 1000, 0).1, None);
        let (report, change) = tracker.record(10 * SECOND, 100, 50);
        assert_eq!((report.burn_rate, change), (50.0, Some(SloChange::Began)));
        assert_eq!(tracker.record(20 * SECOND, 100, 0).1, None, "still violated");
        // Five minutes after the slow epoch it has left the short window, and not the long one.
        let (report, change) = tracker.record(310 * SECOND, 100, 0);
        assert_eq!((report.burn_rate_5m, change), (0.0, Some(SloChange::Ended)));
        assert!(report.burn_rate_1h > 1.0, "{report:?}");
        let (report, change) = tracker.record(4000 * SECOND, 100, 0);
        assert_eq!((report.burn_rate_1h, change), (0.0, None));
    }

    #[test]
    fn memory_is_bounded_by_the_long_window() {
        let mut tracker = tracker();
        for tick in 0..100_000 {
            let _ = tracker.record(tick * SECOND / 10, 1, 0);
        }
        assert!(tracker.slices.len() <= 721, "{}", tracker.slices.len());
    }
}
