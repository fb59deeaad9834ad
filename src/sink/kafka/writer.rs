//! Writes one pipeline's rows to Kafka.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::columns::{ColumnMap, Rows};
use crate::epoch::{EpochId, SourceRange};
use crate::error::Result;
use crate::kafka::producer::{Acks, Queued, Record, Topics};
use crate::sink::{CommitMessage, SinkWriter};

pub(super) struct KafkaWriter {
    topics: Topics,
    columns: ColumnMap,
    /// Of the running epoch.
    acks: Arc<Acks>,
    /// Where the next rows come from.
    records: Option<SourceRange>,
}

impl KafkaWriter {
    pub(super) fn new(topics: Topics, columns: ColumnMap) -> Self {
        Self { topics, columns, acks: Acks::new(), records: None }
    }
}

fn queue(topics: &mut Topics, rows: &Rows<'_>, row: usize, acks: &Arc<Acks>) -> Result<Queued> {
    let record = Record { key: rows.key(row), value: rows.value(row), partition: rows.partition(row)? };
    let topic = rows.topic(row)?;
    if rows.are_plain() {
        return topics.send(topic, record, acks);
    }
    rows.with_headers(row, |headers| topics.send_with(topic, record, rows.timestamp(row), headers, acks))
}

#[async_trait]
impl SinkWriter for KafkaWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.acks.check()?;
        let rows = self.columns.rows(batch)?;
        // A failed ack tells of its batch: the rows on their way may be of many.
        let acks = Acks::of_batch(&self.acks, self.records.take());
        let mut row = 0;
        while row < batch.num_rows() {
            match queue(&mut self.topics, &rows, row, &acks)? {
                Queued::Yes => row += 1,
                Queued::Full => self.topics.producer().room().await,
            }
        }
        acks.seal();
        Ok(())
    }

    fn next_rows_are_of(&mut self, records: &SourceRange) {
        self.records = Some(records.clone());
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let sealed = std::mem::replace(&mut self.acks, Acks::new());
        sealed.seal();
        Box::pin(async move { sealed.wait().await.map(|()| CommitMessage::empty()) })
    }
}
