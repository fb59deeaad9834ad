//! Runs queries: opens a planned query at the place its checkpoint names, and drives it epoch by epoch.
//!
//! `policy.rs` says what differs between triggers; `coordinator.rs` decides, `driver.rs` does, `task.rs` is one pipeline.

mod bounds;
mod coordinator;
mod driver;
mod open;
mod policy;
mod report;
mod retry;
mod runtime;
mod slots;
mod task;
mod ticker;

#[cfg(test)]
mod coordinator_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod upkeep_tests;

use std::sync::Arc;
use std::time::Duration;

use datafusion::execution::TaskContext;
use tokio::sync::mpsc;

use self::driver::{Carried, Driver, Outcome};
use self::open::OpenQuery;
pub(crate) use self::policy::{MAX_UNCOMMITTED, StoreErrors};
use self::retry::while_transient;
pub(crate) use self::runtime::{EngineRuntime, Executors};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::plan::PlannedQuery;
use crate::query::{QueryShared, Request, StreamingQuery, Trigger};
use crate::sink::Sink;

/// All that a query needs to run.
#[derive(Clone)]
pub(crate) struct QuerySpec {
    pub(crate) name: Option<String>,
    pub(crate) planned: PlannedQuery,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) trigger: Trigger,
    pub(crate) checkpoint: Arc<Checkpoint>,
    pub(crate) store_errors: StoreErrors,
    pub(crate) max_uncommitted: Duration,
    pub(crate) executors: Executors,
}

/// Starts a query. What can be known before the first record is known when this returns.
///
/// # Errors
/// The checkpoint is damaged or in use, a service or topic is not there, data that the checkpoint needs is gone.
pub(crate) async fn start(spec: QuerySpec) -> Result<StreamingQuery> {
    let handle = spec.executors.driver.clone();
    let opening = handle.spawn(async move {
        // Whatever is not there is found out before anything is written.
        spec.sink.open().await?;
        open::check(&spec).await?;
        // Before the checkpoint is read: a restart deletes what a running query has not committed.
        let lock = spec.checkpoint.lock().await?;
        spec.checkpoint.check_writable().await?;
        let open = OpenQuery::new(&spec).await?;
        let id = spec.checkpoint.query_id().await?;
        Ok::<_, Error>((id, spec, open, lock))
    });
    let (id, spec, open, lock) =
        opening.await.map_err(|e| Error::internal("starting the query ended early").with_source(e))??;
    let shared = QueryShared::new(id, uuid::Uuid::new_v4(), spec.name.clone());
    let (requests, requested) = mpsc::channel(16);
    let query = StreamingQuery::new(Arc::clone(&shared), requests);
    let driven = handle.spawn(drive(spec, open, Arc::clone(&shared), requested));
    handle.spawn(async move {
        let outcome =
            driven.await.unwrap_or_else(|e| Err(Error::internal("the query's task panicked").with_source(e)));
        // Whoever learns that the query has ended may start another one on its checkpoint.
        drop(lock);
        shared.finish(outcome);
    });
    Ok(query)
}

/// Drives the query, and opens it anew whenever its sources have other partitions than before.
async fn drive(
    spec: QuerySpec,
    mut open: OpenQuery,
    shared: Arc<QueryShared>,
    mut requested: mpsc::Receiver<Request>,
) -> Result<()> {
    let mut carried = Carried::default();
    loop {
        let mut driver = Driver::new(&spec, open, &shared, carried)?;
        match driver.run(&mut requested).await? {
            Outcome::Ended => return Ok(()),
            Outcome::PartitionsChanged => {
                tracing::info!("the sources have other partitions than before; going on with the new ones");
                carried = driver.into_carried();
            }
        }
        open = tokio::select! {
            opened = while_transient("opening the query anew", || OpenQuery::new(&spec)) => opened?,
            // Everything is committed: there is nothing to end first.
            () = stop_among(&mut requested, &mut carried) => return Ok(()),
        };
    }
}

/// Resolves when a stop is asked for; other requests are for the next driver.
async fn stop_among(requested: &mut mpsc::Receiver<Request>, carried: &mut Carried) {
    loop {
        match requested.recv().await {
            Some(Request::Stop) => return,
            Some(request) => carried.requests.push(request),
            // All handles are gone: nobody can stop it.
            None => std::future::pending().await,
        }
    }
}
