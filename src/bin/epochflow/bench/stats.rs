//! Repeats summed up: medians over them, and what each has over the relay beside it.

use super::drain::Drain;
use super::outcome::Run;

/// One measurement of a subject.
pub(super) trait Measured {
    fn subject(&self) -> &str;
    fn repeat(&self) -> usize;
    /// Whether its figures say something about the subject.
    fn is_valid(&self) -> bool;
}

impl Measured for Run {
    fn subject(&self) -> &str {
        &self.subject
    }
    fn repeat(&self) -> usize {
        self.repeat
    }
    fn is_valid(&self) -> bool {
        Run::is_valid(self)
    }
}

impl Measured for Drain {
    fn subject(&self) -> &str {
        &self.subject
    }
    fn repeat(&self) -> usize {
        self.repeat
    }
    fn is_valid(&self) -> bool {
        true
    }
}

/// The repeats of one subject: the valid ones, or all if none is.
#[derive(Debug)]
pub(super) struct Group<'a, T> {
    pub(super) subject: &'a str,
    pub(super) runs: Vec<&'a T>,
    /// Repeats that are left out.
    pub(super) invalid: usize,
    relays: Vec<&'a T>,
}

impl<'a, T: Measured> Group<'a, T> {
    /// One group a subject, in the order in which they ran first.
    pub(super) fn all(measured: &[&'a T]) -> Vec<Self> {
        let mut subjects: Vec<&str> = Vec::new();
        for run in measured {
            if !subjects.contains(&run.subject()) {
                subjects.push(run.subject());
            }
        }
        let of = |subject: &str| -> (Vec<&'a T>, usize) {
            let all = || measured.iter().copied().filter(|run| run.subject() == subject);
            let valid: Vec<&T> = all().filter(|run| run.is_valid()).collect();
            let invalid = all().count() - valid.len();
            (if valid.is_empty() { all().collect() } else { valid }, invalid)
        };
        let group = |subject| {
            let (runs, invalid) = of(subject);
            let relays = if matches!(subject, "hop" | "relay") { Vec::new() } else { of("relay").0 };
            Self { subject, runs, invalid, relays }
        };
        subjects.into_iter().map(group).collect()
    }

    pub(super) fn median(&self, value: impl Fn(&T) -> Option<f64>) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| value(run)).collect())
    }

    /// The median of what each repeat has over the relay in the same repeat: only neighbours can be compared.
    pub(super) fn over_relay(
        &self,
        value: impl Fn(&T) -> f64,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<f64> {
        let of = |run: &T| {
            let twin = self.relays.iter().find(|relay| relay.repeat() == run.repeat())?;
            Some(compare(value(run), value(twin)))
        };
        median(self.runs.iter().filter_map(|run| of(run)).collect())
    }
}

/// The middle value; of an even number of values, the mean of the two in the middle.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(&'static str, usize, f64, bool);

    impl Measured for Fake {
        fn subject(&self) -> &str {
            self.0
        }
        fn repeat(&self) -> usize {
            self.1
        }
        fn is_valid(&self) -> bool {
            self.3
        }
    }

    #[test]
    fn ratios_are_of_neighbours_and_invalid_repeats_are_left_out() {
        let runs = [
            Fake("relay", 1, 1.0, true),
            Fake("epochflow", 1, 2.0, true),
            Fake("relay", 2, 10.0, true),
            Fake("epochflow", 2, 30.0, true),
            Fake("relay", 3, 1.0, true),
            Fake("epochflow", 3, 900.0, false),
        ];
        let groups = Group::all(&runs.iter().collect::<Vec<_>>());
        let names: Vec<_> =
            groups.iter().map(|group| (group.subject, group.runs.len(), group.invalid)).collect();
        assert_eq!(names, [("relay", 3, 0), ("epochflow", 2, 1)]);
        assert_eq!(groups[1].median(|run| Some(run.2)), Some(16.0));
        assert_eq!(groups[1].over_relay(|run| run.2, |own, relay| own / relay), Some(2.5));
        assert_eq!(groups[0].over_relay(|run| run.2, |own, relay| own / relay), None);
    }

    #[test]
    fn if_no_repeat_is_valid_all_are_shown() {
        let runs = [Fake("hop", 1, 3.0, false), Fake("hop", 2, 1.0, false)];
        let groups = Group::all(&runs.iter().collect::<Vec<_>>());
        assert_eq!((groups[0].runs.len(), groups[0].invalid), (2, 2));
        assert_eq!(groups[0].median(|run| Some(run.2)), Some(2.0));
        assert_eq!(groups[0].median(|_| None), None);
    }
}
