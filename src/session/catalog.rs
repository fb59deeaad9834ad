//! Tables of streaming formats: `CREATE EXTERNAL TABLE … STORED AS KAFKA LOCATION … OPTIONS (…)`.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider, TableProviderFactory};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::CreateExternalTable;

use super::SessionCore;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::plan::table::StreamTable;
use crate::sink::parquet::table::committed_rows;

/// Makes tables of one format.
pub(super) struct StreamTableFactory {
    format: String,
    core: Weak<SessionCore>,
}

impl StreamTableFactory {
    pub(super) fn new(format: &str, core: Weak<SessionCore>) -> Self {
        Self { format: format.to_owned(), core }
    }
}

impl fmt::Debug for StreamTableFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamTableFactory").field(&self.format).finish()
    }
}

#[async_trait]
impl TableProviderFactory for StreamTableFactory {
    async fn create(
        &self,
        _state: &dyn Session,
        command: &CreateExternalTable,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let core = self.core.upgrade().ok_or_else(|| Error::internal("the session is closed"))?;
        if !command.schema.fields().is_empty() {
            return Err(Error::query(format!(
                "table '{}': a {} table has fixed columns; leave the list of columns out",
                command.name, self.format
            ))
            .into());
        }
        let mut options = options_of(command);
        match self.format.as_str() {
            "kafka" => add_location(&mut options, &command.locations)?,
            "parquet" => add_folder(&mut options, command)?,
            _ => {}
        }
        Ok(Arc::new(core.table(&self.format, options)))
    }
}

/// Makes tables `STORED AS PARQUET` to read: of a sink's folder the committed rows, as Spark does; of others DataFusion's own.
#[derive(Debug)]
pub(super) struct ParquetTableFactory {
    plain: Arc<dyn TableProviderFactory>,
}

impl ParquetTableFactory {
    pub(super) fn new(plain: Arc<dyn TableProviderFactory>) -> Self {
        Self { plain }
    }
}

#[async_trait]
impl TableProviderFactory for ParquetTableFactory {
    async fn create(
        &self,
        state: &dyn Session,
        command: &CreateExternalTable,
    ) -> DataFusionResult<Arc<dyn TableProvider>> {
        let mut options = options_of(command);
        let is_folder =
            |location: &String| !location.ends_with(".parquet") && !location.contains(['*', '?', '[']);
        if command.locations.iter().all(is_folder) && add_folder(&mut options, command).is_ok() {
            match committed_rows(state, &options).await {
                Ok(Some(rows)) => return Ok(Arc::new(rows)),
                // Locations and options that only DataFusion knows.
                Err(error) if error.kind() != ErrorKind::Usage => return Err(error.into()),
                Ok(None) | Err(_) => {}
            }
        }
        self.plain.create(state, command).await
    }
}

/// The options of a table under the names that they were given.
pub(super) fn options_of(command: &CreateExternalTable) -> Options {
    // DataFusion puts `format.` before names without a dot.
    let named = |(name, value): (&String, &String)| {
        (name.strip_prefix("format.").unwrap_or(name).to_owned(), value.clone())
    };
    command.options.iter().map(named).collect()
}

/// LOCATION and PARTITIONED BY give the Parquet sink what the options leave open.
fn add_folder(options: &mut Options, command: &CreateExternalTable) -> Result<()> {
    let [location] = command.locations.as_slice() else {
        return Err(Error::usage("a Parquet sink has one LOCATION, a folder"));
    };
    options.set_default("path", location);
    if !command.table_partition_cols.is_empty() {
        options.set_default("partitionBy", command.table_partition_cols.join(","));
    }
    Ok(())
}

impl SessionCore {
    /// A table to read from, to write to, or both.
    pub(super) fn table(&self, format: &str, options: Options) -> StreamTable {
        let source = self.source(format).and_then(|provider| provider.source(&options));
        StreamTable::new(format, options, source)
    }
}

/// `kafka://host:port,host:port/topic` gives brokers and topic to what the options leave open.
fn add_location(options: &mut Options, locations: &[String]) -> Result<()> {
    let [location] = locations else {
        return Err(Error::usage("a Kafka table has one LOCATION, such as kafka://127.0.0.1:9092/topic"));
    };
    let refuse = || {
        Error::usage(format!(
            "LOCATION '{location}' is not of the form kafka://host:port/topic or kafka://host:port"
        ))
    };
    let rest = location.strip_prefix("kafka://").ok_or_else(refuse)?;
    let (brokers, topic) = rest.split_once('/').unwrap_or((rest, ""));
    if topic.contains('/') {
        return Err(refuse());
    }
    if !brokers.is_empty() {
        options.set_default("kafka.bootstrap.servers", brokers);
    }
    if !topic.is_empty() {
        options.set_default("topic", topic);
        if options.get("subscribePattern").is_none() && options.get("assign").is_none() {
            options.set_default("subscribe", topic);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(location: &str, options: &[(&str, &str)]) -> Result<Options> {
        let mut options = options.iter().copied().collect();
        add_location(&mut options, &[location.to_owned()]).map(|()| options)
    }

    #[test]
    fn the_location_gives_brokers_and_topic_and_options_win() {
        let options = located("kafka://a:1,b:2/in", &[("subscribe", "other")]).unwrap();
        assert_eq!(options.get("kafka.bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!((options.get("subscribe"), options.get("topic")), (Some("other"), Some("in")));
        let options = located("kafka://a:1/in", &[("subscribePattern", "x.*")]).unwrap();
        assert_eq!(options.get("subscribe"), None);
    }

    #[test]
    fn another_location_is_refused() {
        for location in ["", "a:1/in", "file:///tmp/x", "kafka://a:1/in/more"] {
            assert!(located(location, &[]).is_err(), "{location}");
        }
    }
}
