//! Whether a query that fails is started again.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::options::parse_duration;

/// Whether a running query that fails goes on from its last commit by itself.
///
/// Only failures that another attempt may mend count as such; any other ends the query at once, under every policy.
///
/// ```
/// use std::time::Duration;
/// use epochflow::RestartPolicy;
///
/// let policy: RestartPolicy = "on-failure:3/1m".parse()?;
/// assert_eq!(policy, RestartPolicy::OnFailure { max: 3, window: Duration::from_secs(60) });
/// assert_eq!("never".parse::<RestartPolicy>()?, RestartPolicy::Never);
/// # Ok::<_, epochflow::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// The first failure ends the query, as in Spark.
    Never,
    /// It is started again, unless that has happened `max` times within the last `window`.
    OnFailure {
        /// Restarts within the window.
        max: u32,
        /// How far back restarts count.
        window: Duration,
    },
}

impl Default for RestartPolicy {
    /// Ten restarts in ten minutes: a query that fails again and again ends within a minute or so, one that fails now and
    /// then never does.
    fn default() -> Self {
        RestartPolicy::OnFailure { max: 10, window: Duration::from_secs(600) }
    }
}

impl FromStr for RestartPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            Error::usage(format!(
                "'{text}' is not a restart policy; write never, on-failure, or on-failure:MAX/WINDOW as in on-failure:10/10m"
            ))
        };
        match text.trim().split_once(':') {
            None if text.trim() == "never" => Ok(RestartPolicy::Never),
            None if text.trim() == "on-failure" => Ok(RestartPolicy::default()),
            Some(("on-failure", budget)) => {
                let (max, window) = budget.split_once('/').ok_or_else(refuse)?;
                let max = max.trim().parse().map_err(|_| refuse())?;
                Ok(RestartPolicy::OnFailure { max, window: parse_duration(window)? })
            }
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestartPolicy::Never => f.write_str("never"),
            RestartPolicy::OnFailure { max, window } => {
                write!(f, "on-failure:{max}/{}ms", window.as_millis())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_survives_its_text() {
        for policy in [RestartPolicy::Never, RestartPolicy::default(), "on-failure:0/90s".parse().unwrap()] {
            assert_eq!(policy.to_string().parse::<RestartPolicy>().unwrap(), policy);
        }
        assert_eq!("on-failure".parse::<RestartPolicy>().unwrap(), RestartPolicy::default());
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_forms() {
        for text in [
            "",
            "always",
            "never:1/1m",
            "on-failure:",
            "on-failure:3",
            "on-failure:-1/1m",
            "on-failure:3/soon",
        ] {
            let error = text.parse::<RestartPolicy>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage, "{text}: {error}");
        }
    }
}
