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
    /// A second process on the same checkpoint, which its lock must refuse.
    Second,
    /// A second process on the same checkpoint, in a store that has no lock.
    Twins(Twins),
    /// All connections to the broker end.
    Cut,
    /// Connections to the broker stay open and carry nothing for a while.
    HalfOpen(Duration),
    /// Every piece on the way to the broker takes longer, for a while.
    Slow { delay: Duration, lasts: Duration },
    /// The broker is killed (-9) and is gone for a while.
    Broker(Duration),
    /// The source topic gets one more partition.
    Grow,
    /// All connections to the checkpoint's store end.
    StoreCut,
    /// Connections to the store stay open and carry nothing for a while.
    StoreHalfOpen(Duration),
    /// Every piece on the way to the store takes longer, for a while.
    StoreSlow { delay: Duration, lasts: Duration },
    /// The store cannot be reached for a while.
    StoreAway(Duration),
}

/// Two processes that are both let in: until one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twins {
    pub(crate) trigger: Trigger,
    pub(crate) meeting: Meeting,
    /// Each piece on the way to the store takes longer meanwhile, so that the two get between each other's steps.
    pub(crate) delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// Both run.
    Together,
    /// The first is stopped (SIGSTOP), and wakes up when the second has committed.
    Overtaken,
    /// The first is killed (-9) when the second has run for so long.
    Killed(Duration),
}

impl Harm {
    pub(crate) const NAMES: [&str; 16] = [
        "kill",
        "switch",
        "pause",
        "second",
        "twins",
        "twins-overtaken",
        "twins-killed",
        "cut",
        "half-open",
        "slow",
        "broker",
        "grow",
        "store-cut",
        "store-half-open",
        "store-slow",
        "store-away",
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill { .. } => "kill",
            Self::Switch { .. } => "switch",
            Self::Pause(_) => "pause",
            Self::Second => "second",
            Self::Twins(Twins { meeting: Meeting::Together, .. }) => "twins",
            Self::Twins(Twins { meeting: Meeting::Overtaken, .. }) => "twins-overtaken",
            Self::Twins(Twins { meeting: Meeting::Killed(_), .. }) => "twins-killed",
            Self::Cut => "cut",
            Self::HalfOpen(_) => "half-open",
            Self::Slow { .. } => "slow",
            Self::Broker(_) => "broker",
            Self::Grow => "grow",
            Self::StoreCut => "store-cut",
            Self::StoreHalfOpen(_) => "store-half-open",
            Self::StoreSlow { .. } => "store-slow",
            Self::StoreAway(_) => "store-away",
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

/// Where a run keeps its checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    Disk,
    S3,
}

/// One run's whole story.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) partitions: i32,
    pub(crate) first: Trigger,
    /// Each with the time of undisturbed work before it.
    pub(crate) harms: Vec<(Duration, Harm)>,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let store = if rng.random_bool(0.5) { Store::S3 } else { Store::Disk };
        let (partitions, first) = (rng.random_range(1..=4), trigger(&mut rng));
        let mut harms: Vec<_> = (0..rng.random_range(2..=5))
            .map(|_| (millis(&mut rng, 50, 700), harm(&mut rng, store)))
            .collect();
        // Each kill of the broker costs seconds of starting it: one is enough for a run.
        let mut brokers = 0;
        harms.retain(|(_, harm)| {
            brokers += u32::from(matches!(harm, Harm::Broker(_)));
            !matches!(harm, Harm::Broker(_)) || brokers == 1
        });
        Self { store, partitions, first, harms }
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

fn harm(rng: &mut StdRng, store: Store) -> Harm {
    if store == Store::S3 && rng.random_bool(0.5) {
        return harm_to_store(rng);
    }
    match rng.random_range(0..100) {
        0..30 => Harm::Kill { restart: trigger(rng) },
        30..45 => Harm::Switch { restart: trigger(rng) },
        45..57 => Harm::Pause(millis(rng, 100, 2_000)),
        57..64 if store == Store::Disk => Harm::Second,
        57..64 => Harm::Twins(twins(rng)),
        64..76 => Harm::Cut,
        76..84 => Harm::HalfOpen(millis(rng, 200, 2_000)),
        84..91 => Harm::Slow { delay: millis(rng, 5, 200), lasts: millis(rng, 200, 1_500) },
        91..95 => Harm::Broker(millis(rng, 0, 2_000)),
        _ => Harm::Grow,
    }
}

/// What can only be done where the checkpoint is on a server.
fn harm_to_store(rng: &mut StdRng) -> Harm {
    match rng.random_range(0..100) {
        0..50 => Harm::Twins(twins(rng)),
        50..62 => Harm::StoreCut,
        62..74 => Harm::StoreHalfOpen(millis(rng, 200, 2_000)),
        74..87 => Harm::StoreSlow { delay: millis(rng, 5, 300), lasts: millis(rng, 200, 2_000) },
        _ => Harm::StoreAway(millis(rng, 200, 2_000)),
    }
}

fn twins(rng: &mut StdRng) -> Twins {
    let meeting = match rng.random_range(0..3) {
        0 => Meeting::Together,
        1 => Meeting::Overtaken,
        _ => Meeting::Killed(millis(rng, 0, 1_500)),
    };
    let delay = if rng.random_bool(0.5) { millis(rng, 5, 100) } else { Duration::ZERO };
    Twins { trigger: trigger(rng), meeting, delay }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Range;

    use super::*;

    fn harms_of(seeds: Range<u64>) -> BTreeSet<&'static str> {
        seeds.flat_map(|seed| Plan::new(seed).harms).map(|(_, harm)| harm.name()).collect()
    }

    /// The number behind `option` in the command that runs this program.
    fn number(script: &str, option: &str) -> u64 {
        let command = script.lines().find(|line| line.contains("--bin chaos")).expect("a line that runs it");
        let mut words = command.split_whitespace().skip_while(|word| *word != option);
        words.nth(1).and_then(|word| word.parse().ok()).expect(option)
    }

    #[test]
    fn the_few_runs_of_ci_do_every_harm() {
        let script = include_str!("../../../.ci/run");
        let (runs, seed) = (number(script, "--runs"), number(script, "--seed"));
        let all = BTreeSet::from(Harm::NAMES);
        let better = || (1..100_000).find(|seed| harms_of(*seed..seed + runs) == all);
        let done = harms_of(seed..seed + runs);
        assert_eq!(done, all, "with {runs} runs this seed does them all: {:?}", better());
    }

    #[test]
    fn a_seed_is_a_story_and_together_they_do_every_harm() {
        assert_eq!(Plan::new(7), Plan::new(7));
        let plans: Vec<_> = (0..200).map(Plan::new).collect();
        assert_eq!(harms_of(0..200), BTreeSet::from(Harm::NAMES));
        let brokers = |plan: &Plan| plan.harms.iter().filter(|(_, harm)| harm.name() == "broker").count();
        assert!(plans.iter().all(|plan| brokers(plan) <= 1));
        // A lock refuses the second process; without one there is none that could.
        for plan in &plans {
            let needs = if plan.store == Store::S3 { "second" } else { "twins" };
            assert!(!plan.harms.iter().any(|(_, harm)| harm.name().starts_with(needs)), "{plan:?}");
        }
    }
}
