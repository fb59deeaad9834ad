//! How far a planned epoch goes, and whether its partitions are still those that are read.

use crate::epoch::{Cut, Offset, Partition, SourceOffsets};

/// The end of the next epoch: `latest`, or less where that would be more than `max` records. The limit is shared out by
/// backlog, and a partition with a backlog gets at least one record, so that a small one never starves (as in Spark).
pub(crate) fn plan_end(start: &SourceOffsets, latest: &SourceOffsets, max: Option<u64>) -> SourceOffsets {
    let backlog = backlog(start, latest);
    start
        .iter()
        .map(|(partition, from)| {
            let end = end_of(latest, partition, *from);
            let end = match max {
                Some(max) if backlog > max => {
                    let share = end.abs_diff(*from) as f64 * (max as f64 / backlog as f64);
                    let share = if share < 1.0 { share.ceil() } else { share.floor() };
                    from.saturating_add_unsigned(share as u64).min(end)
                }
                _ => end,
            };
            (partition.clone(), end)
        })
        .collect()
}

/// Whether the sources have other partitions than those that are `read` up to there: some came or went, or one ends before
/// what was read of it, so it was made anew.
pub(crate) fn are_others(read: &Cut, latest: &Cut) -> bool {
    read.iter().zip(latest).any(|(read, latest)| {
        !read.keys().eq(latest.keys()) || read.iter().zip(latest).any(|((_, read), (_, end))| end < read)
    })
}

/// `ends`, but none beyond `latest`: a topic that was made anew may be shorter than what was planned, which would then
/// never be reached.
pub(crate) fn clamp(ends: &Cut, latest: &Cut) -> Cut {
    let clamp_source = |(ends, latest): (&SourceOffsets, &SourceOffsets)| {
        let reachable =
            |(p, end): (&Partition, &Offset)| (p.clone(), latest.get(p).map_or(*end, |l| *l.min(end)));
        ends.iter().map(reachable).collect()
    };
    ends.iter().zip(latest).map(clamp_source).collect()
}

/// How many offsets there are from `start` to `latest`.
pub(crate) fn backlog(start: &SourceOffsets, latest: &SourceOffsets) -> u64 {
    start.iter().map(|(partition, from)| end_of(latest, partition, *from).abs_diff(*from)).sum()
}

/// A partition that ends before its start is not read backwards.
fn end_of(latest: &SourceOffsets, partition: &Partition, from: Offset) -> Offset {
    latest.get(partition).copied().unwrap_or(from).max(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offsets(offsets: &[i64]) -> SourceOffsets {
        (0..).zip(offsets).map(|(number, offset)| (Partition::new("t", number), *offset)).collect()
    }

    #[test]
    fn without_a_limit_all_that_is_there() {
        assert_eq!(plan_end(&offsets(&[1, 5]), &offsets(&[9, 5]), None), offsets(&[9, 5]));
        assert_eq!(plan_end(&offsets(&[1, 5]), &offsets(&[9, 5]), Some(8)), offsets(&[9, 5]));
    }

    #[test]
    fn a_limit_is_shared_by_backlog_and_nobody_starves() {
        assert_eq!(plan_end(&offsets(&[0, 0, 0]), &offsets(&[600, 300, 1]), Some(90)), offsets(&[59, 29, 1]));
    }

    #[test]
    fn a_partition_that_shrank_stays() {
        assert_eq!(plan_end(&offsets(&[7]), &offsets(&[3]), None), offsets(&[7]));
    }

    #[test]
    fn partitions_that_came_went_or_were_made_anew_are_others() {
        let are_others =
            |read: &[i64], latest: &[i64]| are_others(&vec![offsets(read)], &vec![offsets(latest)]);
        assert!(!are_others(&[3, 7], &[3, 9]));
        assert!(are_others(&[3], &[3, 0]) && are_others(&[3, 7], &[3]) && are_others(&[3, 7], &[3, 6]));
    }

    proptest! {
        #[test]
        fn ends_lie_between_start_and_latest_and_make_progress(
            partitions in proptest::collection::vec((0i64..1000, 0i64..100_000), 1..20), max in 1u64..1000
        ) {
            let start: Vec<_> = partitions.iter().map(|(from, _)| *from).collect();
            let latest: Vec<_> = partitions.iter().map(|(from, more)| from + more).collect();
            let (start, latest) = (offsets(&start), offsets(&latest));
            let end = plan_end(&start, &latest, Some(max));
            let mut taken = 0;
            for (partition, to) in &end {
                prop_assert!(start[partition] <= *to && *to <= latest[partition]);
                prop_assert!(latest[partition] == start[partition] || *to > start[partition]);
                taken += to - start[partition];
            }
            prop_assert!(taken as u64 <= max + partitions.len() as u64);
        }
    }
}
