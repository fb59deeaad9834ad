//! What epochflow reads from outside, fed with any bytes: one module a target.
//!
//! The targets in `fuzz_targets/` call these functions, and so does the test `fuzz_corpus` with what is in `corpus/`.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, reason = "what must hold is asserted")]

pub mod checkpoint;
pub mod offsets;
pub mod options;
pub mod payload;
pub mod sql;

use std::future::Future;

/// Waits for `future` on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
