//! The few verbs that a log of small files needs of an object store, durable on a local disk.
//!
//! `object_store` gives atomic create-if-absent everywhere, but on a local disk it leaves bytes and names in
//! the page cache. There a file is written under a temporary name and fsynced before it is published, and its
//! folder is fsynced after: an entry counts once a power cut can no longer take it back.

use std::fmt;
use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::disk::{
    checksum_of, create_and_remove, create_folder_of, remove_checksum, sweep, sync_file, sync_folder_of,
    temporary_path,
};
use super::location;
use crate::error::{Error, ErrorKind, Result};

/// Largest id of an entry: Spark's ids are Java longs.
const LARGEST_ID: u64 = i64::MAX as u64;

/// What [`FileStore::create`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The file is there, with the bytes given.
    Yes,
    /// It was there before, with these bytes, and was left alone. They may be the bytes given: from an
    /// earlier attempt.
    Exists(Bytes),
}

/// A place for files, such as a checkpoint's. Paths are relative to it, with `/` between folder and file.
#[derive(Clone)]
pub struct FileStore {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) root: Path,
    pub(super) folder: Option<PathBuf>,
    name: Arc<str>,
}

impl FileStore {
    /// Opens `location`: a local path, or a URL (`file`, `s3`, `gs`, `abfss`, `memory` …). Nothing is read or
    /// created.
    ///
    /// `options` configure a remote store and win over the provider's environment variables. `memory://name`
    /// is one store per name and process, kept until the process ends.
    pub fn open(location: &str, options: &[(String, String)]) -> Result<Self> {
        // Variables that are not Unicode cannot be settings.
        let environment = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
        let location::Location { store, root, folder, name } =
            location::resolve(location, options, environment)?;
        Ok(Self { store, root, folder, name: name.into() })
    }

    /// The place under `prefix` of any store that has [`PutMode::Create`] and reads what it wrote.
    pub fn from_object_store(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        let name = format!("{store}/{prefix}").into();
        Self { store, root: prefix, folder: None, name }
    }

    /// The same place, reached through `store`.
    #[cfg(test)]
    pub(crate) fn over(self, store: Arc<dyn ObjectStore>) -> Self {
        Self { store, ..self }
    }

    /// The location in messages.
    pub fn location(&self) -> &str {
        &self.name
    }

    /// Creates the file at `path` if there is none.
    ///
    /// All or nothing, also for readers. An error says that the file may or may not be there: calling again
    /// with the same bytes is safe and finds out.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<Created> {
        match &self.folder {
            Some(folder) => self.create_local(path, &folder.join(path), bytes).await,
            None => {
                let put = self.store.put_opts(&self.full(path), bytes.into(), PutMode::Create.into()).await;
                self.settle(path, put.map(|_| ())).await
            }
        }
    }

    /// The bytes at `path`, or `None` where there is no file.
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>> {
        let bytes = async { self.store.get(&self.full(path)).await?.bytes().await };
        match bytes.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("read", path, error)),
        }
    }

    /// Ids of the entries in folder `dir`, ascending. Only files whose name is a number count, so temporary
    /// files, checksums and folders do not; a folder that is not there has none.
    pub async fn list_ids(&self, dir: &str) -> Result<Vec<u64>> {
        let listed = self.store.list_with_delimiter(Some(&self.full(dir))).await;
        let listed = listed.map_err(|error| self.error("list", dir, error))?;
        let names = listed.objects.iter().filter_map(|object| object.location.filename());
        let mut ids: Vec<u64> = names.filter_map(entry_id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Names of the folders in folder `dir` that are numbers, ascending.
    pub(crate) async fn list_folders(&self, dir: &str) -> Result<Vec<u64>> {
        let listed = self.store.list_with_delimiter(Some(&self.full(dir))).await;
        let listed = listed.map_err(|error| self.error("list", dir, error))?;
        let names = listed.common_prefixes.iter().filter_map(Path::filename);
        let mut numbers: Vec<u64> = names.filter_map(entry_id).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes deletions in folder `dir` last through a power cut.
    pub(crate) async fn sync_folder(&self, dir: &str) -> Result<()> {
        match &self.folder {
            Some(folder) => {
                let inside = folder.join(dir).join("0");
                self.blocking("fsync the folder of", dir, sync_folder_of, inside).await
            }
            None => Ok(()),
        }
    }

    /// The file that `path` is on a local disk.
    pub(crate) fn local(&self, path: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(path))
    }

    /// Deletes the file at `path`; one that is not there is fine. After a power cut it may be back.
    pub async fn delete(&self, path: &str) -> Result<()> {
        if let Some(folder) = &self.folder {
            // Before the file: a checksum that outlived it would make Hadoop reject the next file of this
            // name.
            self.blocking("delete the checksum of", path, remove_checksum, folder.join(path)).await?;
        }
        match self.store.delete(&self.full(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("delete", path, error)),
        }
    }

    /// Finds out on a local disk that files can be created in folder `dir`, which is created too. Elsewhere the first write
    /// tells.
    pub(crate) async fn check_writable(&self, dir: &str) -> Result<()> {
        match self.local(&temporary_path(&format!("{dir}/start"))) {
            Some(file) => self.blocking("write to", dir, create_and_remove, file).await,
            None => Ok(()),
        }
    }

    /// Whether Hadoop's checksum lies beside the file at `path`; `None` where there are no such files.
    pub(crate) async fn has_checksum(&self, path: &str) -> Result<Option<bool>> {
        let Some(file) = self.local(path) else { return Ok(None) };
        let is_there =
            |file: &FilePath| checksum_of(file).map_or(Ok(false), |checksum| checksum.try_exists());
        self.blocking("look for the checksum of", path, is_there, file).await.map(Some)
    }

    /// Deletes temporary files that crashed writers left on a local disk; elsewhere there are none.
    pub async fn sweep(&self) -> Result<()> {
        match &self.folder {
            Some(folder) => self.blocking("sweep", "", sweep, folder.clone()).await,
            None => Ok(()),
        }
    }

    async fn create_local(&self, path: &str, file: &FilePath, bytes: Bytes) -> Result<Created> {
        if let Some(found) = self.read(path).await? {
            if found == bytes {
                // Our earlier attempt may have failed between publishing and the last fsync.
                self.blocking("fsync", path, sync_file, file.to_owned()).await?;
                self.blocking("fsync the folder of", path, sync_folder_of, file.to_owned()).await?;
            }
            return Ok(Created::Exists(found));
        }
        let temporary = temporary_path(path);
        let published = self.publish(path, &temporary, file, &bytes).await;
        // A leftover does no harm and is swept later, so a failure to remove it is none of the caller's.
        let _ = self.store.delete(&self.full(&temporary)).await;
        let created = self.settle(path, published?).await?;
        let is_ours = match &created {
            Created::Yes => true,
            Created::Exists(found) => *found == bytes,
        };
        if is_ours {
            self.blocking("fsync the folder of", path, sync_folder_of, file.to_owned()).await?;
        }
        Ok(created)
    }

    /// Writes `temporary`, makes it durable and links it to its name. The outer error is of a step before the
    /// link, when nothing has been published.
    async fn publish(
        &self,
        path: &str,
        temporary: &str,
        file: &FilePath,
        bytes: &Bytes,
    ) -> Result<object_store::Result<()>> {
        self.blocking("create the folder of", path, create_folder_of, file.to_owned()).await?;
        let put = self.store.put(&self.full(temporary), bytes.clone().into()).await;
        put.map_err(|error| self.error("write", path, error))?;
        let temporary_file = file.with_file_name(temporary.rsplit('/').next().unwrap_or(temporary));
        self.blocking("fsync", path, sync_file, temporary_file).await?;
        self.blocking("delete the checksum of", path, remove_checksum, file.to_owned()).await?;
        Ok(self.store.copy_if_not_exists(&self.full(temporary), &self.full(path)).await)
    }

    /// Finds out what an attempt to create `path` came to. Any error may hide that the file was written, by
    /// us or by another, so what is there decides.
    async fn settle(&self, path: &str, attempt: object_store::Result<()>) -> Result<Created> {
        let Err(error) = attempt else {
            return Ok(Created::Yes);
        };
        let clean = matches!(error, object_store::Error::AlreadyExists { .. });
        match self.read(path).await {
            Ok(Some(found)) => Ok(Created::Exists(found)),
            Ok(None) if clean => Err(self.vanished(path)),
            Ok(None) => Err(self.error("create", path, error)),
            // The attempt failed first, and tells more than the reading after it.
            Err(reading) if clean => Err(reading),
            Err(_) => Err(self.error("create", path, error)),
        }
    }

    fn vanished(&self, path: &str) -> Error {
        let in_the_way = self.folder.as_ref().is_some_and(|folder| folder.join(path).is_dir());
        if in_the_way {
            let message = format!("cannot create {}: a folder has its name; remove it", self.describe(path));
            return Error::new(ErrorKind::Environment, message);
        }
        let message =
            format!("cannot create {}: it was there and is gone again; try again", self.describe(path));
        Error::new(ErrorKind::Transient, message)
    }

    fn full(&self, path: &str) -> Path {
        path.split('/').fold(self.root.clone(), |full, part| full.join(part))
    }

    /// `path` as it stands in messages.
    pub(crate) fn describe(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    /// Runs a file-system step on a thread that may block.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        verb: &str,
        path: &str,
        step: fn(&FilePath) -> io::Result<T>,
        file: PathBuf,
    ) -> Result<T> {
        let done = tokio::task::spawn_blocking(move || step(&file)).await;
        let failed = |kind, error: String| {
            Error::new(kind, format!("cannot {verb} {}: {error}{}", self.describe(path), remedy(kind)))
        };
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                Err(failed(io_kind(&error).unwrap_or(ErrorKind::Environment), error.to_string())
                    .with_source(error))
            }
            Err(error) => Err(failed(ErrorKind::Internal, error.to_string()).with_source(error)),
        }
    }

    pub(super) fn error(&self, verb: &str, path: &str, error: object_store::Error) -> Error {
        let kind = kind_of(&error, self.folder.is_some());
        Error::new(kind, format!("cannot {verb} {}: {error}{}", self.describe(path), remedy(kind)))
            .with_source(error)
    }
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore").field("location", &self.name).finish_non_exhaustive()
    }
}

/// The id that a file is named after, if it is an entry.
fn entry_id(name: &str) -> Option<u64> {
    name.parse().ok().filter(|id: &u64| *id <= LARGEST_ID && id.to_string() == name)
}

fn kind_of(error: &object_store::Error, local: bool) -> ErrorKind {
    use object_store::Error as E;
    match error {
        E::NotImplemented { .. }
        | E::NotSupported { .. }
        | E::UnknownConfigurationKey { .. }
        | E::InvalidPath { .. } => ErrorKind::Usage,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } | E::NotFound { .. } => ErrorKind::Environment,
        _ => {
            let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
            let known = causes.find_map(|cause| cause.downcast_ref::<io::Error>()).and_then(io_kind);
            known.unwrap_or(if local { ErrorKind::Environment } else { ErrorKind::Transient })
        }
    }
}

fn io_kind(error: &io::Error) -> Option<ErrorKind> {
    use io::ErrorKind as K;
    match error.kind() {
        K::PermissionDenied
        | K::StorageFull
        | K::QuotaExceeded
        | K::ReadOnlyFilesystem
        | K::NotADirectory
        | K::IsADirectory
        | K::Unsupported => Some(ErrorKind::Environment),
        K::Interrupted | K::WouldBlock | K::TimedOut | K::ResourceBusy | K::StaleNetworkFileHandle => {
            Some(ErrorKind::Transient)
        }
        _ => None,
    }
}

fn remedy(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Environment => {
            "; check that the location exists or can be created, that this user may write there, that space is \
             left, and, for a local disk, that its file system has hard links"
        }
        ErrorKind::Usage => "; use a location whose store can create a file only if it is absent",
        ErrorKind::Transient => "; try again",
        _ => "",
    }
}
