//! The highest rate that a subject sustains: one at which no backlog grows.

use super::outcome::{Run, Slice};

/// By how much latency may grow in the course of a run. A backlog that grows by 1 % adds 100 ms in 10 s.
const GROWTH_MS: f64 = 50.0;
/// The search ends when the answer is known this well.
const PRECISION: f64 = 0.1;

/// Why a run does not show a sustained rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The subject fell behind.
    Backlog,
    /// The generator fell behind its own schedule, so nothing is known about the subject.
    Generator,
}

/// Whether the run's rate was sustained.
pub(super) fn judge(run: &Run) -> Result<(), Limit> {
    if run.delay.p99_us as f64 / 1e3 > GROWTH_MS {
        return Err(Limit::Generator);
    }
    if run.output.lost() > 0 || grows(&run.timeline) { Err(Limit::Backlog) } else { Ok(()) }
}

/// Compares the run's last fifth with its second: the first one may still warm up.
fn grows(timeline: &[Slice]) -> bool {
    let fifth = (timeline.len() / 5).max(1);
    let median = |slices: &[Slice]| {
        let mut values: Vec<f64> = slices.iter().map(|slice| slice.p50_ms).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let early = median(&timeline[fifth.min(timeline.len())..(2 * fifth).min(timeline.len())]);
    median(&timeline[timeline.len().saturating_sub(fifth)..]) > early + GROWTH_MS
}

/// The search for the highest rate: doubles until a rate is too high, then halves the distance.
#[derive(Debug)]
pub(super) struct Search {
    next: Option<u64>,
    sustained: u64,
    too_high: Option<u64>,
    highest: u64,
}

impl Search {
    /// Begins with `first`, and tries nothing above `highest`.
    pub(super) fn new(first: u64, highest: Option<u64>) -> Self {
        Self { next: Some(first), sustained: 0, too_high: None, highest: highest.unwrap_or(u64::MAX) }
    }

    /// The rate to try, until the answer is known.
    pub(super) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Takes in what the rate that was tried has shown.
    pub(super) fn tried(&mut self, sustained: bool) {
        let Some(rate) = self.next else { return };
        if sustained {
            self.sustained = rate;
        } else {
            self.too_high = Some(rate);
        }
        self.next = match self.too_high {
            None if self.sustained >= self.highest => None,
            None => Some((self.sustained * 2).min(self.highest)),
            Some(high) if high - self.sustained <= 1.max((high as f64 * PRECISION) as u64) => None,
            Some(high) => Some(self.sustained.midpoint(high)),
        };
    }

    /// The highest rate that was sustained; 0 if none was.
    pub(super) fn sustained(&self) -> u64 {
        self.sustained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_finds_the_limit_within_a_tenth() {
        for limit in [3, 999, 1_000, 57_321, 250_000] {
            let mut search = Search::new(1_000, None);
            let mut tried = 0;
            while let Some(rate) = search.next() {
                search.tried(rate <= limit);
                tried += 1;
            }
            assert!(
                search.sustained() <= limit && search.sustained() as f64 >= limit as f64 * 0.89,
                "{limit}"
            );
            assert!(tried < 20, "{tried} for {limit}");
        }
    }

    #[test]
    fn nothing_above_the_highest_rate_is_tried() {
        let mut search = Search::new(1_000, Some(5_000));
        let tried: Vec<u64> = std::iter::from_fn(|| search.next().inspect(|_| search.tried(true))).collect();
        assert_eq!((tried, search.sustained()), (vec![1_000, 2_000, 4_000, 5_000], 5_000));
    }

    #[test]
    fn a_backlog_shows_as_latency_that_grows() {
        let run = |growth: f64| {
            let slice = |index| Slice {
                second: f64::from(index),
                p50_ms: 2.0 + f64::from(index) * growth,
                p99_ms: 0.0,
                records_per_second: 0.0,
            };
            (0..40).map(slice).collect::<Vec<_>>()
        };
        assert!(!grows(&run(0.0)));
        assert!(grows(&run(2.5)));
        let mut hiccup = run(0.0);
        hiccup[39].p50_ms = 500.0;
        assert!(!grows(&hiccup), "one slow moment is no backlog");
        assert!(!grows(&[]));
    }
}
