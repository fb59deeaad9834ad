//! The source `rate-micro-batch`: the same number of values in each batch, all with the batch's time. Nothing depends on
//! the clock, so a run can be repeated row by row.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::reader::{self, RateReader, Times};
use super::{numbered, partitions, positive};
use crate::epoch::{Offset, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::source::{PartitionReader, ReadMode, ReadRequest, Source, SourceProvider};

const FORMAT: &str = "rate-micro-batch";
/// Batches whose time is remembered: the one that runs and those that reports still name.
const REMEMBERED: usize = 8;

/// Makes sources of the format `rate-micro-batch`.
#[derive(Debug)]
pub(crate) struct RatePerBatchProvider;

impl SourceProvider for RatePerBatchProvider {
    fn format(&self) -> &'static str {
        FORMAT
    }

    fn source(&self, options: &Options) -> Result<Arc<dyn Source>> {
        let known = ["rowsPerBatch", "numPartitions", "startTimestamp", "advanceMillisPerBatch"];
        options.check_known("the rate-micro-batch source", &known, &[])?;
        let rows = positive(options, "rowsPerBatch")?.ok_or_else(|| {
            Error::usage("option 'rowsPerBatch' is missing; say how many rows each batch shall have")
        })?;
        let millis = |name: &str, default: i64| {
            let millis = options.parse::<u32>(name, "milliseconds, 0 or more")?;
            Ok::<_, Error>(millis.map_or(default, i64::from))
        };
        let start = options.parse::<u64>("startTimestamp", "milliseconds since 1970, 0 or more")?;
        Ok(Arc::new(RatePerBatch {
            rows,
            partitions: partitions(options)?,
            start: start.map_or(0, |start| i64::try_from(start).unwrap_or(i64::MAX)),
            advance: millis("advanceMillisPerBatch", 1000)?,
            state: Arc::default(),
        }))
    }
}

struct RatePerBatch {
    rows: i64,
    partitions: i32,
    /// Time of the first batch, in milliseconds since 1970.
    start: i64,
    /// Milliseconds from a batch's time to the next one's.
    advance: i64,
    state: Arc<Mutex<State>>,
}

/// One query's place.
#[derive(Debug, Default)]
struct State {
    /// Time of the batch that begins at an offset.
    times: BTreeMap<Offset, i64>,
    /// Where each reader stands, once there are readers.
    read: BTreeMap<i32, Offset>,
}

/// The line in the checkpoint: where the next batch begins, and its time.
#[derive(Serialize, Deserialize)]
struct Line {
    offset: Offset,
    timestamp: i64,
}

impl State {
    fn time(&self, offset: Offset) -> i64 {
        self.times.range(..=offset).next_back().map_or(0, |(_, time)| *time)
    }
}

impl RatePerBatch {
    fn everywhere(&self, offset: Offset) -> SourceOffsets {
        numbered(FORMAT, self.partitions).map(|partition| (partition, offset)).collect()
    }
}

impl fmt::Debug for RatePerBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RatePerBatch").field(&self.description()).finish()
    }
}

#[async_trait]
impl Source for RatePerBatch {
    fn description(&self) -> String {
        format!(
            "RatePerMicroBatchStream[rowsPerBatch={}, numPartitions={}, startTimestamp={}, advanceMsPerBatch={}]",
            self.rows, self.partitions, self.start, self.advance
        )
    }

    fn schema(&self) -> SchemaRef {
        reader::schema()
    }

    fn for_query(&self, mode: ReadMode) -> Result<Option<Arc<dyn Source>>> {
        if mode == ReadMode::Continuous {
            return Err(Error::query(
                "the source rate-micro-batch has batches, which the trigger continuous has not; use processing-time, available-now or once, or the source rate",
            ));
        }
        let Self { rows, partitions, start, advance, .. } = *self;
        Ok(Some(Arc::new(Self { rows, partitions, start, advance, state: Arc::default() })))
    }

    fn encode_offsets(&self, offsets: &SourceOffsets) -> String {
        let offset = offsets.values().copied().max().unwrap_or_default();
        let line = Line { offset, timestamp: self.state.lock().time(offset) };
        serde_json::to_string(&line).unwrap_or_default()
    }

    fn decode_offsets(&self, line: &str) -> Result<SourceOffsets> {
        let refuse = |expected: &str| {
            Error::new(
                ErrorKind::Checkpoint,
                format!("offsets of a rate-micro-batch source: expected {expected}, got {line}"),
            )
        };
        let Line { offset, timestamp } =
            serde_json::from_str(line).map_err(|_| refuse(r#"JSON like {"offset":100,"timestamp":1000}"#))?;
        let mut state = self.state.lock();
        let before = state.times.range(..offset).next_back();
        if offset < 0 || before.is_some_and(|(_, before)| *before > timestamp) {
            return Err(refuse("offsets and times that do not go back"));
        }
        state.times.insert(offset, timestamp);
        drop(state);
        Ok(self.everywhere(offset))
    }

    async fn initial_offsets(&self) -> Result<SourceOffsets> {
        let times = &mut self.state.lock().times;
        // Known where a first batch was planned and not committed, by a run that did not keep where it began: Spark's.
        if let Some((end, time)) = times.range(1..).next().filter(|(_, time)| **time < self.start) {
            return Err(Error::new(
                ErrorKind::Checkpoint,
                format!(
                    "the first batch was planned to end at {end} with time {time}, and option 'startTimestamp' is {}, which is later; set it to what it was, or use a new checkpoint",
                    self.start
                ),
            ));
        }
        times.insert(0, self.start);
        Ok(self.everywhere(0))
    }

    /// The end of the batch after the one that has been read, as if it were there already.
    async fn latest_offsets(&self) -> Result<SourceOffsets> {
        let mut state = self.state.lock();
        let planned = state.times.keys().next_back().copied().unwrap_or_default();
        let Some(from) = state.read.values().copied().min() else {
            return Ok(self.everywhere(planned));
        };
        if from < planned {
            return Ok(self.everywhere(planned));
        }
        let end = from.saturating_add(self.rows);
        let time = state.time(from).saturating_add(self.advance);
        state.times.insert(end, time);
        while state.times.len() > REMEMBERED {
            state.times.pop_first();
        }
        Ok(self.everywhere(end))
    }

    async fn resume_offsets(&self, committed: &SourceOffsets) -> Result<SourceOffsets> {
        Ok(committed.clone())
    }

    fn max_records_per_batch(&self) -> Option<u64> {
        None
    }

    async fn open(&self, request: ReadRequest) -> Result<Vec<Box<dyn PartitionReader>>> {
        self.state.lock().read = request.start.iter().map(|(p, start)| (p.number, *start)).collect();
        let mut readers: Vec<Box<dyn PartitionReader>> = Vec::with_capacity(request.start.len());
        for (partition, start) in request.start {
            let number = partition.number;
            let (times, read) = (Arc::clone(&self.state), Arc::clone(&self.state));
            let times =
                Times::Stamped { stamp: Box::new(move |offset| times.lock().time(offset)), batch: None };
            let reader =
                RateReader::new(partition, self.partitions.into(), start, &request.projection, times)?;
            let reader = reader.telling(move |position| {
                read.lock().read.insert(number, position);
            });
            readers.push(Box::new(reader));
        }
        Ok(readers)
    }
}
