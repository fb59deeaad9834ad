//! Who wrote an entry, as far as its files tell, and what to mind before Spark takes over. Pure; the caller looks.

use std::fmt;

use super::format::OffsetEntry;
use super::recovery::{Found, LogFacts};
use crate::epoch::EpochId;

const REMEDY: &str = "first let a run of epochflow commit an epoch, and stop it";

/// Who wrote an entry of `offsets/`.
///
/// epochflow writes what Spark's micro-batch engine writes, to the letter, so its entries bear no mark of their own, and
/// none of the trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Spark's continuous engine: it leaves the metadata line empty.
    SparkContinuous,
    /// Spark's micro-batch engine or its Real-Time Mode: Hadoop's checksum lies beside the entry.
    SparkMicroBatch,
    /// epochflow: on a local disk, with no checksum beside the entry.
    Epochflow,
    /// epochflow, or Spark's micro-batch engine or Real-Time Mode: an object store has no checksums.
    EpochflowOrSparkMicroBatch,
}

impl Author {
    /// `has_checksum`: whether Hadoop's checksum lies beside the entry; `None` in stores that have none.
    pub(super) fn of(entry: &OffsetEntry, has_checksum: Option<bool>) -> Self {
        match (&entry.metadata, has_checksum) {
            (None, _) => Self::SparkContinuous,
            (Some(_), Some(true)) => Self::SparkMicroBatch,
            (Some(_), Some(false)) => Self::Epochflow,
            (Some(_), None) => Self::EpochflowOrSparkMicroBatch,
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SparkContinuous => "Spark, continuous",
            Self::SparkMicroBatch => "Spark, micro-batch or real-time",
            Self::Epochflow => "epochflow",
            Self::EpochflowOrSparkMicroBatch => "epochflow, or Spark under micro-batch or real-time",
        })
    }
}

impl LogFacts {
    /// Epochs that are logged and not committed.
    #[must_use]
    pub fn uncommitted(&self) -> Vec<EpochId> {
        let committed = self.commits.last();
        self.offsets.iter().filter(|epoch| committed.is_none_or(|last| *epoch > last)).copied().collect()
    }

    /// Why one of Spark's engines must not take the checkpoint over as it is, and what to do first.
    #[must_use]
    pub fn handover_warnings(&self) -> Vec<String> {
        self.continuous_warning().into_iter().chain(self.micro_batch_warning()).collect()
    }

    /// Why Spark's continuous engine must not take it over.
    pub(crate) fn continuous_warning(&self) -> Option<String> {
        let uncommitted = self.uncommitted();
        let epoch = uncommitted.first()?;
        Some(format!(
            "epoch {epoch} is logged and not committed: do not hand over to Spark's continuous engine, which takes the \
             end of a planned batch for its own and may lose the batch's records; {REMEDY}"
        ))
    }

    /// Why Spark's micro-batch engine and its Real-Time Mode must not take it over.
    pub(crate) fn micro_batch_warning(&self) -> Option<String> {
        let Some((epoch, Found::Whole(OffsetEntry { metadata: None, .. }))) = self.entries.last_key_value()
        else {
            return None;
        };
        Some(format!(
            "offsets/{epoch} is of Spark's continuous engine: Spark's micro-batch engine and its Real-Time Mode fail on \
             it; {REMEDY}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::OffsetMetadata;
    use super::*;

    #[test]
    fn warnings_name_the_epoch_and_the_engine() {
        let entry = |metadata| Found::Whole(OffsetEntry { metadata, offsets: vec![Some("{}".to_owned())] });
        let full = || entry(Some(OffsetMetadata::fresh(0)));
        let facts = |offsets: &[u64], commits: &[u64], newest: Found<OffsetEntry>| LogFacts {
            offsets: offsets.iter().copied().map(EpochId).collect(),
            commits: commits.iter().copied().map(EpochId).collect(),
            entries: offsets.last().map(|last| (EpochId(*last), newest)).into_iter().collect(),
            ..LogFacts::default()
        };
        for (facts, expected) in [
            (facts(&[], &[], full()), &[][..]),
            (facts(&[4, 5], &[4, 5], full()), &[]),
            (facts(&[4, 5, 6], &[4], full()), &["epoch 5 is logged"]),
            (facts(&[0], &[], full()), &["epoch 0 is logged"]),
            (facts(&[4, 5], &[4, 5], entry(None)), &["offsets/5 is of Spark's continuous"]),
            (facts(&[4, 5], &[4], entry(None)), &["epoch 5 is logged", "offsets/5 is of Spark's continuous"]),
        ] {
            let warnings = facts.handover_warnings();
            assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
            assert!(warnings.iter().zip(expected).all(|(warning, start)| warning.starts_with(start)));
        }
    }
}
