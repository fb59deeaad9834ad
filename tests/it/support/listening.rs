//! A listener that keeps what it hears.

use std::sync::Arc;

use epochflow::{
    QueryIdleEvent, QueryProgressEvent, QueryRestartedEvent, QueryStartedEvent, QueryTerminatedEvent,
    StreamingQueryListener,
};
use parking_lot::Mutex;

/// What a listener heard, as the event's name and Spark's JSON.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    heard: Mutex<Vec<(&'static str, serde_json::Value)>>,
}

impl Listening {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn heard(&self) -> Vec<(&'static str, serde_json::Value)> {
        self.heard.lock().clone()
    }

    /// How often events of this name came.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.heard.lock().iter().filter(|(heard, _)| *heard == name).count()
    }

    fn keep(&self, name: &'static str, json: &str) {
        self.heard.lock().push((name, serde_json::from_str(json).unwrap()));
    }
}

impl StreamingQueryListener for Listening {
    fn on_query_started(&self, event: &QueryStartedEvent) {
        self.keep("started", &event.json());
    }

    fn on_query_progress(&self, event: &QueryProgressEvent) {
        self.keep("progress", &event.json());
    }

    fn on_query_idle(&self, event: &QueryIdleEvent) {
        self.keep("idle", &event.json());
    }

    fn on_query_restarted(&self, event: &QueryRestartedEvent) {
        self.keep("restarted", &event.json());
    }

    fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
        self.keep("terminated", &event.json());
    }
}
