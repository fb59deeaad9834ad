//! What one latency run gave.

use hdrhistogram::Histogram;

use super::receive::Sample;
use super::record::Digest;
use super::send::Delay;
use super::sys::Usage;
use super::{Case, Result, stats};

/// What came out, against what DataFusion gives as a batch over the same rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) expected: Digest,
    pub(super) received: Digest,
    pub(super) duplicates: u64,
    /// Whether the bytes must be the same too; other engines write JSON in their own way.
    pub(super) comparable: bool,
}

impl Output {
    pub(super) fn lost(&self) -> u64 {
        self.expected.count.saturating_sub(self.received.count)
    }

    /// What is wrong with the output, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let (expected, received) = (self.expected.count, self.received.count);
        if received != expected {
            return Some(format!("{received} records came out instead of {expected}"));
        }
        (self.comparable && self.received.hash != self.expected.hash)
            .then(|| "the records that came out differ from a batch over the same rows".to_owned())
    }
}

/// Latencies near the ends of epochs and away from them, in µs.
#[derive(Debug)]
pub(super) struct EpochEnds {
    pub(super) epochs: usize,
    pub(super) inside: Histogram<u64>,
    pub(super) outside: Histogram<u64>,
}

/// A slice of the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice {
    /// From the first measured record on.
    pub(super) second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) records_per_second: f64,
}

/// A subject's resident memory in the course of a run, warm-up included.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Seconds since the generator started, and MiB.
    pub(super) points: Vec<(f64, f64)>,
}

impl Memory {
    /// Medians of the first quarter and of the last: memory that grows shows as a difference. The very first points may be
    /// from before all parts of the subject have worked once, hence medians.
    pub(super) fn quarters(&self) -> Option<(f64, f64)> {
        let quarter = self.points.len() / 4;
        let of = |points: &[(f64, f64)]| stats::median(points.iter().map(|point| point.1).collect());
        of(&self.points[..quarter]).zip(of(&self.points[self.points.len() - quarter..]))
    }
}

/// One run of one subject.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) case: Case,
    pub(super) subject: String,
    pub(super) repeat: usize,
    /// In µs, of the records after the warm-up.
    pub(super) latency: Histogram<u64>,
    pub(super) epoch_ends: Option<EpochEnds>,
    pub(super) delay: Delay,
    pub(super) output: Output,
    /// Over the measured records.
    pub(super) records_per_second: f64,
    pub(super) usage: Option<Usage>,
    pub(super) cpu_seconds_per_million: Option<f64>,
    pub(super) timeline: Vec<Slice>,
    pub(super) memory: Memory,
}

impl Run {
    /// Whether the generator kept its schedule well enough for the latencies to be the subject's.
    pub(super) fn is_valid(&self) -> bool {
        self.delay.p99_us * 10 <= self.latency.value_at_quantile(0.99)
    }

    pub(super) fn latency_ms(&self, quantile: f64) -> f64 {
        quantile_ms(&self.latency, quantile)
    }
}

pub(super) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1e3
}

pub(super) fn histogram(latencies_us: impl IntoIterator<Item = u64>) -> Result<Histogram<u64>> {
    let mut histogram = Histogram::new(3)?;
    for latency in latencies_us {
        histogram.record(latency)?;
    }
    Ok(histogram)
}

/// A record that is due this long before an epoch ends or after may meet its cut, its acks and its log entries.
const BEFORE_END_NS: u64 = 2_000_000;
const AFTER_END_NS: u64 = 20_000_000;

impl EpochEnds {
    /// `ends_ns`: when epochs ended, in order, on the clock of the samples.
    pub(super) fn new(samples: &[Sample], ends_ns: &[u64]) -> Result<Self> {
        let is_inside = |sample: &&Sample| {
            let from = ends_ns.partition_point(|end| end + AFTER_END_NS < sample.t0_ns);
            ends_ns.get(from).is_some_and(|end| sample.t0_ns + BEFORE_END_NS >= *end)
        };
        let (inside, outside): (Vec<_>, Vec<_>) = samples.iter().partition(is_inside);
        let of = |samples: Vec<&Sample>| histogram(samples.into_iter().map(Sample::latency_us));
        Ok(Self { epochs: ends_ns.len(), inside: of(inside)?, outside: of(outside)? })
    }
}

const SLICE_NS: u64 = 250_000_000;

/// Percentiles by the time at which records were due, rates by the time at which they came.
pub(super) fn timeline(samples: &[Sample]) -> Vec<Slice> {
    let Some(start) = samples.iter().map(|sample| sample.t0_ns).min() else { return Vec::new() };
    let slice_of = |time: u64| (time.saturating_sub(start) / SLICE_NS) as usize;
    let last = samples.iter().map(|sample| slice_of(sample.received_ns.max(sample.t0_ns))).max();
    // The latencies of the records that were due, and how many came.
    let mut slices = vec![(Vec::new(), 0_u64); last.unwrap_or_default() + 1];
    for sample in samples {
        slices[slice_of(sample.t0_ns)].0.push(sample.latency_us());
        slices[slice_of(sample.received_ns)].1 += 1;
    }
    let seconds = SLICE_NS as f64 / 1e9;
    let slice = |(index, (mut latencies, received)): (usize, (Vec<u64>, u64))| {
        latencies.sort_unstable();
        let at = |quantile: f64| {
            latencies.get((latencies.len() as f64 * quantile) as usize).map(|us| *us as f64 / 1e3)
        };
        Some(Slice {
            second: index as f64 * seconds,
            p50_ms: at(0.5)?,
            p99_ms: at(0.99)?,
            records_per_second: received as f64 / seconds,
        })
    };
    slices.into_iter().enumerate().filter_map(slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn sample(due_ms: u64, latency_ms: u64) -> Sample {
        Sample { seq: due_ms, t0_ns: due_ms * MS, received_ns: (due_ms + latency_ms) * MS }
    }

    #[test]
    fn records_near_an_epochs_end_are_told_from_the_others() {
        let samples: Vec<_> = (0..1_000).map(|due| sample(due, if due == 510 { 9 } else { 1 })).collect();
        let ends = EpochEnds::new(&samples, &[100 * MS, 500 * MS]).unwrap();
        assert_eq!((ends.epochs, ends.inside.len(), ends.outside.len()), (2, 2 * 23, 1_000 - 2 * 23));
        assert_eq!((ends.inside.max() / 1_000, ends.outside.max() / 1_000), (9, 1));
        assert_eq!(EpochEnds::new(&samples, &[]).unwrap().inside.len(), 0);
    }

    #[test]
    fn the_timeline_has_a_point_for_each_quarter_of_a_second_with_records() {
        let samples: Vec<_> = (0..1_000).map(|due| sample(due, 1)).collect();
        let slices = timeline(&samples);
        assert_eq!(slices.len(), 4);
        assert_eq!((slices[1].second, slices[1].p50_ms, slices[1].records_per_second), (0.25, 1.0, 1_000.0));
        assert!(timeline(&[]).is_empty());
    }

    #[test]
    fn memory_that_grows_shows_between_the_quarters() {
        let memory = |mib: fn(usize) -> f64| Memory { points: (0..40).map(|i| (i as f64, mib(i))).collect() };
        assert_eq!(memory(|_| 7.0).quarters(), Some((7.0, 7.0)));
        assert_eq!(memory(|i| i as f64).quarters(), Some((4.5, 34.5)));
        assert_eq!(Memory { points: vec![(0.0, 1.0)] }.quarters(), None);
    }

    #[test]
    fn an_output_is_right_by_count_and_by_content() {
        let digest = |count, hash| Digest { count, hash };
        let output =
            |received, comparable| Output { expected: digest(2, 7), received, duplicates: 0, comparable };
        assert_eq!(output(digest(2, 7), true).problem(), None);
        assert!(output(digest(2, 8), true).problem().is_some());
        assert_eq!(output(digest(2, 8), false).problem(), None);
        assert!(output(digest(1, 3), false).problem().is_some_and(|text| text.contains("1 records")));
        assert_eq!(output(digest(1, 3), false).lost(), 1);
    }
}
