//! Writes one pipeline's rows to Kafka.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::columns::{ColumnMap, Rows};
use crate::epoch::EpochId;
use crate::error::Result;
use crate::kafka::producer::{Acks, InFlight, Queued, Record, Topics};
use crate::sink::{CommitMessage, SinkWriter};
use crate::telemetry::AckClock;

/// Rows that count as acknowledged together, with the last of them.
const TOGETHER: usize = 256;

pub(super) struct KafkaWriter {
    topics: Topics,
    columns: ColumnMap,
    /// Of the running epoch.
    acks: Arc<Acks>,
}

impl KafkaWriter {
    pub(super) fn new(topics: Topics, columns: ColumnMap) -> Self {
        Self { topics, columns, acks: Acks::new() }
    }

    async fn send(&mut self, batch: &RecordBatch, clock: Option<&AckClock>) -> Result<()> {
        self.acks.check()?;
        let rows = self.columns.rows(batch)?;
        let mut row = 0;
        while row < batch.num_rows() {
            let end = batch.num_rows().min(row + TOGETHER);
            let in_flight = InFlight::new(&self.acks, clock.map(|clock| clock.start(end - row)));
            while row < end {
                match queue(&mut self.topics, &rows, row, &in_flight)? {
                    Queued::Yes => row += 1,
                    Queued::Full => self.topics.producer().room().await,
                }
            }
        }
        Ok(())
    }
}

fn queue(topics: &mut Topics, rows: &Rows<'_>, row: usize, in_flight: &Arc<InFlight>) -> Result<Queued> {
    let record = Record { key: rows.key(row), value: rows.value(row), partition: rows.partition(row)? };
    let topic = rows.topic(row)?;
    if rows.are_plain() {
        return topics.send(topic, record, in_flight);
    }
    rows.with_headers(row, |headers| topics.send_with(topic, record, rows.timestamp(row), headers, in_flight))
}

#[async_trait]
impl SinkWriter for KafkaWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.send(batch, None).await
    }

    async fn write_timed(&mut self, batch: &RecordBatch, acks: &AckClock) -> Result<()> {
        self.send(batch, Some(acks)).await
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let sealed = std::mem::replace(&mut self.acks, Acks::new());
        sealed.seal();
        Box::pin(async move { sealed.wait().await.map(|()| CommitMessage::empty()) })
    }
}
