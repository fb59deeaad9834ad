//! The files of a checkpoint, and of the Parquet sink's log.

use epochflow::EpochId;
use epochflow::checkpoint::{
    CommitEntry, Found, Inventory, LogFacts, OffsetEntry, QueryMetadata, Restart, RewindTo, decide,
    decode_initial, encode_initial, rewind, set_offsets,
};

/// `data` as each of the files. What can be read is the same once written and read again.
pub fn run(data: &[u8]) {
    if let Ok(metadata) = QueryMetadata::decode(data, "metadata") {
        assert_eq!(QueryMetadata::decode(metadata.encode().as_bytes(), "metadata").unwrap(), metadata);
    }
    if let Ok(commit) = CommitEntry::decode(data, "commits/0") {
        assert_eq!(CommitEntry::decode(commit.encode().as_bytes(), "commits/0").unwrap(), commit);
    }
    if let Ok(json) = decode_initial(data, "sources/0/0") {
        assert_eq!(decode_initial(&encode_initial(&json), "sources/0/0").unwrap(), json);
    }
    if let Ok(entry) = OffsetEntry::decode(data, "offsets/0") {
        // Carriage returns within a line become spaces.
        let written = entry.encode();
        let read = OffsetEntry::decode(written.as_bytes(), "offsets/0").unwrap();
        assert_eq!(read.metadata, entry.metadata);
        assert_eq!(read.offsets.len(), entry.offsets.len());
        assert_eq!(read.encode(), written);
        tools(&entry);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(written) = epochflow::seams::rewritten_sink_log(text) {
            assert_eq!(epochflow::seams::rewritten_sink_log(&written).unwrap(), written);
        }
        let _ = epochflow::seams::sink_log_names(text.lines());
    }
}

/// What a restart and the tools make of two epochs that end with `entry`.
fn tools(entry: &OffsetEntry) {
    let epochs = [EpochId(0), EpochId(1)];
    let inventory = Inventory {
        offsets: epochs.map(|epoch| (epoch, Found::Whole(entry.clone()))).into(),
        commits: epochs.map(|epoch| (epoch, Found::Whole(CommitEntry::default()))).into(),
        ..Inventory::default()
    };
    let _ = inventory.problems();
    let at = entry.metadata.as_ref().map_or(0, |metadata| metadata.batch_timestamp_ms);
    for to in [RewindTo::Epoch(EpochId(0)), RewindTo::Timestamp(at), RewindTo::Timestamp(at.wrapping_sub(1))]
    {
        let _ = rewind(&inventory, to);
    }
    for (source, offsets) in entry.offsets.iter().enumerate() {
        let _ = set_offsets(&inventory, source, offsets.as_deref().unwrap_or("-"), at);
    }
    for restart in [Restart::Continuous, Restart::MicroBatch] {
        let facts = LogFacts {
            offsets: epochs.into(),
            commits: [EpochId(0)].into(),
            entries: epochs.map(|epoch| (epoch, Found::Whole(entry.clone()))).into(),
            ..LogFacts::default()
        };
        let _ = decide(&facts, restart);
    }
}
