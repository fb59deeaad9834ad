//! Progress of a query, with the fields of Spark's `StreamingQueryProgress` under every trigger.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::json::{embedded, embedded_option, is_not_a_rate, not_a_rate, rate};
use crate::telemetry::{LatencyProgress, SloReport};

/// What one epoch (one batch) did. Serialises to Spark's JSON, and from it.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    #[serde(skip_serializing_if = "is_zero", default)]
    pub num_bad_rows: u64,
    /// Over the time since the epoch before.
    #[serde(skip_serializing_if = "is_not_a_rate", default = "not_a_rate", serialize_with = "rate")]
    pub input_rows_per_second: f64,
    /// Over the epoch's own duration.
    #[serde(skip_serializing_if = "is_not_a_rate", default = "not_a_rate", serialize_with = "rate")]
    pub processed_rows_per_second: f64,
    /// Milliseconds by phase.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub duration_ms: BTreeMap<String, u64>,
    /// Always empty: there are no watermarks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub event_time: BTreeMap<String, String>,
    /// Always empty: there are no stateful operators.
    #[serde(default)]
    pub state_operators: Vec<Value>,
    /// One for each source, in the order of the plan.
    pub sources: Vec<SourceProgress>,
    /// The sink.
    pub sink: SinkProgress,
    /// Always empty: DataFusion has no `observe`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub observed_metrics: BTreeMap<String, Value>,
    /// Beyond Spark: how long the epoch's rows took.
    #[serde(skip_serializing_if = "LatencyProgress::is_empty", default)]
    pub latency: LatencyProgress,
    /// Beyond Spark: how they stand to the query's `latencySlo`, if it has one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub latency_slo: Option<SloReport>,
    /// Beyond Spark: the restarts of this run, if there were any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub restarts: Option<RestartProgress>,
}

/// How often the query went on from its last commit after a failure, in this run, and why it did so last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct RestartProgress {
    /// How often.
    pub count: u64,
    /// The failure before the last of them.
    pub last_cause: String,
    /// Its [`ErrorKind`](crate::ErrorKind), such as `Transient`.
    pub last_error_class: String,
    /// When it was met, UTC.
    pub last_timestamp: String,
}

/// One source's part of an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SourceProgress {
    /// Such as `KafkaV2[Subscribe[in]]`.
    pub description: String,
    /// Where the epoch began, as the source's JSON.
    #[serde(with = "embedded")]
    pub start_offset: String,
    /// Where it ended.
    #[serde(with = "embedded")]
    pub end_offset: String,
    /// The end of the source itself when the epoch's end was decided, where it is known.
    #[serde(with = "embedded_option", default)]
    pub latest_offset: Option<String>,
    /// Records read.
    pub num_input_rows: u64,
    /// Over the time since the epoch before.
    #[serde(skip_serializing_if = "is_not_a_rate", default = "not_a_rate", serialize_with = "rate")]
    pub input_rows_per_second: f64,
    /// Over the epoch's own duration.
    #[serde(skip_serializing_if = "is_not_a_rate", default = "not_a_rate", serialize_with = "rate")]
    pub processed_rows_per_second: f64,
    /// What the source measures itself, such as `maxOffsetsBehindLatest` of Kafka.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub metrics: BTreeMap<String, String>,
}

/// The sink's part of an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct SinkProgress {
    /// Such as `KafkaTable[out]`.
    pub description: String,
    /// Rows written.
    pub num_output_rows: u64,
    /// What the sink measures itself, see [`Sink::metrics`](crate::Sink::metrics).
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub metrics: BTreeMap<String, String>,
}

impl StreamingQueryProgress {
    /// Spark's JSON on one line.
    pub fn json(&self) -> String {
        // Maps with text keys, numbers and text: there is nothing in it that cannot be serialised.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same over many lines.
    pub fn pretty_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for StreamingQueryProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pretty_json())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> StreamingQueryProgress {
        StreamingQueryProgress {
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
            duration_ms: [("walCommit".into(), 10), ("addBatch".into(), 30)].into(),
            event_time: BTreeMap::new(),
            state_operators: vec![],
            sources: vec![SourceProgress {
                description: "KafkaV2[Subscribe[in]]".into(),
                start_offset: r#"{"in":{"0":0}}"#.into(),
                end_offset: r#"{"in":{"0":100}}"#.into(),
                latest_offset: None,
                num_input_rows: 100,
                input_rows_per_second: 0.0,
                processed_rows_per_second: 0.000_001,
                metrics: [("maxOffsetsBehindLatest".into(), "0".into())].into(),
            }],
            sink: SinkProgress {
                description: "MemorySink".into(),
                num_output_rows: 2,
                metrics: BTreeMap::new(),
            },
            observed_metrics: BTreeMap::new(),
            latency: LatencyProgress::default(),
            latency_slo: None,
            restarts: None,
        }
    }

    #[test]
    fn the_json_has_sparks_keys_in_sparks_order() {
        let zero = Uuid::nil();
        assert_eq!(
            progress().json(),
            format!(
                concat!(
                    r#"{{"id":"{0}","runId":"{0}","name":null,"timestamp":"2026-01-31T12:00:00.000Z","batchId":3,"#,
                    r#""batchDuration":57,"numInputRows":100,"processedRowsPerSecond":1754.5,"#,
                    r#""durationMs":{{"addBatch":30,"walCommit":10}},"stateOperators":[],"#,
                    r#""sources":[{{"description":"KafkaV2[Subscribe[in]]","startOffset":{{"in":{{"0":0}}}},"#,
                    r#""endOffset":{{"in":{{"0":100}}}},"latestOffset":null,"numInputRows":100,"#,
                    r#""inputRowsPerSecond":0.0,"processedRowsPerSecond":0.000001,"#,
                    r#""metrics":{{"maxOffsetsBehindLatest":"0"}}}}],"#,
                    r#""sink":{{"description":"MemorySink","numOutputRows":2}}}}"#
                ),
                zero
            )
        );
    }

    #[test]
    fn what_was_stored_is_read_back() {
        let stored = StreamingQueryProgress { name: Some("q".into()), ..progress() };
        let read: StreamingQueryProgress = serde_json::from_str(&stored.json()).unwrap();
        assert_eq!(read.json(), stored.json());
        assert_eq!(read.sources[0].end_offset, r#"{"in":{"0":100}}"#);
        assert_eq!(read.sources[0].latest_offset, None);
        assert!(read.input_rows_per_second.is_nan());
        assert_eq!(read.restarts, None);
        let read: StreamingQueryProgress = serde_json::from_str(&stored.to_string()).unwrap();
        assert_eq!(read.json(), stored.json(), "the pretty form holds the same");
        let restarts = RestartProgress {
            count: 2,
            last_cause: "no broker".into(),
            last_error_class: "Transient".into(),
            last_timestamp: "2026-01-31T11:59:00.000Z".into(),
        };
        let stored = StreamingQueryProgress { restarts: Some(restarts.clone()), ..progress() };
        assert!(
            stored.json().ends_with(concat!(
                r#","restarts":{"count":2,"lastCause":"no broker","lastErrorClass":"Transient","#,
                r#""lastTimestamp":"2026-01-31T11:59:00.000Z"}}"#
            )),
            "{}",
            stored.json()
        );
        let read: StreamingQueryProgress = serde_json::from_str(&stored.json()).unwrap();
        assert_eq!(read.restarts, Some(restarts));
    }
}
