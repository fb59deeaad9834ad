//! The bare relay: librdkafka's consumer and producer and nothing between them, the least that any engine must do.

use clap::Parser;
use rdkafka::Message;

use crate::Result;
use crate::kafka::{self, POLL, Sender};

#[derive(Parser)]
#[command(name = "relay")]
pub(crate) struct Relay {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    from: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    to: String,
    #[arg(long)]
    linger_ms: String,
    /// Forward only records with this text in them.
    #[arg(long)]
    only: Option<String>,
}

impl Relay {
    /// Forwards one message at a time to partition 0, until killed.
    pub(crate) fn run(&self) -> Result<()> {
        let consumer = kafka::consumer(&self.brokers, &self.from, self.partitions)?;
        let sender = Sender::new(&self.brokers, &self.linger_ms)?;
        loop {
            match consumer.poll(POLL) {
                None => sender.check()?,
                Some(Err(error)) => eprintln!("relay: {error}"),
                Some(Ok(message)) => {
                    let payload = message.payload().unwrap_or_default();
                    if self.passes(payload)? {
                        sender.send(&self.to, 0, message.key(), payload)?;
                    }
                }
            }
        }
    }

    fn passes(&self, payload: &[u8]) -> Result<bool> {
        match &self.only {
            None => Ok(true),
            Some(text) => Ok(std::str::from_utf8(payload)?.contains(text.as_str())),
        }
    }
}
