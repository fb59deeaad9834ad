//! The noop sink: takes all rows and keeps none, to measure what comes before it.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{CommitMessage, Sink, SinkProvider, SinkWriter};
use crate::epoch::EpochId;
use crate::error::Result;
use crate::options::Options;

/// Makes the noop sink.
#[derive(Debug)]
pub(crate) struct NoopSinkProvider;

#[derive(Debug)]
struct Noop;

impl SinkProvider for NoopSinkProvider {
    fn format(&self) -> &'static str {
        "noop"
    }

    fn sink(&self, options: &Options, _schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        options.check_known("the noop sink", &[], &[])?;
        Ok(Arc::new(Noop))
    }

    fn allows_temporary_checkpoint(&self) -> bool {
        true
    }
}

#[async_trait]
impl Sink for Noop {
    fn description(&self) -> String {
        "noop-table".into()
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(Noop))
    }

    async fn commit(&self, _epoch: EpochId, _messages: Vec<CommitMessage>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for Noop {
    async fn write(&mut self, _batch: &RecordBatch) -> Result<()> {
        Ok(())
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        Box::pin(std::future::ready(Ok(CommitMessage::empty())))
    }
}
