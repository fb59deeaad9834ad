//! What is set for a session: `SET epochflow.… = …`. Options of a query win, see `query_options.rs`.

use datafusion::common::extensions_options;
use datafusion::config::ConfigExtension;
use datafusion::prelude::SessionConfig;

use crate::error::Result;
use crate::options::invalid;

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
