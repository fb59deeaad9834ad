//! What can go wrong with a call to a store.

use std::io;
use std::time::Duration;

use object_store::path::Path;

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// An object is written.
    Put,
    /// An object, or parts of it, is read.
    Get,
    /// Objects are listed; the path is the prefix.
    List,
    /// An object is deleted.
    Delete,
    /// An object is copied or renamed; the path is that of the new one.
    Copy,
}

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does nothing, and fails.
    Before(Failure),
    /// It takes effect, and fails all the same: the answer is lost.
    After(Failure),
    /// Half of the bytes of a put arrive, and it fails. Other calls do nothing and fail.
    Torn(Failure),
    /// It takes effect, and is answered so much later.
    Late(Duration),
    /// It takes effect once the store is [healed](super::FaultyStore::heal).
    Hang,
    /// A put takes effect, but so many later listings that should name the object do not. Other calls are not touched.
    Unlisted(u32),
}

/// How a store says that a call has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is known: a timeout, a broken connection.
    NoAnswer,
    /// The store is asked too often.
    Throttled,
    /// The caller lacks the right.
    PermissionDenied,
    /// No space is left.
    Full,
    /// Nothing can be written.
    ReadOnly,
}

impl Failure {
    pub(super) fn error(self, path: &Path) -> object_store::Error {
        let path = path.to_string();
        let generic = |source| object_store::Error::Generic { store: "FaultyStore", source };
        match self {
            Failure::NoAnswer => generic("no answer".into()),
            Failure::Throttled => generic("SlowDown: please reduce your request rate".into()),
            Failure::PermissionDenied => {
                object_store::Error::PermissionDenied { path, source: "access denied".into() }
            }
            Failure::Full => generic(Box::new(io::Error::from(io::ErrorKind::StorageFull))),
            Failure::ReadOnly => generic(Box::new(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))),
        }
    }
}
