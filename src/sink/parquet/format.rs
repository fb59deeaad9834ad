//! Bytes of `_spark_metadata`, the log that says which files are committed: Spark's `FileStreamSinkLog`.

use serde::{Deserialize, Serialize};

use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

const VERSION: &str = "v1";
/// Each tenth entry holds all that came before it.
const COMPACT_INTERVAL: u64 = 10;
const COMPACT_SUFFIX: &str = ".compact";

/// One file, in Spark's fields and their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoggedFile {
    /// A URL.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) is_dir: bool,
    /// Milliseconds since 1970.
    pub(super) modification_time: i64,
    pub(super) block_replication: u32,
    pub(super) block_size: u64,
    pub(super) action: String,
}

impl LoggedFile {
    pub(super) fn added(path: String, size: u64, modification_time: i64) -> Self {
        // Replication and block size are those that Hadoop gives to files which have none.
        Self {
            path,
            size,
            is_dir: false,
            modification_time,
            block_replication: 1,
            block_size: 32 << 20,
            action: "add".into(),
        }
    }
}

/// An entry of the log, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EntryName {
    pub(super) epoch: EpochId,
    pub(super) is_compact: bool,
}

impl EntryName {
    pub(super) fn of(epoch: EpochId) -> Self {
        Self { epoch, is_compact: (epoch.0 + 1).is_multiple_of(COMPACT_INTERVAL) }
    }

    /// `None` for a file that is not an entry.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let number = name.strip_suffix(COMPACT_SUFFIX).unwrap_or(name);
        let epoch = number.parse().ok().map(EpochId).filter(|epoch| epoch.to_string() == number)?;
        Some(Self { epoch, is_compact: number.len() < name.len() })
    }
}

impl std::fmt::Display for EntryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.epoch, if self.is_compact { COMPACT_SUFFIX } else { "" })
    }
}

/// The entries to read for all files, oldest first: the newest that holds what came before it, and those after.
///
/// # Errors
/// One of them is missing, or compact where Spark would not look for it.
pub(super) fn to_read(mut entries: Vec<EntryName>) -> Result<Vec<EntryName>> {
    entries.sort_unstable();
    let from = entries.iter().rposition(|entry| entry.is_compact).unwrap_or(0);
    let entries = entries.split_off(from.min(entries.len()));
    let begin = match entries.first() {
        Some(first) if first.is_compact => first.epoch,
        _ => EpochId::FIRST,
    };
    for (entry, expected) in entries.iter().zip(begin.0..) {
        if entry.epoch.0 != expected {
            return Err(damaged(format!("entry {expected} is missing")));
        }
        if *entry != EntryName::of(entry.epoch) {
            return Err(damaged(format!(
                "entry {entry} does not fit a log that is compacted each {COMPACT_INTERVAL} entries, Spark's default of \
                 spark.sql.streaming.fileSink.log.compactInterval"
            )));
        }
    }
    Ok(entries)
}

/// The bytes of an entry.
pub(super) fn encode(files: &[LoggedFile]) -> Result<String> {
    let mut text = VERSION.to_owned();
    for file in files {
        text.push('\n');
        text += &serde_json::to_string(file)
            .map_err(|e| Error::internal("an entry of _spark_metadata cannot be encoded").with_source(e))?;
    }
    Ok(text)
}

/// The reverse of [`encode`].
///
/// # Errors
/// Another version, or damage.
pub(super) fn decode(text: &str) -> Result<Vec<LoggedFile>> {
    let mut lines = text.lines();
    match lines.next() {
        Some(VERSION) => {}
        other => {
            return Err(damaged(format!("it begins with '{}', not {VERSION}", other.unwrap_or_default())));
        }
    }
    lines
        .map(|line| {
            serde_json::from_str(line).map_err(|e| damaged(format!("'{line}' is not a file")).with_source(e))
        })
        .collect()
}

/// `files` without those that a later line takes away.
pub(super) fn present(files: Vec<LoggedFile>) -> Vec<LoggedFile> {
    let gone: std::collections::BTreeSet<String> =
        files.iter().filter(|file| file.action == "delete").map(|file| file.path.clone()).collect();
    files.into_iter().filter(|file| !gone.contains(&file.path)).collect()
}

/// Entries that nobody needs once `committed` is there, if any: Spark keeps the last hundred, and the compact one before them.
pub(super) fn expired_before(committed: EpochId) -> Option<EpochId> {
    const RETAINED: u64 = 100;
    let oldest = (committed.0 + 1).checked_sub(RETAINED)?;
    (oldest - oldest % COMPACT_INTERVAL).checked_sub(1).map(EpochId)
}

fn damaged(what: String) -> Error {
    Error::new(ErrorKind::Environment, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparks_own_entries_are_read_and_written_byte_for_byte() {
        for (entry, files) in [
            (include_str!("../../../tests/data/spark-4.1.2/parquet-sink/_spark_metadata/8"), 2),
            (include_str!("../../../tests/data/spark-4.1.2/parquet-sink/_spark_metadata/9.compact"), 20),
        ] {
            let decoded = decode(entry).unwrap();
            assert_eq!(decoded.len(), files);
            assert_eq!(encode(&decoded).unwrap(), entry);
            let again =
                decoded.iter().map(|f| LoggedFile::added(f.path.clone(), f.size, f.modification_time));
            assert!(again.eq(decoded.iter().cloned()), "what we add is what Spark adds");
        }
        assert_eq!(encode(&[]).unwrap(), "v1");
        for text in ["", "v2", "v1\n{}", "v1\n{\"path\":"] {
            assert!(decode(text).is_err(), "{text}");
        }
    }

    fn names(names: &[&str]) -> Vec<EntryName> {
        names.iter().filter_map(|name| EntryName::parse(name)).collect()
    }

    #[test]
    fn the_log_is_read_from_its_newest_compact_entry() {
        assert_eq!(EntryName::of(EpochId(9)).to_string(), "9.compact");
        assert_eq!(EntryName::of(EpochId(10)).to_string(), "10");
        let read = |all: &[&str]| {
            to_read(names(all)).map(|read| read.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]).unwrap(), Vec::<String>::new());
        assert_eq!(read(&["1", "0", ".0.crc", "01", "x"]).unwrap(), ["0", "1"]);
        assert_eq!(read(&["8", "9.compact", "19.compact", "20", "21"]).unwrap(), ["19.compact", "20", "21"]);
        for (broken, hint) in
            [(&["1"][..], "entry 0"), (&["9.compact", "11"], "entry 10"), (&["4.compact"], "compactInterval")]
        {
            let error = read(broken).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_hundred_entries_and_the_compact_one_before_them_stay() {
        for (committed, expired) in
            [(98, None), (99, None), (108, None), (109, Some(9)), (118, Some(9)), (119, Some(19))]
        {
            assert_eq!(expired_before(EpochId(committed)), expired.map(EpochId), "{committed}");
        }
    }
}
