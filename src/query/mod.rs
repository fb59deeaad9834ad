//! What a user holds of a running query: triggers, restart policy, progress, status, events and the handle. Values and
//! channel ends only, but for `hub.rs`, which gives each listener a thread.

mod bad_records;
mod handle;
mod hub;
mod json;
mod listener;
mod progress;
mod restart;
mod trigger;

pub(crate) use self::bad_records::BadRecords;
pub(crate) use self::handle::{QueryShared, Request};
pub use self::handle::{StreamingQuery, StreamingQueryStatus};
pub(crate) use self::hub::{Claim, Hub};
pub use self::listener::{
    QueryIdleEvent, QueryProgressEvent, QueryRestartedEvent, QueryStartedEvent, QueryTerminatedEvent,
    StreamingQueryListener,
};
pub use self::progress::{RestartProgress, SinkProgress, SourceProgress, StreamingQueryProgress};
pub use self::restart::RestartPolicy;
pub use self::trigger::Trigger;
