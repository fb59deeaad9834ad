//! Options of tables as Spark and the Java client name them.

use super::{Refusal, SparkTrigger, python};
use crate::options::Options;
use crate::secrets::{is_secret, shown};

/// What a table is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Sink,
}

/// A format and its options; values are expressions of Python.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) format: String,
    pub(super) options: Vec<(String, String)>,
}

/// Options of the Kafka source with the same names and meanings.
const SOURCE: &[&str] = &[
    "subscribe",
    "subscribePattern",
    "assign",
    "startingOffsets",
    "startingTimestamp",
    "startingOffsetsByTimestamp",
    "startingOffsetsByTimestampStrategy",
    "failOnDataLoss",
    "includeHeaders",
    "groupIdPrefix",
    "fetchOffset.numRetries",
    "fetchOffset.retryIntervalMs",
];
/// Limits on a micro-batch. Here the other triggers ignore them; in Spark some refuse them.
const LIMITS: &[&str] = &[
    "maxOffsetsPerTrigger",
    "minOffsetsPerTrigger",
    "maxTriggerDelay",
    "minPartitions",
    "maxRecordsPerPartition",
    "kafkaConsumer.pollTimeoutMs",
];
/// Options that only tune this engine: Spark does without.
const OWN_TUNING: &[&str] = &["maxBufferedBytes"];
/// What this engine does beyond Spark, and the value that asks for nothing.
const BEYOND: &[(&str, &str)] = &[("delivery", "at-least-once"), ("provenance", "none")];

/// `kafka.*` settings that the Java client names the same.
const SAME_IN_JAVA: &[&str] = &[
    "bootstrap.servers",
    "client.id",
    "client.rack",
    "group.id",
    "isolation.level",
    "acks",
    "linger.ms",
    "batch.size",
    "compression.type",
    "enable.idempotence",
    "max.in.flight.requests.per.connection",
    "delivery.timeout.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.ms",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "max.partition.fetch.bytes",
    "max.request.size",
    "receive.buffer.bytes",
    "send.buffer.bytes",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "metadata.max.age.ms",
    "connections.max.idle.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "sasl.mechanism",
];
/// Those that it names otherwise.
const OTHER_IN_JAVA: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "fetch.max.wait.ms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("message.max.bytes", "max.request.size"),
    ("message.timeout.ms", "delivery.timeout.ms"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("compression.codec", "compression.type"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("socket.receive.buffer.bytes", "receive.buffer.bytes"),
    ("socket.send.buffer.bytes", "send.buffer.bytes"),
];
/// Beginnings of settings that only tune librdkafka: Spark does without.
const TUNING: &[&str] = &[
    "queued.",
    "queue.buffering.",
    "fetch.error.backoff.ms",
    "fetch.queue.backoff.ms",
    "socket.",
    "topic.metadata.",
    "sticky.partitioning.linger.ms",
    "batch.num.messages",
    "statistics.interval.ms",
    "enable.metrics.push",
    "debug",
    "log",
];

/// The options of a table for Spark.
///
/// # Errors
/// All that have no counterpart.
pub(super) fn table_options(
    format: &str,
    options: &Options,
    side: Side,
    trigger: SparkTrigger,
) -> Result<Table, Vec<Refusal>> {
    let format = format.to_ascii_lowercase();
    let (mut known, mut refused) = (Vec::new(), Vec::new());
    match (format.as_str(), side) {
        ("kafka", _) => kafka(options, side, trigger, &mut known, &mut refused),
        ("console" | "noop", Side::Sink) => {
            known.extend(options.iter().map(|(name, value)| (name.to_owned(), python(value))));
        }
        ("memory", Side::Sink) => refused.push(Refusal {
            what: "Spark's memory sink cannot go on from a checkpoint".into(),
            way_out: "write to Kafka".into(),
        }),
        _ => refused.push(Refusal {
            what: format!("Spark has no format '{format}' that was compared with this one"),
            way_out: "use KAFKA; CONSOLE and NOOP can be written to".into(),
        }),
    }
    if refused.is_empty() { Ok(Table { format, options: known }) } else { Err(refused) }
}

fn kafka(
    options: &Options,
    side: Side,
    trigger: SparkTrigger,
    known: &mut Vec<(String, String)>,
    refused: &mut Vec<Refusal>,
) {
    // SQL lowers names: these are as Spark writes them.
    let find = |names: &[&'static str], name: &str| {
        names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
    };
    for (name, value) in options.iter() {
        let lower = name.to_ascii_lowercase();
        if let Some(setting) = lower.strip_prefix("kafka.") {
            client_setting(setting, value, known, refused);
        } else if let Some(name) = find(SOURCE, name) {
            if name == "subscribePattern" && !is_shared_pattern(value) && side == Side::Source {
                refused.push(Refusal {
                    what: format!(
                        "option '{name}' with '{value}': Java may read this regular expression otherwise"
                    ),
                    way_out: "use letters, digits, '-', '_', '.', '*', '+', '|' and parentheses".into(),
                });
            }
            if side == Side::Source {
                known.push((name.to_owned(), python(value)));
            }
        } else if let Some(name) = find(LIMITS, name) {
            if side == Side::Source && trigger.is_micro_batch() {
                known.push((name.to_owned(), python(value)));
            }
        } else if lower == "topic" {
            if side == Side::Sink {
                known.push((name.to_owned(), python(value)));
            }
        } else if find(OWN_TUNING, name).is_none()
            && !BEYOND.iter().any(|(ours, nothing)| *ours == lower && nothing.eq_ignore_ascii_case(value))
        {
            refused.push(Refusal {
                what: format!("option '{name}' with '{}' has no counterpart in Spark", shown(name, value)),
                way_out: "take it out of the pipeline, or out of a copy to export".into(),
            });
        }
    }
    sasl(options, known);
}

fn client_setting(name: &str, value: &str, known: &mut Vec<(String, String)>, refused: &mut Vec<Refusal>) {
    let mut set = |name: &str, value: String| known.push((format!("kafka.{name}"), value));
    let renamed = OTHER_IN_JAVA.iter().find(|(ours, _)| *ours == name).map(|(_, java)| *java);
    match name {
        "security.protocol" => set(name, python(&value.to_ascii_uppercase())),
        "ssl.ca.location" => {
            set("ssl.truststore.type", python("PEM"));
            set("ssl.truststore.location", python(value));
        }
        // See `sasl`.
        "sasl.username" | "sasl.password" => {}
        _ if is_secret(name) => set(name, from_environment(name)),
        _ if renamed.is_some() || SAME_IN_JAVA.contains(&name) => set(renamed.unwrap_or(name), python(value)),
        _ if TUNING.iter().any(|tuning| name.starts_with(tuning)) => {}
        _ => refused.push(Refusal {
            what: format!(
                "option 'kafka.{name}' is a setting of librdkafka without a counterpart that was checked"
            ),
            way_out: "take it out of the pipeline, or out of a copy to export".into(),
        }),
    }
}

/// User and password are one setting in Java. The password stays out of the program.
fn sasl(options: &Options, known: &mut Vec<(String, String)>) {
    let Some(user) = options.get("kafka.sasl.username") else { return };
    let mechanism =
        options.get("kafka.sasl.mechanism").or(options.get("kafka.sasl.mechanisms")).unwrap_or_default();
    let module = if mechanism.to_ascii_uppercase().starts_with("SCRAM") {
        "org.apache.kafka.common.security.scram.ScramLoginModule"
    } else {
        "org.apache.kafka.common.security.plain.PlainLoginModule"
    };
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let before = format!("{module} required username=\"{}\" password=\"", quote(user));
    let jaas = format!("{} + {} + {}", python(&before), from_environment("sasl.password"), python("\";"));
    known.push(("kafka.sasl.jaas.config".into(), jaas));
}

/// `os.environ["KAFKA_SASL_PASSWORD"]`
fn from_environment(setting: &str) -> String {
    format!("os.environ[\"KAFKA_{}\"]", setting.to_ascii_uppercase().replace(['.', '-'], "_"))
}

fn is_shared_pattern(pattern: &str) -> bool {
    pattern.chars().all(|c| c.is_ascii_alphanumeric() || "-_.*+|()".contains(c))
}
