//! What is set for a session (`SET epochflow.… = …`) or for one query (an option of its writer, which wins).

use std::time::Duration;

use datafusion::common::extensions_options;
use datafusion::config::ConfigExtension;
use datafusion::prelude::SessionConfig;

use crate::error::{Error, Result};
use crate::options::{Options, invalid, parse_duration};
use crate::query::BadRecords;

extensions_options! {
    /// Settings of a session, under the prefix `epochflow`.
    pub(crate) struct Settings {
        /// How often the static sides of joins are read anew, such as 5m; empty: once, when the query starts
        pub static_reload: String, default = String::new()
        /// What becomes of a record that a query cannot process: fail, skip or dead-letter
        pub bad_records: String, default = "fail".to_owned()
        /// Kafka topic for such records, with bad_records = dead-letter
        pub dead_letter_topic: String, default = String::new()
        /// Whose functions hold where names are the same: datafusion or spark
        pub sql_dialect: String, default = "datafusion".to_owned()
    }
}

impl ConfigExtension for Settings {
    const PREFIX: &'static str = "epochflow";
}

const CHECKPOINT_LOCATION: &str = "checkpointLocation";
const STATIC_RELOAD: &str = "staticReload";
const BAD_RECORDS: &str = "badRecords";
pub(super) const DEAD_LETTER_TOPIC: &str = "deadLetterTopic";

/// Whose SQL functions a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SqlDialect {
    DataFusion,
    Spark,
}

impl Settings {
    /// # Errors
    /// There is no dialect of that name.
    pub(super) fn dialect(&self) -> Result<SqlDialect> {
        match self.sql_dialect.to_ascii_lowercase().as_str() {
            "datafusion" => Ok(SqlDialect::DataFusion),
            "spark" => Ok(SqlDialect::Spark),
            _ => Err(invalid("epochflow.sql_dialect", &self.sql_dialect, "datafusion or spark")),
        }
    }

    pub(super) fn of(config: &SessionConfig) -> Self {
        config.options().extensions.get::<Settings>().cloned().unwrap_or_default()
    }
}

/// Options of a writer that are the query's and not the sink's.
#[derive(Debug)]
pub(super) struct QueryOptions {
    pub(super) checkpoint_location: Option<String>,
    pub(super) static_reload: Option<Duration>,
    pub(super) bad_records: BadRecords,
    /// Where `bad_records` wants one.
    pub(super) dead_letter_topic: Option<String>,
}

impl QueryOptions {
    /// Of a writer with `options` in a session with `config`.
    ///
    /// # Errors
    /// A value that has no meaning.
    pub(super) fn new(options: &Options, config: &SessionConfig) -> Result<Self> {
        let settings = Settings::of(config);
        let bad_records: BadRecords = options.get(BAD_RECORDS).unwrap_or(&settings.bad_records).parse()?;
        let topic = options.get(DEAD_LETTER_TOPIC).unwrap_or(&settings.dead_letter_topic).trim();
        let topic = (!topic.is_empty()).then(|| topic.to_owned());
        if topic.is_some() != (bad_records == BadRecords::DeadLetter) {
            return Err(Error::usage(format!(
                "options '{BAD_RECORDS}' = dead-letter and '{DEAD_LETTER_TOPIC}' go together: set both or neither"
            )));
        }
        Ok(Self {
            bad_records,
            dead_letter_topic: topic,
            checkpoint_location: options.get(CHECKPOINT_LOCATION).map(str::to_owned),
            static_reload: interval(options.get(STATIC_RELOAD).unwrap_or(&settings.static_reload))?,
        })
    }

    /// What of `options` is the sink's.
    pub(super) fn of_the_sink(options: &Options) -> Options {
        let own = [CHECKPOINT_LOCATION, STATIC_RELOAD, BAD_RECORDS, DEAD_LETTER_TOPIC];
        options.iter().filter(|(name, _)| !own.iter().any(|own| own.eq_ignore_ascii_case(name))).collect()
    }
}

fn interval(text: &str) -> Result<Option<Duration>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match parse_duration(text)? {
        Duration::ZERO => Err(invalid(STATIC_RELOAD, text, "a time span greater than 0, such as 5m")),
        interval => Ok(Some(interval)),
    }
}
