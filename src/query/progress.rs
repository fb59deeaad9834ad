//! Progress of a query, with the fields of Spark's `StreamingQueryProgress` under every trigger.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

/// What one epoch (one batch) did. Serialises to Spark's JSON.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct StreamingQueryProgress {
    /// The query's id, which survives restarts.
    pub id: Uuid,
    /// New at each start.
    pub run_id: Uuid,
    /// As given to `query_name`.
    pub name: Option<String>,
    /// When the epoch began, UTC, `2026-01-31T12:00:00.000Z`.
    pub timestamp: String,
    /// The epoch.
    pub batch_id: u64,
    /// Milliseconds from the epoch's begin to its commit.
    pub batch_duration: u64,
    /// Records read from all sources.
    pub num_input_rows: u64,
    /// Records among them that the query could not process and left out. Not Spark's; not in the JSON when 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_bad_rows: u64,
    /// Over the time since the epoch before.
    #[serde(skip_serializing_if = "is_not_a_rate")]
    pub input_rows_per_second: f64,
    /// Over the epoch's own duration.
    #[serde(skip_serializing_if = "is_not_a_rate")]
    pub processed_rows_per_second: f64,
    /// Milliseconds by phase.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub duration_ms: BTreeMap<&'static str, u64>,
    /// Always empty: there are no stateful operators.
    pub state_operators: Vec<()>,
    /// One for each source, in the order of the plan.
    pub sources: Vec<SourceProgress>,
    /// The sink.
    pub sink: SinkProgress,
}

/// One source's part of an epoch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SourceProgress {
    /// Such as `KafkaV2[Subscribe[in]]`.
    pub description: String,
    /// Where the epoch began, as the source's JSON.
    #[serde(serialize_with = "embedded")]
    pub start_offset: String,
    /// Where it ended.
    #[serde(serialize_with = "embedded")]
    pub end_offset: String,
    /// The end of the source itself, where it was asked for.
    #[serde(serialize_with = "embedded_option")]
    pub latest_offset: Option<String>,
    /// Records read.
    pub num_input_rows: u64,
    /// Over the time since the epoch before.
    #[serde(skip_serializing_if = "is_not_a_rate")]
    pub input_rows_per_second: f64,
    /// Over the epoch's own duration.
    #[serde(skip_serializing_if = "is_not_a_rate")]
    pub processed_rows_per_second: f64,
}

/// The sink's part of an epoch.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SinkProgress {
    /// Such as `KafkaTable[out]`.
    pub description: String,
    /// Rows written.
    pub num_output_rows: u64,
}

impl StreamingQueryProgress {
    /// Spark's JSON on one line.
    pub fn json(&self) -> String {
        // Maps with text keys, numbers and text: there is nothing in it that cannot be serialised.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_not_a_rate(rate: &f64) -> bool {
    !rate.is_finite()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// An offset that is JSON is shown as JSON, not as text with JSON inside.
fn embedded<S: Serializer>(offset: &str, serializer: S) -> Result<S::Ok, S::Error> {
    match RawValue::from_string(offset.to_owned()) {
        Ok(json) => json.serialize(serializer),
        Err(_) => serializer.serialize_str(offset),
    }
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn embedded_option<S: Serializer>(offset: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    match offset {
        Some(offset) => embedded(offset, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_has_sparks_keys_in_sparks_order() {
        let progress = StreamingQueryProgress {
            id: Uuid::nil(),
            run_id: Uuid::nil(),
            name: None,
            timestamp: "2026-01-31T12:00:00.000Z".into(),
            batch_id: 3,
            batch_duration: 57,
            num_input_rows: 100,
            num_bad_rows: 0,
            input_rows_per_second: f64::NAN,
            processed_rows_per_second: 1754.5,
            duration_ms: [("walCommit", 10), ("addBatch", 30)].into(),
            state_operators: vec![],
            sources: vec![SourceProgress {
                description: "KafkaV2[Subscribe[in]]".into(),
                start_offset: r#"{"in":{"0":0}}"#.into(),
                end_offset: r#"{"in":{"0":100}}"#.into(),
                latest_offset: None,
                num_input_rows: 100,
                input_rows_per_second: 0.0,
                processed_rows_per_second: 0.0,
            }],
            sink: SinkProgress { description: "MemorySink".into(), num_output_rows: 2 },
        };
        let zero = Uuid::nil();
        assert_eq!(
            progress.json(),
            format!(
                concat!(
                    r#"{{"id":"{0}","runId":"{0}","name":null,"timestamp":"2026-01-31T12:00:00.000Z","batchId":3,"#,
                    r#""batchDuration":57,"numInputRows":100,"processedRowsPerSecond":1754.5,"#,
                    r#""durationMs":{{"addBatch":30,"walCommit":10}},"stateOperators":[],"#,
                    r#""sources":[{{"description":"KafkaV2[Subscribe[in]]","startOffset":{{"in":{{"0":0}}}},"#,
                    r#""endOffset":{{"in":{{"0":100}}}},"latestOffset":null,"numInputRows":100,"#,
                    r#""inputRowsPerSecond":0.0,"processedRowsPerSecond":0.0}}],"#,
                    r#""sink":{{"description":"MemorySink","numOutputRows":2}}}}"#
                ),
                zero
            )
        );
    }
}
