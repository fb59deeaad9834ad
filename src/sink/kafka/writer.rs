//! Writes one pipeline's rows to Kafka.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::columns::{ColumnMap, Rows};
use super::exactly_once::Transactions;
use super::origins::{OriginColumns, Origins, RowNumbers};
use crate::epoch::{EpochId, SourceRange};
use crate::error::{Error, Result};
use crate::kafka::producer::{Acks, InFlight, Queued, Record, Topics};
use crate::sink::{CommitMessage, SinkWriter};
use crate::telemetry::AckClock;

/// Rows that count as acknowledged together, with the last of them.
const TOGETHER: usize = 256;

pub(super) struct KafkaWriter {
    topics: Topics,
    columns: ColumnMap,
    letters: Option<ColumnMap>,
    origins: Option<OriginColumns>,
    /// Bytes of the largest record that can be written.
    largest: usize,
    row_numbers: RowNumbers,
    /// Of the running epoch.
    acks: Arc<Acks>,
    /// Where the next rows come from.
    records: Option<SourceRange>,
    exactly_once: Option<Turns>,
}

/// A pipeline's place in the turns of two transactional producers.
struct Turns {
    transactions: Arc<Transactions>,
    /// Whose turn the running epoch is.
    turn: usize,
    /// The other producer's topics, for the next epoch.
    others: Topics,
    /// Acks of the epoch before, until they are in.
    before: Option<Arc<Acks>>,
}

impl KafkaWriter {
    pub(super) fn new(
        topics: Topics,
        columns: ColumnMap,
        letters: Option<ColumnMap>,
        origins: Option<OriginColumns>,
        largest: usize,
    ) -> Self {
        Self {
            topics,
            columns,
            letters,
            origins,
            largest,
            row_numbers: RowNumbers::default(),
            acks: Acks::new(),
            records: None,
            exactly_once: None,
        }
    }

    pub(super) fn exactly_once(
        transactions: Arc<Transactions>,
        columns: ColumnMap,
        letters: Option<ColumnMap>,
        origins: Option<OriginColumns>,
        largest: usize,
    ) -> Self {
        let turn = transactions.turn();
        let topics = transactions.producer(turn).topics();
        let others = transactions.producer(turn + 1).topics();
        let turns = Turns { transactions, turn, others, before: None };
        Self { exactly_once: Some(turns), ..Self::new(topics, columns, letters, origins, largest) }
    }

    fn explain(&self, error: Error) -> Error {
        match &self.exactly_once {
            Some(turns) => turns.transactions.producer(turns.turn).explain(error),
            None => error,
        }
    }

    async fn send(&mut self, batch: &RecordBatch, clock: Option<&AckClock>) -> Result<()> {
        self.acks.check().map_err(|error| self.explain(error))?;
        if let Some(turns) = &mut self.exactly_once {
            turns.begin().await?;
        }
        let rows = self.columns.rows(batch)?;
        let origins = self.origins.map(|columns| columns.rows(batch)).transpose()?;
        let mut row = 0;
        while row < batch.num_rows() {
            let end = batch.num_rows().min(row + TOGETHER);
            let in_flight =
                InFlight::new(&self.acks, clock.map(|clock| clock.start(end - row)), self.records.clone());
            while row < end {
                let origin = origins.as_ref().map(|origins| (origins, &mut self.row_numbers));
                let queued = queue(&mut self.topics, &rows, row, origin, &in_flight);
                match queued.map_err(|error| self.explain(error))? {
                    Queued::Yes => row += 1,
                    Queued::Full => self.topics.producer().room().await,
                }
            }
        }
        Ok(())
    }
}

impl Turns {
    /// Makes ready for a row of the running epoch.
    async fn begin(&mut self) -> Result<()> {
        if let Some(before) = &self.before {
            // They went through the other producer, and must not be overtaken. A round trip, once an epoch.
            let acked = before.wait().await;
            acked.map_err(|error| self.transactions.producer(self.turn + 1).explain(error))?;
            self.before = None;
        }
        self.transactions.producer(self.turn).begin()
    }

    /// The running epoch, whose rows `acks` counts, has ended.
    fn pass_on(&mut self, topics: &mut Topics, acks: &Arc<Acks>) {
        std::mem::swap(topics, &mut self.others);
        self.turn += 1;
        // Those of the epoch before that are in: it is committed, or this one would not have ended.
        self.before = Some(Arc::clone(acks));
    }
}

fn queue(
    topics: &mut Topics,
    rows: &Rows<'_>,
    row: usize,
    origins: Option<(&Origins, &mut RowNumbers)>,
    in_flight: &Arc<InFlight>,
) -> Result<Queued> {
    let record = Record { key: rows.key(row), value: rows.value(row), partition: rows.partition(row)? };
    let topic = rows.topic(row)?;
    if let Some((origins, numbers)) = origins {
        let offset = origins.offset(row);
        let queued = origins.with_headers(row, numbers.next(offset), |origin| {
            rows.with_headers(row, |headers| {
                let headers = [headers, &origin].concat();
                topics.send_with(topic, record, rows.timestamp(row), &headers, in_flight)
            })
        })?;
        if queued == Queued::Yes {
            numbers.written(offset);
        }
        return Ok(queued);
    }
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

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        self.columns.check_sizes(batch, self.largest)
    }

    fn next_rows_are_of(&mut self, records: &SourceRange) {
        self.records = Some(records.clone());
    }

    async fn write_dead_letters(&mut self, letters: &RecordBatch) -> Result<()> {
        let Some(columns) = self.letters.clone() else {
            return Err(Error::internal("the Kafka sink was made without option 'deadLetterTopic'"));
        };
        // Their headers tell the origin already.
        let rows = (std::mem::replace(&mut self.columns, columns), self.origins.take());
        let written = self.write(letters).await;
        (self.columns, self.origins) = rows;
        written
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let sealed = std::mem::replace(&mut self.acks, Acks::new());
        sealed.seal();
        let owner = self.exactly_once.as_mut().map(|turns| {
            let owner = (Arc::clone(&turns.transactions), turns.turn);
            turns.pass_on(&mut self.topics, &sealed);
            owner
        });
        Box::pin(async move {
            let acked = sealed.wait().await;
            acked.map(|()| CommitMessage::empty()).map_err(|error| match owner {
                Some((transactions, turn)) => transactions.producer(turn).explain(error),
                None => error,
            })
        })
    }
}
