//! What a pipeline does with a record that it cannot process.

use std::sync::Arc;

use uuid::Uuid;

use super::QuerySpec;
use crate::epoch::{EpochId, Partition, SourceRange};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::pipeline::Records;
use crate::plan::trial::Piece;
use crate::query::BadRecords;
use crate::sink::SinkWriter;
use crate::sink::dead_letters::{self, DeadLetter};

/// The query's policy, and what dead letters say of the query.
#[derive(Clone, Debug)]
pub(super) struct BadRecordHandler {
    policy: BadRecords,
    query_id: Uuid,
    query_name: Option<Arc<str>>,
    /// The one that records belong to now.
    epoch: EpochId,
}

pub(super) struct BadRecord {
    pub(super) record: Piece,
    pub(super) error: Error,
    /// Of its epoch: told louder than the others.
    pub(super) is_first: bool,
}

impl BadRecordHandler {
    pub(super) fn new(spec: &QuerySpec, query_id: Uuid, epoch: EpochId) -> Self {
        let query_name = spec.name.as_deref().map(Arc::from);
        Self { policy: spec.bad_records, query_id, query_name, epoch }
    }

    /// Records belong to `epoch` from now on.
    pub(super) fn begin(&mut self, epoch: EpochId) {
        self.epoch = epoch;
    }

    pub(super) fn ends_the_query(&self) -> bool {
        self.policy == BadRecords::Fail
    }

    /// Does what the policy says.
    ///
    /// # Errors
    /// The policy is to fail; or the dead letter cannot be written.
    pub(super) async fn handle(
        &self,
        bad: BadRecord,
        partition: &Partition,
        records: &Records,
        writer: &mut dyn SinkWriter,
    ) -> Result<()> {
        let (BadRecord { record, error, is_first }, epoch) = (bad, self.epoch);
        let offset = records.columns.offset(&record.rows).unwrap_or(record.first);
        let reason = match records.failing_expression(&record.rows) {
            Some(expression) => format!("{expression}: {error}"),
            None => error.to_string(),
        };
        if self.ends_the_query() {
            let told = format!(
                "the record cannot be processed: {reason}; mend the query (TRY_CAST gives null), or set option 'badRecords' to skip or dead-letter"
            );
            let record = SourceRange { partition: partition.clone(), from: offset, to: offset + 1 };
            return Err(Error::new(ErrorKind::Data, told).with_source(error).at(&record));
        }
        if is_first {
            tracing::warn!(
                "left out the record at offset {offset} of {partition}, and maybe more of epoch {epoch}: {reason}"
            );
        } else {
            tracing::debug!("left out the record at offset {offset} of {partition}: {reason}");
        }
        if self.policy == BadRecords::Skip {
            return Ok(());
        }
        let whole = records.columns.whole(&record.rows)?;
        let mut headers = whole.headers;
        let about = [
            ("epochflow.query.id", Some(self.query_id.to_string())),
            ("epochflow.query.name", self.query_name.as_deref().map(str::to_owned)),
            ("epochflow.epoch", Some(epoch.to_string())),
            ("epochflow.topic", Some(partition.topic.to_string())),
            ("epochflow.partition", Some(partition.number.to_string())),
            ("epochflow.offset", Some(offset.to_string())),
            ("epochflow.error", Some(reason)),
        ];
        let about = about.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
        headers.extend(about.map(|(name, value)| (name.to_owned(), Some(value.into_bytes()))));
        let letter =
            DeadLetter { key: whole.key.as_deref(), value: whole.value.as_deref(), headers: &headers };
        writer.write_dead_letters(&dead_letters::row(&letter)?).await
    }
}
