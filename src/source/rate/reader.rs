//! Reads one partition of the rate sources.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio::time::Sleep;

use super::timeline::{Mark, Pace, Speed, Spread, first_of};
use crate::epoch::{Offset, Partition};
use crate::error::{Error, Result};
use crate::source::{MAX_BATCH_ROWS, PartitionReader};

/// Spark's row of both rate sources.
pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("value", DataType::Int64, true),
    ]))
}

/// Milliseconds since 1970.
pub(super) fn now() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

/// Which times values bear, and when they come.
pub(super) enum Times {
    /// At once, spread over the seconds that the batch covers. `batch`: the batch's end, and the spread up to there.
    Spread { speed: Speed, created_millis: i64, batch: Option<(Offset, Spread)> },
    /// At once, all of a batch with the same time, which is found by the batch's first value.
    Stamped { stamp: Box<dyn Fn(Offset) -> i64 + Send>, batch: Option<(Offset, i64)> },
    /// By the clock.
    Paced { pace: Pace, last: Mark, sleep: Option<Pin<Box<Sleep>>> },
}

/// Hands out the values that leave its number when divided by the number of partitions. An offset says that all such
/// values before it are out.
pub(super) struct RateReader {
    partition: Partition,
    partitions: i64,
    position: Offset,
    projected: SchemaRef,
    times: Times,
    /// Hears where the reader stands.
    on_moved: Box<dyn Fn(Offset) + Send>,
}

impl RateReader {
    pub(super) fn new(
        partition: Partition,
        partitions: i64,
        position: Offset,
        projection: &[usize],
        times: Times,
    ) -> Result<Self> {
        let projected =
            schema().project(projection).map_err(|e| Error::internal("bad projection").with_source(e))?;
        let on_moved = Box::new(|_| {});
        Ok(Self { partition, partitions, position, projected: Arc::new(projected), times, on_moved })
    }

    /// Tells `listener` whenever the position has moved.
    pub(super) fn telling(mut self, listener: impl Fn(Offset) + Send + 'static) -> Self {
        self.on_moved = Box::new(listener);
        self
    }

    /// The end of what may be handed out now; registers for more where time brings it.
    fn due(&mut self, cx: &mut Context<'_>, end: Offset) -> Offset {
        let Times::Paced { pace, last, sleep } = &mut self.times else {
            return end;
        };
        loop {
            let now = now();
            let due = pace.next_after(*last, now);
            if due > self.position {
                *sleep = None;
                return due.min(end);
            }
            let wait = pace.mark(*last, due).millis.saturating_sub(now);
            let wait = Duration::from_millis(u64::try_from(wait).unwrap_or_default());
            let timer = sleep.insert(Box::pin(tokio::time::sleep(wait)));
            if timer.as_mut().poll(cx).is_pending() {
                return self.position;
            }
        }
    }

    /// Microseconds since 1970 for each of `values`, which are of the batch that ends at `end`.
    fn timestamps(&mut self, values: &[i64], end: Offset) -> Vec<i64> {
        let first = values.first().copied().unwrap_or_default();
        let at = |millis: i64| millis.saturating_mul(1000);
        match &mut self.times {
            Times::Spread { speed, created_millis, batch } => {
                let spread = match *batch {
                    Some((until, spread)) if until == end => spread,
                    _ => speed.spread(self.position, end),
                };
                *batch = Some((end, spread));
                values.iter().map(|value| at(*created_millis + spread.millis_at(*value))).collect()
            }
            Times::Stamped { stamp, batch } => {
                let millis = match *batch {
                    Some((until, millis)) if until == end => millis,
                    _ => stamp(self.position),
                };
                *batch = Some((end, millis));
                vec![at(millis); values.len()]
            }
            Times::Paced { pace, last, .. } => {
                debug_assert!(first > last.value);
                values.iter().map(|value| at(pace.mark(*last, *value).millis)).collect()
            }
        }
    }

    fn batch(&mut self, values: &[i64], end: Offset) -> Result<RecordBatch> {
        let projected = Arc::clone(&self.projected);
        let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
        let columns = projected.fields().iter().map(|field| match field.name().as_str() {
            "timestamp" => {
                Arc::new(TimestampMicrosecondArray::from(self.timestamps(values, end))) as ArrayRef
            }
            _ => Arc::new(Int64Array::from(values.to_vec())) as ArrayRef,
        });
        let columns = columns.collect();
        RecordBatch::try_new_with_options(projected, columns, &options).map_err(|e| {
            Error::internal(format!("cannot build a batch of {}", self.partition)).with_source(e)
        })
    }
}

impl PartitionReader for RateReader {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn position(&self) -> Offset {
        self.position
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, end: Offset) -> Poll<Result<RecordBatch>> {
        let due = self.due(cx, end);
        let first = first_of(self.partition.number.into(), self.partitions, self.position);
        let step = usize::try_from(self.partitions).unwrap_or(1);
        let values: Vec<i64> = (first..due).step_by(step).take(MAX_BATCH_ROWS).collect();
        let Some(last) = values.last() else {
            self.position = self.position.max(due);
            (self.on_moved)(self.position);
            return Poll::Pending;
        };
        let next = last + self.partitions;
        let batch = self.batch(&values, end)?;
        self.position = if next >= end { end } else { next };
        (self.on_moved)(self.position);
        Poll::Ready(Ok(batch))
    }
}
