//! The engine's own threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, ErrorKind, Result};

/// Threads of the engine's own: work of the caller cannot delay a record, nor the engine's work the caller.
///
/// Pipelines stay on the thread they were given. A thread that steals work must be woken to look for it, and each record
/// would wake one: docs/decisions/0007 has the figures.
#[derive(Debug)]
pub(crate) struct EngineRuntime {
    /// Taken when dropped.
    runtimes: Vec<Runtime>,
    executors: Executors,
}

/// Where a query's work goes. Does not keep the threads alive.
#[derive(Clone, Debug)]
pub(crate) struct Executors {
    /// Drivers, checkpoint writes and look-ups.
    pub(super) driver: Handle,
    pipelines: Arc<[Handle]>,
    next: Arc<AtomicUsize>,
}

impl EngineRuntime {
    /// One thread for the drivers and one for pipelines on each core.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub(crate) fn new() -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let driver = runtime("epochflow-driver")?;
        let pipelines = (0..cores).map(|_| runtime("epochflow")).collect::<Result<Vec<_>>>()?;
        let executors = Executors {
            driver: driver.handle().clone(),
            pipelines: pipelines.iter().map(|runtime| runtime.handle().clone()).collect(),
            next: Arc::default(),
        };
        Ok(Self { runtimes: std::iter::once(driver).chain(pipelines).collect(), executors })
    }

    pub(crate) fn executors(&self) -> Executors {
        self.executors.clone()
    }
}

impl Executors {
    /// The thread for the next pipeline.
    pub(crate) fn next_pipeline(&self) -> &Handle {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.pipelines.get(next % self.pipelines.len().max(1)).unwrap_or(&self.driver)
    }
}

impl Drop for EngineRuntime {
    fn drop(&mut self) {
        // A runtime must not wait for its threads where it is dropped: that may be inside another runtime.
        for runtime in self.runtimes.drain(..) {
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str) -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        // Expressions are evaluated, and plans freed, by a call a level. Memory is used as it is touched.
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .map_err(|e| Error::new(ErrorKind::Environment, "cannot start the engine's threads").with_source(e))
}
