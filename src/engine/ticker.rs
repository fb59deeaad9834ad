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
            Trigger::ProcessingTime(interval) if !interval.is_zero() => now + until_aligned(interval),
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

/// Time to the next multiple of `interval` since 1970, as Spark aligns its batches.
fn until_aligned(interval: Duration) -> Duration {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let into_interval = since_epoch.as_nanos() % interval.as_nanos().max(1);
    interval - Duration::from_nanos(u64::try_from(into_interval).unwrap_or_default())
}
