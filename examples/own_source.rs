//! A source of one's own: the numbers from 0 on. `cargo run --example own_source`; it needs nothing installed.
#![allow(clippy::print_stdout, reason = "examples print")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::{Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::util::pretty::pretty_format_batches;
use epochflow::{
    Error, ErrorKind, Offset, Options, Partition, PartitionReader, ReadRequest, Result, Source,
    SourceOffsets, SourceProvider, StreamDataFrame, StreamSession, Trigger,
};

#[derive(Debug)]
struct Counter; // the format
#[derive(Debug)]
struct Numbers(Instant); // a source: one number a millisecond, in one partition
struct NumberReader(Partition, Offset, Instant);

fn partition() -> Partition {
    Partition::new("numbers", 0)
}
fn end(begin: Instant) -> Offset {
    begin.elapsed().as_millis() as Offset
}

impl SourceProvider for Counter {
    fn format(&self) -> &'static str {
        "counter"
    }
    fn source(&self, _options: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Numbers(Instant::now())))
    }
}

#[async_trait]
impl Source for Numbers {
    fn description(&self) -> String {
        "Counter".into()
    }
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]))
    }
    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        offsets.values().next().copied().unwrap_or_default().to_string()
    }
    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        let offset = line.parse().map_err(|_| Error::new(ErrorKind::Checkpoint, "not a number"))?;
        Ok(BTreeMap::from([(partition(), offset)]))
    }
    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        Ok(BTreeMap::from([(partition(), 0)]))
    }
    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        Ok(BTreeMap::from([(partition(), end(self.0))]))
    }
    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        Ok(committed.clone())
    }
    fn max_records_per_batch(&self) -> Option<u64> {
        None
    }
    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        let readers = request.start.into_iter().map(|(p, offset)| NumberReader(p, offset, self.0));
        Ok(readers.map(|reader| Box::new(reader) as _).collect())
    }
}

impl PartitionReader for NumberReader {
    fn partition(&self) -> &Partition {
        &self.0
    }
    fn position(&self) -> Offset {
        self.1
    }
    fn poll_read(&mut self, cx: &mut Context<'_>, limit: Offset) -> Poll<Result<RecordBatch>> {
        let end = end(self.2).min(limit);
        if end <= self.1 {
            // A client would call the waker when something has come.
            let waker = cx.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                waker.wake();
            });
            return Poll::Pending;
        }
        let numbers = Int64Array::from_iter_values(self.1..end);
        self.1 = end;
        let batch = RecordBatch::try_from_iter([("number", Arc::new(numbers) as _)]);
        Poll::Ready(batch.map_err(|e| Error::new(ErrorKind::Internal, "numbers").with_source(e)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let session = StreamSession::new()?;
    session.register_source(Arc::new(Counter));
    let numbers = session.read_stream().format("counter").load()?;
    let writer = numbers.write_stream().format("memory").query_name("counted");
    writer.trigger(Trigger::AvailableNow).start().await?.await_termination().await?;
    let rows = session.sql("SELECT count(*), max(number) FROM counted").await?.collect().await?;
    println!("{}", pretty_format_batches(&rows)?);
    Ok(())
}
