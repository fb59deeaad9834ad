//! A sink of one's own: a text file for each epoch. `cargo run --example own_sink`; it needs nothing installed.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::SchemaRef;
use epochflow::{
    CommitMessage, Delivery, EmbeddedBroker, EpochId, Error, ErrorKind, Options, Result, Sink, SinkOwner,
    SinkProvider, SinkWriter, StreamSession, Trigger,
};
use futures::future::BoxFuture;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

#[derive(Debug)]
struct TextFiles; // the format
#[derive(Debug)]
struct Folder(PathBuf); // a sink
#[derive(Default)]
struct Lines(String); // one pipeline's rows of the running epoch

impl SinkProvider for TextFiles {
    fn format(&self) -> &'static str {
        "lines"
    }
    fn sink(&self, options: &Options, _schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        let path = options.get("path").ok_or_else(|| Error::new(ErrorKind::Usage, "set option 'path'"))?;
        Ok(Arc::new(Folder(path.into())))
    }
}

#[async_trait]
impl Sink for Folder {
    fn description(&self) -> String {
        format!("TextFiles[{}]", self.0.display())
    }
    async fn open(&self) -> Result<()> {
        std::fs::create_dir_all(&self.0).map_err(failed)
    }
    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Lines::default()))
    }
    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let text: String = messages.into_iter().filter_map(CommitMessage::take::<String>).collect();
        std::fs::write(self.0.join("unfinished"), text).map_err(failed)?;
        // The one step that makes the epoch visible.
        std::fs::rename(self.0.join("unfinished"), self.0.join(epoch.to_string())).map_err(failed)
    }
    // With these two a query is exactly-once; leave them out and it is at-least-once.
    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }
    async fn take_over(&self, _owner: &SinkOwner) -> Result<Option<EpochId>> {
        let files = std::fs::read_dir(&self.0).map_err(failed)?.flatten();
        Ok(files.filter_map(|file| file.file_name().to_str()?.parse().ok().map(EpochId)).max())
    }
}

#[async_trait]
impl SinkWriter for Lines {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let column = batch.column(0).as_any().downcast_ref::<StringArray>();
        let column = column.ok_or_else(|| Error::new(ErrorKind::Query, "the first column must be text"))?;
        column.iter().flatten().for_each(|line| self.0 += &format!("{line}\n"));
        Ok(())
    }
    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let lines = std::mem::take(&mut self.0);
        Box::pin(async { Ok(CommitMessage::with(lines)) })
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Environment, "cannot write a text file").with_source(error)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = EmbeddedBroker::start(&[("in", 1)])?;
    let brokers = broker.bootstrap_servers();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let record = FutureRecord::<str, str>::to("in").payload("a line");
    producer.send(record, None).await.map_err(|(error, _)| error)?;

    let session = StreamSession::new()?;
    session.register_sink(Arc::new(TextFiles));
    let path = std::env::temp_dir().join(format!("own-sink-{}", std::process::id()));
    let sql = format!(
        "CREATE EXTERNAL TABLE lines STORED AS KAFKA LOCATION 'kafka://{brokers}/in' OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE files STORED AS LINES LOCATION '-' OPTIONS ('path' '{}');
         INSERT INTO files SELECT CAST(value AS VARCHAR) AS line FROM lines",
        path.display()
    );
    let writer = session.pipeline(&sql).await?.option("checkpointLocation", "memory://own-sink");
    writer.trigger(Trigger::AvailableNow).start().await?.await_termination().await?;
    assert_eq!(std::fs::read_to_string(path.join("0"))?, "a line\n");
    std::fs::remove_dir_all(path)?;
    Ok(())
}
