//! A query that is hard to plan ends the call, not the program: planning has stack enough, and its panics are errors.

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::{Error, Result};

/// Planners call themselves once a level of what they plan; `nesting.rs` bounds the levels. Memory is used as it is touched.
const STACK: usize = 128 << 20;

/// What `planning` gives.
///
/// # Errors
/// Its own, and that it has panicked.
pub(super) async fn caught<T>(planning: impl Future<Output = Result<T>>) -> Result<T> {
    let mut planning = pin!(planning);
    let polled = poll_fn(|cx| {
        // After a panic it is not polled again.
        let mut poll = || catch_unwind(AssertUnwindSafe(|| planning.as_mut().poll(cx)));
        match stacker::maybe_grow(STACK / 2, STACK, &mut poll) {
            Ok(polled) => polled.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    });
    polled.await.unwrap_or_else(|panic| {
        Err(Error::internal(format!(
            "planning the query has panicked, which is a bug in epochflow or DataFusion; write the query in another way, \
             and report it: {}",
            said(panic.as_ref())
        )))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_that_quotes_it() {
        let error = caught::<()>(async { panic!("index {} out of bounds", 7) }).await.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Internal);
        assert!(error.to_string().contains("index 7 out of bounds"), "{error}");
        assert_eq!(caught(async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn there_is_stack_for_many_calls() {
        fn deep(level: usize) -> usize {
            let frame = std::hint::black_box([level; 512]);
            if level == 0 { frame.len() } else { deep(level - 1) + frame[0] - level }
        }
        // 40 MB, where the thread has two.
        assert_eq!(caught(async { Ok(deep(10_000)) }).await.unwrap(), 512);
    }
}
