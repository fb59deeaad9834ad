//! The records: small JSON objects of one fixed length.

use serde::Deserialize;

/// What the receiver reads of a record. `seq` is `PROBE` for records that only test whether the way is open.
#[derive(Deserialize)]
pub(crate) struct Record {
    pub(crate) seq: i64,
    /// When the schedule wanted it sent, not when it was: a late sender's delay counts as latency.
    pub(crate) ts: u64,
}

pub(crate) const PROBE: i64 = -1;

/// Writes a record of `len` bytes.
pub(crate) fn encode(seq: i64, ts: u64, matches: bool, len: usize) -> String {
    let head = format!(r#"{{"seq":{seq},"ts":{ts},"match":{matches},"pad":""#);
    let pad = len.saturating_sub(head.len() + 2);
    format!("{head}{:x<pad$}\"}}", "")
}
