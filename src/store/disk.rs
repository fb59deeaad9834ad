//! Steps on a local disk. All of them block.

use std::io;
use std::path::{Path as FilePath, PathBuf};
use std::time::{Duration, SystemTime};

use uuid::Uuid;

/// A temporary file of this age is a leftover of a crash: a live one exists for milliseconds.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);

/// Where the file at `path` is put together: beside it, under a name that Spark, too, takes for a temporary
/// file.
pub(super) fn temporary_path(path: &str) -> String {
    let id = Uuid::new_v4();
    match path.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/.{name}.{id}.tmp"),
        None => format!(".{path}.{id}.tmp"),
    }
}

fn is_temporary(name: &str) -> bool {
    // object_store appends '#' and a number while it writes.
    let name = name.rsplit_once('#').map_or(name, |(name, _)| name);
    let id = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(".tmp"))
        .and_then(|name| name.rsplit_once('.'));
    id.is_some_and(|(entry, id)| !entry.is_empty() && Uuid::parse_str(id).is_ok())
}

/// Where Hadoop keeps the checksum of `file`.
pub(super) fn checksum_of(file: &FilePath) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?;
    Some(file.with_file_name(format!(".{name}.crc")))
}

/// Removes Hadoop's checksum beside `file`: Spark would verify new content against it.
pub(super) fn remove_checksum(file: &FilePath) -> io::Result<()> {
    let Some(checksum) = checksum_of(file) else {
        return Ok(());
    };
    match std::fs::remove_file(checksum) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound) => Err(error),
        _ => Ok(()),
    }
}

/// Creates the folder of `file` and those above it, durably.
pub(crate) fn create_folder_of(file: &FilePath) -> io::Result<()> {
    let missing: Vec<_> = file.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    if let Some(deepest) = missing.first() {
        std::fs::create_dir_all(deepest)?;
    }
    missing.into_iter().try_for_each(sync_folder_of)
}

/// Finds out whether `file` can be created.
pub(super) fn create_and_remove(file: &FilePath) -> io::Result<()> {
    create_folder_of(file)?;
    std::fs::File::create_new(file)?;
    std::fs::remove_file(file)
}

pub(super) fn sync_file(file: &FilePath) -> io::Result<()> {
    std::fs::File::open(file)?.sync_all()
}

/// Makes the name of `file` durable, which is its folder's content.
pub(super) fn sync_folder_of(file: &FilePath) -> io::Result<()> {
    file.parent().map_or(Ok(()), sync_folder)
}

#[cfg(unix)]
pub(super) fn sync_folder(folder: &FilePath) -> io::Result<()> {
    sync_file(folder)
}

/// Other systems cannot open a folder to fsync it.
#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &FilePath) -> io::Result<()> {
    Ok(())
}

/// Deletes temporary files that crashed writers left below `root`.
pub(super) fn sweep(root: &FilePath) -> io::Result<()> {
    let mut folders = vec![root.to_owned(), root.join("offsets"), root.join("commits")];
    folders.extend(entries(&root.join("sources"))?);
    for file in folders.iter().map(|folder| entries(folder)).collect::<io::Result<Vec<_>>>()?.concat() {
        let temporary = file.file_name().and_then(|name| name.to_str()).is_some_and(is_temporary);
        if temporary && is_leftover(&file) {
            match std::fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Whether `file` is too old to be still written to.
fn is_leftover(file: &FilePath) -> bool {
    let modified = file.symlink_metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFTOVER_AGE))
}

fn entries(folder: &FilePath) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}
