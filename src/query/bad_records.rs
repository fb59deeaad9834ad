//! What becomes of a record that the query cannot process.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::options::invalid;

/// The policy of one query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BadRecords {
    /// The query ends with an error that names the record.
    #[default]
    Fail,
    /// The record is left out and counted.
    Skip,
    /// The same, and it is written to a topic as it came.
    DeadLetter,
}

impl FromStr for BadRecords {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            "dead-letter" => Ok(Self::DeadLetter),
            _ => Err(invalid("badRecords", text, "fail, skip or dead-letter")),
        }
    }
}
