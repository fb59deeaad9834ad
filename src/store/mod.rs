//! Files on a local disk or in an object store, for rooms that keep some: those of a checkpoint, those of a sink.
//!
//! `files` is what a log of small files needs, `upload` what large ones need beyond it, `disk` the steps of both on a local
//! disk, `location` where a user's words lead to, `reach` what of them SQL text must have been given.

mod disk;
mod files;
mod location;
pub(crate) mod reach;
mod upload;

/// The name under which DataFusion knows a store.
pub(crate) use datafusion::execution::object_store::ObjectStoreUrl as StoreUrl;

pub(crate) use disk::create_folder_of;
pub use files::{Created, FileStore};
pub(crate) use upload::Upload;
