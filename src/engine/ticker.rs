//! When a trigger fires.

use std::time::Duration;

use tokio::time::Instant;

use crate::query::Trigger;

/// How long an idle micro-batch query with no interval waits before it looks again (Spark's pollingDelay).
const POLLING_DELAY: Duration = Duration::from_millis(10);

/// The next time a trigger fires.
#[derive(Debug)]
pub(super) struct Ticker {
    trigger: Trigger,
    next: Instant,
}

impl Ticker {
    pub(super) fn new(trigger: Trigger) -> Self {
        let first = match trigger {
            Trigger::Continuous(interval) => interval,
            Trigger::ProcessingTime(_) | Trigger::AvailableNow | Trigger::Once => Duration::ZERO,
        };
        Self { trigger, next: Instant::now() + first }
    }

    /// Resolves when the trigger fires, and sets the time after.
    pub(super) async fn tick(&mut self) {
        tokio::time::sleep_until(self.next).await;
        let now = Instant::now();
        self.next = match self.trigger {
            Trigger::Continuous(interval) => now.max(self.next + interval),
            Trigger::ProcessingTime(interval) if !interval.is_zero() => {
                now + until_multiple(interval, since_1970())
            }
            Trigger::ProcessingTime(_) | Trigger::AvailableNow | Trigger::Once => now + POLLING_DELAY,
        };
    }

    /// An epoch is done: with no interval the next one is due, whereas a fixed one is kept (and a late one due at once).
    pub(super) fn on_committed(&mut self) {
        if self.trigger == Trigger::ProcessingTime(Duration::ZERO) {
            self.next = Instant::now();
        }
    }
}

fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

/// Time from `now` to the next multiple of `interval`, both since 1970, as Spark aligns its batches.
fn until_multiple(interval: Duration, now: Duration) -> Duration {
    let into_interval = now.as_nanos() % interval.as_nanos().max(1);
    interval - Duration::from_nanos(u64::try_from(into_interval).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(interval: u64, now: u64) -> Duration {
        let now = Duration::from_millis(now);
        now + until_multiple(Duration::from_millis(interval), now)
    }

    #[test]
    fn a_batch_begins_at_the_next_multiple_of_the_interval() {
        for (now, expected) in
            [(0, 100), (1, 100), (99, 100), (100, 200), (101, 200), (1_700_000_000_050, 1_700_000_000_100)]
        {
            assert_eq!(next(100, now), Duration::from_millis(expected), "at {now} ms");
        }
    }

    #[test]
    fn a_batch_that_begins_on_time_is_followed_by_the_next_interval() {
        let mut now = 0;
        for batch in 1..=10 {
            now = next(100, now).as_millis() as u64;
            assert_eq!(now, batch * 100);
        }
    }
}
