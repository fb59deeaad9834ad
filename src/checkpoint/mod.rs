//! Where a query stands, kept so that it survives a crash: in Apache Spark's own format, so that Spark can
//! take over.
//!
//! ```text
//! <location>/
//!   metadata        the query's id
//!   offsets/<N>     end of epoch N: for each source the next record to read
//!   commits/<N>     epoch N is done
//!   sources/<i>/0   where source i began, in its own format
//! ```
//!
//! # Contract
//!
//! - **Order.** `commits/N` is written after `offsets/N` and after the sink has epoch N, and only if
//!   `commits/N-1` is. Micro-batch writes `offsets/N` before it reads the data, continuous after the sink has
//!   it.
//! - **Written once.** A file appears whole or not at all, is never changed, and counts once `put_…` has
//!   returned: then it survives a power cut too. Only [`decide`] says which entries may be deleted at a
//!   restart, and only those that [`purge_threshold`] gives later.
//! - **One writer.** Every write is create-if-absent. Of two queries on one checkpoint the second to write an
//!   entry gets [`ErrorKind::Fenced`](crate::error::ErrorKind::Fenced) and has overwritten nothing. Restart a
//!   query, here or in Spark, once it has stopped: a restart deletes what a running one has not committed.
//! - **Errors.** After a failed write the entry may be there or not; repeating the call is safe and settles
//!   it.
//! - **Lock.** On a local disk a running query holds [`Checkpoint::lock`], so that a second one, or a tool that changes
//!   the checkpoint, is refused before it does anything.
//!
//! To follow it: [`format`](mod@format) is the bytes, [`recovery`] the decision at a restart, [`log`] the
//! entries, `store` the files, `disk` their steps on a local disk, `location` where they are, `lock` who is at work. For tools: [`inventory`] is all that is
//! there and what is wrong with it, [`edit`] how a stopped query is made to go on elsewhere.

mod disk;
pub mod edit;
pub mod format;
mod handover;
pub mod inventory;
mod location;
mod lock;
pub mod log;
pub mod recovery;
pub mod store;
#[cfg(test)]
mod tests;

pub(crate) use disk::sync_file;
pub use edit::{Edit, RewindTo, rewind, set_offsets};
pub use format::{
    CommitEntry, OffsetEntry, OffsetMetadata, QueryMetadata, decode_initial, encode_initial, encode_own_start,
};
pub use handover::Author;
pub use inventory::{Inventory, Problem};
pub(crate) use location::is_store_setting;
pub use lock::CheckpointLock;
pub use log::{Checkpoint, RETAINED_COMMITS, purge_threshold};
pub use recovery::{Discard, Found, LogFacts, Recovery, Restart, decide};
pub use store::{CheckpointStore, Created};
