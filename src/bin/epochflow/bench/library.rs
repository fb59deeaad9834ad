//! The engine as a library in this binary, with a checkpoint store that takes its time: records must not notice.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use datafusion::prelude::SessionConfig;
use epochflow::checkpoint::{Checkpoint, CheckpointStore};
use epochflow::{Delivery, Trigger};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::Result;
use crate::interrupts::Interrupts;
use crate::{AccessArgs, ProgressMode, run};

/// Runs a pipeline until it is told to stop, as `epochflow run` does.
#[derive(Debug, Args)]
pub(super) struct Library {
    pipeline: PathBuf,
    #[arg(long, value_parser = crate::trigger)]
    trigger: Trigger,
    /// How long the checkpoint's store takes for a write.
    #[arg(long, value_parser = epochflow::parse_duration)]
    store_delay: Duration,
    #[arg(long, value_parser = crate::delivery)]
    delivery: Option<Delivery>,
}

impl Library {
    pub(super) async fn run(self) -> Result<()> {
        let interrupts = Interrupts::listen()?;
        let config = ThrottleConfig { wait_put_per_call: self.store_delay, ..ThrottleConfig::default() };
        let store = Arc::new(ThrottledStore::new(InMemory::new(), config));
        let checkpoint =
            Checkpoint::from_store(CheckpointStore::from_object_store(store, "checkpoint".into()));
        let session = run::session(&self.pipeline, &AccessArgs::default(), SessionConfig::new())?;
        let mut writer =
            run::read(&session, &self.pipeline).await?.checkpoint(checkpoint).trigger(self.trigger);
        if let Some(delivery) = self.delivery {
            writer = writer.delivery(delivery);
        }
        Ok(run::until_told_to_stop(writer, ProgressMode::Json, interrupts).await?)
    }
}
