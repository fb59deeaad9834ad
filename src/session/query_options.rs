//! Options of a query that are not its sink's alone.

use std::time::Duration;

use super::settings::Settings;
use crate::engine::{MAX_UNCOMMITTED, StoreErrors};
use crate::error::{Error, Result};
use crate::options::{Options, invalid, parse_duration};
use crate::provenance::Provenance;
use crate::query::BadRecords;
use crate::sink::Delivery;
use crate::telemetry::LatencySlo;

pub(super) const CHECKPOINT_LOCATION: &str = "checkpointLocation";
const MAX_UNCOMMITTED_OPTION: &str = "maxUncommitted";
const STORE_ERRORS: &str = "storeErrors";
pub(super) const DELIVERY: &str = "delivery";
pub(super) const PROVENANCE: &str = "provenance";
const STATIC_RELOAD: &str = "staticReload";
const BAD_RECORDS: &str = "badRecords";
pub(super) const DEAD_LETTER_TOPIC: &str = "deadLetterTopic";
const LATENCY_SLO: &str = "latencySlo";
/// Spark's `spark.sql.streaming.noDataProgressEventInterval`.
const IDLE_INTERVAL: &str = "noDataProgressEventInterval";
const NAMES: [&str; 8] = [
    CHECKPOINT_LOCATION,
    MAX_UNCOMMITTED_OPTION,
    STORE_ERRORS,
    STATIC_RELOAD,
    BAD_RECORDS,
    DEAD_LETTER_TOPIC,
    LATENCY_SLO,
    IDLE_INTERVAL,
];

/// What a query does with tables, bad records and a checkpoint that cannot be written, what it asks of its sink, and what
/// it tells of itself.
#[derive(Debug)]
pub(super) struct QueryOptions {
    pub(super) checkpoint_location: Option<String>,
    pub(super) max_uncommitted: Duration,
    pub(super) store_errors: StoreErrors,
    pub(super) delivery: Delivery,
    pub(super) provenance: Provenance,
    pub(super) static_reload: Option<Duration>,
    pub(super) bad_records: BadRecords,
    /// Where `bad_records` wants one.
    pub(super) dead_letter_topic: Option<String>,
    /// How often listeners hear that there is nothing to do.
    pub(super) idle_interval: Duration,
    pub(super) slo: Option<LatencySlo>,
}

impl QueryOptions {
    /// Of a writer with `options` in a session with `settings`.
    ///
    /// # Errors
    /// A value that has no meaning.
    pub(super) fn new(options: &Options, settings: &Settings) -> Result<Self> {
        let max_uncommitted = match options.get(MAX_UNCOMMITTED_OPTION) {
            None => MAX_UNCOMMITTED,
            Some(text) => time_span(MAX_UNCOMMITTED_OPTION, text)?,
        };
        let static_reload = options.get(STATIC_RELOAD).unwrap_or(&settings.static_reload).trim();
        let static_reload =
            (!static_reload.is_empty()).then(|| time_span(STATIC_RELOAD, static_reload)).transpose()?;
        let bad_records: BadRecords = options.get(BAD_RECORDS).unwrap_or(&settings.bad_records).parse()?;
        let topic = options.get(DEAD_LETTER_TOPIC).unwrap_or(&settings.dead_letter_topic).trim();
        let dead_letter_topic = (!topic.is_empty()).then(|| topic.to_owned());
        if dead_letter_topic.is_some() != (bad_records == BadRecords::DeadLetter) {
            return Err(Error::usage(format!(
                "options '{BAD_RECORDS}' = dead-letter and '{DEAD_LETTER_TOPIC}' go together: set both or neither"
            )));
        }
        let store_errors = match options.get(STORE_ERRORS).map(str::trim) {
            None => StoreErrors::Wait,
            Some(text) if text.eq_ignore_ascii_case("wait") => StoreErrors::Wait,
            Some(text) if text.eq_ignore_ascii_case("stop") => StoreErrors::Stop,
            Some(text) => return Err(invalid(STORE_ERRORS, text, "wait or stop")),
        };
        let delivery = options.get(DELIVERY).map_or(Ok(Delivery::default()), str::parse)?;
        let provenance = options.get(PROVENANCE).map_or(Ok(Provenance::default()), str::parse)?;
        let idle_interval = match options.get(IDLE_INTERVAL) {
            None => Duration::from_secs(10),
            Some(text) => {
                parse_duration(text).map_err(|_| invalid(IDLE_INTERVAL, text, "a time span, such as 10s"))?
            }
        };
        let slo = options.parse(LATENCY_SLO, "a time span, @p and a percentile, such as 5ms@p99")?;
        Ok(Self {
            checkpoint_location: options.get(CHECKPOINT_LOCATION).map(str::to_owned),
            max_uncommitted,
            store_errors,
            delivery,
            provenance,
            static_reload,
            bad_records,
            dead_letter_topic,
            idle_interval,
            slo,
        })
    }
}

fn time_span(option: &str, text: &str) -> Result<Duration> {
    let span = parse_duration(text).ok().filter(|time| !time.is_zero());
    span.ok_or_else(|| invalid(option, text, "a time span greater than 0, such as 60s or 5m"))
}

/// `options` without those of the query: what its sink gets. A sink that has never heard of deliveries or of provenance does
/// what is the default, and need not know its name.
pub(super) fn of_sink(options: &Options) -> Options {
    let defaults =
        [(DELIVERY, Delivery::default().to_string()), (PROVENANCE, Provenance::default().to_string())];
    let is_default = |name: &str, value: &str| {
        defaults.iter().any(|(known, default)| known.eq_ignore_ascii_case(name) && value.trim() == default)
    };
    let is_sinks = |(name, value): &(&str, &str)| {
        !NAMES.iter().any(|known| known.eq_ignore_ascii_case(name)) && !is_default(name, value)
    };
    options.iter().filter(is_sinks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        pairs.iter().copied().collect()
    }

    fn new(options: &Options) -> Result<QueryOptions> {
        QueryOptions::new(options, &Settings::default())
    }

    #[test]
    fn a_query_waits_a_minute_for_its_store_unless_told_otherwise() {
        let default = new(&Options::new()).unwrap();
        assert_eq!((default.max_uncommitted.as_secs(), default.store_errors), (60, StoreErrors::Wait));
        let set = new(&options(&[("MAXUNCOMMITTED", "5 seconds"), ("storeErrors", "Stop")]));
        let set = set.unwrap();
        assert_eq!((set.max_uncommitted.as_secs(), set.store_errors), (5, StoreErrors::Stop));
        for (name, value) in [("maxUncommitted", "0"), ("maxUncommitted", "soon"), ("storeErrors", "retry")] {
            let error = new(&options(&[(name, value)])).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }

    #[test]
    fn the_sink_gets_what_is_not_the_querys() {
        let all = options(&[("CheckpointLocation", "/c"), ("topic", "t"), ("storeerrors", "stop")]);
        assert_eq!(of_sink(&all), options(&[("topic", "t")]));
        let asked = options(&[("delivery", "exactly-once"), ("provenance", "headers")]);
        assert_eq!(of_sink(&asked), asked);
        assert_eq!(
            of_sink(&options(&[("Delivery", "at-least-once"), ("provenance", "none")])),
            Options::new()
        );
    }
}
