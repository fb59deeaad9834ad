//! Says from what came out whether a guarantee was kept. Knows nothing of how it came about.
//!
//! Exactly-once: each record once, in order, whoever wrote it.
//!
//! At-least-once: nothing is lost. What one process writes of a partition begins where a committed epoch ended, goes on
//! without a gap, and begins again only where a committed epoch ended; never before what was known to be committed when the
//! process started. So what is there twice is of epochs that were not committed, or of two processes that ran at once.
//!
//! Both: an epoch that was reported as committed is never committed again with another end.

use std::collections::{BTreeMap, BTreeSet};

use crate::harm::Guarantee;

/// The offset after the last record, for each partition.
pub(crate) type Ends = BTreeMap<i32, i64>;

/// A record that has come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) offset: i64,
    /// Number of the process that wrote it, from 0.
    pub(crate) process: usize,
}

/// What one run left.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Records that were sent to each partition.
    pub(crate) sent: Vec<i64>,
    /// For each source partition, in the order in which they came out.
    pub(crate) rows: BTreeMap<i32, Vec<Row>>,
    /// Ends of epochs that are known to be committed.
    pub(crate) committed: BTreeMap<i32, BTreeSet<i64>>,
    /// What was known to be committed when each process started.
    pub(crate) floors: Vec<Ends>,
    /// The ends with which each epoch was reported.
    pub(crate) epochs: BTreeMap<u64, BTreeSet<Ends>>,
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
    pub(crate) fn note_committed(&mut self, ends: &Ends) {
        for (partition, end) in ends {
            self.committed.entry(*partition).or_default().insert(*end);
        }
    }

    /// A partition of which nothing is read yet may be known to one process and not to another.
    pub(crate) fn note_reported(&mut self, epoch: u64, mut ends: Ends) {
        ends.retain(|_, end| *end > 0);
        self.epochs.entry(epoch).or_default().insert(ends);
    }

    pub(crate) fn judge(&self, guarantee: Guarantee) -> Verdict {
        let mut verdict = Verdict { records: self.sent.iter().sum(), ..Verdict::default() };
        for (partition, sent) in (0..).zip(&self.sent) {
            let rows = self.rows.get(&partition).map_or(&[][..], Vec::as_slice);
            let seen: BTreeSet<i64> = rows.iter().map(|row| row.offset).collect();
            verdict.duplicates += (rows.len() - seen.len()) as i64;
            let mut violations = missing(*sent, &seen);
            violations.extend(match guarantee {
                Guarantee::ExactlyOnce => out_of_order(rows),
                Guarantee::AtLeastOnce => self.unexplained(partition, rows),
            });
            let named = violations.into_iter().map(|violation| format!("partition {partition}: {violation}"));
            verdict.violations.extend(named);
        }
        let known = self.sent.len() as i32;
        for partition in self.rows.keys().filter(|partition| **partition >= known) {
            verdict.violations.push(format!("rows of partition {partition}, which was never written to"));
        }
        for (epoch, ends) in self.epochs.iter().filter(|(_, ends)| ends.len() > 1) {
            verdict.violations.push(format!("epoch {epoch} was committed with different ends: {ends:?}"));
        }
        verdict
    }

    /// Rows whose place in what their process wrote has no reason.
    fn unexplained(&self, partition: i32, rows: &[Row]) -> Vec<String> {
        let nothing = BTreeSet::new();
        let committed = self.committed.get(&partition).unwrap_or(&nothing);
        let mut violations = Vec::new();
        for (process, floor) in self.floors.iter().enumerate() {
            let floor = floor.get(&partition).copied().unwrap_or(0);
            let mut next = None;
            for &Row { offset, .. } in rows.iter().filter(|row| row.process == process) {
                let due = next.replace(offset + 1);
                if due == Some(offset) {
                    continue;
                }
                let due = due.map_or("its first row".to_owned(), |due| due.to_string());
                let came = format!("{offset} of process {process} came where {due} was due");
                if offset != 0 && !committed.contains(&offset) {
                    violations.push(format!("{came}, and no epoch ended there"));
                } else if offset < floor {
                    violations.push(format!("{came}, and all before {floor} was committed when it started"));
                }
            }
        }
        violations
    }
}

fn missing(sent: i64, seen: &BTreeSet<i64>) -> Vec<String> {
    let mut violations = Vec::new();
    let lost: Vec<i64> = (0..sent).filter(|offset| !seen.contains(offset)).collect();
    if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
        let count = lost.len();
        violations
            .push(format!("{count} of {sent} records are lost, the first at {first}, the last at {last}"));
    }
    if let Some(alien) = seen.iter().find(|offset| !(0..sent).contains(*offset)) {
        violations.push(format!("a row of offset {alien}, which was never sent"));
    }
    violations
}

fn out_of_order(rows: &[Row]) -> Vec<String> {
    let due = (0..).zip(rows).scan(0, |next, (_, row)| Some((std::mem::replace(next, row.offset + 1), row)));
    due.filter(|(due, row)| *due != row.offset)
        .map(|(due, row)| format!("{} of process {} came where {due} was due", row.offset, row.process))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six records of partition 0; `rows` are process and offset.
    fn outcome(rows: &[(usize, i64)], committed: &[i64]) -> Outcome {
        let rows = rows.iter().map(|(process, offset)| Row { offset: *offset, process: *process }).collect();
        let floors = vec![Ends::new(); 3];
        let mut outcome = Outcome { sent: vec![6], rows: [(0, rows)].into(), floors, ..Outcome::default() };
        committed.iter().for_each(|end| outcome.note_committed(&[(0, *end)].into()));
        outcome
    }

    fn of(process: usize, offsets: std::ops::Range<i64>) -> Vec<(usize, i64)> {
        offsets.map(|offset| (process, offset)).collect()
    }

    #[test]
    fn repetition_from_a_committed_end_is_at_least_once_and_not_exactly_once() {
        let repeated = outcome(&[of(0, 0..4), of(1, 2..6)].concat(), &[2]);
        let verdict = repeated.judge(Guarantee::AtLeastOnce);
        assert_eq!((verdict.records, verdict.duplicates, verdict.violations.len()), (6, 2, 0), "{verdict:?}");
        assert!(!repeated.judge(Guarantee::ExactlyOnce).violations.is_empty());
        let once = outcome(&[of(0, 0..3), of(2, 3..6)].concat(), &[3]);
        assert_eq!(once.judge(Guarantee::ExactlyOnce).violations, [""; 0]);
    }

    #[test]
    fn two_processes_may_write_at_once_if_each_keeps_its_order() {
        let both = outcome(&[(0, 0), (0, 1), (0, 2), (1, 1), (0, 3), (1, 2), (1, 3), (1, 4), (1, 5)], &[1]);
        let verdict = both.judge(Guarantee::AtLeastOnce);
        assert_eq!((verdict.duplicates, verdict.violations), (3, vec![]));
        assert!(!both.judge(Guarantee::ExactlyOnce).violations.is_empty());
    }

    #[test]
    fn what_no_crash_can_explain_is_a_violation() {
        for (rows, committed, says) in [
            ([of(0, 0..3), of(0, 4..6)].concat(), &[4][..], "lost"),
            ([of(0, 0..4), of(1, 1..6)].concat(), &[2], "no epoch ended there"),
            ([of(0, 0..4), of(0, 1..6)].concat(), &[2], "no epoch ended there"),
            (vec![(0, 0), (0, 2), (0, 1), (0, 3), (0, 4), (0, 5)], &[2], "came where 3 was due"),
            (of(0, 0..7), &[], "never sent"),
        ] {
            let violations = outcome(&rows, committed).judge(Guarantee::AtLeastOnce).violations;
            assert!(violations.iter().any(|violation| violation.contains(says)), "{rows:?}: {violations:?}");
        }
        let alien = Outcome { rows: [(3, vec![])].into(), ..Outcome::default() };
        assert_eq!(alien.judge(Guarantee::AtLeastOnce).violations.len(), 1);
    }

    #[test]
    fn what_was_committed_when_a_process_started_is_not_repeated() {
        let mut repeated = outcome(&[of(0, 0..4), of(1, 2..6)].concat(), &[2, 4]);
        repeated.floors[1] = [(0, 4)].into();
        let violations = repeated.judge(Guarantee::AtLeastOnce).violations;
        assert!(violations[0].contains("all before 4 was committed"), "{violations:?}");
    }

    #[test]
    fn an_epoch_has_one_end() {
        let mut twice = outcome(&of(0, 0..6), &[]);
        twice.note_reported(7, [(0, 2)].into());
        twice.note_reported(7, [(0, 2), (1, 0)].into());
        assert_eq!(twice.judge(Guarantee::AtLeastOnce).violations, [""; 0]);
        twice.note_reported(7, [(0, 3)].into());
        for guarantee in [Guarantee::AtLeastOnce, Guarantee::ExactlyOnce] {
            assert!(twice.judge(guarantee).violations[0].contains("epoch 7"));
        }
    }
}
