//! `data_frame.write_stream()`: says where a query writes, and starts it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::TableReference;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::DataFrame;

use super::query_options::{DEAD_LETTER_TOPIC, DELIVERY, PROVENANCE, QueryOptions, of_sink};
use super::settings::{Settings, SqlDialect};
use super::{SessionCore, panics};
use crate::checkpoint::Checkpoint;
use crate::engine::{self, QuerySpec};
use crate::epoch::EpochId;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::plan::PlannedQuery;
use crate::provenance::Provenance;
use crate::query::{BadRecords, RestartPolicy, StreamingQuery, Trigger};
use crate::sink::dead_letters::{self, WithDeadLetters};
use crate::sink::foreach::{ForeachSink, ForeachWriter};
use crate::sink::foreach_batch::{BatchFunction, ForeachBatchSink, batch_function};
use crate::sink::memory::{MemorySink, MemoryTable};
use crate::sink::{Delivery, Sink};
use crate::spark::{SparkDifference, SparkExport, SparkQuery, SparkTrigger};

/// The memory sink puts a table into the session, which no other sink does: it is made here.
pub(super) const MEMORY: &str = "memory";
const KAFKA: &str = "kafka";
const KAFKA_PREFIX: &str = "kafka.";

/// Adds `write_stream()` to DataFusion's data frames.
pub trait StreamDataFrame {
    /// Begins to say where the rows of this data frame go.
    fn write_stream(self) -> DataStreamWriter;
}

impl StreamDataFrame for DataFrame {
    fn write_stream(self) -> DataStreamWriter {
        DataStreamWriter::new(self)
    }
}

/// Says where a query writes and how it makes progress, as Spark's `DataStreamWriter` does.
#[must_use = "the query runs after start()"]
pub struct DataStreamWriter {
    state: SessionState,
    plan: LogicalPlan,
    format: Option<String>,
    code: Option<Code>,
    options: Options,
    store_options: Vec<(String, String)>,
    checkpoint: Option<Checkpoint>,
    trigger: Trigger,
    restart: RestartPolicy,
    name: Option<String>,
}

/// Code of the user's as a sink.
enum Code {
    Foreach(Arc<dyn Sink>),
    ForeachBatch(BatchFunction),
}

impl fmt::Debug for DataStreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataStreamWriter")
            .field("format", &self.format)
            .field("options", &self.options)
            .field("trigger", &self.trigger)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl DataStreamWriter {
    fn new(rows: DataFrame) -> Self {
        let (state, plan) = rows.into_parts();
        let (format, name) = (None, None);
        let (options, store_options) = (Options::new(), Vec::new());
        Self {
            state,
            plan,
            format,
            code: None,
            options,
            store_options,
            checkpoint: None,
            trigger: Trigger::default(),
            restart: RestartPolicy::default(),
            name,
        }
    }

    /// The sink's format: `kafka`, `parquet`, `memory`, `console`, `noop`, or one that was registered.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        (self.format, self.code) = (Some(format.into()), None);
        self
    }

    /// Gives the rows to code of your own, under any trigger: a [`ForeachWriter`], or an async closure that takes a
    /// [`RecordBatch`](arrow::array::RecordBatch). A clone of it is made for each partition and epoch.
    pub fn foreach(mut self, writer: impl ForeachWriter + Clone + Sync + 'static) -> Self {
        (self.format, self.code) = (None, Some(Code::Foreach(Arc::new(ForeachSink::new(writer)))));
        self
    }

    /// Calls `function` with the rows of each micro-batch and its number; not under the continuous trigger, which has no
    /// batches. The future runs on a thread of the engine's: it may wait, and must not block.
    ///
    /// After a crash the last batch may come again, with the same number and the same rows: where the function makes rows
    /// and number visible in one transaction, and does nothing for a number that is there already, each row takes effect once.
    pub fn foreach_batch<Done>(
        mut self,
        function: impl Fn(DataFrame, EpochId) -> Done + Send + Sync + 'static,
    ) -> Self
    where
        Done: Future<Output = Result<()>> + Send + 'static,
    {
        (self.format, self.code) = (None, Some(Code::ForeachBatch(batch_function(function))));
        self
    }

    /// Sets an option of the query or of its sink; names are case-insensitive. Of the query are `checkpointLocation` (a
    /// path or the URL of an object store), `maxUncommitted` (how long nothing may be committed before the sources are
    /// held back), `storeErrors` (`wait` or `stop`: what to do when the checkpoint cannot be written and something
    /// around it must be mended), `staticReload` (how often the static sides of joins are read anew), `badRecords` and
    /// `deadLetterTopic` (what becomes of records that cannot be processed), `latencySlo` (what rows may take, such as
    /// `5ms@p99`) and `noDataProgressEventInterval` (how often listeners hear that there is nothing to do).
    pub fn option(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.options.set(name, value.to_string());
        self
    }

    /// The Parquet sink's partition columns, outermost folder first; the same as option `partitionBy`.
    pub fn partition_by(self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        self.option("partitionBy", columns.join(","))
    }

    pub(super) fn options(mut self, options: &Options) -> Self {
        for (name, value) in options.iter() {
            self.options.set(name, value);
        }
        self
    }

    /// Sets an option of the checkpoint's object store, as `object_store` names it, such as `aws_region`.
    pub fn store_option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.store_options.push((name.into(), value.into()));
        self
    }

    /// Keeps the query's place in `checkpoint`, whatever store that is in, instead of `checkpointLocation`.
    pub fn checkpoint(mut self, checkpoint: Checkpoint) -> Self {
        self.checkpoint = Some(checkpoint);
        self
    }

    /// When the query makes progress; without it batch after batch, as in Spark.
    pub fn trigger(mut self, trigger: Trigger) -> Self {
        self.trigger = trigger;
        self
    }

    /// What the sink promises, where it can promise more than at-least-once. The same as option `delivery`.
    pub fn delivery(self, delivery: Delivery) -> Self {
        self.option(DELIVERY, delivery)
    }

    /// Whether the sink writes with each row where it comes from. The same as option `provenance`.
    pub fn provenance(self, provenance: Provenance) -> Self {
        self.option(PROVENANCE, provenance)
    }

    /// Whether the query goes on by itself after a failure; without it 10 times in 10 minutes.
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// A name, unique among the session's active queries; the memory sink's table has it.
    pub fn query_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The plans as text. Does no I/O.
    ///
    /// # Errors
    /// The query asks for what no trigger supports, or the sink does not take its columns.
    pub async fn explain(self) -> Result<String> {
        let options = QueryOptions::new(&self.options, &Settings::of(self.state.config()))?;
        let (_, planned, sink) = panics::caught(Box::pin(self.plan(&options))).await?;
        let sink = sink.map_or_else(|| MEMORY.to_owned(), |sink| sink.description());
        Ok(format!("sink {sink}, trigger {}\n\n{}", self.trigger, planned.explain()))
    }

    /// The query as a PySpark program, which goes on from the same checkpoint. Without `checkpointLocation` the program
    /// takes it as its first argument. Does no I/O. Places are lines of the SQL if the session was made with DataFusion's
    /// setting `datafusion.sql_parser.collect_spans`.
    ///
    /// # Errors
    /// The query cannot run here. What cannot run in Spark is no error, but [`SparkExport::Refused`].
    pub async fn export_spark(self, trigger: SparkTrigger) -> Result<SparkExport> {
        let settings = Settings::of(self.state.config());
        let options = QueryOptions::new(&self.options, &settings)?;
        panics::caught(Box::pin(self.plan(&options))).await?;
        let refused = |place: &str, what: &str, way_out: &str| {
            let (place, what, way_out) = (place.into(), what.into(), way_out.into());
            Ok(SparkExport::Refused(vec![SparkDifference { place, what, way_out }]))
        };
        if settings.dialect()? != SqlDialect::DataFusion {
            return refused(
                "SET epochflow.sql_dialect",
                "the functions of this dialect were not compared with Spark's",
                "write the pipeline without it",
            );
        }
        if options.bad_records != BadRecords::Fail {
            return refused(
                "option badRecords",
                "a bad record ends the query in Spark",
                "take it out of the pipeline, or out of a copy to export",
            );
        }
        let query = SparkQuery {
            state: &self.state,
            plan: self.plan.clone(),
            format: self.format.as_deref().unwrap_or_default(),
            options: &of_sink(&self.options),
            checkpoint: options.checkpoint_location.as_deref(),
            name: self.name.as_deref(),
        };
        query.export(trigger)
    }

    /// Starts the query. Whatever can be known to be wrong before the first record is an error here.
    ///
    /// # Errors
    /// An option is missing or wrong, the query asks for what the trigger does not support, the sink does not take its
    /// columns, a broker or topic is not there, the checkpoint is damaged or another query's, or data that it needs
    /// is gone; a query with the same name or id is active in this session.
    pub async fn start(mut self) -> Result<StreamingQuery> {
        let options = QueryOptions::new(&self.options, &Settings::of(self.state.config()))?;
        let (core, planned, sink) = panics::caught(Box::pin(self.plan(&options))).await?;
        let name_claim = self.name.as_deref().map(|name| core.hub.claim_name(name)).transpose()?;
        let checkpoint = match self.checkpoint.take() {
            Some(checkpoint) => checkpoint,
            None => self.open_checkpoint(&core, options.checkpoint_location.as_deref())?,
        };
        let sink = match sink {
            Some(sink) => sink,
            None => self.memory_sink(&planned, &checkpoint).await?,
        };
        let sink = self.with_dead_letters(&core, sink, &options)?;
        let spec = QuerySpec {
            name: self.name,
            planned,
            context: self.state.task_ctx(),
            sink,
            trigger: self.trigger,
            restart: self.restart,
            checkpoint: Arc::new(checkpoint),
            idle_interval: options.idle_interval,
            slo: options.slo,
            store_errors: options.store_errors,
            max_uncommitted: options.max_uncommitted,
            executors: core.runtime.executors(),
            static_reload: options.static_reload,
            bad_records: options.bad_records,
            hub: Arc::clone(&core.hub),
        };
        let query = engine::start(spec, name_claim).await?.keeping(Arc::clone(&core.runtime) as _);
        core.queries.lock().push(query.clone());
        Ok(query)
    }

    /// The session, the plan, and the sink unless it is the memory sink, which is made at the start.
    async fn plan(
        &self,
        options: &QueryOptions,
    ) -> Result<(Arc<SessionCore>, PlannedQuery, Option<Arc<dyn Sink>>)> {
        let core = self.state.config().get_extension::<SessionCore>().ok_or_else(|| {
            Error::usage("the data frame is of another DataFusion session; make it with a StreamSession")
        })?;
        if self.trigger == Trigger::Continuous(Duration::ZERO) {
            return Err(Error::usage(
                "the continuous trigger needs an interval between epochs of at least 1ms",
            ));
        }
        let planned = match options.provenance {
            Provenance::None => PlannedQuery::new(&self.state, self.plan.clone()).await?,
            Provenance::Headers => PlannedQuery::with_origins(&self.state, self.plan.clone()).await?,
        };
        engine::check_sources(&planned, self.trigger)?;
        let sink = match (&self.code, self.format.as_deref()) {
            (Some(code), _) => self.code_sink(code, &core, &planned)?,
            (None, Some(format)) if format.eq_ignore_ascii_case(MEMORY) => return Ok((core, planned, None)),
            (None, Some(format)) => {
                let for_sink = self.options_of_sink(format, options);
                core.sink(format)?.sink(&for_sink, &planned.physical.schema())?
            }
            (None, None) => {
                return Err(Error::usage("the query has no sink; say write_stream().format(\"kafka\")"));
            }
        };
        if options.delivery == Delivery::ExactlyOnce && sink.delivery() != options.delivery {
            return Err(Error::usage(format!("{} cannot deliver exactly-once", sink.description())));
        }
        Ok((core, planned, Some(sink)))
    }

    fn code_sink(&self, code: &Code, core: &SessionCore, planned: &PlannedQuery) -> Result<Arc<dyn Sink>> {
        of_sink(&self.options).check_known("a sink of your own code", &[], &[])?;
        match code {
            Code::Foreach(sink) => Ok(Arc::clone(sink)),
            Code::ForeachBatch(_) if matches!(self.trigger, Trigger::Continuous(_)) => Err(Error::usage(
                "foreach_batch takes whole batches, and the continuous trigger has none; use a micro-batch trigger, or foreach",
            )),
            Code::ForeachBatch(function) => Ok(Arc::new(ForeachBatchSink::new(
                Arc::clone(function),
                planned.physical.schema(),
                self.state.clone(),
                core.runtime.executors().next_pipeline().clone(),
            ))),
        }
    }

    fn options_of_sink(&self, format: &str, options: &QueryOptions) -> Options {
        let mut for_sink = of_sink(&self.options);
        if let Some(topic) = &options.dead_letter_topic {
            if format.eq_ignore_ascii_case(KAFKA) {
                for_sink.set(DEAD_LETTER_TOPIC, topic);
            } else {
                for_sink = for_sink.without_prefix(KAFKA_PREFIX);
            }
        }
        for_sink
    }

    /// A Kafka sink takes them itself; beside any other there is a second sink, for which the options `kafka.*` are.
    fn with_dead_letters(
        &self,
        core: &SessionCore,
        sink: Arc<dyn Sink>,
        options: &QueryOptions,
    ) -> Result<Arc<dyn Sink>> {
        let is_kafka = self.format.as_deref().is_some_and(|format| format.eq_ignore_ascii_case(KAFKA));
        let Some(topic) = options.dead_letter_topic.as_deref().filter(|_| !is_kafka) else {
            return Ok(sink);
        };
        let mut client: Options = self
            .options
            .with_prefix(KAFKA_PREFIX)
            .map(|(name, value)| (format!("{KAFKA_PREFIX}{name}"), value))
            .collect();
        client.set("topic", topic);
        let letters = core.sink(KAFKA)?.sink(&client, &dead_letters::schema())?;
        Ok(Arc::new(WithDeadLetters::new(sink, letters)))
    }

    fn open_checkpoint(&self, core: &SessionCore, location: Option<&str>) -> Result<Checkpoint> {
        let format = self.format.as_deref().unwrap_or_default();
        let is_temporary = || {
            self.code.is_some()
                || format.eq_ignore_ascii_case(MEMORY)
                || core.sink(format).is_ok_and(|provider| provider.allows_temporary_checkpoint())
        };
        match location {
            Some(location) => Checkpoint::open(location, &self.store_options),
            None if is_temporary() => Checkpoint::open(&format!("memory://{}", uuid::Uuid::new_v4()), &[]),
            None => Err(Error::usage(
                "the query has no checkpoint, so it would lose its place; set option 'checkpointLocation' to a path or to the URL of an object store",
            )),
        }
    }

    /// Registers the table under the query's name.
    async fn memory_sink(&self, planned: &PlannedQuery, checkpoint: &Checkpoint) -> Result<Arc<dyn Sink>> {
        let name = self.name.as_deref().ok_or_else(|| {
            Error::usage("the memory sink's table has the query's name; give one with query_name(…)")
        })?;
        if !checkpoint.facts().await?.offsets.is_empty() {
            return Err(Error::usage(format!(
                "the memory sink begins empty, so a query cannot go on from the checkpoint {}; use another sink, or a new checkpoint",
                checkpoint.location()
            )));
        }
        let table = Arc::new(MemoryTable::new(planned.physical.schema()));
        let reference = TableReference::bare(name);
        let schema = self.state.schema_for_ref(reference.clone())?;
        let there = schema.table(reference.table()).await?;
        if there.is_some_and(|table| table.downcast_ref::<MemoryTable>().is_none()) {
            return Err(Error::usage(format!(
                "the memory sink's table has the query's name, and the session has another table '{name}'; choose another query_name"
            )));
        }
        schema.deregister_table(reference.table())?;
        schema.register_table(reference.table().to_owned(), Arc::clone(&table) as _)?;
        Ok(Arc::new(MemorySink::new(table)))
    }
}
