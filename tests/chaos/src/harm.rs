//! What is done to a run, and when: a function of its seed.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What a run promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Guarantee {
    AtLeastOnce,
    ExactlyOnce,
}

impl Guarantee {
    /// The value of `--delivery`.
    pub(crate) fn delivery(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// kill -9, then a new process under this trigger.
    Kill { restart: Trigger },
    /// SIGTERM, then a new process under this trigger.
    Switch { restart: Trigger },
    /// SIGSTOP, and SIGCONT after a while.
    Pause(Duration),
    /// A second process on the same checkpoint, which must be refused.
    Second,
    /// All connections end.
    Cut,
    /// Connections stay open and carry nothing for a while.
    HalfOpen(Duration),
    /// Every piece on the network takes longer, for a while.
    Slow { delay: Duration, lasts: Duration },
    /// The broker is killed (-9) and is gone for a while.
    Broker(Duration),
    /// The source topic gets one more partition.
    Grow,
}

impl Harm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Switch { .. } => "switch",
            Self::Pause(_) => "pause",
            Self::Second => "second",
            Self::Cut => "cut",
            Self::HalfOpen(_) => "half-open",
            Self::Slow { .. } => "slow",
            Self::Broker(_) => "broker",
            Self::Grow => "grow",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    Continuous(u64),
    ProcessingTime(u64),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continuous(millis) => write!(f, "continuous:{millis}ms"),
            Self::ProcessingTime(millis) => write!(f, "processing-time:{millis}ms"),
        }
    }
}

/// One run's whole story.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) partitions: i32,
    pub(crate) first: Trigger,
    /// Each with the time of undisturbed work before it.
    pub(crate) harms: Vec<(Duration, Harm)>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (partitions, first) = (rng.random_range(1..=4), trigger(&mut rng));
        let mut harms: Vec<_> =
            (0..rng.random_range(2..=5)).map(|_| (millis(&mut rng, 50, 700), harm(&mut rng))).collect();
        // Each kill of the broker costs seconds of starting it: one is enough for a run.
        let mut brokers = 0;
        harms.retain(|(_, harm)| {
            brokers += u32::from(matches!(harm, Harm::Broker(_)));
            !matches!(harm, Harm::Broker(_)) || brokers == 1
        });
        Self { partitions, first, harms }
    }
}

fn millis(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..to))
}

fn trigger(rng: &mut StdRng) -> Trigger {
    let choices = [
        Trigger::Continuous(20),
        Trigger::Continuous(100),
        Trigger::Continuous(500),
        Trigger::ProcessingTime(0),
        Trigger::ProcessingTime(100),
    ];
    choices.choose(rng).copied().unwrap_or(choices[0])
}

fn harm(rng: &mut StdRng) -> Harm {
    match rng.random_range(0..100) {
        0..30 => Harm::Kill { restart: trigger(rng) },
        30..45 => Harm::Switch { restart: trigger(rng) },
        45..57 => Harm::Pause(millis(rng, 100, 2_000)),
        57..64 => Harm::Second,
        64..76 => Harm::Cut,
        76..84 => Harm::HalfOpen(millis(rng, 200, 2_000)),
        84..91 => Harm::Slow { delay: millis(rng, 5, 200), lasts: millis(rng, 200, 1_500) },
        91..95 => Harm::Broker(millis(rng, 0, 2_000)),
        _ => Harm::Grow,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_is_a_story_and_together_they_do_every_harm() {
        assert_eq!(Plan::new(7), Plan::new(7));
        let plans: Vec<_> = (0..200).map(Plan::new).collect();
        let names: BTreeSet<_> =
            plans.iter().flat_map(|plan| &plan.harms).map(|(_, harm)| harm.name()).collect();
        assert_eq!(names.len(), 9, "{names:?}");
        let brokers = |plan: &Plan| plan.harms.iter().filter(|(_, harm)| harm.name() == "broker").count();
        assert!(plans.iter().all(|plan| brokers(plan) <= 1));
    }
}
