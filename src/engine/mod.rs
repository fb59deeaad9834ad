//! Runs queries: opens a planned query at the place its checkpoint names, and drives it epoch by epoch.
//!
//! `policy.rs` says what differs between triggers; `coordinator.rs` decides, `driver/` does, `task.rs` is one pipeline.

mod admission;
mod bad_records;
mod bounds;
mod coordinator;
mod driver;
mod evaluation;
mod open;
mod policy;
mod reconcile;
mod reload;
mod report;
mod restart;
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
use tokio::time::Instant;

use self::driver::{Carried, Driver, Outcome};
use self::open::OpenQuery;
pub(crate) use self::open::check_sources;
pub(crate) use self::policy::{MAX_UNCOMMITTED, StoreErrors};
use self::restart::Restarts;
use self::retry::while_transient;
pub(crate) use self::runtime::{EngineRuntime, Executors};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::plan::PlannedQuery;
use crate::query::{BadRecords, Claim, Hub, QueryShared, Request, RestartPolicy, StreamingQuery, Trigger};
use crate::sink::Sink;
use crate::telemetry::LatencySlo;

/// All that a query needs to run.
#[derive(Clone)]
pub(crate) struct QuerySpec {
    pub(crate) name: Option<String>,
    pub(crate) planned: PlannedQuery,
    pub(crate) context: Arc<TaskContext>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) trigger: Trigger,
    pub(crate) restart: RestartPolicy,
    pub(crate) checkpoint: Arc<Checkpoint>,
    /// How often listeners hear that there is nothing to do.
    pub(crate) idle_interval: Duration,
    pub(crate) slo: Option<LatencySlo>,
    pub(crate) store_errors: StoreErrors,
    pub(crate) max_uncommitted: Duration,
    pub(crate) executors: Executors,
    /// How often the static sides of joins are read anew; `None`: once, at the start.
    pub(crate) static_reload: Option<Duration>,
    pub(crate) bad_records: BadRecords,
    pub(crate) hub: Arc<Hub>,
}

/// Starts a query, which keeps `name_claim` until it ends. What can be known before the first record is known when this
/// returns.
///
/// # Errors
/// The checkpoint is damaged or in use, a service or topic is not there, data that the checkpoint needs is gone.
pub(crate) async fn start(spec: QuerySpec, name_claim: Option<Claim>) -> Result<StreamingQuery> {
    let handle = spec.executors.driver.clone();
    let opening = handle.spawn(async move {
        // Whatever is not there is found out before anything is written.
        spec.sink.open().await?;
        open::check(&spec).await?;
        // Before the checkpoint is read: a restart deletes what a running query has not committed.
        let lock = spec.checkpoint.lock().await?;
        let known = spec.checkpoint.read_query_id().await?;
        let mut id_claim = known.map(|id| spec.hub.claim_id(id)).transpose()?;
        spec.checkpoint.check_writable().await?;
        reload::load(&spec).await?;
        let open = OpenQuery::new(&spec).await?;
        let id = spec.checkpoint.query_id().await?;
        if id_claim.is_none() {
            id_claim = Some(spec.hub.claim_id(id)?);
        }
        Ok::<_, Error>((id, spec, open, (lock, id_claim, name_claim)))
    });
    let (id, spec, open, held) =
        opening.await.map_err(|e| Error::internal("starting the query ended early").with_source(e))??;
    let shared =
        QueryShared::new(id, uuid::Uuid::new_v4(), spec.name.clone(), spec.slo, Arc::clone(&spec.hub));
    let (requests, requested) = mpsc::channel(16);
    let query = StreamingQuery::new(Arc::clone(&shared), requests);
    let driven = handle.spawn(drive(spec, open, Arc::clone(&shared), requested));
    handle.spawn(async move {
        let outcome =
            driven.await.unwrap_or_else(|e| Err(Error::internal("the query's task panicked").with_source(e)));
        // Whoever learns that the query has ended may start another one on its checkpoint, or with its name.
        drop(held);
        shared.finish(outcome);
    });
    Ok(query)
}

/// Drives the query, and opens it anew whenever its sources have other partitions than before, or it has failed in a way
/// that this may mend.
async fn drive(
    spec: QuerySpec,
    open: OpenQuery,
    shared: Arc<QueryShared>,
    mut requested: mpsc::Receiver<Request>,
) -> Result<()> {
    let mut carried = Carried::default();
    let _reloads = reload::in_background(&spec);
    let mut restarts = Restarts::new(spec.restart);
    let started = Instant::now();
    let mut opened = Ok(open);
    loop {
        let outcome = match opened {
            Ok(open) => {
                let mut driver = Driver::new(&spec, open, &shared, carried)?;
                let outcome = driver.run(&mut requested).await;
                if outcome.is_err() && driver.is_stopping() {
                    return outcome.map(drop);
                }
                carried = driver.into_carried();
                outcome
            }
            Err(error) => Err(error),
        };
        let pause = match outcome {
            Ok(Outcome::Ended) => return Ok(()),
            Ok(Outcome::PartitionsChanged) => {
                tracing::info!("the sources have other partitions than before; going on with the new ones");
                None
            }
            Err(error) => {
                let pause = restarts.after(error.clone(), started.elapsed())?;
                tracing::warn!("the query failed and goes on from its last commit in {pause:?}: {error}");
                shared.restarting(&error);
                Some(pause)
            }
        };
        opened = tokio::select! {
            opened = open_anew(&spec, pause) => opened,
            // What is committed is safe, and nothing runs that could be ended first.
            () = stop_among(&mut requested, &mut carried) => return Ok(()),
        };
    }
}

/// Opens the query at its checkpoint; after a failure with a pause before, and the sink's clients made anew. An outage has
/// no end that could be foreseen, so what is transient is tried without end and costs no restart.
async fn open_anew(spec: &QuerySpec, pause: Option<Duration>) -> Result<OpenQuery> {
    if let Some(pause) = pause {
        tokio::time::sleep(pause).await;
        while_transient("opening the sink anew", || spec.sink.open()).await?;
    }
    while_transient("opening the query anew", || OpenQuery::new(spec)).await
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
