//! The two logs and the files beside them, typed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use uuid::Uuid;

use super::edit::Edit;
use super::format::{CommitEntry, Damage, OffsetEntry, QueryMetadata, decode_initial};
use super::handover::Author;
use super::inventory::Inventory;
use super::recovery::{Discard, Found, LogFacts};
use super::{CheckpointStore, Created};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

/// Committed epochs that a checkpoint keeps, as many as Spark (`spark.sql.streaming.minBatchesToRetain`).
pub const RETAINED_COMMITS: u64 = 100;

/// What to [purge](Checkpoint::purge_before) after `committed`, to keep [`RETAINED_COMMITS`].
#[must_use]
pub fn purge_threshold(committed: EpochId) -> Option<EpochId> {
    committed.next().0.checked_sub(RETAINED_COMMITS).filter(|first| *first > 0).map(EpochId)
}

const METADATA: &str = "metadata";
const OFFSETS: &str = "offsets";
const COMMITS: &str = "commits";
const SOURCES: &str = "sources";
/// Up to so many ids are deleted by name, which costs less than a listing.
const PURGED_BY_NAME: u64 = 3;
/// Deletions under way at a time, for stores that take long over each.
const PARALLEL_DELETES: usize = 8;
/// Reads under way at a time, for the same reason.
const PARALLEL_READS: usize = 16;

/// A checkpoint: reads and writes its entries. It decides nothing; see [`decide`](super::decide).
#[derive(Debug)]
pub struct Checkpoint {
    store: CheckpointStore,
    /// Once it is known it is not read again: a start asks for it several times.
    id: OnceLock<Uuid>,
    purge: Mutex<PurgeState>,
    /// The newest entry of `offsets/` that was written here, or found at a start as that of the next epoch.
    logged: Mutex<Option<(EpochId, Bytes)>>,
}

/// What this run knows of the logs' ends, so that most purges need no listing.
#[derive(Clone, Copy, Debug, Default)]
struct PurgeState {
    /// Both logs hold nothing below this id.
    purged: Option<u64>,
    /// The two newest ids in `offsets/`, newest first.
    newest: [Option<u64>; 2],
}

/// When the bytes of a put came there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Put {
    Now,
    /// By an earlier attempt whose answer was lost, or by another query.
    BeforeIt,
}

impl Checkpoint {
    /// Opens the checkpoint at `location`, as [`CheckpointStore::open`] does.
    pub fn open(location: &str, options: &[(String, String)]) -> Result<Self> {
        CheckpointStore::open(location, options).map(Self::from_store)
    }

    /// The checkpoint in `store`.
    pub fn from_store(store: CheckpointStore) -> Self {
        Self { store, id: OnceLock::new(), purge: Mutex::default(), logged: Mutex::default() }
    }

    /// The location in messages.
    pub fn location(&self) -> &str {
        self.store.location()
    }

    /// The query's id; a checkpoint without one gets one.
    pub async fn query_id(&self) -> Result<Uuid> {
        if let Some(id) = self.read_query_id().await? {
            return Ok(id);
        }
        let ours = QueryMetadata { id: Uuid::new_v4() };
        let id = match self.store.create(METADATA, ours.encode().into()).await? {
            Created::Yes => ours.id,
            Created::Exists(theirs) => QueryMetadata::decode(&theirs, &self.store.describe(METADATA))?.id,
        };
        Ok(*self.id.get_or_init(|| id))
    }

    /// The query's id, or `None` where no query has run.
    pub async fn read_query_id(&self) -> Result<Option<Uuid>> {
        if let Some(id) = self.id.get() {
            return Ok(Some(*id));
        }
        let Some(bytes) = self.store.read(METADATA).await? else {
            return Ok(None);
        };
        let found = QueryMetadata::decode(&bytes, &self.store.describe(METADATA))?;
        Ok(Some(*self.id.get_or_init(|| found.id)))
    }

    /// What the logs hold. Entries that cannot be decoded are part of the answer; only a failing store is an error.
    pub async fn facts(&self) -> Result<LogFacts> {
        // Commits first: a commit seen has its offsets written before it, so offsets listed later include them.
        let commits = self.ids(COMMITS).await?;
        let offsets = self.ids(OFFSETS).await?;
        let mut entries = BTreeMap::new();
        let wanted = match commits.last() {
            Some(last) => vec![*last, last.next()],
            None => vec![EpochId::FIRST],
        };
        for epoch in wanted.into_iter().filter(|epoch| offsets.contains(epoch)) {
            let path = entry(OFFSETS, epoch);
            if let Some(bytes) = self.store.read(&path).await? {
                entries.insert(epoch, Found::new(OffsetEntry::parse(&bytes), &self.store.describe(&path)));
                *self.logged.lock() = Some((epoch, bytes));
            }
        }
        let last_commit = match commits.last() {
            Some(last) => {
                let path = entry(COMMITS, *last);
                let bytes = self.store.read(&path).await?;
                bytes.map(|bytes| Found::new(CommitEntry::parse(&bytes), &self.store.describe(&path)))
            }
            None => None,
        };
        Ok(LogFacts {
            location: self.location().to_owned(),
            offsets: offsets.into_iter().collect(),
            commits: commits.into_iter().collect(),
            entries,
            last_commit,
        })
    }

    /// Everything that is there, read. Of a running query it is a picture taken over some time: what is deleted meanwhile
    /// is left out.
    pub async fn inventory(&self) -> Result<Inventory> {
        // Commits first, for the reason given in `facts`.
        let commits = self.ids(COMMITS).await?;
        let offsets = self.ids(OFFSETS).await?;
        let commits = self.read_all(COMMITS, commits, CommitEntry::parse).await?;
        let offsets = self.read_all(OFFSETS, offsets, OffsetEntry::parse).await?;
        let metadata = self.store.read(METADATA).await?.map(|bytes| QueryMetadata::decode(&bytes, METADATA));
        let mut initial = BTreeMap::new();
        for source in self.store.list_folders(SOURCES).await? {
            let path = format!("{SOURCES}/{source}/0");
            if let Some(bytes) = self.store.read(&path).await? {
                initial.insert(source, decode_initial(&bytes, &path));
            }
        }
        Ok(Inventory {
            metadata,
            offsets: offsets.into_iter().collect(),
            commits: commits.into_iter().collect(),
            initial,
        })
    }

    async fn read_all<T>(
        &self,
        dir: &str,
        epochs: Vec<EpochId>,
        parse: fn(&[u8]) -> Result<T, Damage>,
    ) -> Result<Vec<(EpochId, Found<T>)>> {
        let reads = futures::stream::iter(epochs).map(|epoch| async move {
            let path = entry(dir, epoch);
            let bytes = self.store.read(&path).await?;
            Ok(bytes.map(|bytes| (epoch, Found::new(parse(&bytes), &path))))
        });
        reads.buffered(PARALLEL_READS).try_filter_map(|read| async move { Ok(read) }).try_collect().await
    }

    /// Carries out an edit. A crash in the middle leaves a checkpoint that a restart accepts; planning and applying anew
    /// finishes it.
    ///
    /// Hold the [`lock`](Self::lock) since before the inventory that the edit was made from: a query that runs meanwhile
    /// is not noticed here.
    pub async fn apply(&self, edit: &Edit) -> Result<()> {
        for (dir, epochs) in [(COMMITS, &edit.delete_commits), (OFFSETS, &edit.delete_offsets)] {
            for epoch in epochs {
                self.store.delete(&entry(dir, *epoch)).await?;
            }
            if !epochs.is_empty() {
                // A commit that came back after a power cut would miss its offsets.
                self.store.sync_folder(dir).await?;
            }
        }
        *self.purge.lock() = PurgeState::default();
        if let Some((epoch, offsets)) = &edit.append {
            self.put_offsets(*epoch, offsets).await?;
            self.put_commit(*epoch, &Edit::commit_of(offsets)).await?;
        }
        Ok(())
    }

    pub(super) fn store(&self) -> &CheckpointStore {
        &self.store
    }

    /// The end of `epoch`, or `None` where it is not logged.
    pub async fn offsets(&self, epoch: EpochId) -> Result<Option<OffsetEntry>> {
        let path = entry(OFFSETS, epoch);
        let bytes = self.store.read(&path).await?;
        bytes.map(|bytes| OffsetEntry::decode(&bytes, &self.store.describe(&path))).transpose()
    }

    /// Who wrote `offsets`, the end of `epoch`.
    pub async fn author(&self, epoch: EpochId, offsets: &OffsetEntry) -> Result<Author> {
        Ok(Author::of(offsets, self.store.has_checksum(&entry(OFFSETS, epoch)).await?))
    }

    /// The commit of `epoch`, or `None` where it is not committed.
    pub async fn committed(&self, epoch: EpochId) -> Result<Option<CommitEntry>> {
        let path = entry(COMMITS, epoch);
        let bytes = self.store.read(&path).await?;
        bytes.map(|bytes| CommitEntry::decode(&bytes, &self.store.describe(&path))).transpose()
    }

    /// Logs the end of `epoch`. Fine if the same entry is there, from an attempt whose answer was lost;
    /// [`ErrorKind::Fenced`] if another is.
    pub async fn put_offsets(&self, epoch: EpochId, offsets: &OffsetEntry) -> Result<()> {
        let bytes = Bytes::from(offsets.encode());
        self.put(&entry(OFFSETS, epoch), bytes.clone()).await?;
        self.purge.lock().saw_offsets(epoch.0);
        *self.logged.lock() = Some((epoch, bytes));
        Ok(())
    }

    /// Logs that `epoch`, whose end is logged, is done. Repeats and rivals as in [`put_offsets`](Self::put_offsets).
    ///
    /// Where there is no lock, an instance that starts may have deleted the end just before: it is then put again.
    pub async fn put_commit(&self, epoch: EpochId, commit: &CommitEntry) -> Result<()> {
        let path = entry(COMMITS, epoch);
        let put = self.put(&path, commit.encode().into()).await?;
        if put == Put::Now && self.has_lock() {
            return Ok(());
        }
        let ours = self.logged.lock().clone().filter(|(logged, _)| *logged == epoch);
        let Some((_, ours)) = ours else { return Ok(()) };
        let end = entry(OFFSETS, epoch);
        // All commits look alike. Whose this one is, the end beside it tells.
        match self.store.read(&end).await? {
            Some(found) if found == ours => Ok(()),
            None => self.put(&end, ours).await.map(|_| ()),
            Some(_) => Err(self.fenced(&path, "already commits another end than ours")),
        }
    }

    /// Finds out at a start that entries can be written, as far as that is to be known beforehand: on a local disk.
    ///
    /// # Errors
    /// [`ErrorKind::Environment`]: no permission, a read-only file system, something else in a folder's place.
    pub async fn check_writable(&self) -> Result<()> {
        self.store.check_writable(OFFSETS).await?;
        self.store.check_writable(COMMITS).await
    }

    /// The initial offsets of the query's source number `source`, in that source's own format.
    pub async fn initial(&self, source: usize) -> Result<Option<Bytes>> {
        self.store.read(&initial_path(source)).await
    }

    /// Freezes the initial offsets of a source. Returns what holds: `bytes`, or what was frozen before.
    pub async fn put_initial(&self, source: usize, bytes: Bytes) -> Result<Bytes> {
        match self.store.create(&initial_path(source), bytes.clone()).await? {
            Created::Yes => Ok(bytes),
            Created::Exists(found) => Ok(found),
        }
    }

    /// Deletes the entries that a [`Recovery`](super::Recovery) wants gone, and temporary files of crashed runs.
    pub async fn discard(&self, discard: Discard) -> Result<()> {
        self.store.sweep().await?;
        match discard {
            Discard::Nothing => Ok(()),
            Discard::After(epoch) => self.delete_offsets_after(Some(epoch)).await,
            Discard::All => self.delete_offsets_after(None).await,
        }
    }

    /// Deletes `offsets/k` for every k > `last`; every one for `None`.
    ///
    /// Nothing is deleted, and the error is [`ErrorKind::Fenced`], if an epoch after `last` is committed: another query
    /// has gone on with this checkpoint.
    pub async fn delete_offsets_after(&self, last: Option<EpochId>) -> Result<()> {
        let after = |epoch: &EpochId| last.is_none_or(|last| *epoch > last);
        if let Some(committed) = self.ids(COMMITS).await?.into_iter().rfind(after) {
            return Err(self.fenced(&entry(COMMITS, committed), "appeared while this query started"));
        }
        // Newest first: a crash in between leaves no gap.
        for epoch in self.ids(OFFSETS).await?.into_iter().filter(after).rev() {
            self.store.delete(&entry(OFFSETS, epoch)).await?;
        }
        self.purge.lock().newest = [None, None];
        Ok(())
    }

    /// Deletes the entries of both logs before `threshold`, but never the two newest of `offsets/`, which Spark needs.
    pub async fn purge_before(&self, threshold: EpochId) -> Result<()> {
        let known = *self.purge.lock();
        let (offsets, commits, purged) = match known.by_name(threshold.0) {
            Some(ids) => (ids.clone(), ids, threshold.0),
            None => {
                let offsets = self.ids(OFFSETS).await?;
                let ids: Vec<u64> = offsets.iter().map(|epoch| epoch.0).collect();
                ids.iter().rev().take(2).rev().for_each(|id| self.purge.lock().saw_offsets(*id));
                let second = ids.iter().rev().nth(1).copied().unwrap_or(0);
                let before = |id: &u64| *id < threshold.0;
                let commits =
                    self.ids(COMMITS).await?.into_iter().map(|epoch| epoch.0).filter(before).collect();
                let offsets = ids.into_iter().filter(|id| before(id) && *id < second).collect();
                (offsets, commits, threshold.0.min(second))
            }
        };
        let paths = offsets.into_iter().map(|id| entry(OFFSETS, EpochId(id)));
        let paths: Vec<_> = paths.chain(commits.into_iter().map(|id| entry(COMMITS, EpochId(id)))).collect();
        let deletions =
            futures::stream::iter(paths).map(|path| async move { self.store.delete(&path).await });
        deletions.buffer_unordered(PARALLEL_DELETES).try_collect::<()>().await?;
        self.purge.lock().purged = Some(purged);
        Ok(())
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<Put> {
        match self.store.create(path, bytes.clone()).await? {
            Created::Yes => Ok(Put::Now),
            Created::Exists(found) if found == bytes => Ok(Put::BeforeIt),
            Created::Exists(_) => Err(self.fenced(path, "already exists with other content")),
        }
    }

    fn fenced(&self, path: &str, what: &str) -> Error {
        let path = self.store.describe(path);
        let remedy = "stop one of the two, or give this one a checkpoint of its own";
        Error::new(
            ErrorKind::Fenced,
            format!("{path} {what}: another query writes to this checkpoint; {remedy}"),
        )
    }

    async fn ids(&self, dir: &str) -> Result<Vec<EpochId>> {
        Ok(self.store.list_ids(dir).await?.into_iter().map(EpochId).collect())
    }
}

impl PurgeState {
    fn saw_offsets(&mut self, id: u64) {
        let mut newest = [Some(id), self.newest[0], self.newest[1]];
        newest.sort_unstable_by(|a, b| b.cmp(a));
        if newest[0] == newest[1] {
            newest[1] = newest[2];
        }
        self.newest = [newest[0], newest[1]];
    }

    /// The ids to delete below `threshold`, if they are few and the two newest are known to be others.
    fn by_name(&self, threshold: u64) -> Option<Vec<u64>> {
        let first = self.purged?;
        let kept = self.newest[1]?;
        (threshold <= kept && threshold.saturating_sub(first) <= PURGED_BY_NAME)
            .then(|| (first..threshold).collect())
    }
}

fn entry(dir: &str, epoch: EpochId) -> String {
    format!("{dir}/{epoch}")
}

fn initial_path(source: usize) -> String {
    format!("{SOURCES}/{source}/0")
}
