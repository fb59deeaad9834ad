//! From `kafka.*` options to librdkafka's configuration.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use super::java;
use crate::error::{Error, Result};
use crate::options::{Options, invalid};

/// Of the names of client settings among the options.
pub(super) const PREFIX: &str = "kafka.";

/// Options of the source and the sink; one table may be both, so each takes the other's.
const TABLE_OPTIONS: &[&str] = &[
    "subscribe",
    "subscribePattern",
    "assign",
    "startingOffsets",
    "startingTimestamp",
    "startingOffsetsByTimestamp",
    "startingOffsetsByTimestampStrategy",
    "endingOffsets",
    "endingOffsetsByTimestamp",
    "endingTimestamp",
    "failOnDataLoss",
    "maxOffsetsPerTrigger",
    "minOffsetsPerTrigger",
    "maxTriggerDelay",
    "minPartitions",
    "maxRecordsPerPartition",
    "kafkaConsumer.pollTimeoutMs",
    "includeHeaders",
    "maxBufferedBytes",
    "groupIdPrefix",
    "fetchOffset.numRetries",
    "fetchOffset.retryIntervalMs",
    "topic",
    "deadLetterTopic",
    "delivery",
    "provenance",
];

/// Refuses an option that neither the Kafka source nor the sink knows.
pub(crate) fn check_options(options: &Options) -> Result<()> {
    options.check_known("the Kafka source and sink", TABLE_OPTIONS, &[PREFIX])
}

/// Which client the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Consumer,
    Producer,
}

/// What the engine sets unless the user does. The reasons stand in docs/options.md.
const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("isolation.level", "read_uncommitted"),
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "100"),
    ("fetch.error.backoff.ms", "50"),
    // The default of 1 s stalls a partition for that long whenever its queue was full.
    ("fetch.queue.backoff.ms", "2"),
    ("queued.min.messages", "10000"),
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.max.bytes", "4194304"),
];
const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("linger.ms", "0"),
    ("acks", "all"),
    ("enable.idempotence", "true"),
    // Java's partitioner, so that keys land where other producers put them.
    ("partitioner", "murmur2_random"),
    // With linger 0 librdkafka would pick a new partition for each record without a key.
    ("sticky.partitioning.linger.ms", "10"),
    ("queue.buffering.max.messages", "50000"),
    ("queue.buffering.max.kbytes", "16384"),
    ("allow.auto.create.topics", "true"),
];
const COMMON_DEFAULTS: &[(&str, &str)] = &[
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("socket.keepalive.enable", "true"),
    ("enable.metrics.push", "false"),
];
/// What the engine needs to be so; a user cannot set it.
const CONSUMER_FIXED: &[(&str, &str)] =
    &[("enable.auto.commit", "false"), ("enable.auto.offset.store", "false"), ("auto.offset.reset", "error")];

/// Settings that Spark forbids, since the engine decides them.
pub(super) fn forbidden(role: Role, name: &str) -> Option<&'static str> {
    match (role, name) {
        (Role::Consumer, "auto.offset.reset") => Some(
            "set the source option startingOffsets to say where a new query starts; offsets are kept in the checkpoint",
        ),
        (Role::Consumer, "key.deserializer" | "value.deserializer") => {
            Some("keys and values arrive as binary; decode them in SQL, as with CAST(value AS STRING)")
        }
        (Role::Producer, "key.serializer" | "value.serializer") => {
            Some("keys and values leave as binary or text; encode them in SQL")
        }
        (Role::Consumer, "enable.auto.commit" | "enable.auto.offset.store" | "enable.partition.eof") => {
            Some("progress is kept in the checkpoint")
        }
        (_, "interceptor.classes") => Some("there are no Java classes to load"),
        (Role::Producer, "transactional.id") => {
            Some("with delivery = exactly-once it is derived from the query's id")
        }
        _ => None,
    }
}

/// librdkafka's configuration for `role`, checked against librdkafka itself.
///
/// # Errors
/// A setting that is missing, forbidden, unknown to librdkafka, or has a value that it refuses.
pub(crate) fn client_config(options: &Options, role: Role) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    let defaults = if role == Role::Consumer { CONSUMER_DEFAULTS } else { PRODUCER_DEFAULTS };
    for (name, value) in COMMON_DEFAULTS.iter().chain(defaults) {
        config.set(*name, *value);
    }
    for (name, _) in options.with_prefix(PREFIX) {
        if let Some(reason) = forbidden(role, name) {
            return Err(Error::usage(format!("option 'kafka.{name}' is not supported: {reason}")));
        }
    }
    for (name, value) in java::translated(options, role)? {
        relax_idempotence(&mut config, options, &name, &value);
        config.set(name, value);
    }
    if role == Role::Consumer {
        for (name, value) in CONSUMER_FIXED {
            config.set(*name, *value);
        }
    }
    if config.get("bootstrap.servers").is_some_and(|servers| servers.contains('@')) {
        return Err(Error::usage(
            "option 'kafka.bootstrap.servers' or LOCATION holds a login: give the brokers as host:port, and set kafka.sasl.username and kafka.sasl.password",
        ));
    }
    if config.get("bootstrap.servers").is_none_or(|servers| servers.trim().is_empty()) {
        return Err(Error::usage(
            "option 'kafka.bootstrap.servers' is missing; give the brokers as host:port, separated by commas",
        ));
    }
    config.create_native_config().map_err(|error| refused_by_librdkafka(&error))?;
    Ok(config)
}

/// Idempotence is a default, not a demand: `acks` other than all turn it off unless the user asked for it by name.
fn relax_idempotence(config: &mut ClientConfig, options: &Options, name: &str, value: &str) {
    let asked_for = options.get("kafka.enable.idempotence").is_some();
    let forbids = match name {
        "acks" => value != "all" && value != "-1",
        "max.in.flight.requests.per.connection" => value.parse::<u32>().is_ok_and(|requests| requests > 5),
        _ => false,
    };
    if forbids && !asked_for {
        config.set("enable.idempotence", "false");
    }
}

/// Why librdkafka makes no client of a configuration that it has accepted setting by setting.
pub(crate) fn refused_client(config: &ClientConfig, error: &KafkaError) -> Error {
    let KafkaError::ClientCreation(reason) = error else {
        return refused_by_librdkafka(error);
    };
    let named = config.config_map().into_iter().filter(|(name, _)| reason.contains(*name));
    match named.max_by_key(|(name, _)| name.len()) {
        Some((name, value)) => {
            invalid(&format!("kafka.{name}"), value, &format!("what librdkafka accepts ({reason})"))
        }
        None => Error::usage(format!("the kafka.* options are not accepted by librdkafka: {reason}")),
    }
}

fn refused_by_librdkafka(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, reason, name, value) => {
            if reason.contains("No such configuration property") {
                let meant = java::similar(name)
                    .map_or_else(String::new, |name| format!(" (did you mean 'kafka.{name}'?)"));
                Error::usage(format!(
                    "option 'kafka.{name}' is not a setting of librdkafka{meant}; see its CONFIGURATION.md for the names"
                ))
            } else {
                invalid(&format!("kafka.{name}"), value, &format!("what librdkafka accepts ({reason})"))
            }
        }
        other => Error::usage(format!("the kafka.* options are not accepted by librdkafka: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(extra: &[(&str, &str)]) -> Options {
        [("kafka.bootstrap.servers", "127.0.0.1:9092")].iter().chain(extra).map(|(n, v)| (*n, *v)).collect()
    }

    #[test]
    fn the_users_setting_wins_over_the_default_and_java_names_are_translated() {
        let config = client_config(
            &options(&[("kafka.Fetch.Max.Wait.ms", "7"), ("kafka.linger.ms", "5")]),
            Role::Producer,
        );
        assert!(config.is_ok(), "{config:?}");
        let config = client_config(&options(&[("kafka.fetch.max.wait.ms", "7")]), Role::Consumer).unwrap();
        assert_eq!(config.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn acks_other_than_all_turn_idempotence_off_unless_it_was_asked_for() {
        let config = client_config(&options(&[("kafka.acks", "1")]), Role::Producer).unwrap();
        assert_eq!(config.get("enable.idempotence"), Some("false"));
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_the_remedy() {
        for (role, name, value, hint) in [
            (Role::Consumer, "kafka.auto.offset.reset", "latest", "startingOffsets"),
            (Role::Consumer, "kafka.key.deserializer", "x", "binary"),
            (Role::Producer, "kafka.value.serializer", "x", "SQL"),
            (Role::Producer, "kafka.sasl.jaas.config", "user=me password=hunter2", "kafka.sasl.username"),
            (Role::Consumer, "kafka.fetch.max.wait", "1", "'kafka.fetch.max.wait.ms'"),
            (Role::Consumer, "kafka.no.such.thing", "1", "CONFIGURATION.md"),
            (Role::Producer, "kafka.linger.ms", "soon", "kafka.linger.ms"),
            (Role::Producer, "kafka.transactional.id", "me", "the query's id"),
        ] {
            let error = client_config(&options(&[(name, value)]), role).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(hint) && !error.contains("hunter2"), "{error}");
        }
        assert!(
            client_config(&Options::new(), Role::Consumer)
                .unwrap_err()
                .to_string()
                .contains("kafka.bootstrap.servers")
        );
    }
}
