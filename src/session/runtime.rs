//! The engine's own threads.

use tokio::runtime::{Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// A runtime of the engine's own: work of the caller cannot delay a record, nor the engine's work the caller.
#[derive(Debug)]
pub(crate) struct EngineRuntime(Option<Runtime>);

impl EngineRuntime {
    pub(super) fn new() -> Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .thread_name("epochflow")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
            .map_err(|e| {
                Error::new(ErrorKind::Environment, "cannot start the engine's threads").with_source(e)
            })
    }

    pub(super) fn handle(&self) -> Result<Handle> {
        self.0
            .as_ref()
            .map(|runtime| runtime.handle().clone())
            .ok_or_else(|| Error::internal("the session is closed"))
    }
}

impl Drop for EngineRuntime {
    fn drop(&mut self) {
        // A runtime must not wait for its threads where it is dropped: that may be inside another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
