//! Crashes and restarts in every place, under either trigger, against [`decide`]: nothing committed may be lost, and no
//! record skipped.
//!
//! A writer goes through an epoch's steps in its trigger's order over two logs in memory. What really happened is kept
//! beside them, where no crash can reach it, and each step is checked against that.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::recovery::{Discard, Found, LogFacts, Recovery, Restart, decide};
use super::{CommitEntry, OffsetEntry};
use crate::epoch::{EpochId, Offset};

/// Commits that are kept: few, so that short schedules purge.
const RETAINED: u64 = 2;

/// Makes the decisions that a schedule consists of.
trait Choose {
    /// One of `0..of`.
    fn choose(&mut self, of: usize) -> usize;
    fn is_crash(&mut self) -> bool;
}

/// Goes through all schedules with up to `crashes` crashes: counts up in the choices that turned up last time.
#[derive(Debug)]
struct Exhaustive {
    taken: Vec<(usize, usize)>,
    at: usize,
    crashes: usize,
    crashes_left: usize,
}

impl Exhaustive {
    fn new(crashes: usize) -> Self {
        Self { taken: Vec::new(), at: 0, crashes, crashes_left: crashes }
    }

    /// The next schedule; whether there is one.
    fn advance(&mut self) -> bool {
        (self.at, self.crashes_left) = (0, self.crashes);
        while let Some((taken, of)) = self.taken.pop() {
            if taken + 1 < of {
                self.taken.push((taken + 1, of));
                return true;
            }
        }
        false
    }
}

impl Choose for Exhaustive {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    fn is_crash(&mut self) -> bool {
        let is_crash = self.crashes_left > 0 && self.choose(2) == 1;
        self.crashes_left -= usize::from(is_crash);
        is_crash
    }
}

impl Choose for StdRng {
    fn choose(&mut self, of: usize) -> usize {
        self.random_range(0..of)
    }

    fn is_crash(&mut self) -> bool {
        self.random_ratio(1, 8)
    }
}

#[derive(Debug)]
struct Crash;

/// The logs, and what really happened.
#[derive(Debug, Default)]
struct World {
    /// `None`: half written.
    offsets: BTreeMap<EpochId, Option<Offset>>,
    commits: BTreeSet<EpochId>,
    /// Records that there are in the source.
    latest: Offset,
    /// How often the sink was given each of them.
    written: BTreeMap<Offset, u32>,
    sink: BTreeSet<EpochId>,
    /// End of the last committed epoch, and the epoch.
    end: Offset,
    committed: Option<EpochId>,
    trace: Vec<String>,
}

impl World {
    fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\n{}\n{self:?}", self.trace.join("\n"));
    }

    fn next(&self) -> EpochId {
        self.committed.map_or(EpochId::FIRST, EpochId::next)
    }

    /// Something is about to be done, unless the process dies before.
    fn step(&mut self, choose: &mut impl Choose, what: impl FnOnce() -> String) -> Result<(), Crash> {
        self.latest += 1;
        if choose.is_crash() {
            self.trace.push(format!("crash before {}", what()));
            return Err(Crash);
        }
        self.trace.push(what());
        Ok(())
    }

    fn facts(&self) -> LogFacts {
        let found = |end: &Option<Offset>| match end {
            Some(end) => Found::Whole(OffsetEntry { metadata: None, offsets: vec![Some(end.to_string())] }),
            None => Found::new(OffsetEntry::parse(b"v1\n\n{\"in\""), "offsets/torn"),
        };
        let wanted = match self.commits.last() {
            Some(last) => vec![*last, last.next()],
            None => vec![EpochId::FIRST],
        };
        let entries = wanted.into_iter().filter_map(|id| Some((id, found(self.offsets.get(&id)?))));
        LogFacts {
            location: "memory://q".to_owned(),
            offsets: self.offsets.keys().copied().collect(),
            commits: self.commits.clone(),
            entries: entries.collect(),
            last_commit: self.commits.last().map(|_| Found::Whole(CommitEntry::default())),
        }
    }

    fn write(&mut self, from: Offset, to: Offset) {
        self.check(from >= self.end, "a record was read again that is committed");
        (from..to).for_each(|record| *self.written.entry(record).or_default() += 1);
    }

    fn put_offsets(&mut self, epoch: EpochId, end: Offset, choose: &mut impl Choose) -> Result<(), Crash> {
        self.step(choose, || format!("put offsets/{epoch} = {end}"))?;
        self.check(!self.offsets.contains_key(&epoch), "an entry is in the way");
        if choose.is_crash() {
            self.trace.push("crash in the middle of it".to_owned());
            self.offsets.insert(epoch, None);
            return Err(Crash);
        }
        self.offsets.insert(epoch, Some(end));
        Ok(())
    }

    fn put_commit(&mut self, epoch: EpochId, choose: &mut impl Choose) -> Result<(), Crash> {
        self.step(choose, || format!("put commits/{epoch}"))?;
        self.check(epoch == self.next(), "committed out of order");
        let end = self.offsets.get(&epoch).copied().flatten();
        self.check(end.is_some_and(|end| end >= self.end), "committed without an end, or one that went back");
        let end = end.unwrap_or_default();
        self.check((self.end..end).all(|record| self.written.contains_key(&record)), "a record was skipped");
        self.check(self.sink.contains(&epoch), "committed before the sink was");
        self.commits.insert(epoch);
        (self.committed, self.end) = (Some(epoch), end);
        self.purge(epoch, choose)
    }

    /// In any order, as deletions run side by side.
    fn purge(&mut self, committed: EpochId, choose: &mut impl Choose) -> Result<(), Crash> {
        let threshold = EpochId((committed.0 + 1).saturating_sub(RETAINED));
        let kept = self.offsets.keys().rev().nth(1).copied().unwrap_or(EpochId::FIRST);
        let is_old = |id: &&EpochId| **id < threshold;
        let offsets = self.offsets.keys().filter(is_old).filter(|id| **id < kept).map(|id| (*id, true));
        let mut old: Vec<_> =
            offsets.chain(self.commits.iter().filter(is_old).map(|id| (*id, false))).collect();
        while !old.is_empty() {
            let (id, is_offsets) = old.swap_remove(choose.choose(old.len()));
            self.step(choose, || {
                format!("purge {id} of {}", if is_offsets { "offsets" } else { "commits" })
            })?;
            if is_offsets {
                self.offsets.remove(&id);
            } else {
                self.commits.remove(&id);
            }
        }
        Ok(())
    }

    fn commit_sink(&mut self, epoch: EpochId, choose: &mut impl Choose) -> Result<(), Crash> {
        self.step(choose, || format!("commit {epoch} in the sink"))?;
        self.check(epoch == self.next(), "the sink saw an epoch before its turn");
        self.sink.insert(epoch);
        Ok(())
    }

    fn discard(&mut self, discard: Discard, choose: &mut impl Choose) -> Result<(), Crash> {
        let last = match discard {
            Discard::Nothing => return Ok(()),
            Discard::After(last) => Some(last),
            Discard::All => None,
        };
        let after = |id: &EpochId| last.is_none_or(|last| *id > last);
        while let Some(id) = self.offsets.keys().copied().rfind(after) {
            self.step(choose, || format!("discard offsets/{id}"))?;
            self.check(!self.commits.contains(&id), "the end of a committed epoch was discarded");
            self.offsets.remove(&id);
        }
        Ok(())
    }

    /// One life of the process, up to its end or until epoch `goal` is committed.
    fn run(&mut self, restart: Restart, goal: EpochId, choose: &mut impl Choose) -> Result<(), Crash> {
        self.trace.push(format!("start {restart:?}"));
        let planned = self.offsets.get(&self.next()).copied().flatten();
        let decision = decide(&self.facts(), restart);
        self.check(decision.is_ok(), &format!("{decision:?}"));
        let Ok(decision) = decision else { return Ok(()) };
        self.discard(decision.discard(), choose)?;
        self.check(decision.first_epoch() == self.next(), "epoch ids have a gap, or one came twice");
        let end_of = |entry: &OffsetEntry| entry.offsets[0].as_deref().and_then(|end| end.parse().ok());
        let (start, mut rerun) = match &decision {
            Recovery::Fresh { .. } => (0, None),
            Recovery::Resume { start, .. } => (end_of(start).unwrap_or(-1), None),
            Recovery::Rerun { start, end, .. } => {
                (start.as_ref().map_or(Some(0), end_of).unwrap_or(-1), end_of(end))
            }
        };
        self.check(start == self.end, "a restart did not begin at the last commit's end");
        if restart == Restart::MicroBatch {
            self.check(rerun == planned, "a planned epoch was run to another end");
        }
        let mut position = start;
        while self.committed < Some(goal) {
            let epoch = self.next();
            if restart == Restart::MicroBatch {
                let end = match rerun.take() {
                    Some(end) => end,
                    None => {
                        let end = self.latest;
                        self.put_offsets(epoch, end, choose)?;
                        end
                    }
                };
                self.write(position, end);
                position = end;
                self.commit_sink(epoch, choose)?;
            } else {
                self.write(position, self.latest);
                position = self.latest.max(position);
                let end = position;
                self.commit_sink(epoch, choose)?;
                // Records of the next epoch pass on meanwhile.
                self.write(position, self.latest);
                position = self.latest;
                self.put_offsets(epoch, end, choose)?;
            }
            self.put_commit(epoch, choose)?;
        }
        Ok(())
    }
}

/// Starts and crashes until epoch `goal` is committed.
fn live(goal: EpochId, choose: &mut impl Choose) -> usize {
    let mut world = World::default();
    let mut starts = 0;
    while world.committed < Some(goal) {
        starts += 1;
        let restart = [Restart::Continuous, Restart::MicroBatch][choose.choose(2)];
        let _ = world.run(restart, goal, choose);
    }
    starts
}

#[test]
fn three_epochs_survive_every_crash_under_every_trigger() {
    let mut schedule = Exhaustive::new(3);
    let mut schedules = 0;
    loop {
        live(EpochId(2), &mut schedule);
        schedules += 1;
        if !schedule.advance() {
            break;
        }
    }
    println!("{schedules} schedules");
    assert!(schedules > 10_000);
}

#[test]
fn many_epochs_survive_many_crashes() {
    let mut starts = 0;
    for seed in 0..100_000 {
        starts += live(EpochId(5), &mut StdRng::seed_from_u64(seed));
    }
    println!("{starts} starts");
}
