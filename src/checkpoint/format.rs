//! Bytes ⇄ values of the checkpoint's files, as Spark 4.0 and 4.1 write and read them. Pure and total: no
//! input panics.
//!
//! Written bytes are Spark's, to the letter. Reading is a little wider: an empty metadata line (Spark's
//! continuous engine), missing fields (older Sparks) and Windows line ends are accepted.

#![deny(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};

/// The only version of the offset and commit logs that Spark 4.0 and 4.1 read.
const VERSION: &str = "v1";
/// Stands for a source that has no offset yet.
const VOID_OFFSET: &str = "-";

/// The settings that Spark 4.1 stores with every entry, with its defaults. None of them touches a query
/// without state; they are there because Spark falls back to older behaviour for each one that it misses.
const DEFAULT_CONF: [(&str, &str); 11] = [
    (
        "spark.sql.streaming.stateStore.providerClass",
        "org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider",
    ),
    ("spark.sql.streaming.stateStore.rocksdb.formatVersion", "5"),
    ("spark.sql.streaming.stateStore.encodingFormat", "unsaferow"),
    ("spark.sql.streaming.statefulOperator.useStrictDistribution", "true"),
    ("spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion", "2"),
    ("spark.sql.streaming.multipleWatermarkPolicy", "min"),
    ("spark.sql.streaming.aggregation.stateFormatVersion", "2"),
    ("spark.sql.shuffle.partitions", "200"),
    ("spark.sql.streaming.join.stateFormatVersion", "2"),
    ("spark.sql.streaming.stateStore.compression.codec", "lz4"),
    ("spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan", "false"),
];

/// Content of `metadata`: the id that a query keeps over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryMetadata {
    /// Identifies the query, not one run of it.
    pub id: Uuid,
}

impl QueryMetadata {
    /// The bytes of the file: `{"id":"…"}`, no line end.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{{\"id\":\"{}\"}}", self.id)
    }

    /// Reads the bytes of the file at `path`; fields other than `id` are ignored.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        let fields = utf8(bytes).and_then(object).map_err(|damage| damage.at(path))?;
        let id = fields.get("id").and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
        let malformed =
            || Damage::Malformed(format!("expected {{\"id\":\"<uuid>\"}}, found {}", excerpt(bytes)));
        Ok(Self { id: id.ok_or_else(|| malformed().at(path))? })
    }
}

/// Second line of an `offsets/N` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetMetadata {
    /// Event-time watermark; 0 for a query without one.
    pub batch_watermark_ms: i64,
    /// Wall-clock time at which the epoch was built, in milliseconds since 1970.
    pub batch_timestamp_ms: i64,
    /// Spark settings that a restart must keep, in file order, each key once.
    pub conf: Vec<(String, String)>,
}

impl OffsetMetadata {
    /// Metadata of a query's first entry, with the settings of a Spark 4.1 session that changed none.
    #[must_use]
    pub fn fresh(timestamp_ms: i64) -> Self {
        let conf = DEFAULT_CONF.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Self { batch_watermark_ms: 0, batch_timestamp_ms: timestamp_ms, conf }
    }

    /// Metadata of the entry after `previous`: settings and watermark carried over as they are, so that a
    /// checkpoint begun by Spark keeps its settings; [`fresh`](Self::fresh) where `previous` had none.
    #[must_use]
    pub fn following(previous: Option<&Self>, timestamp_ms: i64) -> Self {
        match previous {
            Some(previous) => Self { batch_timestamp_ms: timestamp_ms, ..previous.clone() },
            None => Self::fresh(timestamp_ms),
        }
    }

    fn encode(&self) -> String {
        let conf: Map<String, Value> =
            self.conf.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect();
        let fields = [
            ("batchWatermarkMs", Value::from(self.batch_watermark_ms)),
            ("batchTimestampMs", Value::from(self.batch_timestamp_ms)),
            ("conf", Value::Object(conf)),
        ];
        Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()).to_string()
    }

    fn decode(line: &str) -> Result<Self, Damage> {
        let fields = object(line)?;
        let conf = match fields.get("conf") {
            None => Vec::new(),
            Some(Value::Object(conf)) => conf.iter().map(setting).collect::<Result<_, _>>()?,
            Some(other) => {
                return Err(Damage::Malformed(format!("expected an object for \"conf\", found {other}")));
            }
        };
        Ok(Self {
            batch_watermark_ms: integer(&fields, "batchWatermarkMs")?,
            batch_timestamp_ms: integer(&fields, "batchTimestampMs")?,
            conf,
        })
    }
}

/// Content of `offsets/N`: where each source stands at the end of epoch N.
///
/// The file is `v1`, the metadata as one line of JSON, then one line a source, joined by `\n` without a last
/// one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// `None` in entries of Spark's continuous engine. Write `Some` in every mode: Spark's micro-batch engine
    /// dies on an entry without.
    pub metadata: Option<OffsetMetadata>,
    /// One JSON text a source, in the order of the plan; only the source knows what it means. `None`: no
    /// offset yet.
    pub offsets: Vec<Option<String>>,
}

impl OffsetEntry {
    /// The bytes of the file. Line ends inside a source's JSON become spaces, which JSON allows and the file
    /// needs.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("{VERSION}\n");
        text.push_str(&self.metadata.as_ref().map(OffsetMetadata::encode).unwrap_or_default());
        for offset in &self.offsets {
            text.push('\n');
            text.push_str(&offset.as_deref().unwrap_or(VOID_OFFSET).replace(['\n', '\r'], " "));
        }
        text
    }

    /// Reads the bytes of the file at `path`.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        Self::parse(bytes).map_err(|damage| damage.at(path))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let text = utf8(bytes)?;
        let mut lines = text.lines();
        version(text, |found| format!("the newest supported version is {VERSION}, found {found}"))?;
        let metadata = match lines.nth(1).map(str::trim) {
            None => return Err(Damage::Torn("it ends before the metadata line".to_owned())),
            Some("") => None,
            Some(line) => Some(OffsetMetadata::decode(line)?),
        };
        let offsets = lines.map(offset).collect::<Result<Vec<_>, _>>()?;
        if offsets.is_empty() {
            return Err(Damage::Torn("it ends before the first source's offsets".to_owned()));
        }
        Ok(Self { metadata, offsets })
    }
}

/// Content of `commits/N`: epoch N is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitEntry {
    /// Watermark for the epoch after N; 0 for a query without one.
    pub next_batch_watermark_ms: i64,
}

impl CommitEntry {
    /// The bytes of the file: `v1`, then one line of JSON, no line end after it.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("{VERSION}\n{{\"nextBatchWatermarkMs\":{}}}", self.next_batch_watermark_ms)
    }

    /// Reads the bytes of the file at `path`. A missing second line counts as `{}`, a missing watermark as 0.
    pub fn decode(bytes: &[u8], path: &str) -> Result<Self> {
        Self::parse(bytes).map_err(|damage| damage.at(path))
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let text = utf8(bytes)?;
        version(text, |found| format!("the only supported version is {VERSION}, found {found}"))?;
        let fields = match text.lines().nth(1).map(str::trim) {
            None | Some("") => Map::new(),
            Some(line) => object(line)?,
        };
        Ok(Self { next_batch_watermark_ms: integer(&fields, "nextBatchWatermarkMs")? })
    }
}

/// Bytes of the Kafka source's `sources/<i>/0`, which freezes the offsets that the query began with: a zero
/// byte, `v1`, a line end, the offsets as JSON. The zero byte is what Spark 2.1.0 needs to read the file
/// (SPARK-19517).
#[must_use]
pub fn encode_initial(json: &str) -> Vec<u8> {
    format!("\0{VERSION}\n{json}").into_bytes()
}

/// Bytes of `sources/<i>/0` of a source with a start of its own, such as Spark's rate source: `v1`, a line end, and
/// `start`, which is JSON.
#[must_use]
pub fn encode_own_start(start: &str) -> Vec<u8> {
    format!("{VERSION}\n{start}").into_bytes()
}

/// The JSON in `sources/<i>/0` at `path`, of either kind, also of a file without a version, as Spark 2.1.0's Kafka
/// source wrote it.
pub fn decode_initial(bytes: &[u8], path: &str) -> Result<String> {
    let parse = || {
        let is_padded = !bytes.starts_with(format!("{VERSION}\n").as_bytes());
        // The first byte is skipped unseen: Spark 2.1.0 put the text's length there.
        let text = utf8(bytes.get(usize::from(is_padded)..).unwrap_or_default())?;
        let json = if text.starts_with('v') {
            version(text, |found| format!("the newest supported version is {VERSION}, found {found}"))?;
            text.split_once('\n').map(|(_, json)| json).unwrap_or_default()
        } else {
            text
        };
        check_json(json.trim())?;
        Ok(json.trim().to_owned())
    };
    parse().map_err(|damage: Damage| damage.at(path))
}

/// What is wrong with a file. Recovery may drop an uncommitted entry that is torn, but never one that it does
/// not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A beginning of a valid file: its writer crashed, or power failed before the bytes reached the disk.
    Torn(String),
    /// Whole, but of a version this build does not know.
    Version(String),
    /// Anything else.
    Malformed(String),
}

impl Damage {
    /// The error that tells about the damage of the file at `path`.
    pub(super) fn at(&self, path: &str) -> Error {
        let message = match self {
            Damage::Torn(what) => {
                format!("{path} is incomplete: {what}; restore the file, or start from a new checkpoint")
            }
            Damage::Version(what) => {
                format!("{path} has an unsupported version: {what}; use what wrote it, or a newer epochflow")
            }
            Damage::Malformed(what) => {
                format!("{path} is malformed: {what}; restore the file, or start from a new checkpoint")
            }
        };
        Error::new(ErrorKind::Checkpoint, message)
    }
}

/// Checks the first line of `text`; `unsupported` words the message for a whole version other than ours.
fn version(text: &str, unsupported: impl Fn(&str) -> String) -> Result<(), Damage> {
    let (line, complete) = match text.split_once('\n') {
        Some((line, _)) => (line.trim_end_matches('\r'), true),
        None => (text, false),
    };
    let number = line.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
    match number {
        _ if line == VERSION => Ok(()),
        Some(number) if number > 0 => Err(Damage::Version(unsupported(line))),
        _ if !complete && VERSION.starts_with(line) => {
            Err(Damage::Torn("it ends before the version".to_owned()))
        }
        _ => Err(Damage::Malformed(format!(
            "expected {VERSION} in its first line, found {}",
            excerpt(line.as_bytes())
        ))),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Damage> {
    // After a power cut a file may have its length but zeros for content.
    if bytes.ends_with(&[0]) {
        return Err(Damage::Torn("it ends in zero bytes".to_owned()));
    }
    std::str::from_utf8(bytes).map_err(|error| match error.error_len() {
        None => Damage::Torn("it ends within a character".to_owned()),
        Some(_) => Damage::Malformed(format!("byte {} is not UTF-8", error.valid_up_to())),
    })
}

/// One source's line. Only its syntax is checked, because that shows a line that was cut short.
fn offset(line: &str) -> Result<Option<String>, Damage> {
    let line = line.trim();
    if line == VOID_OFFSET {
        return Ok(None);
    }
    check_json(line)?;
    Ok(Some(line.to_owned()))
}

fn check_json(text: &str) -> Result<(), Damage> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| json_damage(&error, text))
}

fn object(text: &str) -> Result<Map<String, Value>, Damage> {
    serde_json::from_str(text).map_err(|error| json_damage(&error, text))
}

fn json_damage(error: &serde_json::Error, text: &str) -> Damage {
    let what = format!("expected JSON, found {} ({error})", excerpt(text.as_bytes()));
    if error.is_eof() { Damage::Torn(what) } else { Damage::Malformed(what) }
}

fn integer(fields: &Map<String, Value>, key: &str) -> Result<i64, Damage> {
    match fields.get(key) {
        None => Ok(0),
        Some(value) => value
            .as_i64()
            .ok_or_else(|| Damage::Malformed(format!("expected a whole number for {key:?}, found {value}"))),
    }
}

fn setting((key, value): (&String, &Value)) -> Result<(String, String), Damage> {
    let value = match value {
        Value::String(value) => value.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        other => {
            return Err(Damage::Malformed(format!("expected text for the setting {key:?}, found {other}")));
        }
    };
    Ok((key.clone(), value))
}

/// The beginning of foreign bytes, fit for a message.
fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 80;
    let text = String::from_utf8_lossy(bytes);
    let mut start: String = text.chars().take(LONGEST).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    format!("{start:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const METADATA: &str = r#"{"id":"9f0a4c7e-3a52-4e0f-9b1c-6d1f6c0f5a11"}"#;
    /// An entry that Spark 4.1.2 wrote.
    const OFFSETS: &str = concat!(
        "v1\n",
        r#"{"batchWatermarkMs":0,"batchTimestampMs":1795509614746,"conf":{"#,
        r#""spark.sql.streaming.stateStore.providerClass":"#,
        r#""org.apache.spark.sql.execution.streaming.state.HDFSBackedStateStoreProvider","#,
        r#""spark.sql.streaming.stateStore.rocksdb.formatVersion":"5","#,
        r#""spark.sql.streaming.stateStore.encodingFormat":"unsaferow","#,
        r#""spark.sql.streaming.statefulOperator.useStrictDistribution":"true","#,
        r#""spark.sql.streaming.flatMapGroupsWithState.stateFormatVersion":"2","#,
        r#""spark.sql.streaming.multipleWatermarkPolicy":"min","#,
        r#""spark.sql.streaming.aggregation.stateFormatVersion":"2","#,
        r#""spark.sql.shuffle.partitions":"4","#,
        r#""spark.sql.streaming.join.stateFormatVersion":"2","#,
        r#""spark.sql.streaming.stateStore.compression.codec":"lz4","#,
        r#""spark.sql.optimizer.pruneFiltersCanPruneStreamingSubplan":"false"}}"#,
        "\n",
        r#"{"in":{"0":226600}}"#
    );
    const COMMIT: &str = "v1\n{\"nextBatchWatermarkMs\":0}";

    fn offsets(text: &str) -> Result<OffsetEntry> {
        OffsetEntry::decode(text.as_bytes(), "offsets/7")
    }

    fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Checkpoint);
        error.to_string()
    }

    #[test]
    fn files_written_by_spark_come_out_byte_for_byte() {
        assert_eq!((METADATA.len(), OFFSETS.len(), COMMIT.len()), (45, 785, 29));
        assert_eq!(QueryMetadata::decode(METADATA.as_bytes(), "metadata").unwrap().encode(), METADATA);
        assert_eq!(offsets(OFFSETS).unwrap().encode(), OFFSETS);
        assert_eq!(CommitEntry::decode(COMMIT.as_bytes(), "commits/7").unwrap().encode(), COMMIT);
        let initial = b"\0v1\n{\"in\":{\"0\":201300}}";
        assert_eq!(encode_initial(&decode_initial(initial, "sources/0/0").unwrap()), initial);
    }

    #[test]
    fn fresh_metadata_is_that_of_a_default_spark_session() {
        let mut spark = offsets(OFFSETS).unwrap().metadata.unwrap();
        for (key, value) in &mut spark.conf {
            if key == "spark.sql.shuffle.partitions" {
                "200".clone_into(value);
            }
        }
        assert_eq!(OffsetMetadata::fresh(1_795_509_614_746), spark);
        assert_eq!(OffsetMetadata::following(Some(&spark), 5).conf, spark.conf);
        assert_eq!(OffsetMetadata::following(None, 5), OffsetMetadata::fresh(5));
    }

    #[test]
    fn shapes_that_only_spark_writes_are_read() {
        let continuous = offsets("v1\n\n{\"in\":{\"0\":251899}}").unwrap();
        assert_eq!(continuous.metadata, None);
        assert_eq!(continuous.encode(), "v1\n\n{\"in\":{\"0\":251899}}");
        let two = offsets("v1\r\n{}\r\n-\r\n12").unwrap();
        assert_eq!(two.metadata, Some(OffsetMetadata::default()));
        assert_eq!(two.offsets, [None, Some("12".to_owned())]);
        for old in ["v1\n{}", "v1\n", "v1", "v1\n{\"nextBatchWatermarkMs\":0,\"more\":{}}"] {
            assert_eq!(CommitEntry::decode(old.as_bytes(), "commits/7").unwrap(), CommitEntry::default());
        }
        let more = METADATA.replace('}', ",\"name\":\"q\"}");
        assert!(QueryMetadata::decode(more.as_bytes(), "metadata").is_ok());
        assert_eq!(decode_initial(b"2{\"in\":{\"0\":1}}", "sources/0/0").unwrap(), "{\"in\":{\"0\":1}}");
    }

    /// Only a source knows what its line means: whole seconds of the rate source under micro-batch, pairs under
    /// continuous, no offset yet, Kafka's.
    #[test]
    fn lines_of_all_sources_are_kept_as_they_are() {
        let lines = [
            "12",
            r#"{"0":{"value":-2,"runTimeMs":1700000000000},"1":{"value":-1,"runTimeMs":1700000000001}}"#,
            "-",
            r#"{"offset":100,"timestamp":1000}"#,
            r#"{"in":{"0":226600}}"#,
        ];
        let text = format!("v1\n{{}}\n{}", lines.join("\n"));
        let entry = offsets(&text).unwrap();
        let expected = lines.map(|line| (line != "-").then(|| line.to_owned()));
        assert_eq!(entry.offsets, expected);
        assert!(entry.encode().ends_with(&lines.join("\n")));
        // Cut between two lines it is whole, and of other sources: that is for the reader of the query to notice.
        for length in text.len() - lines[4].len() + 1..text.len() {
            assert!(offsets(text.get(..length).unwrap()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_newer_version_is_refused_and_never_taken_for_torn() {
        let newer = OFFSETS.replacen("v1", "v2", 1);
        assert!(message(offsets(&newer)).contains("newest supported version is v1, found v2"));
        assert!(matches!(OffsetEntry::parse(newer.as_bytes()), Err(Damage::Version(_))));
        let commit = message(CommitEntry::decode(b"v2\n{}", "commits/7"));
        assert!(commit.contains("commits/7") && commit.contains("only supported version is v1, found v2"));
        assert!(message(decode_initial(b"\0v99\n{}", "sources/0/0")).contains("found v99"));
    }

    #[test]
    fn malformed_content_is_named_with_what_was_expected() {
        for (text, expected) in [
            ("hello\n\n{}", "expected v1 in its first line, found \"hello\""),
            ("v0\n\n{}", "expected v1 in its first line, found \"v0\""),
            ("v1\n[]\n{}", "expected JSON"),
            ("v1\n{\"conf\":3}\n{}", "expected an object for \"conf\", found 3"),
            ("v1\n{\"conf\":{\"a\":null}}\n{}", "expected text for the setting \"a\", found null"),
            ("v1\n{\"batchTimestampMs\":\"x\"}\n{}", "expected a whole number for \"batchTimestampMs\""),
            ("v1\n{}\nnope", "expected JSON, found \"nope\""),
        ] {
            let message = message(offsets(text));
            assert!(
                message.starts_with("offsets/7 is malformed: ") && message.contains(expected),
                "{message}"
            );
        }
        assert!(
            message(QueryMetadata::decode(b"{\"id\":\"x\"}", "metadata"))
                .contains("expected {\"id\":\"<uuid>\"}")
        );
        assert!(message(decode_initial(b"", "sources/0/0")).contains("sources/0/0"));
    }

    #[test]
    fn an_entry_cut_anywhere_is_torn_unless_it_is_still_whole() {
        for length in 0..OFFSETS.len() {
            let cut = OFFSETS.get(..length).unwrap();
            assert!(matches!(OffsetEntry::parse(cut.as_bytes()), Err(Damage::Torn(_))), "{cut:?}");
        }
        assert!(matches!(OffsetEntry::parse(&[0; 785]), Err(Damage::Torn(_))));
    }

    /// What sources write: Kafka's offsets, seconds and pairs of the rate source.
    fn json() -> impl Strategy<Value = String> {
        let map = |value| proptest::collection::btree_map("\\PC{0,8}", value, 0..4);
        let pair = (any::<i64>(), any::<i64>());
        let pair = pair.prop_map(|(value, at)| serde_json::json!({ "value": value, "runTimeMs": at }));
        prop_oneof![
            map(any::<i64>().prop_map(Value::from).boxed())
                .prop_map(|map| serde_json::to_string(&map).unwrap()),
            map(pair.boxed()).prop_map(|map| serde_json::to_string(&map).unwrap()),
            any::<i64>().prop_map(|seconds| seconds.to_string()),
        ]
    }

    fn entry() -> impl Strategy<Value = OffsetEntry> {
        let conf = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4);
        let metadata =
            (any::<i64>(), any::<i64>(), conf).prop_map(|(watermark, timestamp, conf)| OffsetMetadata {
                batch_watermark_ms: watermark,
                batch_timestamp_ms: timestamp,
                conf: conf.into_iter().rev().collect(),
            });
        let offsets = proptest::collection::vec(proptest::option::of(json()), 1..4);
        (proptest::option::of(metadata), offsets)
            .prop_map(|(metadata, offsets)| OffsetEntry { metadata, offsets })
    }

    proptest! {
        #[test]
        fn entries_come_back_as_they_were(entry in entry(), watermark: i64, id: u128, json in json()) {
            prop_assert_eq!(offsets(&entry.encode()).unwrap(), entry);
            let commit = CommitEntry { next_batch_watermark_ms: watermark };
            prop_assert_eq!(CommitEntry::decode(commit.encode().as_bytes(), "c").unwrap(), commit);
            let metadata = QueryMetadata { id: Uuid::from_u128(id) };
            prop_assert_eq!(QueryMetadata::decode(metadata.encode().as_bytes(), "m").unwrap(), metadata);
            prop_assert_eq!(decode_initial(&encode_initial(&json), "i").unwrap(), json);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, tail: String, numbers in "[\\[\\]{}0-9:,\"ev.-]{0,40}") {
            let headed = ["v1\n", "v1\n\n", "v1\n{}\n", "v", "\0v1\n"];
            let headed = headed.map(|head| [format!("{head}{tail}"), format!("{head}{numbers}")]).concat();
            for bytes in headed.iter().map(String::as_bytes).chain([bytes.as_slice()]) {
                let _ = OffsetEntry::decode(bytes, "o");
                let _ = CommitEntry::decode(bytes, "c");
                let _ = QueryMetadata::decode(bytes, "m");
                let _ = decode_initial(bytes, "i");
            }
        }
    }
}
