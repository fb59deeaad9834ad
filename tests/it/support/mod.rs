//! What the tests share.

pub(crate) mod broker;
pub(crate) mod cluster;
pub(crate) mod copy;
pub(crate) mod engine;
pub(crate) mod kafka;
pub(crate) mod listening;
/// The chaos suite's.
#[path = "../../chaos/src/proxy.rs"]
pub(crate) mod proxy;
pub(crate) mod recording;
pub(crate) mod s3;
pub(crate) mod scripted;
pub(crate) mod scripted_query;

use std::future::Future;
use std::time::{Duration, Instant};

/// Far beyond what anything here takes; only a hang gets there.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `condition` gives something.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails instead of hanging.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("gave up on {what}"))
}
