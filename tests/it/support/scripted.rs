//! A source whose records the test hands in: partitions of text, each record at its own offset.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::array::{Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use epochflow::{
    Error, Offset, Options, Partition, PartitionReader, ReadRequest, Result, Source, SourceOffsets,
    SourceProvider,
};
use parking_lot::Mutex;

/// The test's end: adds records and partitions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    partitions: Vec<Vec<String>>,
    wakers: BTreeMap<usize, Waker>,
    max_per_batch: Option<u64>,
    /// Columns that readers were asked for.
    projections: Vec<Vec<usize>>,
    /// What the next readings of records end with instead.
    failures: VecDeque<Error>,
}

impl Script {
    pub(crate) fn new(partitions: usize) -> Self {
        let script = Self::default();
        script.state.lock().partitions.resize(partitions, Vec::new());
        script
    }

    pub(crate) fn limited(self, max_per_batch: u64) -> Self {
        self.state.lock().max_per_batch = Some(max_per_batch);
        self
    }

    pub(crate) fn push(&self, partition: usize, text: impl Into<String>) {
        let mut state = self.state.lock();
        state.partitions[partition].push(text.into());
        if let Some(waker) = state.wakers.remove(&partition) {
            waker.wake();
        }
    }

    /// The next time that there is something to read, `error` comes instead.
    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().failures.push_back(error);
    }

    pub(crate) fn projections(&self) -> Vec<Vec<usize>> {
        self.state.lock().projections.clone()
    }
}

impl SourceProvider for Script {
    fn format(&self) -> &'static str {
        "scripted"
    }

    fn source(&self, _options: &Options) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(self.clone()))
    }
}

fn partition(number: usize) -> Partition {
    Partition::new("scripted", i32::try_from(number).unwrap())
}

fn number(partition: &Partition) -> usize {
    usize::try_from(partition.number).unwrap()
}

#[async_trait]
impl Source for Script {
    fn description(&self) -> String {
        "Scripted".into()
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("text", DataType::Utf8, true),
            Field::new("offset", DataType::Int64, false),
        ]))
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        let by_number: BTreeMap<i32, i64> = offsets.iter().map(|(p, offset)| (p.number, *offset)).collect();
        serde_json::to_string(&by_number).unwrap()
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        let by_number: BTreeMap<usize, i64> = serde_json::from_str(line).unwrap();
        Ok(by_number.into_iter().map(|(n, offset)| (partition(n), offset)).collect())
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        Ok((0..self.state.lock().partitions.len()).map(|n| (partition(n), 0)).collect())
    }

    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        let state = self.state.lock();
        let ends = state.partitions.iter().enumerate();
        Ok(ends.map(|(n, records)| (partition(n), i64::try_from(records.len()).unwrap())).collect())
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        let all = 0..self.state.lock().partitions.len();
        Ok(all.map(|n| (partition(n), committed.get(&partition(n)).copied().unwrap_or(0))).collect())
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        self.state.lock().max_per_batch
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        self.state.lock().projections.push(request.projection.clone());
        let schema = Arc::new(self.schema().project(&request.projection).unwrap());
        let reader = |(partition, position): (Partition, Offset)| {
            let reader =
                ScriptedReader { script: self.clone(), schema: Arc::clone(&schema), partition, position };
            Box::new(reader) as Box<dyn PartitionReader>
        };
        Ok(request.start.into_iter().map(reader).collect())
    }
}

struct ScriptedReader {
    script: Script,
    schema: SchemaRef,
    partition: Partition,
    position: Offset,
}

impl PartitionReader for ScriptedReader {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn position(&self) -> Offset {
        self.position
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, end: Offset) -> Poll<Result<RecordBatch>> {
        let mut state = self.script.state.lock();
        let number = number(&self.partition);
        let records = &state.partitions[number];
        let from = usize::try_from(self.position).unwrap();
        let to = records.len().min(usize::try_from(end).unwrap());
        if to <= from {
            state.wakers.insert(number, cx.waker().clone());
            return Poll::Pending;
        }
        if let Some(error) = state.failures.pop_front() {
            return Poll::Ready(Err(error));
        }
        let records = &state.partitions[number];
        let text = StringArray::from_iter_values(&records[from..to]);
        let offsets = Int64Array::from_iter_values(self.position..i64::try_from(to).unwrap());
        let columns = self.schema.fields().iter().map(|field| match field.name().as_str() {
            "text" => Arc::new(text.clone()) as _,
            _ => Arc::new(offsets.clone()) as _,
        });
        let options = RecordBatchOptions::new().with_row_count(Some(to - from));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns.collect(), &options).unwrap();
        self.position = i64::try_from(to).unwrap();
        Poll::Ready(Ok(batch))
    }
}
