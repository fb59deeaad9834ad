//! The figures of all runs.

use std::collections::BTreeMap;
use std::fmt;

use crate::harm::{Guarantee, Harm, Plan};
use crate::oracle::Verdict;

/// A run came to no verdict for want of what the driver itself needs, such as a broker that starts.
#[derive(Debug)]
pub(crate) struct NotRun(pub(crate) String);

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not run: {}", self.0)
    }
}

impl std::error::Error for NotRun {}

/// Of one guarantee.
struct Figures {
    runs: u64,
    violated: Vec<u64>,
    not_run: Vec<u64>,
    records: i64,
    duplicates: i64,
    harms: BTreeMap<&'static str, u64>,
}

#[derive(Default)]
pub(crate) struct Tally(BTreeMap<Guarantee, Figures>);

impl Tally {
    /// Counts a run that came to a verdict, or to none.
    pub(crate) fn count(&mut self, guarantee: Guarantee, seed: u64, plan: &Plan, verdict: Option<&Verdict>) {
        let figures = self.0.entry(guarantee).or_default();
        figures.runs += 1;
        for (_, harm) in &plan.harms {
            *figures.harms.entry(harm.name()).or_default() += 1;
        }
        if let Some(verdict) = verdict {
            figures.records += verdict.records;
            figures.duplicates += verdict.duplicates;
        }
        if verdict.is_none_or(|verdict| !verdict.violations.is_empty()) {
            figures.violated.push(seed);
        }
    }

    pub(crate) fn count_not_run(&mut self, guarantee: Guarantee, seed: u64) {
        self.0.entry(guarantee).or_default().not_run.push(seed);
    }

    /// All runs were run, and kept their guarantee.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.values().all(|figures| figures.violated.is_empty() && figures.not_run.is_empty())
    }
}

impl Default for Figures {
    /// A harm that was never done is to be seen.
    fn default() -> Self {
        let harms = Harm::NAMES.map(|name| (name, 0)).into();
        Self { runs: 0, violated: Vec::new(), not_run: Vec::new(), records: 0, duplicates: 0, harms }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (guarantee, Figures { runs, violated, not_run, records, duplicates, harms }) in &self.0 {
            write!(f, "{}: {runs} runs, {} violated {violated:?}, ", guarantee.delivery(), violated.len())?;
            if !not_run.is_empty() {
                write!(f, "{} not run {not_run:?}, ", not_run.len())?;
            }
            write!(f, "{records} records, {duplicates} duplicates\n ")?;
            harms.iter().try_for_each(|(name, count)| write!(f, " {name} {count}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}
