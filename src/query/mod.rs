//! What a user holds of a running query: triggers, restart policy, progress, status and the handle. Values and channel ends only.

mod bad_records;
mod handle;
mod progress;
mod restart;
mod trigger;

pub(crate) use self::bad_records::BadRecords;
pub(crate) use self::handle::{QueryShared, Request};
pub use self::handle::{StreamingQuery, StreamingQueryStatus};
pub use self::progress::{SinkProgress, SourceProgress, StreamingQueryProgress};
pub use self::restart::RestartPolicy;
pub use self::trigger::Trigger;
