//! What each setting of a Kafka client reaches beyond the client. Pure.
//!
//! A setting that is not in these lists is not taken from SQL text: librdkafka has some for its own tests that are function
//! pointers, and later versions may have others.

use super::config::{PREFIX, Role, forbidden};
use super::java;
use crate::access::Reach;
use crate::error::{Error, Result};
use crate::options::{Options, nearest};

/// Files and folders, of librdkafka and of the Java client.
const FILES: &[&str] = &[
    "ssl.key.location",
    "ssl.certificate.location",
    "ssl.ca.location",
    "https.ca.location",
    "ssl.crl.location",
    "ssl.keystore.location",
    "ssl.truststore.location",
    "sasl.kerberos.keytab",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.jwt.template.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "offset.store.path",
];

const LOADS_CODE: &str = "it loads code into the process";
const NEVER: &[(&str, &str)] = &[
    ("plugin.library.paths", LOADS_CODE),
    ("interceptors", LOADS_CODE),
    ("ssl.engine.location", LOADS_CODE),
    ("ssl.engine.id", LOADS_CODE),
    ("ssl.providers", LOADS_CODE),
    ("sasl.kerberos.kinit.cmd", "it runs a program"),
];

/// Where Azure hands a machine its own identity.
const AZURE_IDENTITY: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Numbers, names, switches and secrets that stay within the client and what it says to its brokers.
const WITHIN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "builtin.features",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "consume.callback.max.messages",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "https.ca.pem",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log.thread.name",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "offset.store.sync.interval.ms",
    "partition.assignment.strategy",
    "partitioner",
    "produce.offset.report",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "queuing.strategy",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.jti.include",
    "sasl.oauthbearer.assertion.claim.nbf.seconds",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.blocking.max.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.certificate.stores",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.cnt",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    "transaction.timeout.ms",
    "transactional.id",
];

/// What the `kafka.*` settings among the options reach, with the names of the options.
///
/// # Errors
/// A setting that is not taken from SQL text.
pub(crate) fn reach(options: &Options) -> Result<Vec<(String, Reach<'_>)>> {
    let mut reached = Vec::new();
    for (name, value) in options.with_prefix(PREFIX) {
        if let Some(reach) = of_setting(name, value)? {
            reached.push((format!("{PREFIX}{name}"), reach));
        }
    }
    Ok(reached)
}

fn of_setting<'a>(name: &str, value: &'a str) -> Result<Option<Reach<'a>>> {
    let reach = match name {
        "bootstrap.servers" | "metadata.broker.list" => Reach::Brokers(value),
        "sasl.oauthbearer.token.endpoint.url" => Reach::Url(value),
        "sasl.oauthbearer.metadata.authentication.type" if value.eq_ignore_ascii_case("none") => {
            return Ok(None);
        }
        "sasl.oauthbearer.metadata.authentication.type" => Reach::Url(AZURE_IDENTITY),
        "offset.store.method" if value.eq_ignore_ascii_case("file") => Reach::Path("."),
        "offset.store.method" => return Ok(None),
        // The certificates of the system.
        "ssl.ca.location" | "https.ca.location" if value == "probe" => return Ok(None),
        _ if FILES.contains(&name) => Reach::Path(value),
        _ if WITHIN.contains(&name) || java::knows(name) || is_forbidden(name) => return Ok(None),
        _ => match NEVER.iter().find(|(never, _)| *never == name) {
            Some((_, reason)) => Reach::Never(reason),
            None => return Err(unknown(name)),
        },
    };
    Ok(Some(reach))
}

/// Whether the client's configuration refuses it, in better words.
fn is_forbidden(name: &str) -> bool {
    [Role::Consumer, Role::Producer].into_iter().any(|role| forbidden(role, name).is_some())
}

fn unknown(name: &str) -> Error {
    let meant = java::similar(name).or_else(|| nearest(name, WITHIN.iter().chain(FILES).copied()));
    let meant = meant.map_or_else(String::new, |name| format!(" (did you mean 'kafka.{name}'?)"));
    Error::usage(format!(
        "option 'kafka.{name}' is not a setting of librdkafka that SQL text can give{meant}; see its CONFIGURATION.md for the \
         names, and docs/security.md for those that only a program can give"
    ))
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::error::KafkaError;

    use super::*;

    fn reach_of(name: &str, value: &'static str) -> Result<Option<Reach<'static>>> {
        of_setting(name, value)
    }

    #[test]
    fn files_urls_brokers_and_code_are_told_apart() {
        for (name, value, expected) in [
            ("bootstrap.servers", "a:1,b", Some(Reach::Brokers("a:1,b"))),
            ("metadata.broker.list", "a:1", Some(Reach::Brokers("a:1"))),
            ("ssl.ca.location", "probe", None),
            ("ssl.ca.location", "/etc/x", Some(Reach::Path("/etc/x"))),
            ("ssl.truststore.location", "/etc/x", Some(Reach::Path("/etc/x"))),
            ("sasl.oauthbearer.token.endpoint.url", "https://x/t", Some(Reach::Url("https://x/t"))),
            ("sasl.oauthbearer.metadata.authentication.type", "none", None),
            ("sasl.oauthbearer.metadata.authentication.type", "azure_imds", Some(Reach::Url(AZURE_IDENTITY))),
            ("offset.store.method", "file", Some(Reach::Path("."))),
            ("offset.store.method", "broker", None),
            ("plugin.library.paths", "/tmp/x.so", Some(Reach::Never(LOADS_CODE))),
            ("ssl.providers", "/tmp/x", Some(Reach::Never(LOADS_CODE))),
            ("sasl.kerberos.kinit.cmd", "id", Some(Reach::Never("it runs a program"))),
            ("linger.ms", "5", None),
            ("sasl.jaas.config", "x", None),
            ("max.poll.records", "5", None),
            ("key.deserializer", "x", None),
        ] {
            assert_eq!(reach_of(name, value).unwrap(), expected, "{name} = {value}");
        }
    }

    /// Function pointers, hidden settings of librdkafka's own tests, and what a later version may bring.
    #[test]
    fn what_is_not_listed_is_refused() {
        for name in [
            "ut_handle_ProduceResponse",
            "test.mock.num.brokers",
            "error_cb",
            "opaque",
            "ssl_key",
            "internal.termination.signal",
            "some.new.script.path",
            "linger",
        ] {
            let error = reach_of(name, "x").unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("CONFIGURATION.md"), "{error}");
        }
        assert!(reach_of("fetch.wait.max", "1").unwrap_err().to_string().contains("did you mean"));
    }

    /// A name that librdkafka does not know would stand for one that was forgotten.
    #[test]
    fn librdkafka_knows_every_name() {
        for name in WITHIN.iter().chain(FILES).filter(|name| **name != "ssl.truststore.location") {
            let set = ClientConfig::new().set(*name, "").create_native_config();
            if let Err(KafkaError::ClientConfig(_, reason, _, _)) = set {
                assert!(!reason.contains("No such configuration property"), "{name}: {reason}");
            }
        }
    }
}
