//! Records as they travel: JSON that begins with `seq` and `t0`, which every query selects through.

use std::hash::Hasher;
use std::ops::Range;

/// `seq` of a record that only tests whether the way is open.
pub(super) const PROBE: i64 = -1;

/// A record with the number `seq`, due at `t0_ns`. `fields` are the stream's own, as JSON without brackets.
pub(super) fn encode(seq: i64, t0_ns: u64, fields: &str) -> String {
    format!(r#"{{"seq":{seq},"t0":{t0_ns},{fields}}}"#)
}

/// What the receiver reads of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) seq: i64,
    /// When the schedule wanted it sent, not when it was: a late generator's delay counts as latency.
    pub(super) t0_ns: u64,
    /// Order-free sums of it tell whether two sets of records are the same. It leaves `t0` out, which differs by run.
    pub(super) hash: u64,
}

/// Reads `seq` alone.
pub(super) fn seq(record: &[u8]) -> Option<i64> {
    parse(&record[number(record, b"\"seq\":")?])
}

/// Reads `seq` and `t0` wherever they are; other engines may order fields otherwise.
pub(super) fn stamp(record: &[u8]) -> Option<Stamp> {
    let seq = number(record, b"\"seq\":")?;
    let t0 = number(record, b"\"t0\":")?;
    // Fixed keys: the same bytes hash alike in every process.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&record[..t0.start]);
    hasher.write(&record[t0.end..]);
    Some(Stamp { seq: parse(&record[seq])?, t0_ns: parse(&record[t0])?, hash: hasher.finish() })
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where the number after `name` stands.
fn number(record: &[u8], name: &[u8]) -> Option<Range<usize>> {
    let start = record.windows(name.len()).position(|window| window == name)? + name.len();
    let start = start + record[start..].iter().take_while(|byte| **byte == b' ').count();
    let digits = record[start..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    Some(start..start + digits)
}

/// How many records, and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) count: u64,
    pub(super) hash: u64,
}

impl Digest {
    pub(super) fn add(&mut self, stamp: &Stamp) {
        self.count += 1;
        self.hash = self.hash.wrapping_add(stamp.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_its_stamp_and_its_hash_leaves_only_the_time_out() {
        let of = |seq, t0, fields| stamp(encode(seq, t0, fields).as_bytes()).unwrap();
        let one = of(17, 123, r#""a":1"#);
        assert_eq!((one.seq, one.t0_ns), (17, 123));
        assert_eq!(one.hash, of(17, 99_999, r#""a":1"#).hash);
        assert_ne!(one.hash, of(18, 123, r#""a":1"#).hash);
        assert_ne!(one.hash, of(17, 123, r#""a":2"#).hash);
        assert_eq!(of(PROBE, 5, r#""a":1"#).seq, PROBE);
        assert_eq!(stamp(br#"{"t0": 5, "x":"y", "seq": 3}"#).map(|s| (s.seq, s.t0_ns)), Some((3, 5)));
        assert_eq!(stamp(b"{}"), None);
    }

    #[test]
    fn a_digest_does_not_depend_on_the_order() {
        let stamps: Vec<_> = (0..5).filter_map(|seq| stamp(encode(seq, 1, r#""a":0"#).as_bytes())).collect();
        let (mut forth, mut back) = (Digest::default(), Digest::default());
        stamps.iter().for_each(|stamp| forth.add(stamp));
        stamps.iter().rev().for_each(|stamp| back.add(stamp));
        assert_eq!(forth, back);
        assert_eq!(forth.count, 5);
    }
}
