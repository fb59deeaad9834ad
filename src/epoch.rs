//! The words that every room shares: epochs, partitions, offsets and cuts.
//!
//! An **epoch** is the unit of progress. For every source partition it covers the records from the end of the
//! epoch before up to its own end; a **cut** names those ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Number of an epoch (of a batch, under a micro-batch trigger). Ids start at 0 and have no gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId(pub u64);

impl EpochId {
    /// The first epoch of a new query.
    pub const FIRST: EpochId = EpochId(0);

    /// The epoch after this one.
    #[must_use]
    pub fn next(self) -> EpochId {
        EpochId(self.0 + 1)
    }

    /// The epoch before this one; `None` for the first.
    #[must_use]
    pub fn previous(self) -> Option<EpochId> {
        self.0.checked_sub(1).map(EpochId)
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position in a partition: the **next** record to read, so the end of a range is exclusive.
pub type Offset = i64;

/// One partition of a source. For Kafka a topic and its partition number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The topic, or the source's own name where it has no topics.
    pub topic: Arc<str>,
    /// Partition number within the topic.
    pub number: i32,
}

impl Partition {
    /// Partition `number` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, number: i32) -> Self {
        Self { topic: topic.into(), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.number)
    }
}

/// Records of one partition: from `from` up to, not including, `to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRange {
    /// The partition.
    pub partition: Partition,
    /// The first record.
    pub from: Offset,
    /// The record after the last one.
    pub to: Offset,
}

impl fmt::Display for SourceRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { partition, from, to } = self;
        if to - from > 1 {
            write!(f, "{partition}, offsets {from} to {}", to - 1)
        } else {
            write!(f, "{partition}, offset {from}")
        }
    }
}

/// Where one source stands: for each of its partitions the next record to read.
pub type SourceOffsets = BTreeMap<Partition, Offset>;

/// Where a query stands: one [`SourceOffsets`] for each of its sources, in the order of the plan.
pub(crate) type Cut = Vec<SourceOffsets>;
