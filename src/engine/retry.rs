//! Trying again what may succeed later.

use std::future::Future;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};

use crate::error::{Error, ErrorKind, Result};

/// Pauses that double from 100 ms to 10 s, each lengthened by a random part of itself: many queries that one outage has hit
/// do not come back in step.
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(10))
        .without_max_times()
        .with_jitter()
}

/// Repeats `attempt` while its error is transient, with growing pauses: for writes of the checkpoint, behind which
/// records go on flowing, and for opening a query anew.
pub(super) async fn while_transient<T, F: Future<Output = Result<T>>>(
    doing: &str,
    attempt: impl FnMut() -> F,
) -> Result<T> {
    attempt
        .retry(backoff())
        .when(|error: &Error| error.kind() == ErrorKind::Transient)
        .notify(|error: &Error, pause| {
            tracing::warn!("{doing} failed, trying again in {pause:?}: {error}");
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_transient_error_is_tried_again_and_another_is_not() {
        let attempts = Cell::new(0);
        let outcome = while_transient("writing", || {
            attempts.set(attempts.get() + 1);
            let kind = if attempts.get() < 3 { ErrorKind::Transient } else { ErrorKind::Fenced };
            async move { Err::<(), _>(Error::new(kind, "no")) }
        });
        assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(attempts.get(), 3);
    }
}
