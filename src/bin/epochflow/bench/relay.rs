//! The bare relay: librdkafka's consumer and producer and nothing between them, the least that any engine must do.

use std::path::PathBuf;

use clap::Args;
use rdkafka::Message;

use super::clients::{self, Isolation, POLL, Sender};
use super::{Result, expected, record};

/// Forwards one message at a time until it is killed.
#[derive(Debug, Args)]
pub(super) struct Relay {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    #[arg(long)]
    to: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    to_partitions: i32,
    #[arg(long)]
    linger_ms: String,
    /// Forward only the records that this file names, those that the query lets pass.
    #[arg(long)]
    only: Option<PathBuf>,
}

impl Relay {
    pub(super) fn run(&self) -> Result<()> {
        let consumer =
            clients::consumer(&self.brokers, &self.from, self.partitions, Isolation::ReadUncommitted)?;
        let sender = Sender::new(&self.brokers, &self.linger_ms)?;
        let passes = self.only.as_deref().map(expected::read_passes).transpose()?;
        loop {
            let message = match consumer.poll(POLL) {
                None => {
                    sender.check()?;
                    continue;
                }
                Some(Err(error)) => {
                    eprintln!("relay: {error}");
                    continue;
                }
                Some(Ok(message)) => message,
            };
            let payload = message.payload().unwrap_or_default();
            if let Some(passes) = &passes {
                let seq = record::seq(payload).ok_or("a record without seq came in")?;
                if !passes(seq) {
                    continue;
                }
            }
            sender.send(&self.to, message.partition() % self.to_partitions, message.key(), payload)?;
        }
    }
}
