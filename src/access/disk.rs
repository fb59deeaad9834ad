//! Where a path leads on this disk.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path, PathBuf};

/// `path`, absolute and without links; what is not there yet stands as it is written.
///
/// # Errors
/// A link leads nowhere, or a folder cannot be looked into.
pub(super) fn resolve(path: &Path) -> Result<PathBuf> {
    let path = without_parent_steps(&std::path::absolute(path)?);
    let mut there = path.as_path();
    loop {
        match there.symlink_metadata() {
            Ok(_) => break,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                there = there.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
    let missing = path.strip_prefix(there).map_err(Error::other)?;
    let there = there.canonicalize()?;
    Ok(if missing.as_os_str().is_empty() { there } else { there.join(missing) })
}

/// `path` without `..`, each taken after following the links before it, as the operating system does.
pub(crate) fn without_parent_steps(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            clean = clean.canonicalize().unwrap_or(clean);
            clean.pop();
        } else {
            clean.push(component);
        }
    }
    clean
}

/// The first link in `folder`, or in what its links lead to, that leads to where `is_allowed` does not hold, or nowhere.
/// Readers of a folder follow the links in it.
pub(super) fn leaving_link(folder: &Path, is_allowed: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        if !seen.insert(folder.clone()) {
            continue;
        }
        // A file, or a folder that its readers cannot look into either.
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_symlink() => match path.canonicalize() {
                    Ok(leads_to) if is_allowed(&leads_to) => waiting.push(leads_to),
                    _ => return Some(path),
                },
                Ok(kind) if kind.is_dir() => waiting.push(path),
                _ => {}
            }
        }
    }
    None
}
