//! Dead letters: records that the query could not process, as they came, with headers that say why.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, ListBuilder, RecordBatch, StringBuilder, StructBuilder,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use async_trait::async_trait;
use futures::future::BoxFuture;

use super::{CommitMessage, Delivery, Sink, SinkOwner, SinkWriter};
use crate::epoch::{EpochId, SourceOffsets, SourceRange};
use crate::error::{Error, Result};
use crate::telemetry::AckClock;

/// One dead letter.
#[derive(Debug)]
pub(crate) struct DeadLetter<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// The record's own, and behind them those that say why.
    pub(crate) headers: &'a [(String, Option<Vec<u8>>)],
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let headers = Field::new_list_field(DataType::Struct(header_fields()), true);
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("headers", DataType::List(Arc::new(headers)), true),
    ]))
});

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)])
}

/// The columns of dead letters, as a Kafka sink takes them.
pub(crate) fn schema() -> SchemaRef {
    Arc::clone(&SCHEMA)
}

/// The letter as a row of [`schema`].
///
/// # Errors
/// None is known.
pub(crate) fn row(letter: &DeadLetter<'_>) -> Result<RecordBatch> {
    let mut names = StringBuilder::new();
    let mut values = BinaryBuilder::new();
    for (name, value) in letter.headers {
        names.append_value(name);
        values.append_option(value.as_deref());
    }
    let mut entries = StructBuilder::new(header_fields(), vec![Box::new(names) as _, Box::new(values) as _]);
    letter.headers.iter().for_each(|_| entries.append(true));
    let mut headers = ListBuilder::new(entries);
    headers.append(true);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from(vec![letter.key])),
        Arc::new(BinaryArray::from(vec![letter.value])),
        Arc::new(headers.finish()),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|e| Error::internal("cannot build a dead letter").with_source(e))
}

/// A sink with a second one beside it that takes the dead letters. An epoch is done when both have it.
#[derive(Debug)]
pub(crate) struct WithDeadLetters {
    sink: Arc<dyn Sink>,
    letters: Arc<dyn Sink>,
}

impl WithDeadLetters {
    pub(crate) fn new(sink: Arc<dyn Sink>, letters: Arc<dyn Sink>) -> Self {
        Self { sink, letters }
    }
}

/// What both writers told of an epoch.
struct Both(CommitMessage, CommitMessage);

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a new method of the trait must reach the sink")]
impl Sink for WithDeadLetters {
    fn description(&self) -> String {
        self.sink.description()
    }

    async fn open(&self) -> Result<()> {
        self.letters.open().await?;
        self.sink.open().await
    }

    fn writer(&self, pipeline: usize, first: EpochId) -> Result<Box<dyn SinkWriter>> {
        let (rows, letters) = (self.sink.writer(pipeline, first)?, self.letters.writer(pipeline, first)?);
        Ok(Box::new(BothWriters { rows, letters }))
    }

    fn metrics(&self) -> BTreeMap<String, String> {
        self.sink.metrics()
    }

    fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }

    async fn take_over(&self, owner: &SinkOwner) -> Result<Option<EpochId>> {
        self.sink.take_over(owner).await
    }

    async fn commit_at(
        &self,
        epoch: EpochId,
        ends: &[SourceOffsets],
        messages: Vec<CommitMessage>,
    ) -> Result<()> {
        let (rows, letters) = by_sink(messages);
        self.letters.commit_at(epoch, ends, letters).await?;
        self.sink.commit_at(epoch, ends, rows).await
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let (rows, letters) = by_sink(messages);
        self.letters.commit(epoch, letters).await?;
        self.sink.commit(epoch, rows).await
    }
}

fn by_sink(messages: Vec<CommitMessage>) -> (Vec<CommitMessage>, Vec<CommitMessage>) {
    let both = messages.into_iter().filter_map(CommitMessage::take::<Both>);
    both.map(|Both(rows, letters)| (rows, letters)).unzip()
}

struct BothWriters {
    rows: Box<dyn SinkWriter>,
    letters: Box<dyn SinkWriter>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a new method of the trait must reach the writers")]
impl SinkWriter for BothWriters {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.write(batch).await
    }

    async fn write_timed(&mut self, batch: &RecordBatch, acks: &AckClock) -> Result<()> {
        self.rows.write_timed(batch, acks).await
    }

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.check(batch)
    }

    fn next_rows_are_of(&mut self, records: &SourceRange) {
        self.rows.next_rows_are_of(records);
        self.letters.next_rows_are_of(records);
    }

    async fn write_dead_letters(&mut self, letters: &RecordBatch) -> Result<()> {
        self.letters.write(letters).await
    }

    fn seal(&mut self, epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let (rows, letters) = (self.rows.seal(epoch), self.letters.seal(epoch));
        Box::pin(async move {
            let (rows, letters) = futures::future::try_join(rows, letters).await?;
            Ok(CommitMessage::with(Both(rows, letters)))
        })
    }
}
