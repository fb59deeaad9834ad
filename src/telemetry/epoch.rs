//! What all pipelines of an epoch have measured together.

use serde::{Deserialize, Serialize};

use super::clock::{Acked, TaskLatencies};
use super::histogram::{LatencyHistogram, LatencySummary};

/// How metrics name the stages.
pub(super) const STAGES: [&str; 4] = ["fetch_to_hand_over", "operators", "produce_to_ack", "end_to_end"];

/// Latencies of an epoch's rows, by stage.
#[derive(Debug, Default)]
pub(crate) struct EpochLatencies {
    task: TaskLatencies,
    acked: Acked,
}

impl EpochLatencies {
    /// A pipeline has reached the end of the epoch.
    pub(crate) fn add_task(&mut self, task: &TaskLatencies) {
        self.task.fetch_to_hand_over.merge(&task.fetch_to_hand_over);
        self.task.operators.merge(&task.operators);
    }

    /// The sink has taken all rows of a pipeline.
    pub(crate) fn add_acked(&mut self, acked: &Acked) {
        self.acked.produce_to_ack.merge(&acked.produce_to_ack);
        self.acked.end_to_end.merge(&acked.end_to_end);
        self.acked.late += acked.late;
    }

    /// The stages in the order of a record's way: [`STAGES`].
    pub(super) fn stages(&self) -> [&LatencyHistogram; 4] {
        let (task, acked) = (&self.task, &self.acked);
        [&task.fetch_to_hand_over, &task.operators, &acked.produce_to_ack, &acked.end_to_end]
    }

    /// Rows measured from end to end, and those of them that took longer than they should.
    pub(super) fn end_to_end(&self) -> (u64, u64) {
        (self.acked.end_to_end.count(), self.acked.late)
    }

    /// For progress.
    pub(crate) fn summary(&self) -> LatencyProgress {
        let [fetch_to_hand_over, operators, produce_to_ack, end_to_end] =
            self.stages().map(LatencyHistogram::summary);
        LatencyProgress { fetch_to_hand_over, operators, produce_to_ack, end_to_end }
    }
}

/// Latencies of the rows that an epoch has written, in milliseconds; what was not measured is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LatencyProgress {
    /// How long fetched records waited until the operators were given them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fetch_to_hand_over: Option<LatencySummary>,
    /// From there until the sink was given what came of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub operators: Option<LatencySummary>,
    /// From there until the sink's service had acknowledged it, where single acknowledgements are known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub produce_to_ack: Option<LatencySummary>,
    /// From the record's timestamp until then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub end_to_end: Option<LatencySummary>,
}

impl LatencyProgress {
    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
