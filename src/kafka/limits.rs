//! How large a record may be: the client's limits as the topics' brokers have them.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResourceResult, ResourceSpecifier};
use rdkafka::error::KafkaResult;

use super::consumer::LoggingContext;
use super::lease;

/// librdkafka's own, in bytes.
const BATCH_SIZE: u64 = 1_000_000;
const MESSAGE_MAX_BYTES: u64 = 1_000_000;
const QUEUE_KBYTES: u64 = 1_048_576;
/// The most that it takes for `message.max.bytes`.
const MESSAGE_MOST: u64 = 1_000_000_000;

/// What brokers tell of `max.message.bytes` of each of these topics; `None` where they do not tell, since not everybody may
/// ask. Blocks.
pub(crate) fn max_message_bytes(
    config: &ClientConfig,
    topics: &[Arc<str>],
    patience: Duration,
) -> Vec<Option<u64>> {
    // Nobody holds its lease, so that what it meets is no news: the producer meets the same.
    let admin: KafkaResult<AdminClient<LoggingContext>> =
        config.create_with_context(LoggingContext(lease().1));
    let asked: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let options = AdminOptions::new().request_timeout(Some(patience));
    let answers = match admin {
        _ if topics.is_empty() => return Vec::new(),
        Ok(admin) => block_on(admin.describe_configs(&asked, &options)),
        Err(error) => Err(error),
    };
    let limit =
        |answer: ConfigResourceResult| answer.ok()?.get("max.message.bytes")?.value.as_ref()?.parse().ok();
    match answers {
        Ok(answers) => answers.into_iter().map(limit).collect(),
        Err(error) => {
            tracing::debug!(target: "epochflow::kafka", "the brokers do not tell max.message.bytes: {error}");
            vec![None; topics.len()]
        }
    }
}

/// Fits a producer to topics with these `max.message.bytes`, where the user has set nothing. librdkafka sends up to a megabyte
/// together, and a broker refuses all of what is too large for the topic.
pub(crate) fn fit(config: &mut ClientConfig, limits: &[Option<u64>]) {
    let known = || limits.iter().copied().flatten();
    if let Some(smallest) = known().min().filter(|smallest| *smallest < BATCH_SIZE)
        && config.get("batch.size").is_none()
    {
        config.set("batch.size", smallest.max(1).to_string());
    }
    if let Some(largest) = known().max().filter(|largest| *largest > MESSAGE_MAX_BYTES)
        && config.get("message.max.bytes").is_none()
    {
        config.set("message.max.bytes", largest.min(MESSAGE_MOST).to_string());
    }
}

/// The largest record, key and value, that can be written to a topic with this `max.message.bytes`.
pub(crate) fn largest_record(config: &ClientConfig, limit: Option<u64>) -> usize {
    let number = |name: &str, default: u64| {
        config.get(name).and_then(|value| value.trim().parse().ok()).unwrap_or(default)
    };
    let message = number("message.max.bytes", MESSAGE_MAX_BYTES);
    // What is larger than the whole queue would wait for room for ever.
    let queue = number("queue.buffering.max.kbytes", QUEUE_KBYTES).saturating_mul(1024);
    let compresses = ["compression.type", "compression.codec"]
        .iter()
        .any(|name| config.get(name).is_some_and(|codec| codec != "none"));
    // The topic's limit is for the size on the wire, which compression makes smaller by nobody knows how much.
    let limit = limit.filter(|_| !compresses).unwrap_or(u64::MAX);
    usize::try_from(message.min(queue).min(limit)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(limits: &[u64], set: &[(&str, &str)]) -> (Option<String>, usize) {
        let mut config = ClientConfig::new();
        for (name, value) in set {
            config.set(*name, *value);
        }
        let limits: Vec<_> = limits.iter().copied().map(Some).collect();
        fit(&mut config, &limits);
        (config.get("batch.size").map(str::to_owned), largest_record(&config, limits[0]))
    }

    #[test]
    fn the_topics_limit_holds_and_what_the_user_has_set_below_it() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(fitted(&[1_048_588], &[]), (None, 1_048_588));
        assert_eq!(fitted(&[20_000], &[]), (text("20000"), 20_000));
        assert_eq!(fitted(&[20_000_000], &[("queue.buffering.max.kbytes", "16384")]), (None, 16_777_216));
        let own = [("batch.size", "500000"), ("message.max.bytes", "600000")];
        assert_eq!(fitted(&[700_000], &own), (text("500000"), 600_000));
        assert_eq!(fitted(&[20_000], &own), (text("500000"), 20_000));
    }

    #[test]
    fn of_several_topics_each_has_its_own_limit_and_batches_fit_all() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(fitted(&[20_000, 5_000_000], &[]), (text("20000"), 20_000));
        assert_eq!(fitted(&[5_000_000, 20_000], &[]), (text("20000"), 5_000_000));
    }

    #[test]
    fn what_is_compressed_may_be_larger_than_the_topics_limit() {
        assert_eq!(fitted(&[20_000], &[("compression.type", "lz4")]), (Some("20000".to_owned()), 1_000_000));
        assert_eq!(fitted(&[20_000], &[("compression.codec", "none")]).1, 20_000);
    }
}
