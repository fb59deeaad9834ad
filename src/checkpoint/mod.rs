//! Where a query stands, kept so that it survives a crash: in Apache Spark's own format, so that Spark can
//! take over.

pub mod format;
mod location;
pub mod recovery;
pub mod store;

pub use format::{CommitEntry, OffsetEntry, OffsetMetadata, QueryMetadata, decode_initial, encode_initial};
pub use recovery::{Discard, Found, LogFacts, Recovery, Restart, decide};
pub use store::{CheckpointStore, Created};
