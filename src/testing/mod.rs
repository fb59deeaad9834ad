//! For tests of what is built on epochflow: a checkpoint's store that fails on purpose.
//!
//! ```
//! # async fn example() -> epochflow::Result<()> {
//! use std::sync::Arc;
//!
//! use epochflow::checkpoint::{Checkpoint, CheckpointStore};
//! use epochflow::testing::{Failure, Fault, FaultyStore, Operation};
//! use object_store::memory::InMemory;
//!
//! let store = FaultyStore::new(Arc::new(InMemory::new()));
//! let files = CheckpointStore::from_object_store(Arc::new(store.clone()), "checkpoint".into());
//! let checkpoint = Checkpoint::from_store(files);
//! store.meet(Operation::Put, "commits/", Fault::After(Failure::NoAnswer));
//! // … start a query on `checkpoint`: its commits are written, and it is told that they were not …
//! store.heal();
//! # Ok(())
//! # }
//! ```

mod fault;
mod store;

pub use fault::{Failure, Fault, Operation};
pub use store::FaultyStore;
