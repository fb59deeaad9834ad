//! `session.streams()`: the queries of a session, and who listens to them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::SessionCore;
use crate::error::{Error, Result};
use crate::query::{StreamingQuery, StreamingQueryListener};

/// Manages the queries of a session, as Spark's `StreamingQueryManager` does.
#[derive(Clone)]
pub struct StreamingQueryManager {
    core: Arc<SessionCore>,
}

impl fmt::Debug for StreamingQueryManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamingQueryManager").field("active", &self.active()).finish_non_exhaustive()
    }
}

impl StreamingQueryManager {
    pub(super) fn new(core: Arc<SessionCore>) -> Self {
        Self { core }
    }

    /// Queries that run now.
    pub fn active(&self) -> Vec<StreamingQuery> {
        let mut queries = self.core.queries.lock();
        queries.retain(StreamingQuery::is_active);
        queries.clone()
    }

    /// The active query with this id.
    pub fn get(&self, id: Uuid) -> Option<StreamingQuery> {
        self.active().into_iter().find(|query| query.id() == id)
    }

    /// Waits until any query of the session has ended, since it began or since
    /// [`reset_terminated`](Self::reset_terminated).
    ///
    /// # Errors
    /// A query that ended in that time has failed: the error of the first one.
    pub async fn await_any_termination(&self) -> Result<()> {
        let mut ended = self.core.hub.ended();
        let ended = ended.wait_for(|ended| ended.any).await;
        match ended.map(|ended| ended.failure.clone()) {
            Ok(failure) => failure.map_or(Ok(()), Err),
            // The sender is in the core, which this holds.
            Err(_) => Err(Error::internal("the session is gone")),
        }
    }

    /// The same, for no longer than `timeout`; whether a query has ended.
    ///
    /// # Errors
    /// As [`await_any_termination`](Self::await_any_termination).
    pub async fn await_any_termination_for(&self, timeout: Duration) -> Result<bool> {
        match tokio::time::timeout(timeout, self.await_any_termination()).await {
            Ok(outcome) => outcome.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Forgets the queries that have ended, so that the next wait is for another one.
    pub fn reset_terminated(&self) {
        self.core.hub.forget_ended();
    }

    /// Lets `listener` hear what happens from now on to the session's queries.
    ///
    /// # Errors
    /// A thread for it cannot be started.
    pub fn add_listener(&self, listener: Arc<dyn StreamingQueryListener>) -> Result<()> {
        self.core.hub.add_listener(listener)
    }

    /// The listener hears nothing more; whether it was there.
    pub fn remove_listener(&self, listener: &Arc<dyn StreamingQueryListener>) -> bool {
        self.core.hub.remove_listener(listener)
    }

    /// Those that listen.
    pub fn list_listeners(&self) -> Vec<Arc<dyn StreamingQueryListener>> {
        self.core.hub.listeners()
    }
}
