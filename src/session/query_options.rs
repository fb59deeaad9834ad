//! Options of a query that are not its sink's.

use std::time::Duration;

use crate::engine::{MAX_UNCOMMITTED, StoreErrors};
use crate::error::Result;
use crate::options::{Options, invalid, parse_duration};

pub(super) const CHECKPOINT_LOCATION: &str = "checkpointLocation";
const MAX_UNCOMMITTED_OPTION: &str = "maxUncommitted";
const STORE_ERRORS: &str = "storeErrors";
const NAMES: [&str; 3] = [CHECKPOINT_LOCATION, MAX_UNCOMMITTED_OPTION, STORE_ERRORS];

/// What a query does while its checkpoint cannot be written.
#[derive(Debug)]
pub(super) struct QueryOptions {
    pub(super) max_uncommitted: Duration,
    pub(super) store_errors: StoreErrors,
}

impl QueryOptions {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let max_uncommitted = match options.get(MAX_UNCOMMITTED_OPTION) {
            None => MAX_UNCOMMITTED,
            Some(text) => parse_duration(text).ok().filter(|time| !time.is_zero()).ok_or_else(|| {
                invalid(MAX_UNCOMMITTED_OPTION, text, "a time span greater than 0, such as 60s or 5m")
            })?,
        };
        let store_errors = match options.get(STORE_ERRORS).map(str::trim) {
            None => StoreErrors::Wait,
            Some(text) if text.eq_ignore_ascii_case("wait") => StoreErrors::Wait,
            Some(text) if text.eq_ignore_ascii_case("stop") => StoreErrors::Stop,
            Some(text) => return Err(invalid(STORE_ERRORS, text, "wait or stop")),
        };
        Ok(Self { max_uncommitted, store_errors })
    }
}

/// `options` without those of the query: what its sink gets.
pub(super) fn of_sink(options: &Options) -> Options {
    let is_sinks = |(name, _): &(&str, &str)| !NAMES.iter().any(|known| known.eq_ignore_ascii_case(name));
    options.iter().filter(is_sinks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().copied().collect()
    }

    #[test]
    fn a_query_waits_a_minute_for_its_store_unless_told_otherwise() {
        let default = QueryOptions::new(&Options::new()).unwrap();
        assert_eq!((default.max_uncommitted.as_secs(), default.store_errors), (60, StoreErrors::Wait));
        let set = QueryOptions::new(&options(&[("MAXUNCOMMITTED", "5 seconds"), ("storeErrors", "Stop")]));
        let set = set.unwrap();
        assert_eq!((set.max_uncommitted.as_secs(), set.store_errors), (5, StoreErrors::Stop));
        for (name, value) in [("maxUncommitted", "0"), ("maxUncommitted", "soon"), ("storeErrors", "retry")] {
            let error = QueryOptions::new(&options(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn the_sink_gets_what_is_not_the_querys() {
        let all = options(&[("CheckpointLocation", "/c"), ("topic", "t"), ("storeerrors", "stop")]);
        assert_eq!(of_sink(&all), options(&[("topic", "t")]));
    }
}
