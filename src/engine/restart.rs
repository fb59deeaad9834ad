//! Whether a query that has failed is started again, and when. Pure: the caller brings the time.

use std::collections::VecDeque;
use std::time::Duration;

use backon::BackoffBuilder;

use super::retry::PAUSES;
use crate::error::{Error, ErrorKind, Result};
use crate::query::RestartPolicy;

/// The restarts of one run, held against its policy.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    /// When they happened, oldest first; those that still count.
    recent: VecDeque<Duration>,
}

impl Restarts {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::new() }
    }

    /// How long to wait before the restart after `error`, at `now` (since any fixed time). Each restart that still counts
    /// doubles the pause.
    ///
    /// # Errors
    /// `error`, where a restart cannot mend it or the policy has none left.
    pub(super) fn after(&mut self, error: Error, now: Duration) -> Result<Duration> {
        let RestartPolicy::OnFailure { max, window } = self.policy else {
            return Err(error);
        };
        if !may_mend(error.kind()) {
            return Err(error);
        }
        while self.recent.front().is_some_and(|at| *at + window <= now) {
            self.recent.pop_front();
        }
        if self.recent.len() >= max as usize {
            return Err(
                error.context(format!("gave up after {max} restarts in {window:?}; the last failure"))
            );
        }
        let pause = PAUSES.build().nth(self.recent.len()).unwrap_or_default();
        self.recent.push_back(now);
        Ok(pause)
    }
}

/// Whether the same work may succeed when it is begun anew.
fn may_mend(kind: ErrorKind) -> bool {
    match kind {
        // A client in a state that it cannot leave, or a panic, is gone with the run that had it.
        ErrorKind::Transient | ErrorKind::Internal => true,
        ErrorKind::Usage
        | ErrorKind::Query
        | ErrorKind::Environment
        | ErrorKind::DataLoss
        | ErrorKind::Checkpoint
        | ErrorKind::Fenced
        | ErrorKind::Data => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn failed(kind: ErrorKind) -> Error {
        Error::new(kind, "it broke")
    }

    #[test]
    fn what_a_restart_cannot_mend_ends_the_query_at_once() {
        use ErrorKind::{Checkpoint, Data, DataLoss, Environment, Fenced, Internal, Query, Transient, Usage};
        for (kind, mends) in [
            (Transient, true),
            (Internal, true),
            (Usage, false),
            (Query, false),
            (Environment, false),
            (DataLoss, false),
            (Checkpoint, false),
            (Fenced, false),
            (Data, false),
        ] {
            let decided = Restarts::new(RestartPolicy::default()).after(failed(kind), SECOND);
            assert_eq!(decided.is_ok(), mends, "{kind:?}");
            assert!(decided.err().is_none_or(|error| error.to_string() == "it broke"), "{kind:?}");
            assert!(Restarts::new(RestartPolicy::Never).after(failed(kind), SECOND).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn the_budget_counts_within_a_sliding_window() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure { max: 2, window: 10 * SECOND });
        let mut at = |seconds: u32| restarts.after(failed(ErrorKind::Transient), seconds * SECOND);
        assert!(at(1).is_ok());
        assert!(at(5).is_ok());
        let error = at(10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient);
        assert!(error.to_string().starts_with("gave up after 2 restarts in 10s"), "{error}");
        assert!(at(11).is_ok(), "the first one no longer counts");
        assert!(at(14).is_err());
        assert!(at(15).is_ok());
    }

    #[test]
    fn pauses_grow_and_begin_anew_after_a_quiet_time() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure { max: 4, window: 60 * SECOND });
        let mut at = |seconds: u32| restarts.after(failed(ErrorKind::Internal), seconds * SECOND).unwrap();
        let (first, second, third, later) = (at(0), at(1), at(2), at(100));
        // Jitter adds up to as much again, and the next pause begins where that ends.
        assert!(first < second && second < third, "{first:?} {second:?} {third:?}");
        assert!(later < second, "{later:?}");
    }
}
