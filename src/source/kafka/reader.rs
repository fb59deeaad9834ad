//! Reads one Kafka partition.

use std::task::{Context, Poll};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rdkafka::error::RDKafkaErrorCode;

use super::decode;
use crate::epoch::{Offset, Partition};
use crate::error::{Error, ErrorKind, Result};
use crate::kafka::consumer::{Messages, PartitionQueue};
use crate::kafka::kind_of;
use crate::source::{MAX_BATCH_ROWS, PartitionReader, RecordTimes};

pub(super) struct KafkaReader {
    /// Read from the queue, but at or beyond the end of the batch they were read for. Before the queue, whose client must
    /// outlive its messages.
    ahead: Messages,
    queue: PartitionQueue,
    partition: Partition,
    projected: SchemaRef,
    /// A batch ends beyond so many.
    max_bytes: usize,
    position: Offset,
    /// Since when `ahead`, or the batch handed out last, could have been read.
    arrived: Option<Instant>,
    /// Timestamp of the oldest record of that batch.
    oldest: Option<i64>,
}

impl KafkaReader {
    pub(super) fn new(
        queue: PartitionQueue,
        partition: Partition,
        projected: SchemaRef,
        start: Offset,
        max_bytes: usize,
    ) -> Self {
        let (ahead, arrived, oldest) = (Messages::default(), None, None);
        Self { ahead, queue, partition, projected, max_bytes, position: start, arrived, oldest }
    }

    /// Splits `messages` into records before `end`, which are returned, and what comes after, which is kept. Errors
    /// and the end of the partition stand between records, in the order of arrival.
    fn take_before(&mut self, mut messages: Messages, end: Offset) -> Result<Messages> {
        if let Some(first) = messages.iter().find(|message| message.error().is_none())
            && first.offset() < self.position
        {
            return Err(self.other_partition(&format!("it is read from {} again", first.offset())));
        }
        let stop = messages.iter().position(|message| message.error().is_some() || message.offset() >= end);
        let mut rest = stop.map(|stop| messages.split_off(stop)).unwrap_or_default();
        if let Some(last) = messages.iter().last() {
            self.position = last.offset() + 1;
        }
        let Some(next) = rest.iter().next() else {
            return Ok(messages);
        };
        match next.error() {
            None => {
                // Offsets before the next record hold none: the end is reached.
                self.position = self.position.max(end);
                self.ahead = rest;
            }
            Some(_) if !messages.is_empty() => self.ahead = rest,
            Some(code) => {
                let offset = next.offset();
                self.ahead = rest.split_off(1);
                self.on_error(code, offset)?;
            }
        }
        Ok(messages)
    }

    fn on_error(&mut self, code: RDKafkaErrorCode, offset: Offset) -> Result<()> {
        match code {
            RDKafkaErrorCode::PartitionEOF if offset < self.position => {
                Err(self.other_partition(&format!("it ends at {offset}")))
            }
            RDKafkaErrorCode::PartitionEOF => {
                self.position = offset;
                Ok(())
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition => Err(self.other_partition("it is gone")),
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => Err(super::data_loss(
                &format!("offset {} of {} is no longer in Kafka", self.position, self.partition),
            )),
            code if kind_of(code) == ErrorKind::Transient => {
                tracing::debug!(target: "epochflow::kafka", "reading {}: {code}", self.partition);
                Ok(())
            }
            code => Err(Error::new(kind_of(code), format!("cannot read {}: {code}", self.partition))),
        }
    }

    /// The topic was deleted or made anew under the reader. The query goes on from its last commit, and there
    /// `failOnDataLoss` decides.
    fn other_partition(&self, found: &str) -> Error {
        Error::new(
            ErrorKind::Transient,
            format!(
                "{} was deleted or made anew: it was read up to {}, and {found}",
                self.partition, self.position
            ),
        )
    }
}

impl PartitionReader for KafkaReader {
    fn partition(&self) -> &Partition {
        &self.partition
    }

    fn position(&self) -> Offset {
        self.position
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, end: Offset) -> Poll<Result<RecordBatch>> {
        while self.position < end {
            let mut messages = std::mem::take(&mut self.ahead);
            if messages.is_empty() {
                self.arrived = self.queue.read(cx, &mut messages, MAX_BATCH_ROWS, self.max_bytes);
                if messages.is_empty() {
                    return Poll::Pending;
                }
            }
            let records = self.take_before(messages, end)?;
            if !records.is_empty() {
                self.oldest = records.iter().map(|m| m.timestamp().0).filter(|millis| *millis >= 0).min();
                let batch = decode::batch(&records, &self.partition, &self.projected).map_err(|e| {
                    Error::internal(format!("cannot build a batch of {}", self.partition)).with_source(e)
                });
                return Poll::Ready(batch);
            }
        }
        Poll::Pending
    }

    fn times(&self) -> RecordTimes {
        RecordTimes { oldest: self.oldest, arrived: self.arrived }
    }
}
