//! Whether a micro-batch takes a source's records now or waits for more. Pure.

use std::time::Duration;

use crate::source::MinRecords;

/// When each source last gave its records to a batch, or could have.
#[derive(Debug)]
pub(super) struct Admission {
    last: Vec<Option<Duration>>,
}

impl Admission {
    pub(super) fn new(sources: usize) -> Self {
        Self { last: vec![None; sources] }
    }

    /// Whether `source`, which has `new` records, gives them to the batch that is planned at `now`. The first batch takes
    /// what there is (as in Spark).
    pub(super) fn admits(&mut self, source: usize, new: u64, min: Option<MinRecords>, now: Duration) -> bool {
        let Some((min, last)) = min.zip(self.last.get_mut(source)) else {
            return true;
        };
        let is_late = last.is_none_or(|last| now.saturating_sub(last) >= min.max_delay);
        let admits = is_late || new >= min.records;
        if admits {
            *last = Some(now);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Option<MinRecords> = Some(MinRecords { records: 10, max_delay: Duration::from_secs(60) });

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn few_records_wait_until_there_are_enough_or_it_is_late() {
        let mut admission = Admission::new(1);
        assert!(admission.admits(0, 1, MIN, at(0)), "the first batch takes what there is");
        assert!(!admission.admits(0, 9, MIN, at(1)));
        assert!(admission.admits(0, 10, MIN, at(2)));
        assert!(!admission.admits(0, 9, MIN, at(61)));
        assert!(admission.admits(0, 9, MIN, at(62)));
    }

    #[test]
    fn sources_wait_apart_and_without_a_minimum_not_at_all() {
        let mut admission = Admission::new(2);
        assert!(admission.admits(0, 0, MIN, at(0)) && admission.admits(1, 0, MIN, at(30)));
        assert!(admission.admits(0, 0, MIN, at(60)) && !admission.admits(1, 0, MIN, at(60)));
        assert!(admission.admits(1, 0, None, at(60)));
    }
}
