//! Which value comes when: Spark's arithmetic of the rate source. Pure.

/// Values since the query began under a micro-batch trigger: so many a second, after a ramp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Speed {
    /// At least 1.
    pub(super) rows_per_second: i64,
    /// At least 0.
    pub(super) ramp_up_seconds: i64,
}

impl Speed {
    /// The last second whose values are sure to be numbers of 64 bits.
    pub(super) fn max_second(self) -> i64 {
        i64::MAX / self.rows_per_second
    }

    /// How many values there are up to the end of `second`. Saturates beyond [`max_second`](Speed::max_second).
    pub(super) fn values_until(self, second: i64) -> i64 {
        let ramp = second.min(self.ramp_up_seconds);
        let more_each_second = self.rows_per_second / (self.ramp_up_seconds.saturating_add(1));
        let in_ramp = i128::from(ramp) * (i128::from(ramp) + 1) / 2;
        let in_ramp = in_ramp.saturating_mul(more_each_second.into());
        let after = i128::from(second - ramp) * i128::from(self.rows_per_second);
        i64::try_from(in_ramp.saturating_add(after)).unwrap_or(i64::MAX)
    }

    /// The first second at whose end there are `values`.
    pub(super) fn first_second_with(self, values: i64) -> i64 {
        let (mut low, mut high) = (0, self.ramp_up_seconds);
        let in_ramp = self.values_until(high);
        if values > in_ramp {
            let more = values - in_ramp;
            let seconds = more / self.rows_per_second + i64::from(more % self.rows_per_second > 0);
            return high.saturating_add(seconds);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.values_until(middle) < values {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How the batch of values from `first` up to `end` spreads over time.
    pub(super) fn spread(self, first: i64, end: i64) -> Spread {
        // The last second that ends without the first value.
        let begin = self.first_second_with(first.saturating_add(1)) - 1;
        let first = self.values_until(begin);
        let seconds = self.first_second_with(end) - begin;
        let millis_per_value = (seconds.saturating_mul(1000)) as f64 / (end - first).max(1) as f64;
        Spread { first, begin_millis: begin.saturating_mul(1000), millis_per_value }
    }
}

/// Times of a batch's values, evenly spread over the seconds that it covers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    first: i64,
    begin_millis: i64,
    millis_per_value: f64,
}

impl Spread {
    /// Milliseconds from the query's beginning to `value`.
    pub(super) fn millis_at(self, value: i64) -> i64 {
        self.begin_millis + ((value - self.first) as f64 * self.millis_per_value).round() as i64
    }
}

/// One partition under the continuous trigger: the last value that was handed out, and the time that it bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) value: i64,
    /// Milliseconds since 1970.
    pub(super) millis: i64,
}

/// How values follow each other in a partition under the continuous trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    pub(super) rows_per_second: i64,
    pub(super) partitions: i64,
}

impl Pace {
    /// Whole milliseconds between two values, as in Spark; 0 where there is more than one in a millisecond.
    fn pause(self) -> i64 {
        let rate = self.rows_per_second as f64 / self.partitions as f64;
        (1000.0 / rate) as i64
    }

    /// The mark of `value`, which comes after `last` in the same partition.
    ///
    /// Spark's pause of 0 would have no pace at all: here several values share a millisecond.
    pub(super) fn mark(self, last: Mark, value: i64) -> Mark {
        let rows = (value - last.value) / self.partitions;
        let millis = match self.pause() {
            0 => {
                let millis =
                    i128::from(rows) * 1000 * i128::from(self.partitions) / i128::from(self.rows_per_second);
                i64::try_from(millis).unwrap_or(i64::MAX)
            }
            pause => rows.saturating_mul(pause),
        };
        Mark { value, millis: last.millis.saturating_add(millis) }
    }

    /// The first value after `last` whose time has not come at `now`.
    pub(super) fn next_after(self, last: Mark, now: i64) -> i64 {
        let elapsed = now.saturating_sub(last.millis).max(0);
        let due = match self.pause() {
            // The values of a millisecond are due when it begins.
            0 => {
                let scaled = (i128::from(elapsed) + 1) * i128::from(self.rows_per_second);
                let per_partition = 1000 * i128::from(self.partitions);
                i64::try_from((scaled + per_partition - 1) / per_partition - 1).unwrap_or(i64::MAX)
            }
            pause => elapsed / pause,
        };
        last.value.saturating_add(due.saturating_add(1).saturating_mul(self.partitions))
    }
}

/// The first value at or after `from` that partition `number` of `partitions` hands out. Saturates.
pub(super) fn first_of(number: i64, partitions: i64, from: i64) -> i64 {
    from.saturating_add((number - from).rem_euclid(partitions))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn speed(rows_per_second: i64, ramp_up_seconds: i64) -> Speed {
        Speed { rows_per_second, ramp_up_seconds }
    }

    #[test]
    fn values_by_second_are_sparks() {
        let values = |speed: Speed| (0..7).map(|second| speed.values_until(second)).collect::<Vec<_>>();
        assert_eq!(values(speed(5, 0)), [0, 5, 10, 15, 20, 25, 30]);
        assert_eq!(values(speed(5, 2)), [0, 1, 3, 8, 13, 18, 23]);
        assert_eq!(values(speed(10, 4)), [0, 2, 6, 12, 20, 30, 40]);
        assert_eq!(values(speed(1, 4)), [0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(speed(i64::MAX, 0).values_until(2), i64::MAX);
    }

    #[test]
    fn times_are_spread_evenly_over_a_batch() {
        let millis = |spread: Spread, values: std::ops::Range<i64>| {
            values.map(|value| spread.millis_at(value)).collect::<Vec<_>>()
        };
        assert_eq!(millis(speed(3, 0).spread(3, 9), 3..9), [1000, 1333, 1667, 2000, 2333, 2667]);
        // Two seconds of a ramp with 2 and 4 values: 2000 ms over 6 values.
        assert_eq!(millis(speed(10, 4).spread(0, 6), 0..6), [0, 333, 667, 1000, 1333, 1667]);
    }

    #[test]
    fn the_continuous_pace_has_whole_milliseconds() {
        let pace = Pace { rows_per_second: 6, partitions: 2 };
        let last = Mark { value: -1, millis: 1000 };
        assert_eq!(pace.mark(last, 1), Mark { value: 1, millis: 1333 });
        assert_eq!(pace.mark(last, 5), Mark { value: 5, millis: 1999 });
        assert_eq!(pace.next_after(last, 1332), 1);
        assert_eq!(pace.next_after(last, 1333), 3);
        assert_eq!(pace.next_after(last, 0), 1, "a clock that was set back");
    }

    #[test]
    fn more_than_a_thousand_a_second_keep_their_pace() {
        let pace = Pace { rows_per_second: 2500, partitions: 1 };
        let start = Mark { value: -1, millis: 0 };
        assert_eq!(
            pace.next_after(start, 1000),
            2502,
            "2500 in a second, and those of the millisecond that begins"
        );
        assert_eq!(pace.mark(start, 2499).millis, 1000);
    }

    proptest! {
        #[test]
        fn seconds_and_values_are_inverse(rows in 1i64..10_000, ramp in 0i64..100, second in 0i64..100_000) {
            let speed = speed(rows, ramp);
            let values = speed.values_until(second);
            let first = speed.first_second_with(values);
            prop_assert!(first <= second);
            prop_assert_eq!(speed.values_until(first), values);
            prop_assert!(first == 0 || speed.values_until(first - 1) < values || values == 0);
        }

        #[test]
        fn a_value_is_due_exactly_when_its_time_has_come(
            rows in 1i64..100_000, partitions in 1i64..10, now in 0i64..1_000_000
        ) {
            let pace = Pace { rows_per_second: rows, partitions };
            let start = Mark { value: -partitions, millis: 0 };
            let next = pace.next_after(start, now);
            prop_assert!(pace.mark(start, next).millis > now);
            prop_assert!(pace.mark(start, next - partitions).millis <= now);
        }
    }
}
