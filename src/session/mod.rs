//! The front door: [`StreamSession`] over DataFusion's `SessionContext`.
//!
//! `builder.rs` makes one, `catalog.rs` tables of formats, `sql.rs` reads pipelines, `guard.rs` holds them against what they may
//! reach, `reader.rs` and `writer.rs` are Spark's builders, `manager.rs` its query manager.

mod builder;
mod catalog;
mod constants;
mod dialect;
mod guard;
mod manager;
mod nesting;
mod panics;
mod parsing;
mod place;
mod query_options;
mod reader;
mod settings;
mod sql;
mod statement;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use parking_lot::{Mutex, RwLock};

pub use self::builder::StreamSessionBuilder;
pub use self::manager::StreamingQueryManager;
pub use self::reader::DataStreamReader;
pub use self::writer::{DataStreamWriter, StreamDataFrame};
use crate::access::Access;
use crate::engine::EngineRuntime;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::plan::rules;
use crate::plan::table::StreamTable;
use crate::query::{Hub, StreamingQuery};
use crate::sink::SinkProvider;
use crate::sink::console::ConsoleSinkProvider;
use crate::sink::kafka::KafkaSinkProvider;
use crate::sink::noop::NoopSinkProvider;
use crate::sink::parquet::ParquetSinkProvider;
use crate::sink::parquet::table::committed_rows;
use crate::source::kafka::KafkaSourceProvider;
use crate::source::rate::{RatePerBatchProvider, RateProvider};
use crate::source::{Source, SourceProvider};

/// A DataFusion session that knows streams: sources are tables, sinks take queries, queries run on threads of its own.
///
/// Clones share everything. Queries run as long as the session or a handle on one of them lives.
///
/// ```no_run
/// # async fn example() -> epochflow::Result<()> {
/// use std::time::Duration;
/// use epochflow::{StreamDataFrame, StreamSession, Trigger};
///
/// let session = StreamSession::new()?;
/// let events = session
///     .read_stream()
///     .format("kafka")
///     .option("kafka.bootstrap.servers", "127.0.0.1:9092")
///     .option("subscribe", "in")
///     .load()?;
/// let query = events
///     .write_stream()
///     .format("kafka")
///     .option("kafka.bootstrap.servers", "127.0.0.1:9092")
///     .option("topic", "out")
///     .option("checkpointLocation", "/var/lib/copy")
///     .trigger(Trigger::Continuous(Duration::from_secs(1)))
///     .start()
///     .await?;
/// query.await_termination().await
/// # }
/// ```
#[derive(Clone)]
pub struct StreamSession {
    context: SessionContext,
    core: Arc<SessionCore>,
}

/// What the session's data frames carry with them, so that `write_stream()` finds its way back.
pub(crate) struct SessionCore {
    runtime: Arc<EngineRuntime>,
    sources: RwLock<BTreeMap<String, Arc<dyn SourceProvider>>>,
    sinks: RwLock<BTreeMap<String, Arc<dyn SinkProvider>>>,
    queries: Mutex<Vec<StreamingQuery>>,
    hub: Arc<Hub>,
    access: Access,
}

impl fmt::Debug for StreamSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSession")
            .field("session_id", &self.context.session_id())
            .field("active_queries", &self.active_queries().len())
            .finish_non_exhaustive()
    }
}

impl StreamSession {
    /// A session with DataFusion's default configuration. Its SQL text reaches no file and no URL: see
    /// [`StreamSessionBuilder`].
    ///
    /// # Errors
    /// The engine's threads cannot be started.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Begins to describe a session.
    pub fn builder() -> StreamSessionBuilder {
        StreamSessionBuilder::default()
    }

    /// A session with `config`; what endless input needs to be otherwise is set.
    ///
    /// # Errors
    /// The engine's threads cannot be started.
    pub fn with_config(config: SessionConfig) -> Result<Self> {
        Self::builder().config(config).build()
    }

    fn with_access(config: SessionConfig, access: Access) -> Result<Self> {
        let core = Arc::new(SessionCore {
            runtime: Arc::new(EngineRuntime::new()?),
            sources: RwLock::default(),
            sinks: RwLock::default(),
            queries: Mutex::default(),
            hub: Arc::default(),
            access,
        });
        let config = rules::streaming_config(config)
            .with_extension(Arc::clone(&core))
            .with_option_extension(settings::Settings::default());
        let builder = rules::streaming_state(SessionStateBuilder::new().with_config(config));
        let context = SessionContext::new_with_state(builder.build());
        dialect::register(&context)?;
        let session = Self { context, core };
        session.register_source(Arc::new(KafkaSourceProvider));
        session.register_source(Arc::new(RateProvider));
        session.register_source(Arc::new(RatePerBatchProvider));
        session.register_sink(Arc::new(KafkaSinkProvider));
        session.register_sink(Arc::new(ConsoleSinkProvider));
        session.register_sink(Arc::new(NoopSinkProvider));
        session.register_parquet();
        Ok(session)
    }

    /// The DataFusion session beneath: register functions, tables and views there. SQL text that is given to it, and not to
    /// [`sql`](Self::sql), may reach whatever the process can.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Makes a format of source known to `read_stream().format(…)` and `STORED AS …`.
    pub fn register_source(&self, provider: Arc<dyn SourceProvider>) {
        let format = provider.format().to_ascii_lowercase();
        self.register_table_format(&format);
        self.core.sources.write().insert(format, provider);
    }

    /// Makes a format of sink known to `write_stream().format(…)` and `STORED AS …`.
    pub fn register_sink(&self, provider: Arc<dyn SinkProvider>) {
        let format = provider.format().to_ascii_lowercase();
        self.register_table_format(&format);
        self.core.sinks.write().insert(format, provider);
    }

    /// `STORED AS PARQUET` stays DataFusion's, but shows of a sink's folder what is committed; a pipeline's table to write to
    /// is another.
    fn register_parquet(&self) {
        let factory = catalog::StreamTableFactory::new("parquet", Arc::downgrade(&self.core));
        let state = self.context.state_ref();
        let mut state = state.write();
        let factories = state.table_factories_mut();
        factories.insert(sql::PARQUET_SINK.into(), Arc::new(factory));
        if let Some(plain) = factories.remove("PARQUET") {
            factories.insert("PARQUET".into(), Arc::new(catalog::ParquetTableFactory::new(plain)));
        }
        self.core.sinks.write().insert("parquet".into(), Arc::new(ParquetSinkProvider));
    }

    fn register_table_format(&self, format: &str) {
        let factory = catalog::StreamTableFactory::new(format, Arc::downgrade(&self.core));
        let state = self.context.state_ref();
        state.write().table_factories_mut().insert(format.to_ascii_uppercase(), Arc::new(factory));
    }

    /// The rows that a Parquet sink has committed in `path`, a path or the URL of an object store, which `options`
    /// configure. Each collecting of the data frame shows what is committed by then; partition columns are text.
    ///
    /// # Errors
    /// Nothing is committed there, or it cannot be read.
    pub async fn read_parquet_sink(&self, path: &str, mut options: Options) -> Result<DataFrame> {
        options.set("path", path);
        let rows = committed_rows(&self.context.state(), &options).await?.ok_or_else(|| {
            Error::new(ErrorKind::Environment, format!("no Parquet sink has committed rows in {path}"))
        })?;
        Ok(self.context.read_table(Arc::new(rows))?)
    }

    /// Begins to describe a stream to read.
    pub fn read_stream(&self) -> DataStreamReader {
        DataStreamReader::new(self.clone())
    }

    /// The stream of a source that is at hand, such as a [`MemoryStream`](crate::MemoryStream), as a data frame. Does no
    /// I/O.
    ///
    /// # Errors
    /// DataFusion does not take the source's columns.
    pub fn read_source(&self, source: impl Source + 'static) -> Result<DataFrame> {
        let description = source.description();
        self.data_frame(StreamTable::new(description, Options::new(), Ok(Arc::new(source))))
    }

    fn data_frame(&self, table: StreamTable) -> Result<DataFrame> {
        Ok(self.context.read_table(Arc::new(table))?)
    }

    /// Runs one SQL statement. A `SELECT` from a stream gives a data frame to `write_stream()`; a `SELECT` from other
    /// tables, such as the one of a memory sink, can be collected.
    ///
    /// # Errors
    /// The statement does not parse, names what is not there, or asks for what no trigger supports on a stream.
    pub async fn sql(&self, statement: &str) -> Result<DataFrame> {
        nesting::check(statement)?;
        panics::caught(Box::pin(self.planned(statement))).await
    }

    async fn planned(&self, statement: &str) -> Result<DataFrame> {
        let state = self.context.state();
        let parsed = parsing::statement(&state, statement)?;
        self.execute(statement::plan(self, parsed).await?).await
    }

    /// Reads a pipeline: statements that create tables and views, and one `INSERT INTO sink SELECT …`, which is handed
    /// back ready to be started.
    ///
    /// # Errors
    /// A statement does not parse, is not one of these, or names what is not there.
    pub async fn pipeline(&self, sql: &str) -> Result<DataStreamWriter> {
        nesting::check(sql)?;
        panics::caught(Box::pin(sql::pipeline(self, sql))).await
    }

    async fn execute(&self, plan: LogicalPlan) -> Result<DataFrame> {
        let sets = matches!(plan, LogicalPlan::Statement(_));
        let rows = self.context.execute_logical_plan(plan).await?;
        if sets {
            dialect::apply(&self.context)?;
        }
        Ok(rows)
    }

    /// The session's queries, and who listens to them.
    pub fn streams(&self) -> StreamingQueryManager {
        StreamingQueryManager::new(Arc::clone(&self.core))
    }

    /// Queries that run now: `streams().active()`.
    pub fn active_queries(&self) -> Vec<StreamingQuery> {
        self.streams().active()
    }
}

impl SessionCore {
    fn source(&self, format: &str) -> Result<Arc<dyn SourceProvider>> {
        let sources = self.sources.read();
        sources
            .get(&format.to_ascii_lowercase())
            .cloned()
            .ok_or_else(|| unknown("source", format, sources.keys()))
    }

    fn sink(&self, format: &str) -> Result<Arc<dyn SinkProvider>> {
        let sinks = self.sinks.read();
        sinks.get(&format.to_ascii_lowercase()).cloned().ok_or_else(|| {
            if format.eq_ignore_ascii_case(writer::MEMORY) {
                return Error::usage(
                    "the memory sink is not a table to create; say write_stream().format(\"memory\")",
                );
            }
            unknown("sink", format, sinks.keys().map(String::as_str).chain([writer::MEMORY]))
        })
    }
}

/// # Errors
/// A value that has no meaning.
pub(crate) fn check_query_options(options: &Options) -> Result<()> {
    query_options::QueryOptions::new(options, &settings::Settings::default()).map(drop)
}

fn unknown(what: &str, format: &str, known: impl IntoIterator<Item = impl AsRef<str>>) -> Error {
    let known: Vec<_> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
    Error::usage(format!("there is no {what} of the format '{format}'; there are {}", known.join(", ")))
}
