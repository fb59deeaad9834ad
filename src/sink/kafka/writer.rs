//! Writes one pipeline's rows to Kafka.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::columns::{ColumnMap, Rows};
use crate::epoch::EpochId;
use crate::error::{Error, Result};
use crate::kafka::producer::{Acks, Queued, Record, Topics};
use crate::sink::{CommitMessage, SinkWriter};

pub(super) struct KafkaWriter {
    topics: Topics,
    columns: ColumnMap,
    letters: Option<ColumnMap>,
    /// Of the running epoch.
    acks: Arc<Acks>,
}

impl KafkaWriter {
    pub(super) fn new(topics: Topics, columns: ColumnMap, letters: Option<ColumnMap>) -> Self {
        Self { topics, columns, letters, acks: Acks::new() }
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
        let mut row = 0;
        while row < batch.num_rows() {
            match queue(&mut self.topics, &rows, row, &self.acks)? {
                Queued::Yes => row += 1,
                Queued::Full => self.topics.producer().room().await,
            }
        }
        Ok(())
    }

    async fn write_dead_letters(&mut self, letters: &RecordBatch) -> Result<()> {
        let Some(columns) = self.letters.clone() else {
            return Err(Error::internal("the Kafka sink was made without option 'deadLetterTopic'"));
        };
        let rows = std::mem::replace(&mut self.columns, columns);
        let written = self.write(letters).await;
        self.columns = rows;
        written
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let sealed = std::mem::replace(&mut self.acks, Acks::new());
        sealed.seal();
        Box::pin(async move { sealed.wait().await.map(|()| CommitMessage::empty()) })
    }
}
