//! Where a restarted query goes on: from what the two logs hold to a decision. Pure; the caller reads and
//! acts.
//!
//! An entry `offsets/N` is the end of epoch N, `commits/N` says that N is done, so a query that committed C
//! goes on from `offsets/C`. What is in `offsets/` after C belongs to epochs that never were committed: a
//! micro-batch query runs the first of them again with the bounds it was given, a continuous query reads on
//! from C and sets new ends. Entries that the new run is going to write itself are discarded first, since an
//! entry once written is never replaced.

#![deny(clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::format::{CommitEntry, Damage, OffsetEntry};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

/// What was found in a checkpoint's logs.
#[derive(Clone, Debug, Default)]
pub struct LogFacts {
    /// Where the checkpoint is, for messages.
    pub location: String,
    /// Epochs with an entry in `offsets/`.
    pub offsets: BTreeSet<EpochId>,
    /// Epochs with an entry in `commits/`.
    pub commits: BTreeSet<EpochId>,
    /// Content of the offset entries that a decision may need: those of the last committed epoch and the one
    /// after it, or of epoch 0 where none is committed.
    pub entries: BTreeMap<EpochId, Found<OffsetEntry>>,
    /// Content of the last commit.
    pub last_commit: Option<Found<CommitEntry>>,
}

/// Content of a file.
#[derive(Clone, Debug)]
pub enum Found<T> {
    /// It could be read.
    Whole(T),
    /// It ends too early: its writer crashed in the middle.
    Torn(Error),
    /// It is damaged otherwise, or of another version.
    Unreadable(Error),
}

impl<T> Found<T> {
    pub(super) fn new(parsed: Result<T, Damage>, path: &str) -> Self {
        match parsed {
            Ok(value) => Found::Whole(value),
            Err(damage @ Damage::Torn(_)) => Found::Torn(damage.at(path)),
            Err(damage @ (Damage::Version(_) | Damage::Malformed(_))) => Found::Unreadable(damage.at(path)),
        }
    }
}

/// How the query that restarts sets the ends of its epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// After the data is read, so an epoch that was not committed has no fixed end.
    Continuous,
    /// Before the data is read, so a logged epoch is run with the end that was logged.
    MicroBatch,
}

/// Where to go on, and which entries to delete before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing is done yet: begin with epoch 0 from the initial offsets.
    Fresh {
        /// Entries of a run that committed nothing.
        discard: Discard,
    },
    /// Go on with the epoch after `committed`.
    Resume {
        /// The last committed epoch.
        committed: EpochId,
        /// Its end, from which the next epoch starts.
        start: OffsetEntry,
        /// Entries of epochs that were not committed.
        discard: Discard,
    },
    /// Run `epoch`, which is logged but not committed, with exactly these bounds; its entry stays as it is.
    Rerun {
        /// The epoch to run again.
        epoch: EpochId,
        /// End of the epoch before; `None` for epoch 0, which starts from the initial offsets.
        start: Option<OffsetEntry>,
        /// End of `epoch`.
        end: OffsetEntry,
        /// Entries after `epoch`.
        discard: Discard,
    },
}

impl Recovery {
    /// The first epoch to run.
    #[must_use]
    pub fn first_epoch(&self) -> EpochId {
        match self {
            Recovery::Fresh { .. } => EpochId::FIRST,
            Recovery::Resume { committed, .. } => committed.next(),
            Recovery::Rerun { epoch, .. } => *epoch,
        }
    }

    /// What to delete before the first epoch.
    #[must_use]
    pub fn discard(&self) -> Discard {
        match self {
            Recovery::Fresh { discard }
            | Recovery::Resume { discard, .. }
            | Recovery::Rerun { discard, .. } => *discard,
        }
    }
}

/// Entries of `offsets/` to delete. Never one of a committed epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// None.
    Nothing,
    /// Every one after this epoch.
    After(EpochId),
    /// Every one.
    All,
}

/// Decides where a query goes on. An error means that the checkpoint contradicts itself or cannot be read, so
/// that going on could lose data; its message names the entry and the remedy.
pub fn decide(facts: &LogFacts, restart: Restart) -> Result<Recovery> {
    let Some(&committed) = facts.commits.last() else {
        return nothing_committed(facts, restart);
    };
    if let Some(Found::Torn(error) | Found::Unreadable(error)) = &facts.last_commit {
        return Err(error.clone());
    }
    let start = match facts.entries.get(&committed) {
        Some(Found::Whole(entry)) => entry.clone(),
        Some(Found::Torn(error) | Found::Unreadable(error)) => return Err(error.clone()),
        None => {
            return Err(facts.contradiction(format!(
                "epoch {committed} is committed, but its end, offsets/{committed}, is missing: restore that \
                 file, or start from a new checkpoint"
            )));
        }
    };
    let next = committed.next();
    if let Some(end) = planned(facts, next, restart)? {
        return Ok(Recovery::Rerun { epoch: next, start: Some(start), end, discard: facts.after(next) });
    }
    Ok(Recovery::Resume { committed, start, discard: facts.after(committed) })
}

fn nothing_committed(facts: &LogFacts, restart: Restart) -> Result<Recovery> {
    let Some(oldest) = facts.offsets.first() else {
        return Ok(Recovery::Fresh { discard: Discard::Nothing });
    };
    // Entry 0 is purged only after many commits, so without it the commits have been lost, not never written.
    if *oldest != EpochId::FIRST {
        return Err(facts.contradiction(format!(
            "offsets/ begins with {oldest} but commits/ is empty: restore commits/, or delete offsets/ to \
             start again from the initial offsets"
        )));
    }
    if let Some(end) = planned(facts, EpochId::FIRST, restart)? {
        let discard = facts.after(EpochId::FIRST);
        return Ok(Recovery::Rerun { epoch: EpochId::FIRST, start: None, end, discard });
    }
    Ok(Recovery::Fresh { discard: Discard::All })
}

/// The end that `epoch` was given, if it has to keep it.
fn planned(facts: &LogFacts, epoch: EpochId, restart: Restart) -> Result<Option<OffsetEntry>> {
    match (restart, facts.entries.get(&epoch)) {
        (Restart::Continuous, _) | (Restart::MicroBatch, None) => Ok(None),
        (Restart::MicroBatch, Some(Found::Whole(end))) => Ok(Some(end.clone())),
        // An epoch runs only after its entry is written, so one with half an entry has not run.
        (Restart::MicroBatch, Some(Found::Torn(_))) => Ok(None),
        (Restart::MicroBatch, Some(Found::Unreadable(error))) => Err(error.clone()),
    }
}

impl LogFacts {
    fn after(&self, epoch: EpochId) -> Discard {
        match self.offsets.last() {
            Some(newest) if *newest > epoch => Discard::After(epoch),
            _ => Discard::Nothing,
        }
    }

    fn contradiction(&self, what: String) -> Error {
        Error::new(ErrorKind::Checkpoint, what)
            .context(format!("the checkpoint {} is inconsistent", self.location))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: u64) -> OffsetEntry {
        OffsetEntry { metadata: None, offsets: vec![Some(format!("{{\"in\":{{\"0\":{id}}}}}"))] }
    }

    fn whole(id: u64) -> Found<OffsetEntry> {
        Found::Whole(entry(id))
    }

    fn torn() -> Found<OffsetEntry> {
        Found::new(OffsetEntry::parse(b"v1\n\n{\"in\""), "offsets/torn")
    }

    fn empty() -> Found<OffsetEntry> {
        Found::new(OffsetEntry::parse(b""), "offsets/empty")
    }

    fn foreign() -> Found<OffsetEntry> {
        Found::new(OffsetEntry::parse(b"PAR1\0\xff"), "offsets/foreign")
    }

    fn newer() -> Found<OffsetEntry> {
        Found::new(OffsetEntry::parse(b"v2\n\n{}"), "offsets/newer")
    }

    fn facts(offsets: &[u64], commits: &[u64], damaged: &[(u64, Found<OffsetEntry>)]) -> LogFacts {
        let offsets: BTreeSet<_> = offsets.iter().copied().map(EpochId).collect();
        let mut entries: BTreeMap<_, _> = offsets.iter().map(|id| (*id, whole(id.0))).collect();
        entries.extend(damaged.iter().map(|(id, found)| (EpochId(*id), found.clone())));
        let commits: BTreeSet<_> = commits.iter().copied().map(EpochId).collect();
        let last_commit = commits.last().map(|_| Found::Whole(CommitEntry::default()));
        LogFacts { location: "memory://q".to_owned(), offsets, commits, entries, last_commit }
    }

    fn fresh(discard: Discard) -> Result<Recovery, &'static str> {
        Ok(Recovery::Fresh { discard })
    }

    fn resume(committed: u64, discard: Discard) -> Result<Recovery, &'static str> {
        Ok(Recovery::Resume { committed: EpochId(committed), start: entry(committed), discard })
    }

    fn rerun(epoch: u64, discard: Discard) -> Result<Recovery, &'static str> {
        let start = epoch.checked_sub(1).map(entry);
        Ok(Recovery::Rerun { epoch: EpochId(epoch), start, end: entry(epoch), discard })
    }

    /// State, offsets, commits, damaged entries, continuous, micro-batch.
    type Row = (
        &'static str,
        Vec<u64>,
        Vec<u64>,
        Vec<(u64, Found<OffsetEntry>)>,
        Result<Recovery, &'static str>,
        Result<Recovery, &'static str>,
    );

    fn rows() -> Vec<Row> {
        use Discard::{All, Nothing};
        let after = |id| Discard::After(EpochId(id));
        let lost = Err("commits/ is empty");
        let missing = Err("offsets/5, is missing");
        vec![
            ("new", vec![], vec![], vec![], fresh(Nothing), fresh(Nothing)),
            ("first epoch logged", vec![0], vec![], vec![], fresh(All), rerun(0, Nothing)),
            ("first epochs in flight", vec![0, 1, 2], vec![], vec![], fresh(All), rerun(0, after(0))),
            ("first entry torn", vec![0], vec![], vec![(0, torn())], fresh(All), fresh(All)),
            ("first entry empty", vec![0], vec![], vec![(0, empty())], fresh(All), fresh(All)),
            ("first entry newer", vec![0], vec![], vec![(0, newer())], fresh(All), Err("found v2")),
            ("first entry foreign", vec![0], vec![], vec![(0, foreign())], fresh(All), Err("is malformed")),
            ("commits lost", vec![7, 8], vec![], vec![], lost.clone(), lost),
            ("clean stop", vec![4, 5], vec![4, 5], vec![], resume(5, Nothing), resume(5, Nothing)),
            ("first epoch done", vec![0], vec![0], vec![], resume(0, Nothing), resume(0, Nothing)),
            ("crash in the next", vec![4, 5, 6], vec![4, 5], vec![], resume(5, after(5)), rerun(6, Nothing)),
            ("several in flight", vec![5, 6, 7, 8], vec![5], vec![], resume(5, after(5)), rerun(6, after(6))),
            ("next torn", vec![5, 6], vec![5], vec![(6, torn())], resume(5, after(5)), resume(5, after(5))),
            ("next empty", vec![5, 6], vec![5], vec![(6, empty())], resume(5, after(5)), resume(5, after(5))),
            ("next newer", vec![5, 6], vec![5], vec![(6, newer())], resume(5, after(5)), Err("found v2")),
            (
                "next foreign",
                vec![5, 6],
                vec![5],
                vec![(6, foreign())],
                resume(5, after(5)),
                Err("is malformed"),
            ),
            ("gaps, clean", vec![0, 2, 5], vec![0, 2, 5], vec![], resume(5, Nothing), resume(5, Nothing)),
            ("gaps, crash", vec![0, 2, 5], vec![0, 2], vec![], resume(2, after(2)), resume(2, after(2))),
            ("end missing", vec![4, 6], vec![4, 5], vec![], missing.clone(), missing.clone()),
            ("no offsets at all", vec![], vec![4, 5], vec![], missing.clone(), missing),
            ("end torn", vec![5], vec![5], vec![(5, torn())], Err("is incomplete"), Err("is incomplete")),
            ("end newer", vec![5], vec![5], vec![(5, newer())], Err("found v2"), Err("found v2")),
        ]
    }

    #[test]
    fn every_state_of_the_logs_has_its_way_on() {
        for (state, offsets, commits, damaged, continuous, micro_batch) in rows() {
            let facts = facts(&offsets, &commits, &damaged);
            for (restart, expected) in [(Restart::Continuous, continuous), (Restart::MicroBatch, micro_batch)]
            {
                match (decide(&facts, restart), expected) {
                    (Ok(decision), Ok(expected)) => assert_eq!(decision, expected, "{state}, {restart:?}"),
                    (Err(error), Err(part)) => {
                        assert_eq!(error.kind(), ErrorKind::Checkpoint);
                        assert!(error.to_string().contains(part), "{state}, {restart:?}: {error}");
                    }
                    (decision, expected) => {
                        panic!("{state}, {restart:?}: {decision:?}, expected {expected:?}")
                    }
                }
            }
        }
    }

    /// Each row of the table in the docs names the states or tests that hold it, and no state is left out.
    #[test]
    fn the_table_in_the_docs_has_every_state() {
        let docs = include_str!("../../docs/checkpoint.md");
        let section = docs.split("\n## ").find(|section| section.starts_with("Recovery\n")).unwrap();
        let tests = [include_str!("recovery.rs"), include_str!("tests.rs")].concat();
        let rows = rows();
        let mut named = BTreeSet::new();
        for row in section.lines().filter(|line| line.starts_with('|')).skip(2) {
            let held_by = row.trim_end_matches('|').rsplit('|').next().unwrap();
            let names: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "nothing holds the row {row}");
            for name in names {
                let is_held = rows.iter().any(|row| row.0 == name) || tests.contains(&format!("fn {name}("));
                assert!(is_held, "no such test: {name}");
                named.insert(name);
            }
        }
        let left_out: Vec<_> = rows.iter().map(|row| row.0).filter(|state| !named.contains(state)).collect();
        assert_eq!(left_out, [""; 0], "states without a row in docs/checkpoint.md");
    }

    #[test]
    fn a_last_commit_that_cannot_be_read_stops_the_query() {
        let mut facts = facts(&[5], &[5], &[]);
        facts.last_commit = Some(Found::new(Err(Damage::Torn("it is empty".to_owned())), "commits/5"));
        for restart in [Restart::Continuous, Restart::MicroBatch] {
            assert!(decide(&facts, restart).unwrap_err().to_string().contains("commits/5 is incomplete"));
        }
    }

    fn arbitrary_facts() -> impl Strategy<Value = LogFacts> {
        let ids = || proptest::collection::btree_set(0..8u64, 0..8);
        let damage = proptest::collection::btree_map(0..8u64, any::<bool>(), 0..3);
        (ids(), ids(), damage).prop_map(|(offsets, commits, damage)| {
            let damaged: Vec<_> = damage
                .into_iter()
                .filter(|(id, _)| offsets.contains(id))
                .map(|(id, is_torn)| (id, if is_torn { torn() } else { newer() }))
                .collect();
            let (offsets, commits): (Vec<_>, Vec<_>) =
                (offsets.into_iter().collect(), commits.into_iter().collect());
            facts(&offsets, &commits, &damaged)
        })
    }

    fn apply(facts: &LogFacts, discard: Discard) -> LogFacts {
        let kept = |id: &EpochId| match discard {
            Discard::Nothing => true,
            Discard::After(last) => *id <= last,
            Discard::All => false,
        };
        let mut facts = facts.clone();
        facts.offsets.retain(kept);
        facts.entries.retain(|id, _| kept(id));
        facts
    }

    proptest! {
        #[test]
        fn nothing_committed_is_discarded_and_deciding_again_changes_nothing(
            facts in arbitrary_facts(),
            continuous: bool,
        ) {
            let restart = if continuous { Restart::Continuous } else { Restart::MicroBatch };
            let Ok(decision) = decide(&facts, restart) else { return Ok(()) };
            let after = apply(&facts, decision.discard());
            let kept_by = |id: &&EpochId| facts.commits.last().is_some_and(|last| *id <= last);
            prop_assert!(facts.offsets.iter().filter(kept_by).all(|id| after.offsets.contains(id)));

            // What is left does not collide with an entry that the run writes.
            let first = decision.first_epoch();
            let unwritten = if matches!(decision, Recovery::Rerun { .. }) { first.next() } else { first };
            prop_assert!(after.offsets.iter().all(|id| *id < unwritten));

            let again = decide(&after, restart).unwrap();
            prop_assert_eq!(again.discard(), Discard::Nothing);
            prop_assert_eq!(again.first_epoch(), first);
            match (decision, again) {
                (Recovery::Fresh { .. }, Recovery::Fresh { .. }) => {}
                (Recovery::Resume { start: a, .. }, Recovery::Resume { start: b, .. }) => {
                    prop_assert_eq!(a, b);
                }
                (Recovery::Rerun { start: a, end: c, .. }, Recovery::Rerun { start: b, end: d, .. }) => {
                    prop_assert_eq!((a, c), (b, d));
                }
                (decision, again) => prop_assert!(false, "{:?} became {:?}", decision, again),
            }
        }
    }
}
