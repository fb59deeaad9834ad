//! When each record is due. The schedule is absolute: it does not depend on what became of the records before.

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How records follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Arrivals {
    /// At equal distances.
    Steady,
    /// At random distances, independent of each other.
    Poisson,
    /// Each second's records within its first 100 ms, at 10 times the rate.
    Bursts,
}

/// Nanoseconds from the start to each record, in order, without end.
pub(super) struct Schedule {
    arrivals: Arrivals,
    rate: u64,
    seq: u64,
    random: StdRng,
    elapsed: f64,
}

const SECOND: u64 = 1_000_000_000;
/// Bursts are this much faster than the rate, and take as much less of a second.
const BURST: u64 = 10;

impl Schedule {
    /// `rate` records a second, on average; `seed` decides the random distances.
    pub(super) fn new(arrivals: Arrivals, rate: u64, seed: u64) -> Self {
        Self { arrivals, rate, seq: 0, random: StdRng::seed_from_u64(seed), elapsed: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let seq = self.seq;
        self.seq += 1;
        Some(match self.arrivals {
            Arrivals::Steady => after(seq, self.rate),
            Arrivals::Poisson => {
                let at = self.elapsed as u64;
                let distance = -(1.0 - self.random.random::<f64>()).ln() / self.rate as f64;
                self.elapsed += distance * SECOND as f64;
                at
            }
            Arrivals::Bursts => (seq / self.rate) * SECOND + after(seq % self.rate, self.rate * BURST),
        })
    }
}

fn after(records: u64, rate: u64) -> u64 {
    (u128::from(records) * u128::from(SECOND) / u128::from(rate)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(arrivals: Arrivals, records: usize) -> Vec<u64> {
        Schedule::new(arrivals, 1_000, 7).take(records).collect()
    }

    #[test]
    fn steady_records_come_at_equal_distances() {
        assert_eq!(first(Arrivals::Steady, 3), [0, 1_000_000, 2_000_000]);
        assert_eq!(Schedule::new(Arrivals::Steady, 3, 0).nth(3_000_000), Some(1_000_000 * SECOND));
    }

    #[test]
    fn a_burst_is_a_second_of_records_in_100_ms() {
        let due = first(Arrivals::Bursts, 1_001);
        assert_eq!((due[1], due[999], due[1_000]), (100_000, 99_900_000, SECOND));
    }

    #[test]
    fn random_distances_keep_the_rate_and_repeat_by_their_seed() {
        let due = first(Arrivals::Poisson, 100_001);
        assert!(due.is_sorted());
        let seconds = due[100_000] as f64 / SECOND as f64;
        assert!((98.0..102.0).contains(&seconds), "{seconds} s for 100,000 records at 1,000 a second");
        let distances: Vec<u64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let short = distances.iter().filter(|distance| **distance < 693_147).count();
        assert!(
            (49_000..51_000).contains(&short),
            "half of the distances are below ln 2 of the mean: {short}"
        );
        assert_eq!(due, first(Arrivals::Poisson, 100_001));
    }
}
