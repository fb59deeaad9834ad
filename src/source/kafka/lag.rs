//! Spark's metrics of a Kafka source: how far its partitions are behind.

use std::collections::BTreeMap;

use crate::epoch::SourceOffsets;

/// `min`, `max` and `avgOffsetsBehindLatest` over the partitions of `end`.
pub(super) fn metrics(end: &SourceOffsets, latest: &SourceOffsets) -> BTreeMap<String, String> {
    let behind = end.iter().filter_map(|(partition, end)| {
        latest.get(partition).map(|latest| latest.saturating_sub(*end).max(0))
    });
    let behind: Vec<i64> = behind.collect();
    let (Some(min), Some(max)) = (behind.iter().min(), behind.iter().max()) else {
        return BTreeMap::new();
    };
    let avg = behind.iter().map(|behind| *behind as f64).sum::<f64>() / behind.len() as f64;
    [
        // As in Java: one digit behind the point at least.
        ("avgOffsetsBehindLatest", format!("{avg:?}")),
        ("maxOffsetsBehindLatest", max.to_string()),
        ("minOffsetsBehindLatest", min.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::Partition;

    fn offsets(offsets: &[i64]) -> SourceOffsets {
        (0..).zip(offsets).map(|(number, offset)| (Partition::new("t", number), *offset)).collect()
    }

    #[test]
    fn how_far_behind() {
        let metrics_of = |end: &[i64], latest: &[i64]| {
            let metrics = metrics(&offsets(end), &offsets(latest));
            metrics.into_values().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(metrics_of(&[1, 5], &[1, 5]), "0.0 0 0");
        assert_eq!(metrics_of(&[1, 5], &[4, 5]), "1.5 3 0");
        assert_eq!(metrics_of(&[7], &[3]), "0.0 0 0", "an end seen before the last record");
        assert_eq!(metrics_of(&[7, 8], &[9]), "2.0 2 2", "a partition of which nothing is known");
        assert_eq!(metrics_of(&[], &[]), "");
    }
}
