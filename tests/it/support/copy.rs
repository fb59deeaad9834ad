//! Queries that copy a Kafka topic into a recording sink.

use std::sync::Arc;

use epochflow::checkpoint::Checkpoint;
use epochflow::{Result, StreamDataFrame, StreamSession, StreamingQuery, Trigger};

use super::in_time;
use super::kafka::unique;
use super::recording::Recording;

/// A query that can be started again and again on one checkpoint; its rows are one text each.
pub(crate) struct Copy {
    brokers: String,
    select: String,
    options: Vec<(String, String)>,
    location: String,
    pub(crate) sink: Recording,
}

impl Copy {
    /// Reads with `options`; `select` makes the row's text of the columns of `events`.
    pub(crate) fn new(brokers: &str, select: &str, options: &[(&str, &str)]) -> Self {
        Self {
            brokers: brokers.to_owned(),
            select: select.to_owned(),
            options: options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            location: format!("memory://{}", unique("copy")),
            sink: Recording::default(),
        }
    }

    /// The values of a topic from its beginning.
    pub(crate) fn values(brokers: &str, topic: &str, options: &[(&str, &str)]) -> Self {
        let mut all = vec![("subscribe", topic), ("startingOffsets", "earliest")];
        all.extend(options);
        Self::new(brokers, "CAST(value AS STRING)", &all)
    }

    /// The same with an option set otherwise.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        let mut options = self.options.clone();
        options.retain(|(given, _)| given != name);
        options.push((name.to_owned(), value.to_owned()));
        let Self { brokers, select, location, sink, .. } = self;
        Self {
            brokers: brokers.clone(),
            select: select.clone(),
            options,
            location: location.clone(),
            sink: sink.clone(),
        }
    }

    pub(crate) async fn start(&self, trigger: Trigger) -> Result<StreamingQuery> {
        let session = StreamSession::new().unwrap();
        session.register_sink(Arc::new(self.sink.clone()));
        let mut reader =
            session.read_stream().format("kafka").option("kafka.bootstrap.servers", &self.brokers);
        for (name, value) in &self.options {
            reader = reader.option(name, value);
        }
        session.context().register_table("events", reader.load()?.into_view()).unwrap();
        let rows = session.sql(&format!("SELECT {} AS row FROM events", self.select)).await?;
        let writer = rows.write_stream().format("recording").trigger(trigger);
        in_time("the start", writer.option("checkpointLocation", &self.location).start()).await
    }

    /// Runs to the end of what is there.
    pub(crate) async fn catch_up(&self) -> Result<StreamingQuery> {
        let query = self.start(Trigger::AvailableNow).await?;
        in_time("the end", query.await_termination()).await?;
        Ok(query)
    }

    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint::open(&self.location, &[]).unwrap()
    }

    /// What was written, sorted.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut written = self.sink.written();
        written.sort();
        written
    }
}
