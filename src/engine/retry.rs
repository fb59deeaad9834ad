//! Trying again what may succeed later.

use std::future::Future;
use std::time::Duration;

use crate::error::{ErrorKind, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Repeats `attempt` while its error is transient, with growing pauses: for writes of the checkpoint, behind which
/// records go on flowing.
pub(super) async fn while_transient<T, F: Future<Output = Result<T>>>(
    doing: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    loop {
        match attempt().await {
            Err(error) if error.kind() == ErrorKind::Transient => {
                tracing::warn!("{doing} failed, trying again in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;

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
