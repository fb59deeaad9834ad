//! What a sink promises about rows that a crash interrupts, and what the engine tells it for that.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::epoch::SourceOffsets;
use crate::error::{Error, Result};

/// How often a row may reach whoever reads the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Once; after a crash rows that were not committed come again.
    #[default]
    AtLeastOnce,
    /// Once. The sink makes each epoch visible as a whole and remembers which was the last.
    ExactlyOnce,
}

impl FromStr for Delivery {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim() {
            "at-least-once" => Ok(Delivery::AtLeastOnce),
            "exactly-once" => Ok(Delivery::ExactlyOnce),
            _ => {
                Err(Error::usage(format!("'{text}' is not a delivery; write at-least-once or exactly-once")))
            }
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivery::AtLeastOnce => "at-least-once",
            Delivery::ExactlyOnce => "exactly-once",
        })
    }
}

/// Who takes a sink over: see [`Sink::take_over`](super::Sink::take_over).
#[derive(Clone, Debug)]
pub struct SinkOwner {
    /// The query's id, kept in its checkpoint: the same after each restart.
    pub query: Uuid,
    /// The query's sources, in the order of the plan.
    pub sources: Vec<OwnedSource>,
}

/// A source of a [`SinkOwner`].
#[derive(Clone, Debug)]
pub struct OwnedSource {
    /// Where the source's partitions live, as [`Source::cluster`](crate::Source::cluster) tells it.
    pub cluster: Option<String>,
    /// The newest end that the checkpoint names, of an epoch that may be committed or not; empty in a new one.
    pub end: SourceOffsets,
}
