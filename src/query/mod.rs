//! What a user holds of a running query: triggers, progress, status and the handle. Values and channel ends only.

mod bad_records;
mod handle;
mod progress;
mod trigger;

pub(crate) use self::bad_records::BadRecords;
pub(crate) use self::handle::{QueryShared, Request};
pub use self::handle::{StreamingQuery, StreamingQueryStatus};
pub use self::progress::{SinkProgress, SourceProgress, StreamingQueryProgress};
pub use self::trigger::Trigger;
