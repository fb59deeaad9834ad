//! The engine with an epoch every 50 ms and a checkpoint store that takes 500 ms for each write: records must not notice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use epochflow::checkpoint::{Checkpoint, CheckpointStore};
use epochflow::{StreamSession, Trigger};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::signal::unix::{SignalKind, signal};

use crate::Result;

const EPOCH: Duration = Duration::from_millis(50);
const WRITE: Duration = Duration::from_millis(500);

/// The child's arguments.
#[derive(Parser)]
pub(crate) struct SlowStore {
    pipeline: PathBuf,
}

impl SlowStore {
    pub(crate) fn run(self) -> Result<()> {
        let sql = std::fs::read_to_string(self.pipeline)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let config = ThrottleConfig { wait_put_per_call: WRITE, ..ThrottleConfig::default() };
            let store = Arc::new(ThrottledStore::new(InMemory::new(), config));
            let checkpoint =
                Checkpoint::from_store(CheckpointStore::from_object_store(store, "checkpoint".into()));
            let session = StreamSession::new()?;
            let writer = session.pipeline(&sql).await?.checkpoint(checkpoint);
            let query = writer.trigger(Trigger::Continuous(EPOCH)).start().await?;
            signal(SignalKind::terminate())?.recv().await;
            Ok(query.stop().await?)
        })
    }
}
