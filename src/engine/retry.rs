//! Trying again what may succeed later.

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use super::policy::StoreErrors;
use crate::error::{Error, ErrorKind, Result};

/// Without end. Chance adds up to as much again to each pause, so that the queries that have lost a store do not all
/// come back to it at the same moment.
pub(super) const PAUSES: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(100))
    .with_max_delay(Duration::from_secs(5))
    .with_jitter()
    .without_max_times();

/// Repeats `attempt` while its error is transient, with growing pauses.
pub(super) async fn while_transient<T, F: Future<Output = Result<T>>>(
    doing: &str,
    attempt: impl FnMut() -> F,
) -> Result<T> {
    retry(doing, |error| error.kind() == ErrorKind::Transient, attempt).await
}

/// Repeats a write of the checkpoint, behind which records go on flowing, until it is done or its error is one that the
/// query stops at.
pub(super) async fn until_written<T, F: Future<Output = Result<T>>>(
    doing: &str,
    store_errors: StoreErrors,
    attempt: impl FnMut() -> F,
) -> Result<T> {
    let may_pass = |error: &Error| match error.kind() {
        ErrorKind::Transient => true,
        ErrorKind::Environment => store_errors == StoreErrors::Wait,
        _ => false,
    };
    retry(doing, may_pass, attempt).await
}

async fn retry<T, F: Future<Output = Result<T>>>(
    doing: &str,
    may_pass: impl FnMut(&Error) -> bool,
    attempt: impl FnMut() -> F,
) -> Result<T> {
    let warn = |error: &Error, pause: Duration| {
        tracing::warn!("{doing} failed, trying again in {} ms: {error}", pause.as_millis());
    };
    attempt.retry(PAUSES).when(may_pass).notify(warn).await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often is tried what fails twice with `first` and then with `Fenced`.
    async fn attempts(first: ErrorKind, store_errors: StoreErrors) -> usize {
        let attempts = Cell::new(0);
        let outcome = until_written("writing", store_errors, || {
            attempts.set(attempts.get() + 1);
            let kind = if attempts.get() < 3 { first } else { ErrorKind::Fenced };
            async move { Err::<(), _>(Error::new(kind, "no")) }
        });
        outcome.await.unwrap_err();
        attempts.get()
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_nothing_else() {
        for (first, store_errors, expected) in [
            (ErrorKind::Transient, StoreErrors::Stop, 3),
            (ErrorKind::Environment, StoreErrors::Wait, 3),
            (ErrorKind::Environment, StoreErrors::Stop, 1),
            (ErrorKind::Usage, StoreErrors::Wait, 1),
        ] {
            assert_eq!(attempts(first, store_errors).await, expected, "{first:?} {store_errors:?}");
        }
    }
}
