//! Loads the static sides of a query's joins, at the start and on an interval.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::QuerySpec;
use crate::error::Result;
use crate::plan::Live;
use crate::query::Trigger;

/// Reads the static sides for the first time.
///
/// # Errors
/// A table cannot be read.
pub(super) async fn load(spec: &QuerySpec) -> Result<()> {
    let live = &spec.planned.live;
    live.load().await?;
    live.swap();
    Ok(())
}

/// Reads them again on the query's interval, until what is returned is dropped.
pub(super) fn in_background(spec: &QuerySpec) -> JoinSet<()> {
    let mut task = JoinSet::new();
    if let Some(interval) = spec.static_reload
        && spec.planned.live.has_static_sides()
    {
        // A micro-batch sees one version; it takes the newest when it begins.
        let swaps = matches!(spec.trigger, Trigger::Continuous(_));
        let reloading = reload(Arc::clone(&spec.planned.live), interval, swaps);
        task.spawn_on(reloading, &spec.executors.driver);
    }
    task
}

async fn reload(live: Arc<Live>, interval: Duration, swaps: bool) {
    loop {
        tokio::time::sleep(interval).await;
        match live.load().await {
            Ok(()) if swaps => live.swap(),
            Ok(()) => {}
            // The query is fine with what it has; the table may be there again the next time.
            Err(error) => {
                tracing::warn!("could not read a static table anew, going on with the old rows: {error}")
            }
        }
    }
}
