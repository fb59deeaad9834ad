//! The Kafka source's options, parsed once into a value without contradictions.

use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use regex::Regex;

use super::memory::MAX_BUFFERED_BYTES;
use super::offsets;
use crate::epoch::SourceOffsets;
use crate::error::{Error, Result};
use crate::kafka::config::{Role, check_options, client_config};
use crate::kafka::lookup::{Patience, Subscription};
use crate::options::{Options, invalid, parse_duration};
use crate::source::MinRecords;

/// Where a new query starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Starting {
    Earliest,
    Latest,
    /// By partition; -1 is the latest, -2 the earliest.
    Offsets(SourceOffsets),
    /// The first record at or after a time, in milliseconds since 1970.
    Time(i64),
    /// The same by partition.
    Times(SourceOffsets),
}

#[derive(Clone)]
pub(super) struct KafkaSourceOptions {
    pub(super) subscription: Subscription,
    /// As written, for the description.
    pub(super) subscribed: String,
    pub(super) starting: Starting,
    /// Start at the latest where no record is at or after the time; else that is an error.
    pub(super) latest_if_no_match: bool,
    pub(super) fail_on_data_loss: bool,
    pub(super) max_records_per_batch: Option<u64>,
    pub(super) min_records_per_batch: Option<MinRecords>,
    pub(super) include_headers: bool,
    /// Of records in memory, over all partitions.
    pub(super) max_buffered_bytes: u64,
    pub(super) patience: Patience,
    pub(super) client: ClientConfig,
}

/// Without the client's settings, some of which are secrets.
impl fmt::Debug for KafkaSourceOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KafkaSourceOptions").field(&self.subscribed).finish()
    }
}

impl KafkaSourceOptions {
    pub(super) fn parse(options: &Options) -> Result<Self> {
        check_options(options)?;
        for ending in ["endingOffsets", "endingOffsetsByTimestamp", "endingTimestamp"] {
            if options.get(ending).is_some() {
                return Err(Error::usage(format!(
                    "option '{ending}' has no meaning for a stream, which has no end; use the trigger available-now to stop"
                )));
            }
        }
        let (subscription, subscribed) = subscription(options)?;
        let mut client = client_config(options, Role::Consumer)?;
        let prefix = options.get("groupIdPrefix");
        if client.get("group.id").is_some() {
            if prefix.is_some() {
                tracing::warn!("option 'groupIdPrefix' has no effect beside 'kafka.group.id'");
            }
        } else {
            // librdkafka assigns partitions only to consumers with a group; nothing is ever committed to it.
            let prefix = prefix.unwrap_or("epochflow-source");
            client.set("group.id", format!("{prefix}-{}", uuid::Uuid::new_v4()));
        }
        check_met_by_design(options)?;
        let max_records_per_batch = options.positive("maxOffsetsPerTrigger")?;
        let retries = options.parse("fetchOffset.numRetries", "a whole number")?.unwrap_or(3);
        let retry_after = options.parse("fetchOffset.retryIntervalMs", "milliseconds")?.unwrap_or(1000);
        Ok(Self {
            subscription,
            subscribed,
            starting: starting(options)?,
            latest_if_no_match: latest_if_no_match(options)?,
            fail_on_data_loss: options.boolean("failOnDataLoss", true)?,
            max_records_per_batch,
            min_records_per_batch: min_records_per_batch(options, max_records_per_batch)?,
            include_headers: options.boolean("includeHeaders", false)?,
            max_buffered_bytes: options.positive("maxBufferedBytes")?.unwrap_or(MAX_BUFFERED_BYTES),
            patience: Patience {
                request: Duration::from_secs(10),
                retries,
                retry_after: Duration::from_millis(retry_after),
            },
            client,
        })
    }
}

fn min_records_per_batch(options: &Options, max: Option<u64>) -> Result<Option<MinRecords>> {
    let max_delay = match options.get("maxTriggerDelay") {
        Some(delay) => parse_duration(delay).map_err(|error| error.context("option 'maxTriggerDelay'"))?,
        None => Duration::from_secs(15 * 60),
    };
    let Some(records) = options.positive("minOffsetsPerTrigger")? else {
        return Ok(None);
    };
    match max.filter(|max| *max < records) {
        None => Ok(Some(MinRecords { records, max_delay })),
        Some(max) => Err(Error::usage(format!(
            "option 'minOffsetsPerTrigger' has the value '{records}', which is more than the {max} of 'maxOffsetsPerTrigger'; no batch could have so many records"
        ))),
    }
}

/// Options of Spark that say how its tasks share out and fetch the records of a batch. Here each partition has a pipeline,
/// which takes records as they arrive, in batches of bounded size: there is nothing to set, only to check.
fn check_met_by_design(options: &Options) -> Result<()> {
    options.positive("minPartitions")?;
    options.positive("maxRecordsPerPartition")?;
    options.parse::<u64>("kafkaConsumer.pollTimeoutMs", "milliseconds, 0 or more")?;
    Ok(())
}

fn subscription(options: &Options) -> Result<(Subscription, String)> {
    let given: Vec<(&str, &str)> = ["subscribe", "subscribePattern", "assign"]
        .into_iter()
        .filter_map(|name| options.get(name).map(|value| (name, value.trim())))
        .collect();
    let (name, value) = match given.as_slice() {
        [one] => *one,
        [] => {
            return Err(Error::usage(
                "the Kafka source needs one of the options subscribe, subscribePattern and assign, or a topic in LOCATION",
            ));
        }
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| *name).collect();
            return Err(Error::usage(format!(
                "options {} exclude each other; keep one",
                names.join(" and ")
            )));
        }
    };
    match name {
        "subscribe" => {
            let topics: Vec<String> = value
                .split(',')
                .map(str::trim)
                .filter(|topic| !topic.is_empty())
                .map(str::to_owned)
                .collect();
            if topics.is_empty() {
                return Err(invalid(name, value, "topics, separated by commas"));
            }
            let shown = format!("Subscribe[{}]", topics.join(", "));
            Ok((Subscription::Topics(topics), shown))
        }
        "subscribePattern" => {
            if value.is_empty() {
                return Err(invalid(name, value, "a regular expression that matches whole topic names"));
            }
            let pattern = Regex::new(value)
                .map_err(|error| invalid(name, value, &format!("a regular expression ({error})")))?;
            Ok((Subscription::Pattern(pattern), format!("SubscribePattern[{value}]")))
        }
        _ => {
            let partitions = offsets::decode_partitions(value)?;
            let shown: Vec<_> = partitions.iter().map(ToString::to_string).collect();
            Ok((Subscription::Partitions(partitions), format!("Assign[{}]", shown.join(", "))))
        }
    }
}

/// Spark's precedence: `startingTimestamp`, then `startingOffsetsByTimestamp`, then `startingOffsets`.
fn starting(options: &Options) -> Result<Starting> {
    if let Some(millis) = options.parse("startingTimestamp", "milliseconds since 1970")? {
        return Ok(Starting::Time(millis));
    }
    let by_partition = |name: &str, value: &str| {
        offsets::decode_lenient(value).map_err(|error| error.context(format!("option '{name}'")))
    };
    if let Some(value) = options.get("startingOffsetsByTimestamp") {
        return by_partition("startingOffsetsByTimestamp", value).map(Starting::Times);
    }
    match options.get("startingOffsets").map(str::trim) {
        None => Ok(Starting::Latest),
        Some(value) if value.eq_ignore_ascii_case("latest") => Ok(Starting::Latest),
        Some(value) if value.eq_ignore_ascii_case("earliest") => Ok(Starting::Earliest),
        Some(value) if value.starts_with('{') => {
            let offsets = by_partition("startingOffsets", value)?;
            match offsets.iter().find(|(_, offset)| **offset < -2) {
                None => Ok(Starting::Offsets(offsets)),
                Some((partition, offset)) => Err(Error::usage(format!(
                    "option 'startingOffsets' puts {partition} at {offset}; expected 0 or more, -1 (latest) or -2 (earliest)"
                ))),
            }
        }
        Some(value) => Err(invalid(
            "startingOffsets",
            value,
            "earliest, latest or JSON with an offset for each partition",
        )),
    }
}

fn latest_if_no_match(options: &Options) -> Result<bool> {
    match options.get("startingOffsetsByTimestampStrategy") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("error") => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("latest") => Ok(true),
        Some(value) => Err(invalid("startingOffsetsByTimestampStrategy", value, "error or latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[(&str, &str)]) -> Result<KafkaSourceOptions> {
        let base = [("kafka.bootstrap.servers", "127.0.0.1:9092")];
        KafkaSourceOptions::parse(&base.iter().chain(options).copied().collect())
    }

    #[test]
    fn defaults_are_sparks() {
        let parsed = parse(&[("subscribe", "a, b,,")]).unwrap();
        assert_eq!(parsed.subscribed, "Subscribe[a, b]");
        assert_eq!(parsed.starting, Starting::Latest);
        assert!(
            parsed.fail_on_data_loss && !parsed.include_headers && parsed.max_records_per_batch.is_none()
        );
    }

    #[test]
    fn a_time_wins_over_offsets() {
        let parsed =
            parse(&[("subscribe", "a"), ("startingOffsets", "earliest"), ("startingTimestamp", "17")])
                .unwrap();
        assert_eq!(parsed.starting, Starting::Time(17));
    }

    #[test]
    fn a_batch_may_wait_for_records_a_quarter_of_an_hour_unless_told_otherwise() {
        let min = |options: &[(&str, &str)]| parse(options).unwrap().min_records_per_batch;
        let (records, minute) = (5, Duration::from_secs(60));
        assert_eq!(min(&[("subscribe", "a"), ("maxTriggerDelay", "1m")]), None);
        assert_eq!(
            min(&[("subscribe", "a"), ("minOffsetsPerTrigger", "5")]),
            Some(MinRecords { records, max_delay: 15 * minute })
        );
        assert_eq!(
            min(&[("subscribe", "a"), ("minOffsetsPerTrigger", "5"), ("maxTriggerDelay", "1 minute")]),
            Some(MinRecords { records, max_delay: minute })
        );
    }

    #[test]
    fn the_group_has_the_prefix_or_is_the_one_that_was_given() {
        let group =
            |options: &[(&str, &str)]| parse(options).unwrap().client.get("group.id").unwrap().to_owned();
        assert!(group(&[("subscribe", "a")]).starts_with("epochflow-source-"));
        assert!(group(&[("subscribe", "a"), ("groupIdPrefix", "mine")]).starts_with("mine-"));
        let both = [("subscribe", "a"), ("groupIdPrefix", "mine"), ("kafka.group.id", "ours")];
        assert_eq!(group(&both), "ours");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (options, hint) in [
            (&[][..], "needs one of"),
            (&[("subscribe", "a"), ("assign", r#"{"a":[0]}"#)], "exclude each other"),
            (&[("subscribe", " , ")], "topics, separated by commas"),
            (&[("subscribePattern", "(")], "a regular expression"),
            (&[("assign", "a")], r#""topicA":[0,1]"#),
            (&[("subscribe", "a"), ("startingOffsets", "first")], "earliest, latest or JSON"),
            (&[("subscribe", "a"), ("startingOffsets", r#"{"a":{"0":-3}}"#)], "a-0 at -3"),
            (&[("subscribe", "a"), ("failOnDataLoss", "maybe")], "true or false"),
            (&[("subscribe", "a"), ("maxOffsetsPerTrigger", "0")], "greater than 0"),
            (&[("subscribe", "a"), ("endingOffsets", "latest")], "available-now"),
            (&[("subscribe", "a"), ("endingOffsetsByTimestamp", "{}")], "available-now"),
            (&[("subscribe", "a"), ("endingTimestamp", "1")], "available-now"),
            (
                &[("subscribe", "a"), ("minOffsetsPerTrigger", "20"), ("maxOffsetsPerTrigger", "15")],
                "more than the 15",
            ),
            (&[("subscribe", "a"), ("minOffsetsPerTrigger", "many")], "greater than 0"),
            (&[("subscribe", "a"), ("maxTriggerDelay", "soon")], "option 'maxTriggerDelay'"),
            (&[("subscribe", "a"), ("minPartitions", "1.0")], "greater than 0"),
            (&[("subscribe", "a"), ("maxRecordsPerPartition", "-1")], "greater than 0"),
            (&[("subscribe", "a"), ("maxBufferedBytes", "64m")], "greater than 0"),
            (&[("subscribe", "a"), ("kafkaConsumer.pollTimeoutMs", "-1")], "milliseconds"),
            (&[("subscribe", "a"), ("fetchOffset.numRetries", "x")], "a whole number"),
            (&[("subscribe", "a"), ("startingTimestamp", "now")], "milliseconds since 1970"),
            (&[("subscribe", "a"), ("startingOffsetsByTimestamp", "1")], "'startingOffsetsByTimestamp'"),
            (&[("subscribe", "a"), ("startingOffsetsByTimestampStrategy", "first")], "error or latest"),
            (&[("subscribe", "a"), ("startingOffset", "latest")], "did you mean 'startingOffsets'?"),
        ] {
            let error = parse(options).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }
}
