//! What a session's queries tell to whoever listens: Spark's events, with Spark's JSON.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::progress::StreamingQueryProgress;

/// Hears what happens to the queries of a session, in order for each query.
///
/// Each listener has a thread of its own: one that is slow or panics holds up neither a query nor another listener. Of a
/// slow one 10,000 events are kept; further ones are dropped, with a warning in the log.
pub trait StreamingQueryListener: Send + Sync + 'static {
    /// A query was started. Unlike Spark's, `start()` does not wait for this.
    fn on_query_started(&self, event: &QueryStartedEvent) {
        let _ = event;
    }

    /// An epoch was committed.
    fn on_query_progress(&self, event: &QueryProgressEvent) {
        let _ = event;
    }

    /// A query has had nothing to do for a while (`noDataProgressEventInterval`).
    fn on_query_idle(&self, event: &QueryIdleEvent) {
        let _ = event;
    }

    /// A query failed and was opened anew at its checkpoint. Spark has no such event.
    fn on_query_restarted(&self, event: &QueryRestartedEvent) {
        let _ = event;
    }

    /// A query has ended.
    fn on_query_terminated(&self, event: &QueryTerminatedEvent) {
        let _ = event;
    }
}

/// A query was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryStartedEvent {
    /// The query's id, which survives restarts.
    pub id: Uuid,
    /// New at each start.
    pub run_id: Uuid,
    /// As given to `query_name`.
    pub name: Option<String>,
    /// When, UTC, `2026-01-31T12:00:00.000Z`.
    pub timestamp: String,
    /// Always empty: jobs of Spark have tags.
    #[serde(default)]
    pub job_tags: Vec<String>,
}

/// An epoch was committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueryProgressEvent {
    /// What it did.
    #[serde(serialize_with = "shared", deserialize_with = "to_share")]
    pub progress: Arc<StreamingQueryProgress>,
}

/// A query has had nothing to do for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryIdleEvent {
    /// The query's id.
    pub id: Uuid,
    /// The id of the run.
    pub run_id: Uuid,
    /// When, UTC.
    pub timestamp: String,
}

/// A query failed and was opened anew at its checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryRestartedEvent {
    /// The query's id.
    pub id: Uuid,
    /// The id of the run, which goes on.
    pub run_id: Uuid,
    /// When, UTC.
    pub timestamp: String,
    /// How often this has happened in this run, with this time.
    pub restarts: u64,
    /// The failure's message.
    pub exception: String,
    /// Its [`ErrorKind`](crate::ErrorKind), such as `Transient`.
    pub error_class_on_exception: String,
}

/// A query has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryTerminatedEvent {
    /// The query's id.
    pub id: Uuid,
    /// The id of the run.
    pub run_id: Uuid,
    /// The failure's message; nothing after a clean end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exception: Option<String>,
    /// Its [`ErrorKind`](crate::ErrorKind), such as `Data`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_class_on_exception: Option<String>,
}

/// Any event, on its way to the listeners.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Started(QueryStartedEvent),
    Progress(QueryProgressEvent),
    Idle(QueryIdleEvent),
    Restarted(QueryRestartedEvent),
    Terminated(QueryTerminatedEvent),
}

impl Event {
    pub(super) fn tell(&self, listener: &dyn StreamingQueryListener) {
        match self {
            Event::Started(event) => listener.on_query_started(event),
            Event::Progress(event) => listener.on_query_progress(event),
            Event::Idle(event) => listener.on_query_idle(event),
            Event::Restarted(event) => listener.on_query_restarted(event),
            Event::Terminated(event) => listener.on_query_terminated(event),
        }
    }
}

fn shared<S: Serializer>(progress: &Arc<StreamingQueryProgress>, serializer: S) -> Result<S::Ok, S::Error> {
    progress.as_ref().serialize(serializer)
}

fn to_share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<StreamingQueryProgress>, D::Error> {
    StreamingQueryProgress::deserialize(deserializer).map(Arc::new)
}

macro_rules! json {
    ($($event:ty),*) => {$(
        impl $event {
            /// Spark's JSON on one line.
            pub fn json(&self) -> String {
                serde_json::to_string(self).unwrap_or_default()
            }
        }
    )*};
}
json!(QueryStartedEvent, QueryProgressEvent, QueryIdleEvent, QueryRestartedEvent, QueryTerminatedEvent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_sparks_json_and_are_read_back() {
        let (id, run_id) = (Uuid::nil(), Uuid::nil());
        let timestamp = "2026-01-31T12:00:00.000Z".to_owned();
        let started =
            QueryStartedEvent { id, run_id, name: None, timestamp: timestamp.clone(), job_tags: vec![] };
        assert_eq!(
            started.json(),
            format!(r#"{{"id":"{id}","runId":"{id}","name":null,"timestamp":"{timestamp}","jobTags":[]}}"#)
        );
        assert_eq!(serde_json::from_str::<QueryStartedEvent>(&started.json()).unwrap(), started);
        let idle = QueryIdleEvent { id, run_id, timestamp: timestamp.clone() };
        assert_eq!(idle.json(), format!(r#"{{"id":"{id}","runId":"{id}","timestamp":"{timestamp}"}}"#));
        assert_eq!(serde_json::from_str::<QueryIdleEvent>(&idle.json()).unwrap(), idle);
        let clean = QueryTerminatedEvent { id, run_id, exception: None, error_class_on_exception: None };
        assert_eq!(clean.json(), format!(r#"{{"id":"{id}","runId":"{id}"}}"#));
        let failed = QueryTerminatedEvent {
            exception: Some("no".into()),
            error_class_on_exception: Some("Data".into()),
            ..clean
        };
        assert!(
            failed.json().ends_with(r#","exception":"no","errorClassOnException":"Data"}"#),
            "{}",
            failed.json()
        );
        assert_eq!(serde_json::from_str::<QueryTerminatedEvent>(&failed.json()).unwrap(), failed);
        let restarted = QueryRestartedEvent {
            id,
            run_id,
            timestamp,
            restarts: 2,
            exception: "no broker".into(),
            error_class_on_exception: "Transient".into(),
        };
        assert_eq!(serde_json::from_str::<QueryRestartedEvent>(&restarted.json()).unwrap(), restarted);
    }
}
