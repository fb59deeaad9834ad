//! Says from what came out whether a guarantee was kept. Knows nothing of how it came about.

use std::collections::{BTreeMap, BTreeSet};

use crate::harm::Guarantee;

/// Offsets at which epochs of one partition ended.
pub(crate) type CommittedEnds = BTreeSet<i64>;

/// What one run left: for each source partition the offsets of the rows, in the order in which they came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Records that were sent to each partition.
    pub(crate) sent: Vec<i64>,
    pub(crate) rows: BTreeMap<i32, Vec<i64>>,
    /// Ends of the epochs that are known to be committed.
    pub(crate) committed: BTreeMap<i32, CommittedEnds>,
}

/// What holds of a run that kept its guarantee.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) records: i64,
    pub(crate) duplicates: i64,
    /// Each names partition and offset.
    pub(crate) violations: Vec<String>,
}

impl Outcome {
    pub(crate) fn judge(&self, guarantee: Guarantee) -> Verdict {
        let mut verdict = Verdict { records: self.sent.iter().sum(), ..Verdict::default() };
        for (partition, sent) in (0..).zip(&self.sent) {
            let rows = self.rows.get(&partition).map_or(&[][..], Vec::as_slice);
            self.judge_partition(partition, *sent, rows, guarantee, &mut verdict);
        }
        let known = self.sent.len() as i32;
        for partition in self.rows.keys().filter(|partition| **partition >= known) {
            verdict.violations.push(format!("rows of partition {partition}, which was never written to"));
        }
        verdict
    }

    fn judge_partition(
        &self,
        partition: i32,
        sent: i64,
        rows: &[i64],
        guarantee: Guarantee,
        verdict: &mut Verdict,
    ) {
        let mut violated = |what: String| verdict.violations.push(format!("partition {partition}: {what}"));
        let seen: BTreeSet<i64> = rows.iter().copied().collect();
        let lost: Vec<i64> = (0..sent).filter(|offset| !seen.contains(offset)).collect();
        if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
            violated(format!(
                "{} of {sent} records are lost, the first at {first}, the last at {last}",
                lost.len()
            ));
        }
        if let Some(alien) = seen.iter().find(|offset| !(0..sent).contains(*offset)) {
            violated(format!("a row of offset {alien}, which was never sent"));
        }
        let (mut next, mut highest) = (0, 0);
        for &offset in rows {
            verdict.duplicates += i64::from(offset < highest);
            highest = highest.max(offset + 1);
            // A row either follows the one before, or reading began again at the end of a committed epoch.
            let again =
                offset == 0 || self.committed.get(&partition).is_some_and(|ends| ends.contains(&offset));
            match guarantee {
                Guarantee::ExactlyOnce if offset != next => {
                    verdict
                        .violations
                        .push(format!("partition {partition}: {offset} came where {next} was due"));
                }
                Guarantee::AtLeastOnce if offset != next && !(offset < next && again) => {
                    verdict.violations.push(format!(
                        "partition {partition}: {offset} came where {next} was due, and no epoch ended there"
                    ));
                }
                _ => {}
            }
            next = offset + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rows: &[i64], committed: &[i64]) -> Outcome {
        Outcome {
            sent: vec![6],
            rows: [(0, rows.to_vec())].into(),
            committed: [(0, committed.iter().copied().collect())].into(),
        }
    }

    #[test]
    fn repetition_from_a_committed_end_is_at_least_once_only() {
        let repeated = outcome(&[0, 1, 2, 3, 2, 3, 4, 5], &[2]);
        let verdict = repeated.judge(Guarantee::AtLeastOnce);
        assert_eq!((verdict.records, verdict.duplicates, verdict.violations.len()), (6, 2, 0), "{verdict:?}");
        assert!(!repeated.judge(Guarantee::ExactlyOnce).violations.is_empty());
        assert!(outcome(&[0, 1, 2, 3, 4, 5], &[]).judge(Guarantee::ExactlyOnce).violations.is_empty());
    }

    #[test]
    fn what_no_crash_can_explain_is_a_violation() {
        for (rows, committed, says) in [
            (&[0, 1, 2, 4, 5][..], &[][..], "lost"),
            (&[0, 1, 2, 3, 1, 2, 3, 4, 5], &[2], "no epoch ended there"),
            (&[0, 2, 1, 3, 4, 5], &[2], "came where 1 was due"),
            (&[0, 1, 2, 3, 4, 5, 6], &[], "never sent"),
        ] {
            let violations = outcome(rows, committed).judge(Guarantee::AtLeastOnce).violations;
            assert!(violations.iter().any(|violation| violation.contains(says)), "{rows:?}: {violations:?}");
        }
        let alien = Outcome { sent: vec![], rows: [(3, vec![0])].into(), ..Outcome::default() };
        assert_eq!(alien.judge(Guarantee::AtLeastOnce).violations.len(), 1);
    }
}
