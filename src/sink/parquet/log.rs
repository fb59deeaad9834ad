//! The log of committed files: which there are, and adding an epoch's.

use bytes::Bytes;
use parking_lot::Mutex;

use super::format::{EntryName, LoggedFile, decode, encode, expired_before, present, to_read};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, FileStore};

/// Beside the data, under the name that Spark's readers look for.
const FOLDER: &str = "_spark_metadata";

/// `_spark_metadata` of one folder.
#[derive(Debug)]
pub(super) struct SinkLog {
    files: FileStore,
    /// The newest entry, as of the last look.
    latest: Mutex<Option<EpochId>>,
}

impl SinkLog {
    pub(super) fn new(files: FileStore) -> Self {
        Self { files, latest: Mutex::default() }
    }

    pub(super) fn files(&self) -> &FileStore {
        &self.files
    }

    pub(super) fn latest(&self) -> Option<EpochId> {
        *self.latest.lock()
    }

    /// Looks for the newest entry.
    ///
    /// # Errors
    /// The log has gaps or is another's.
    pub(super) async fn refresh(&self) -> Result<()> {
        let entries = self.entries().await?;
        *self.latest.lock() = entries.last().map(|entry| entry.epoch);
        Ok(())
    }

    /// All committed files, oldest first.
    pub(super) async fn committed(&self) -> Result<Vec<LoggedFile>> {
        let mut files = Vec::new();
        for entry in self.entries().await? {
            files.extend(self.read(entry).await?);
        }
        Ok(present(files))
    }

    /// Commits `added` as what `epoch` has written: the one step that makes the files visible.
    ///
    /// # Errors
    /// Another writer has committed this epoch, or the one before it is not there.
    pub(super) async fn add(&self, epoch: EpochId, added: Vec<LoggedFile>) -> Result<()> {
        if self.latest() != epoch.previous() {
            let latest =
                self.latest().map_or("no epoch".to_owned(), |latest| format!("epoch {latest} as the newest"));
            return Err(Error::new(
                ErrorKind::Checkpoint,
                format!(
                    "{} has {latest}, and the query is at epoch {epoch}: they do not belong together; use the checkpoint \
                     that this folder was written with, or a new folder for a new checkpoint",
                    self.files.describe(FOLDER)
                ),
            ));
        }
        let entry = EntryName::of(epoch);
        let files = if entry.is_compact {
            let mut files = self.committed().await?;
            files.extend(added);
            files
        } else {
            added
        };
        let bytes = Bytes::from(encode(&files)?);
        let path = format!("{FOLDER}/{entry}");
        match self.files.create(&path, bytes.clone()).await? {
            Created::Yes => {}
            Created::Exists(found) if found == bytes => {}
            Created::Exists(_) => {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!("{} is another writer's: stop one of the two", self.files.describe(&path)),
                ));
            }
        }
        *self.latest.lock() = Some(epoch);
        if entry.is_compact
            && let Err(error) = self.delete_expired(epoch).await
        {
            tracing::warn!("could not delete old entries of the Parquet sink's log: {error}");
        }
        Ok(())
    }

    async fn entries(&self) -> Result<Vec<EntryName>> {
        let names = self.files.list_names(FOLDER).await?;
        to_read(names.iter().filter_map(|name| EntryName::parse(name)).collect())
            .map_err(|error| error.context(format!("{} cannot be read", self.files.describe(FOLDER))))
    }

    async fn read(&self, entry: EntryName) -> Result<Vec<LoggedFile>> {
        let path = format!("{FOLDER}/{entry}");
        let damaged = |error: Error| error.context(format!("{} is damaged", self.files.describe(&path)));
        let bytes = self.files.read(&path).await?.unwrap_or_default();
        let text = std::str::from_utf8(&bytes)
            .map_err(|e| damaged(Error::new(ErrorKind::Environment, "it is not text").with_source(e)))?;
        decode(text).map_err(damaged)
    }

    async fn delete_expired(&self, committed: EpochId) -> Result<()> {
        let Some(oldest) = expired_before(committed) else { return Ok(()) };
        for name in self.files.list_names(FOLDER).await? {
            if EntryName::parse(&name).is_some_and(|entry| entry.epoch < oldest) {
                self.files.delete(&format!("{FOLDER}/{name}")).await?;
            }
        }
        Ok(())
    }
}
