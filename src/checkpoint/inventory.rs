//! Everything that a checkpoint holds, and what is wrong with it. Pure; the caller reads.

use std::collections::BTreeMap;
use std::fmt;

use super::format::{CommitEntry, OffsetEntry, QueryMetadata};
use super::log::purge_threshold;
use super::recovery::Found;
use crate::epoch::EpochId;
use crate::error::Result;

/// Every file of a checkpoint, read. Files are named relative to it in messages.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// `metadata`; `None` where it is missing.
    pub metadata: Option<Result<QueryMetadata>>,
    /// `offsets/`.
    pub offsets: BTreeMap<EpochId, Found<OffsetEntry>>,
    /// `commits/`.
    pub commits: BTreeMap<EpochId, Found<CommitEntry>>,
    /// `sources/<i>/0`: the JSON in it.
    pub initial: BTreeMap<u64, Result<String>>,
}

/// Something that is wrong with a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, relative to the checkpoint.
    pub file: String,
    /// What is wrong, naming the file, and the remedy.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Problem {
    fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), message: message.into() }
    }
}

impl Inventory {
    /// Whether nothing is there at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metadata.is_none()
            && self.offsets.is_empty()
            && self.commits.is_empty()
            && self.initial.is_empty()
    }

    /// The newest committed epoch.
    #[must_use]
    pub fn committed(&self) -> Option<EpochId> {
        self.commits.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// The end of `epoch`, where it can be read.
    #[must_use]
    pub fn end(&self, epoch: EpochId) -> Option<&OffsetEntry> {
        match self.offsets.get(&epoch) {
            Some(Found::Whole(entry)) => Some(entry),
            _ => None,
        }
    }

    /// All that is wrong. Entries so old that the cleaning is about to delete them may be missing: a crash in the middle
    /// of it leaves them so.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match &self.metadata {
            None => problems.push(Problem::new(
                "metadata",
                "metadata is missing: the query gets a new id at the next start; restore the file to keep the old one",
            )),
            Some(Err(error)) => problems.push(Problem::new("metadata", error.to_string())),
            Some(Ok(_)) => {}
        }
        problems.extend(unreadable("offsets", &self.offsets, self.committed()));
        problems.extend(unreadable("commits", &self.commits, self.committed()));
        for (source, initial) in &self.initial {
            problems.extend(
                initial
                    .as_ref()
                    .err()
                    .map(|error| Problem::new(format!("sources/{source}/0"), error.to_string())),
            );
        }
        let kept = self.committed().and_then(purge_threshold).unwrap_or(EpochId::FIRST);
        problems.extend(holes("offsets", self.offsets.keys().copied().filter(|epoch| *epoch >= kept)));
        problems.extend(holes("commits", self.commits.keys().copied().filter(|epoch| *epoch >= kept)));
        problems.extend(self.without_offsets(kept));
        problems.extend(self.lost_commits());
        problems.extend(self.other_sources());
        problems
    }

    /// The cleaning deletes offsets before commits, so that commits before the oldest offsets are its leftovers.
    fn without_offsets(&self, kept: EpochId) -> impl Iterator<Item = Problem> + '_ {
        let oldest = self.offsets.first_key_value().map_or(EpochId::FIRST, |(epoch, _)| *epoch);
        let is_without =
            move |epoch: &&EpochId| **epoch >= kept.max(oldest) && !self.offsets.contains_key(epoch);
        self.commits.keys().filter(is_without).map(|epoch| {
            Problem::new(
                format!("commits/{epoch}"),
                format!(
                    "commits/{epoch} has no offsets/{epoch}: epoch {epoch} is committed and its end is not known; \
                     restore offsets/{epoch}, or rewind to an epoch before it"
                ),
            )
        })
    }

    fn lost_commits(&self) -> Option<Problem> {
        let (oldest, _) = self.offsets.first_key_value()?;
        (self.commits.is_empty() && *oldest != EpochId::FIRST).then(|| {
            Problem::new(
                "commits",
                format!(
                    "commits/ is empty but offsets/ begins with {oldest}, so commits have been lost: restore them, or \
                     delete offsets/ to start again from the initial offsets"
                ),
            )
        })
    }

    /// All entries must be of the sources that the newest readable one is of.
    fn other_sources(&self) -> Vec<Problem> {
        let whole =
            || self.offsets.keys().filter_map(|epoch| Some((*epoch, self.end(*epoch)?.offsets.len())));
        let Some((newest, expected)) = whole().next_back() else {
            return Vec::new();
        };
        let differing = whole().filter(|(_, sources)| *sources != expected);
        let problem = |(epoch, sources)| {
            Problem::new(
                format!("offsets/{epoch}"),
                format!(
                    "offsets/{epoch} has lines of {sources} sources, offsets/{newest} of {expected}: entries of different \
                     queries are mixed; restore the files, or start from a new checkpoint"
                ),
            )
        };
        differing.map(problem).collect()
    }
}

fn unreadable<T>(
    dir: &str,
    entries: &BTreeMap<EpochId, Found<T>>,
    committed: Option<EpochId>,
) -> Vec<Problem> {
    let problem = |(epoch, found): (&EpochId, &Found<T>)| {
        let message = match found {
            Found::Whole(_) => return None,
            // The remedy that the error names is that of a committed epoch.
            Found::Torn(error) if committed.is_none_or(|committed| *epoch > committed) => {
                format!(
                    "{error} (epoch {epoch} is not committed: the next start deletes the entry by itself)"
                )
            }
            Found::Torn(error) | Found::Unreadable(error) => error.to_string(),
        };
        Some(Problem::new(format!("{dir}/{epoch}"), message))
    };
    entries.iter().filter_map(problem).collect()
}

fn holes(dir: &str, epochs: impl Iterator<Item = EpochId>) -> Vec<Problem> {
    let epochs: Vec<EpochId> = epochs.collect();
    let pairs = epochs.iter().zip(epochs.iter().skip(1));
    let hole = |(before, after): (&EpochId, &EpochId)| {
        let (first, last) = (before.next(), after.previous().filter(|last| last > before)?);
        let what = if first == last {
            format!("{dir}/{first} is missing")
        } else {
            format!("{dir}/{first} to {dir}/{last} are missing")
        };
        let message = format!(
            "{what} between {before} and {after}: restore what was deleted; where Spark ran with asynchronous progress \
             tracking this is as it should be"
        );
        Some(Problem::new(format!("{dir}/{first}"), message))
    };
    pairs.filter_map(hole).collect()
}

#[cfg(test)]
mod tests {
    use super::super::format::OffsetMetadata;
    use super::super::recovery::{LogFacts, Restart, decide};
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn entry(id: u64, sources: usize) -> Found<OffsetEntry> {
        let offsets = vec![Some(format!("{{\"in\":{{\"0\":{id}}}}}")); sources];
        Found::Whole(OffsetEntry { metadata: Some(OffsetMetadata::fresh(0)), offsets })
    }

    fn inventory(
        offsets: impl IntoIterator<Item = u64>,
        commits: impl IntoIterator<Item = u64>,
    ) -> Inventory {
        Inventory {
            metadata: Some(Ok(QueryMetadata { id: uuid::Uuid::nil() })),
            offsets: offsets.into_iter().map(|id| (EpochId(id), entry(id, 1))).collect(),
            commits: commits
                .into_iter()
                .map(|id| (EpochId(id), Found::Whole(CommitEntry::default())))
                .collect(),
            initial: BTreeMap::from([(0, Ok("{}".to_owned()))]),
        }
    }

    fn found(inventory: &Inventory) -> Vec<String> {
        inventory.problems().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_runs_and_crashes_leave_is_no_problem() {
        for (offsets, commits) in [
            (vec![], vec![]),
            (vec![0], vec![]),
            (vec![0, 1, 2], vec![0]),
            (vec![4, 5, 6], vec![4, 5]),
            // Crashes in the cleaning: between the logs, and among entries that are deleted at the same time.
            (vec![5, 6], vec![3, 4, 5, 6]),
            ([0, 3].into_iter().chain(5..150).collect(), (1..150).filter(|id| *id != 7).collect()),
        ] {
            let inventory = inventory(offsets.clone(), commits);
            assert_eq!(found(&inventory), [""; 0], "{offsets:?}");
            let facts = LogFacts {
                offsets: inventory.offsets.keys().copied().collect(),
                commits: inventory.commits.keys().copied().collect(),
                entries: inventory.offsets.clone(),
                ..LogFacts::default()
            };
            decide(&facts, Restart::MicroBatch).unwrap();
        }
    }

    #[test]
    fn every_problem_is_named_once() {
        let torn = || Found::new(OffsetEntry::parse(b"v1\n{\"bat"), "offsets/7");
        let mut no_metadata = inventory([0], [0]);
        no_metadata.metadata = None;
        let mut planned = inventory([6], [6]);
        planned.offsets.insert(EpochId(7), torn());
        let mut committed = inventory([7], [7]);
        committed.offsets.insert(EpochId(7), torn());
        let mut newer = inventory([0], [0]);
        newer.commits.insert(EpochId(0), Found::new(CommitEntry::parse(b"v2\n{}"), "commits/0"));
        let mut mixed = inventory([0, 1], [0, 1]);
        mixed.offsets.insert(EpochId(0), entry(0, 2));
        let mut initial = inventory([0], [0]);
        initial.initial.insert(1, Err(Error::new(ErrorKind::Checkpoint, "sources/1/0 is malformed")));
        for (inventory, expected) in [
            (no_metadata, "metadata is missing"),
            (planned, "the next start deletes the entry"),
            (committed, "offsets/7 is incomplete"),
            (newer, "commits/0 has an unsupported version"),
            (mixed, "offsets/0 has lines of 2 sources, offsets/1 of 1"),
            (initial, "sources/1/0 is malformed"),
            (inventory([0, 1, 4], [0, 1]), "offsets/2 to offsets/3 are missing between 1 and 4"),
            (inventory([0, 1, 2], [0, 2]), "commits/1 is missing between 0 and 2"),
            (inventory([4], [4, 5]), "commits/5 has no offsets/5"),
            (inventory([4, 5], []), "commits/ is empty"),
        ] {
            let found = found(&inventory);
            assert_eq!(found.len(), 1, "{expected}: {found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }
}
