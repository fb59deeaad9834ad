//! The handle on a running query.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use uuid::Uuid;

use super::hub::Hub;
use super::listener::{
    Event, QueryIdleEvent, QueryProgressEvent, QueryRestartedEvent, QueryStartedEvent, QueryTerminatedEvent,
};
use super::progress::{RestartProgress, StreamingQueryProgress};
use crate::error::{Error, Result};
use crate::telemetry::{LatencySlo, QueryTelemetry};

/// Progress reports kept for `recent_progress`, as in Spark.
const RECENT_PROGRESS: usize = 100;

/// What the query is doing, in Spark's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StreamingQueryStatus {
    /// In words.
    pub message: String,
    /// Whether there was something to read when it was last looked.
    pub is_data_available: bool,
    /// Whether a batch is being run; under the continuous trigger, whether the query runs.
    pub is_trigger_active: bool,
    /// How often the query went on from its last commit after a failure, in this run.
    #[serde(default)]
    pub restarts: u64,
    /// The failure before the last of these.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_restart_cause: Option<String>,
}

impl StreamingQueryStatus {
    /// Spark's JSON on one line.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same over many lines.
    pub fn pretty_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for StreamingQueryStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pretty_json())
    }
}

/// What the handle asks of the engine.
#[derive(Debug)]
pub(crate) enum Request {
    Stop,
    ProcessAllAvailable(oneshot::Sender<Result<()>>),
}

/// What the engine writes and the handle reads.
#[derive(Debug)]
pub(crate) struct QueryShared {
    pub(crate) id: Uuid,
    pub(crate) run_id: Uuid,
    pub(crate) name: Option<String>,
    hub: Arc<Hub>,
    /// What the query measures of itself; outlives its restarts.
    pub(crate) telemetry: Mutex<QueryTelemetry>,
    status: Mutex<StreamingQueryStatus>,
    restarts: Mutex<Option<RestartProgress>>,
    recent: Mutex<VecDeque<Arc<StreamingQueryProgress>>>,
    reports: Mutex<Reports>,
    outcome: watch::Sender<Option<Result<()>>>,
}

/// Where progress is published while the query runs.
#[derive(Debug)]
struct Reports {
    sender: Option<broadcast::Sender<Arc<StreamingQueryProgress>>>,
    /// Listens since before the first epoch, for whoever asks first.
    first: Option<broadcast::Receiver<Arc<StreamingQueryProgress>>>,
}

impl QueryShared {
    /// A query that starts, and listeners know it.
    pub(crate) fn new(
        id: Uuid,
        run_id: Uuid,
        name: Option<String>,
        slo: Option<LatencySlo>,
        hub: Arc<Hub>,
    ) -> Arc<Self> {
        let telemetry = QueryTelemetry::new(name.clone().unwrap_or_else(|| id.to_string()), slo);
        let (sender, first) = broadcast::channel(RECENT_PROGRESS);
        let (timestamp, job_tags) = (now(), Vec::new());
        hub.tell(&Event::Started(QueryStartedEvent { id, run_id, name: name.clone(), timestamp, job_tags }));
        Arc::new(Self {
            id,
            run_id,
            name,
            hub,
            telemetry: Mutex::new(telemetry),
            status: Mutex::new(StreamingQueryStatus {
                message: "Initializing sources".into(),
                is_data_available: false,
                is_trigger_active: false,
                restarts: 0,
                last_restart_cause: None,
            }),
            restarts: Mutex::default(),
            recent: Mutex::default(),
            reports: Mutex::new(Reports { sender: Some(sender), first: Some(first) }),
            outcome: watch::Sender::new(None),
        })
    }

    pub(crate) fn set_status(
        &self,
        message: impl Into<String>,
        is_data_available: bool,
        is_trigger_active: bool,
    ) {
        let mut status = self.status.lock();
        status.message = message.into();
        (status.is_data_available, status.is_trigger_active) = (is_data_available, is_trigger_active);
    }

    /// The query has failed and will go on from its last commit.
    pub(crate) fn restarting(&self, cause: &Error) {
        self.set_status(format!("Restarting after: {cause}"), false, false);
        let (timestamp, cause_text, class) = (now(), cause.to_string(), error_class(cause));
        let restarts = {
            let mut status = self.status.lock();
            status.restarts += 1;
            status.last_restart_cause = Some(cause_text.clone());
            status.restarts
        };
        *self.restarts.lock() = Some(RestartProgress {
            count: restarts,
            last_cause: cause_text.clone(),
            last_error_class: class.clone(),
            last_timestamp: timestamp.clone(),
        });
        self.telemetry.lock().on_restart(cause.kind());
        self.hub.tell(&Event::Restarted(QueryRestartedEvent {
            id: self.id,
            run_id: self.run_id,
            timestamp,
            restarts,
            exception: cause_text,
            error_class_on_exception: class,
        }));
    }

    /// The restarts of this run, for progress.
    pub(crate) fn restarts(&self) -> Option<RestartProgress> {
        self.restarts.lock().clone()
    }

    /// The query has had nothing to do for a while.
    pub(crate) fn idle(&self) {
        let (id, run_id) = (self.id, self.run_id);
        self.hub.tell(&Event::Idle(QueryIdleEvent { id, run_id, timestamp: now() }));
    }

    pub(crate) fn report(&self, progress: StreamingQueryProgress) {
        let progress = Arc::new(progress);
        let mut recent = self.recent.lock();
        if recent.len() == RECENT_PROGRESS {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&progress));
        drop(recent);
        self.hub.tell(&Event::Progress(QueryProgressEvent { progress: Arc::clone(&progress) }));
        if let Some(sender) = &self.reports.lock().sender {
            // Nobody may be listening.
            let _ = sender.send(progress);
        }
    }

    pub(crate) fn finish(&self, outcome: Result<()>) {
        match &outcome {
            Ok(()) => self.set_status("Stopped", false, false),
            Err(error) => self.set_status(format!("Terminated with exception: {error}"), false, false),
        }
        // Listeners learn that no more comes.
        self.reports.lock().sender = None;
        self.telemetry.lock().on_end();
        let failure = outcome.as_ref().err().cloned();
        self.hub.tell(&Event::Terminated(QueryTerminatedEvent {
            id: self.id,
            run_id: self.run_id,
            exception: failure.as_ref().map(ToString::to_string),
            error_class_on_exception: failure.as_ref().map(error_class),
        }));
        self.outcome.send_replace(Some(outcome));
        self.hub.on_ended(failure);
    }

    pub(crate) fn is_active(&self) -> bool {
        self.outcome.borrow().is_none()
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn error_class(error: &Error) -> String {
    format!("{:?}", error.kind())
}

/// A handle on a running query; clones are handles on the same one. Dropping it does not stop the query.
#[derive(Clone)]
pub struct StreamingQuery {
    shared: Arc<QueryShared>,
    requests: mpsc::Sender<Request>,
    /// The threads that the query runs on.
    kept: Option<Arc<dyn Any + Send + Sync>>,
}

impl fmt::Debug for StreamingQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQuery")
            .field("id", &self.shared.id)
            .field("run_id", &self.shared.run_id)
            .field("name", &self.shared.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl StreamingQuery {
    pub(crate) fn new(shared: Arc<QueryShared>, requests: mpsc::Sender<Request>) -> Self {
        Self { shared, requests, kept: None }
    }

    /// The same handle, which keeps `what` alive as long as it lives.
    pub(crate) fn keeping(mut self, what: Arc<dyn Any + Send + Sync>) -> Self {
        self.kept = Some(what);
        self
    }

    /// The query's id, kept in its checkpoint: the same after each restart.
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// The id of this run: new at each start.
    pub fn run_id(&self) -> Uuid {
        self.shared.run_id
    }

    /// The name given with `query_name`.
    pub fn name(&self) -> Option<&str> {
        self.shared.name.as_deref()
    }

    /// Whether the query still runs.
    pub fn is_active(&self) -> bool {
        self.shared.is_active()
    }

    /// What the query is doing right now.
    pub fn status(&self) -> StreamingQueryStatus {
        self.shared.status.lock().clone()
    }

    /// Progress of the last epoch that was committed.
    pub fn last_progress(&self) -> Option<Arc<StreamingQueryProgress>> {
        self.shared.recent.lock().back().cloned()
    }

    /// Progress of the last epochs, oldest first; 100 at most.
    pub fn recent_progress(&self) -> Vec<Arc<StreamingQueryProgress>> {
        self.shared.recent.lock().iter().cloned().collect()
    }

    /// Progress of each epoch from now on, until the query ends; for the first caller from the start on. A receiver that
    /// lags behind misses the oldest.
    pub fn progress(&self) -> broadcast::Receiver<Arc<StreamingQueryProgress>> {
        let mut reports = self.shared.reports.lock();
        match (reports.first.take(), &reports.sender) {
            (Some(first), _) => first,
            (None, Some(sender)) => sender.subscribe(),
            // A channel without a sender: closed.
            (None, None) => broadcast::channel(1).1,
        }
    }

    /// Why the query failed; `None` while it runs and after a clean end.
    pub fn exception(&self) -> Option<Error> {
        match &*self.shared.outcome.borrow() {
            Some(Err(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// Waits until the query has ended.
    ///
    /// # Errors
    /// The query failed: the error that ended it.
    pub async fn await_termination(&self) -> Result<()> {
        let mut outcome = self.shared.outcome.subscribe();
        let ended = outcome.wait_for(Option::is_some).await;
        match ended.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(Error::internal("the query's task is gone without an outcome")),
        }
    }

    /// The same, for no longer than `timeout`; whether the query has ended.
    ///
    /// # Errors
    /// As [`await_termination`](Self::await_termination).
    pub async fn await_termination_for(&self, timeout: Duration) -> Result<bool> {
        match tokio::time::timeout(timeout, self.await_termination()).await {
            Ok(outcome) => outcome.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Ends the running epoch, commits it and stops. Returns when the query has ended; a query that has already ended
    /// is left as it is.
    ///
    /// # Errors
    /// The query failed, now or before.
    pub async fn stop(&self) -> Result<()> {
        // The engine may have ended in between; its outcome tells.
        let _ = self.requests.send(Request::Stop).await;
        self.await_termination().await
    }

    /// Waits until everything that is in the sources at the time of the call is written and committed.
    ///
    /// # Errors
    /// The query ended before.
    pub async fn process_all_available(&self) -> Result<()> {
        loop {
            let (answer, answered) = oneshot::channel();
            if self.requests.send(Request::ProcessAllAvailable(answer)).await.is_err() {
                // Cleanly does not mean that everything was processed.
                self.await_termination().await?;
                return Err(Error::usage("the query has ended; start it again to process more"));
            }
            // Without an answer the query has ended or was restarted meanwhile; the next attempt tells.
            if let Ok(done) = answered.await {
                return done;
            }
        }
    }
}
