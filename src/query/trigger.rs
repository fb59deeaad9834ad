//! When a query makes progress.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::options::parse_duration;

/// When a query makes progress. Any trigger can restart a query from the checkpoint that any other has left.
///
/// ```
/// use std::time::Duration;
/// use epochflow::Trigger;
///
/// assert_eq!("continuous:1s".parse::<Trigger>()?, Trigger::Continuous(Duration::from_secs(1)));
/// assert_eq!("available-now".parse::<Trigger>()?, Trigger::AvailableNow);
/// # Ok::<_, epochflow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// Records pass one by one, without pause; every interval the progress is recorded as an epoch.
    Continuous(Duration),
    /// A batch of what has arrived, every interval; with an interval of zero as soon as the last one is done.
    ProcessingTime(Duration),
    /// What is there at the start, in batches as large as the options allow; then the query ends.
    AvailableNow,
    /// What is there at the start, in one batch whatever the options say; then the query ends.
    Once,
}

impl Default for Trigger {
    /// Batch after batch, as in Spark.
    fn default() -> Self {
        Trigger::ProcessingTime(Duration::ZERO)
    }
}

impl Trigger {
    /// Whether it ends by itself.
    pub fn is_bounded(self) -> bool {
        matches!(self, Trigger::AvailableNow | Trigger::Once)
    }
}

impl FromStr for Trigger {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::usage(format!(
                "'{text}' is not a trigger; write continuous:1s, processing-time:500ms, available-now or once"
            ))
        };
        let (kind, interval) = match text.split_once(':') {
            Some((kind, interval)) => (kind, Some(interval)),
            None => (text, None),
        };
        match (kind.trim(), interval) {
            ("continuous", Some(interval)) => match parse_duration(interval)? {
                Duration::ZERO => {
                    Err(Error::usage(format!("'{text}': epochs need an interval of at least 1ms")))
                }
                interval => Ok(Trigger::Continuous(interval)),
            },
            ("continuous", None) => Err(Error::usage(
                "the continuous trigger needs an interval between epochs, such as continuous:1s",
            )),
            ("processing-time", Some(interval)) => parse_duration(interval).map(Trigger::ProcessingTime),
            ("processing-time", None) => Ok(Trigger::default()),
            ("available-now", None) => Ok(Trigger::AvailableNow),
            ("once", None) => Ok(Trigger::Once),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trigger::Continuous(interval) => write!(f, "continuous:{}ms", interval.as_millis()),
            Trigger::ProcessingTime(interval) => write!(f, "processing-time:{}ms", interval.as_millis()),
            Trigger::AvailableNow => f.write_str("available-now"),
            Trigger::Once => f.write_str("once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_survives_its_text() {
        for text in ["continuous:250ms", "processing-time:0ms", "available-now", "once"] {
            assert_eq!(text.parse::<Trigger>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_trigger_is_refused_with_the_forms() {
        for text in
            ["", "continuous", "continuous:0s", "continuous:soon", "hourly", "once:1s", "processing-time:-1s"]
        {
            let error = text.parse::<Trigger>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage, "{text}: {error}");
        }
    }
}
