//! Changes by hand to where a stopped query goes on: from what the checkpoint holds to what to delete and write. Pure;
//! [`Checkpoint::apply`](super::Checkpoint::apply) acts.
//!
//! At every point between two of an edit's steps the checkpoint is one that [`decide`](super::decide) accepts: commits go
//! before the offsets they need, and each newest first.

#![deny(clippy::indexing_slicing)]

use chrono::DateTime;

use super::format::{CommitEntry, OffsetEntry, OffsetMetadata};
use super::inventory::Inventory;
use super::recovery::Found;
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

/// Where to rewind to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RewindTo {
    /// This epoch becomes the last committed one.
    Epoch(EpochId),
    /// The newest committed epoch whose `batchTimestampMs` is not after this, in milliseconds since 1970.
    Timestamp(i64),
}

/// What to change, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Commits to delete, newest first.
    pub delete_commits: Vec<EpochId>,
    /// Then offsets to delete, newest first.
    pub delete_offsets: Vec<EpochId>,
    /// Then an epoch to log and commit.
    pub append: Option<(EpochId, OffsetEntry)>,
    /// The last committed epoch once all is done.
    pub committed: EpochId,
    /// Where each source would go on without the edit, as far as that can be read.
    pub before: Vec<Option<String>>,
    /// Where each source goes on after it.
    pub after: Vec<Option<String>>,
    /// What else the user should know.
    pub notes: Vec<String>,
}

impl Edit {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.delete_commits.is_empty() && self.delete_offsets.is_empty() && self.append.is_none()
    }

    /// What commits `append`.
    pub(super) fn commit_of(entry: &OffsetEntry) -> CommitEntry {
        let watermark = entry.metadata.as_ref().map_or(0, |metadata| metadata.batch_watermark_ms);
        CommitEntry { next_batch_watermark_ms: watermark }
    }
}

/// Makes an earlier epoch the last committed one: everything after it is read and written once more.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is no such committed epoch, [`ErrorKind::Checkpoint`] if its entries cannot be read.
pub fn rewind(inventory: &Inventory, to: RewindTo) -> Result<Edit> {
    let newest = newest(inventory)?;
    let target = match to {
        RewindTo::Epoch(epoch) => epoch,
        RewindTo::Timestamp(at) => at_time(inventory, at)?,
    };
    let Some(commit) = inventory.commits.get(&target) else {
        let oldest = inventory.commits.keys().next().copied().unwrap_or(newest);
        let why = if target > newest {
            format!("it is not committed; the last committed epoch is {newest}")
        } else if target < oldest {
            format!("it has been deleted by the cleaning; the oldest epoch that is kept is {oldest}")
        } else {
            format!("commits/{target} is not there; see 'checkpoint verify'")
        };
        return Err(Error::usage(format!("cannot rewind to epoch {target}: {why}")));
    };
    whole(commit)?;
    let end = end(inventory, target)?;
    let after = |epoch: &&EpochId| **epoch > target;
    let mut notes = Vec::new();
    let has_one_before = target.previous().is_none_or(|before| inventory.offsets.contains_key(&before));
    if !has_one_before {
        notes.push(format!(
            "offsets/ will hold epoch {target} alone: Spark takes the checkpoint over only after the next epoch is committed"
        ));
    }
    Ok(Edit {
        delete_commits: inventory.commits.keys().rev().filter(after).copied().collect(),
        delete_offsets: inventory.offsets.keys().rev().filter(after).copied().collect(),
        append: None,
        committed: target,
        before: inventory.end(newest).map(|entry| entry.offsets.clone()).unwrap_or_default(),
        after: end.offsets.clone(),
        notes,
    })
}

/// Adds a committed epoch in which source number `source` stands at `offsets`, and the others stay where they are.
/// `now_ms` is the time, in milliseconds since 1970.
///
/// # Errors
/// [`ErrorKind::Usage`] if there is no such source, `offsets` is not JSON, or no epoch is committed;
/// [`ErrorKind::Checkpoint`] if the last committed epoch cannot be read.
pub fn set_offsets(inventory: &Inventory, source: usize, offsets: &str, now_ms: i64) -> Result<Edit> {
    let offsets = offsets.trim();
    serde_json::from_str::<serde::de::IgnoredAny>(offsets).map_err(|error| {
        Error::usage(format!(
            "the offsets {offsets:?} are not JSON ({error}): write them as 'checkpoint show' prints them, as in \
             {{\"events\":{{\"0\":1200}}}}"
        ))
    })?;
    let newest = newest(inventory)?;
    let before = &end(inventory, newest)?;
    if let Some(commit) = inventory.commits.get(&newest) {
        whole(commit)?;
    }
    let mut after = before.offsets.clone();
    let sources = after.len();
    let line = after.get_mut(source).ok_or_else(|| {
        Error::usage(format!(
            "there is no source {source}: the checkpoint has {sources}, which are numbered from 0"
        ))
    })?;
    *line = Some(offsets.to_owned());
    let is_planned = |epoch: &&EpochId| **epoch > newest;
    let entry = OffsetEntry {
        metadata: Some(OffsetMetadata::following(before.metadata.as_ref(), now_ms)),
        offsets: after.clone(),
    };
    Ok(Edit {
        delete_commits: Vec::new(),
        delete_offsets: inventory.offsets.keys().rev().filter(is_planned).copied().collect(),
        append: Some((newest.next(), entry)),
        committed: newest.next(),
        before: before.offsets.clone(),
        after,
        notes: Vec::new(),
    })
}

fn newest(inventory: &Inventory) -> Result<EpochId> {
    inventory.committed().ok_or_else(|| {
        Error::usage(
            "no epoch is committed, so there is no place to change: start from a new checkpoint with startingOffsets set \
             to where you want to begin",
        )
    })
}

fn end(inventory: &Inventory, epoch: EpochId) -> Result<&OffsetEntry> {
    match inventory.offsets.get(&epoch) {
        Some(found) => whole(found),
        None => Err(Error::new(
            ErrorKind::Checkpoint,
            format!(
                "epoch {epoch} is committed, but its end, offsets/{epoch}, is missing: restore that file, or choose \
                 another epoch"
            ),
        )),
    }
}

fn whole<T>(found: &Found<T>) -> Result<&T> {
    match found {
        Found::Whole(entry) => Ok(entry),
        Found::Torn(error) | Found::Unreadable(error) => Err(error.clone()),
    }
}

/// The newest committed epoch that is not after `at`. One without a timestamp, of Spark's continuous engine, is never the
/// one that is meant.
fn at_time(inventory: &Inventory, at: i64) -> Result<EpochId> {
    let mut oldest = None;
    for epoch in inventory.commits.keys().rev() {
        let Some(found) = inventory.offsets.get(epoch) else { continue };
        let entry = whole(found).map_err(|error| error.context("cannot find an epoch by its time"))?;
        let Some(metadata) = &entry.metadata else { continue };
        if metadata.batch_timestamp_ms <= at {
            return Ok(*epoch);
        }
        oldest = Some((*epoch, metadata.batch_timestamp_ms));
    }
    let kept = oldest.map_or_else(
        || "no epoch has a timestamp".to_owned(),
        |(epoch, at)| format!("the oldest that is kept is epoch {epoch} of {}", time(at)),
    );
    Err(Error::usage(format!("no committed epoch is as old as {}: {kept}", time(at))))
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || format!("{ms} ms since 1970"),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::recovery::{LogFacts, Recovery, Restart, decide};
    use super::*;

    fn entry(id: u64) -> OffsetEntry {
        let metadata = OffsetMetadata {
            batch_watermark_ms: 0,
            batch_timestamp_ms: id.cast_signed() * 1000,
            conf: vec![("spark.x".to_owned(), "7".to_owned())],
        };
        let line = |topic: &str| Some(format!("{{\"{topic}\":{{\"0\":{id}}}}}"));
        OffsetEntry { metadata: Some(metadata), offsets: vec![line("a"), line("b")] }
    }

    fn inventory(
        offsets: impl IntoIterator<Item = u64>,
        commits: impl IntoIterator<Item = u64>,
    ) -> Inventory {
        Inventory {
            offsets: offsets.into_iter().map(|id| (EpochId(id), Found::Whole(entry(id)))).collect(),
            commits: commits
                .into_iter()
                .map(|id| (EpochId(id), Found::Whole(CommitEntry::default())))
                .collect(),
            ..Inventory::default()
        }
    }

    fn ids(epochs: &[EpochId]) -> Vec<u64> {
        epochs.iter().map(|epoch| epoch.0).collect()
    }

    #[test]
    fn rewind_deletes_what_comes_after_newest_first() {
        let edit = rewind(&inventory(3..8, 3..7), RewindTo::Epoch(EpochId(4))).unwrap();
        assert_eq!((ids(&edit.delete_commits), ids(&edit.delete_offsets)), (vec![6, 5], vec![7, 6, 5]));
        assert_eq!((edit.before, edit.after), (entry(6).offsets, entry(4).offsets));
        assert_eq!(edit.notes, [""; 0]);
        let planned = rewind(&inventory(3..8, 3..7), RewindTo::Epoch(EpochId(6))).unwrap();
        assert_eq!(ids(&planned.delete_offsets), [7]);
        assert!(rewind(&inventory(3..7, 3..7), RewindTo::Epoch(EpochId(6))).unwrap().is_empty());
        let oldest = rewind(&inventory(3..8, 3..7), RewindTo::Epoch(EpochId(3))).unwrap();
        assert!(oldest.notes.iter().any(|note| note.contains("Spark")), "{:?}", oldest.notes);
        assert_eq!(rewind(&inventory(0..2, 0..2), RewindTo::Epoch(EpochId(0))).unwrap().notes, [""; 0]);
    }

    #[test]
    fn rewind_by_time_takes_the_newest_that_is_not_later() {
        let mut inventory = inventory(3..8, 3..7);
        inventory.offsets.insert(EpochId(5), Found::Whole(OffsetEntry { metadata: None, ..entry(5) }));
        for (at, epoch) in [(9000, 6), (6000, 6), (5999, 4), (4000, 4), (3999, 3)] {
            assert_eq!(
                rewind(&inventory, RewindTo::Timestamp(at)).unwrap().committed,
                EpochId(epoch),
                "{at}"
            );
        }
        let error = rewind(&inventory, RewindTo::Timestamp(2999)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("epoch 3 of 1970-01-01T00:00:03.000Z"), "{error}");
    }

    #[test]
    fn rewind_refuses_what_is_not_there() {
        let torn = |mut inventory: Inventory| {
            let found = Found::new(OffsetEntry::parse(b"v1\n"), "offsets/4");
            inventory.offsets.insert(EpochId(4), found);
            inventory
        };
        for (inventory, to, expected) in [
            (inventory(3..8, 3..7), 7, "the last committed epoch is 6"),
            (inventory(3..8, 3..7), 99, "the last committed epoch is 6"),
            (inventory(3..8, 3..7), 2, "the oldest epoch that is kept is 3"),
            (inventory(0..8, [0, 6]), 4, "commits/4 is not there"),
            (inventory([6], [4, 6]), 4, "offsets/4, is missing"),
            (torn(inventory(3..8, 3..7)), 4, "offsets/4 is incomplete"),
            (inventory([0], []), 0, "no epoch is committed"),
        ] {
            let error = rewind(&inventory, RewindTo::Epoch(EpochId(to))).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn set_offsets_adds_an_epoch_with_the_settings_of_the_one_before() {
        let edit = set_offsets(&inventory(0..4, 0..3), 1, " {\"b\":{\"0\":99}} ", 5).unwrap();
        let (epoch, added) = edit.append.clone().unwrap();
        assert_eq!((epoch, edit.committed, ids(&edit.delete_offsets)), (EpochId(3), EpochId(3), vec![3]));
        let lines = ["{\"a\":{\"0\":2}}", "{\"b\":{\"0\":99}}"].map(|line| Some(line.to_owned()));
        assert_eq!(added.offsets, lines);
        let metadata = added.metadata.unwrap();
        assert_eq!((metadata.batch_timestamp_ms, metadata.conf), (5, entry(0).metadata.unwrap().conf));
        for (source, offsets, expected) in [
            (2, "{}", "there is no source 2: the checkpoint has 2"),
            (0, "{", "are not JSON"),
            (0, "", "are not JSON"),
            (0, "{} {}", "are not JSON"),
        ] {
            let error = set_offsets(&inventory(0..4, 0..3), source, offsets, 5).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(set_offsets(&inventory([0], []), 0, "{}", 5).is_err());
    }

    /// The logs after the first `steps` steps of an edit.
    fn after_steps(inventory: &Inventory, edit: &Edit, steps: usize) -> LogFacts {
        let mut offsets: BTreeMap<EpochId, OffsetEntry> =
            inventory.offsets.keys().map(|epoch| (*epoch, inventory.end(*epoch).unwrap().clone())).collect();
        let mut commits: Vec<EpochId> = inventory.commits.keys().copied().collect();
        let mut left = steps;
        let mut step = || {
            let is_done = left > 0;
            left = left.saturating_sub(1);
            is_done
        };
        edit.delete_commits.iter().for_each(|epoch| {
            if step() {
                commits.retain(|kept| kept != epoch);
            }
        });
        edit.delete_offsets.iter().for_each(|epoch| {
            if step() {
                offsets.remove(epoch);
            }
        });
        if let Some((epoch, entry)) = &edit.append {
            if step() {
                assert!(offsets.insert(*epoch, entry.clone()).is_none(), "entries are never replaced");
            }
            if step() {
                commits.push(*epoch);
            }
        }
        LogFacts {
            offsets: offsets.keys().copied().collect(),
            commits: commits.into_iter().collect(),
            entries: offsets.into_iter().map(|(epoch, entry)| (epoch, Found::Whole(entry))).collect(),
            ..LogFacts::default()
        }
    }

    proptest! {
        #[test]
        fn a_crash_between_two_steps_leaves_what_recovery_accepts(
            first in 0..5_u64,
            committed in 1..6_u64,
            planned in 0..4_u64,
            target in 0..6_u64,
            sets: bool,
        ) {
            let inventory = inventory(first..first + committed + planned, first..first + committed);
            let edit = if sets {
                set_offsets(&inventory, 0, "{\"a\":{\"0\":77}}", 1).unwrap()
            } else {
                rewind(&inventory, RewindTo::Epoch(EpochId(first + target % committed))).unwrap()
            };
            let steps = edit.delete_commits.len() + edit.delete_offsets.len() + 2;
            let old = EpochId(first + committed - 1);
            for restart in [Restart::Continuous, Restart::MicroBatch] {
                for step in 0..=steps {
                    let facts = after_steps(&inventory, &edit, step);
                    let committed = *facts.commits.last().unwrap();
                    prop_assert!(committed >= edit.committed.min(old) && committed <= edit.committed.max(old));
                    decide(&facts, restart).unwrap();
                }
                let done = decide(&after_steps(&inventory, &edit, steps), restart).unwrap();
                let Recovery::Resume { committed, start, .. } = done else {
                    return Err(TestCaseError::fail(format!("{done:?}")));
                };
                prop_assert_eq!((committed, start.offsets), (edit.committed, edit.after.clone()));
            }
        }
    }
}
