//! What really happened in a simulated schedule, where no crash can reach it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::choose::Choose;
use super::{RETAINED, SLOTS};
use crate::checkpoint::OffsetEntry;
use crate::epoch::{EpochId, Offset};
use crate::sink::Delivery;
use crate::testing::{Failure, Fault, Operation};

/// What really happened, and who decides what happens.
pub(super) struct World<C> {
    pub(super) choose: C,
    pub(super) files: Arc<InMemory>,
    pub(super) is_dead: bool,
    /// Records that there are in each partition.
    pub(super) latest: Vec<Offset>,
    /// How often the sink was given each of them.
    pub(super) written: Vec<Vec<u32>>,
    pub(super) sink: BTreeSet<EpochId>,
    /// How far the sink's committed epochs go.
    sink_ends: Vec<Offset>,
    pub(super) delivery: Delivery,
    /// Ends of the last committed epoch, and the epoch.
    pub(super) ends: Vec<Offset>,
    pub(super) committed: Option<EpochId>,
    /// An epoch was begun while one before it was not committed.
    pub(super) has_overlap: bool,
    pub(super) trace: Vec<String>,
}

impl<C: Choose> World<C> {
    pub(super) fn new(choose: C, delivery: Delivery) -> Self {
        Self {
            choose,
            delivery,
            files: Arc::new(InMemory::new()),
            is_dead: false,
            latest: vec![1; SLOTS],
            written: vec![Vec::new(); SLOTS],
            sink: BTreeSet::new(),
            sink_ends: vec![0; SLOTS],
            ends: vec![0; SLOTS],
            committed: None,
            has_overlap: false,
            trace: Vec::new(),
        }
    }

    pub(super) fn check(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "{what}\n{}\ncommitted {:?} at {:?}",
            self.trace.join("\n"),
            self.committed,
            self.ends
        );
    }

    pub(super) fn next(&self) -> EpochId {
        self.committed.map_or(EpochId::FIRST, EpochId::next)
    }

    pub(super) fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let read = async { self.files.get(path).await.ok()?.bytes().await.ok() };
        read.now_or_never().flatten().map(|bytes| bytes.to_vec())
    }

    /// Decides about a call to the store, and holds what is going to be there against what happened.
    pub(super) fn on_call(&mut self, operation: Operation, path: &Path) -> Option<Fault> {
        let failure = Failure::NoAnswer;
        if self.is_dead {
            return Some(Fault::Before(failure));
        }
        // A crash around a read leaves the same files as one around the change before or after it.
        if !matches!(operation, Operation::Put | Operation::Delete) {
            return None;
        }
        let what = format!("{operation:?} {path}");
        // An entry of Spark on a file system without atomic files may be half there. Ours may not, but must do no harm.
        let is_offsets = path.as_ref().contains("/offsets/");
        let ways = if operation == Operation::Put && is_offsets { 4 } else { 3 };
        let (fault, when) = match self.choose.crash(ways) {
            0 => (None, ""),
            1 => (Some(Fault::Before(failure)), "crash before "),
            2 => (Some(Fault::After(failure)), "crash after "),
            _ => (Some(Fault::Torn(failure)), "crash in "),
        };
        self.trace.push(format!("{when}{what}"));
        self.is_dead = fault.is_some();
        if !matches!(fault, Some(Fault::Before(_))) {
            self.on_change(operation, path);
        }
        fault
    }

    fn on_change(&mut self, operation: Operation, path: &Path) {
        let mut parts = path.as_ref().rsplit('/');
        let (Some(name), Some(dir)) = (parts.next(), parts.next()) else { return };
        let Ok(epoch) = name.parse().map(EpochId) else { return };
        match (operation, dir) {
            (Operation::Put, _) => {
                self.check(self.file(path).is_none(), "an entry is in the way");
                self.check(epoch == self.next(), "epochs are logged out of order, or with a gap");
                if dir == "commits" {
                    self.on_commit(epoch);
                }
            }
            (Operation::Delete, "offsets") => {
                let is_purged = epoch.0 + RETAINED <= self.committed.map_or(0, |committed| committed.0 + 1);
                let is_discarded = self.committed.is_none_or(|committed| epoch > committed);
                self.check(is_purged || is_discarded, "the end of a committed epoch is lost");
                let is_doubtful = self.delivery == Delivery::ExactlyOnce && self.sink.contains(&epoch);
                self.check(is_purged || !is_doubtful, "the end of an epoch that the sink has is lost");
            }
            _ => {
                let is_purged = self.committed.is_some_and(|committed| epoch < committed);
                self.check(is_purged, "the last commit is lost");
            }
        }
    }

    fn on_commit(&mut self, epoch: EpochId) {
        let entry = self.file(&Path::from(format!("q/offsets/{epoch}")));
        let entry = entry.and_then(|bytes| OffsetEntry::decode(&bytes, "offsets").ok());
        self.check(entry.is_some(), "committed without an end");
        let ends = entry.map(|entry| ends_in(&entry)).unwrap_or_default();
        for (slot, (from, to)) in self.ends.iter().zip(&ends).enumerate() {
            self.check(from <= to, "an end went back");
            let mut records = *from..*to;
            let is_written = |record: Offset| {
                let times = self.written[slot].get(usize::try_from(record).unwrap());
                times.is_some_and(|times| *times > 0)
            };
            self.check(records.all(is_written), "a record was skipped");
        }
        self.check(self.sink.contains(&epoch), "committed before the sink was");
        (self.committed, self.ends) = (Some(epoch), ends);
    }

    /// The sink commits what was written from `start` to `ends`.
    pub(super) fn on_sink(&mut self, epoch: EpochId, start: &[Offset], ends: &[Offset]) {
        self.check(epoch == self.next(), "the sink saw an epoch before its turn");
        self.sink.insert(epoch);
        if self.delivery == Delivery::ExactlyOnce {
            self.check(start == self.sink_ends, "the sink has a record twice, or not at all");
            self.sink_ends = ends.to_vec();
        }
    }

    pub(super) fn write(&mut self, slot: usize, from: Offset, to: Offset) {
        self.check(from >= self.ends[slot] || from >= to, "a record was read again that is committed");
        let written = &mut self.written[slot];
        for record in from..to {
            let record = usize::try_from(record).unwrap();
            written.resize(written.len().max(record + 1), 0);
            written[record] += 1;
        }
    }
}

pub(super) fn ends_in(entry: &OffsetEntry) -> Vec<Offset> {
    serde_json::from_str(entry.offsets[0].as_deref().unwrap()).unwrap()
}

pub(super) fn entry_of(ends: &[Offset]) -> OffsetEntry {
    OffsetEntry { metadata: None, offsets: vec![Some(serde_json::to_string(ends).unwrap())] }
}
