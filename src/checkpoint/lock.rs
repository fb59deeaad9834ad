//! Who is at work on a checkpoint: an advisory lock of the operating system on a file in its folder.
//!
//! A crash, `kill -9` included, releases it with the process, so nothing that is left behind blocks a restart. It tells the
//! second query *before* it does anything. What keeps two writers apart in every case, also in stores without locks, is
//! that every entry is created only if absent.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::log::Checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::store::create_folder_of;

/// In the checkpoint's folder. Spark, like epochflow, ignores names that begin with a dot. The file stays when the lock is
/// released: whoever deleted it could take it from under one who has just opened it.
const LOCK_FILE: &str = ".epochflow.lock";
/// How long a taken lock is asked for again: a tool that looks, or a child that is just being started, has it for an
/// instant.
const PATIENCE: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(10);

/// The right to write to a checkpoint, until it is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct CheckpointLock {
    /// Closing it releases the lock.
    _file: File,
}

/// What came of asking for the lock.
enum Asked {
    Taken(File),
    /// Another has it, and left this in the file.
    Held(String),
    /// The file system has no locks.
    Unknown(String),
}

impl Checkpoint {
    /// Whether [`lock`](Self::lock) can tell that another is at work here: on a local disk.
    pub fn has_lock(&self) -> bool {
        self.store().local(LOCK_FILE).is_some()
    }

    /// Takes the checkpoint for writing, and creates its folder for that. `None` in stores and file systems without locks.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if another has it, which the message names.
    pub async fn lock(&self) -> Result<Option<CheckpointLock>> {
        let Some(path) = self.store().local(LOCK_FILE) else {
            return Ok(None);
        };
        let started = Instant::now();
        loop {
            match self.store().blocking("lock", LOCK_FILE, take, path.clone()).await? {
                Asked::Taken(file) => return Ok(Some(CheckpointLock { _file: file })),
                Asked::Held(_) if started.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await;
                }
                Asked::Held(holder) => return Err(self.in_use(&holder)),
                Asked::Unknown(error) => {
                    tracing::warn!(
                        "cannot lock {} ({error}): a second query on it will be noticed only when both write",
                        self.location()
                    );
                    return Ok(None);
                }
            }
        }
    }

    /// An error of the kind [`ErrorKind::Fenced`] if another is known to have the checkpoint. Creates nothing.
    pub async fn refuse_if_locked(&self) -> Result<()> {
        let Some(path) = self.store().local(LOCK_FILE) else {
            return Ok(());
        };
        match self.store().blocking("look at", LOCK_FILE, holder_at, path).await? {
            Some(holder) => Err(self.in_use(&holder)),
            None => Ok(()),
        }
    }

    fn in_use(&self, holder: &str) -> Error {
        Error::new(
            ErrorKind::Fenced,
            format!(
                "the checkpoint {} is in use by {}; stop that first, or use another checkpoint",
                self.location(),
                described(holder)
            ),
        )
    }
}

fn take(path: &Path) -> io::Result<Asked> {
    create_folder_of(path)?;
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    match file.try_lock() {
        Ok(()) => {
            // The lock holds whether or not it says whose it is.
            let _ = file.set_len(0).and_then(|()| file.write_all(holder().as_bytes()));
            Ok(Asked::Taken(file))
        }
        Err(TryLockError::WouldBlock) => Ok(Asked::Held(content(&mut file))),
        Err(TryLockError::Error(error)) => Ok(Asked::Unknown(error.to_string())),
    }
}

/// What the holder of the lock left in the file; `None` if nobody is known to have it.
fn holder_at(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // Shared, so that two who look do not take each other for a writer.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Ok(Some(content(&mut file))),
        Ok(()) | Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Where the system does not let it be read, who holds the lock stays unknown.
fn content(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    read.map(|_| text).unwrap_or_default()
}

/// What the lock file says of this process.
fn holder() -> String {
    let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    json!({ "pid": std::process::id(), "host": host(), "since": since }).to_string()
}

/// This machine's name, where it is to be had without asking a library.
fn host() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok());
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What a lock file says, as part of a sentence.
fn described(holder: &str) -> String {
    let fields: Value = serde_json::from_str(holder).unwrap_or_default();
    let Some(pid) = fields.get("pid").and_then(Value::as_u64) else {
        return "another process".to_owned();
    };
    let text = |key, word| fields.get(key).and_then(Value::as_str).map(|value| format!(" {word} {value}"));
    let host = text("host", "on").unwrap_or_default();
    let since = text("since", "since").unwrap_or_default();
    format!("process {pid}{host}{since}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> Checkpoint {
        Checkpoint::open(folder.to_str().unwrap(), &[]).unwrap()
    }

    #[tokio::test]
    async fn one_at_a_time_and_the_second_learns_who_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new");
        let [first, second] = [0, 1].map(|_| open(&root));
        first.refuse_if_locked().await.unwrap();
        assert!(!root.exists(), "a look creates nothing");

        let lock = first.lock().await.unwrap().unwrap();
        for refused in [second.lock().await.map(|_| ()), second.refuse_if_locked().await] {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Fenced);
            assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
            assert!(error.to_string().contains(" since 2"), "{error}");
        }
        drop(lock);
        second.refuse_if_locked().await.unwrap();
        let lock = second.lock().await.unwrap();
        assert!(lock.is_some());
    }

    #[tokio::test]
    async fn what_a_dead_holder_left_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LOCK_FILE), "{\"pid\":1,\"since\":\"long ago\", and much more")
            .unwrap();
        let checkpoint = open(folder.path());
        let _lock = checkpoint.lock().await.unwrap().unwrap();
        let text = std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["pid"], std::process::id());
        assert!(checkpoint.facts().await.unwrap().offsets.is_empty());
    }

    #[tokio::test]
    async fn other_stores_have_no_lock() {
        let checkpoint = Checkpoint::open("memory://no_lock", &[]).unwrap();
        assert!(!checkpoint.has_lock());
        assert!(checkpoint.lock().await.unwrap().is_none());
        checkpoint.refuse_if_locked().await.unwrap();
    }

    #[test]
    fn holders_are_described_as_far_as_they_are_known() {
        assert_eq!(described(r#"{"pid":7,"host":"a","since":"b"}"#), "process 7 on a since b");
        assert_eq!(described(r#"{"pid":7,"host":null}"#), "process 7");
        for unknown in ["", "{", "7", r#"{"pid":"x"}"#] {
            assert_eq!(described(unknown), "another process");
        }
    }
}
