//! Settings of the Java client, which users of Kafka and Spark bring along, in librdkafka's words. Pure.
//!
//! A name that both know passes as it is. Values are never shown: some are secrets.

use super::config::{PREFIX, Role};
use crate::error::{Error, Result};
use crate::options::{Options, nearest};

/// What becomes of a setting that librdkafka does not know under this name.
enum Rule {
    /// The same under another name.
    Is(&'static str),
    /// The same in KiB instead of bytes.
    Kibibytes(&'static str),
    /// Cannot be taken over; what to do instead.
    Refused(&'static str),
}

const NO_CLASSES: &str = "there are no Java classes to load; leave it out";
const NO_JMX: &str = "there is no JMX; kafka.statistics.interval.ms makes librdkafka log figures of its own";
const TLS_VERSION: &str = "OpenSSL agrees on the newest version of TLS with the broker; leave it out, or set kafka.ssl.cipher.suites";

const RULES: &[(&str, Rule)] = &[
    ("fetch.max.wait.ms", Rule::Is("fetch.wait.max.ms")),
    ("max.request.size", Rule::Is("message.max.bytes")),
    ("buffer.memory", Rule::Kibibytes("queue.buffering.max.kbytes")),
    ("compression.gzip.level", Rule::Is("compression.level")),
    ("compression.lz4.level", Rule::Is("compression.level")),
    ("compression.zstd.level", Rule::Is("compression.level")),
    ("ssl.truststore.certificates", Rule::Is("ssl.ca.pem")),
    ("ssl.keystore.certificate.chain", Rule::Is("ssl.certificate.pem")),
    ("ssl.keystore.key", Rule::Is("ssl.key.pem")),
    ("max.poll.records", Rule::Refused("batches take what has arrived; there is nothing to set")),
    (
        "max.block.ms",
        Rule::Refused(
            "a full queue holds the source back; set kafka.message.timeout.ms to bound the wait for an ack",
        ),
    ),
    (
        "default.api.timeout.ms",
        Rule::Refused("set kafka.socket.timeout.ms, or fetchOffset.numRetries for look-ups"),
    ),
    (
        "socket.connection.setup.timeout.max.ms",
        Rule::Refused("the time does not grow; set kafka.socket.connection.setup.timeout.ms"),
    ),
    ("partition.assignment.strategy", Rule::Refused("the query reads all partitions itself; leave it out")),
    (
        "exclude.internal.topics",
        Rule::Refused("set kafka.topic.blacklist to a pattern of topics to leave out"),
    ),
    (
        "partitioner.adaptive.partitioning.enable",
        Rule::Refused(
            "set kafka.sticky.partitioning.linger.ms for how long records without a key stay together",
        ),
    ),
    (
        "partitioner.availability.timeout.ms",
        Rule::Refused("set kafka.message.timeout.ms to bound the wait for a partition"),
    ),
    ("ssl.protocol", Rule::Refused(TLS_VERSION)),
    ("ssl.enabled.protocols", Rule::Refused(TLS_VERSION)),
    ("ssl.provider", Rule::Refused("set kafka.ssl.providers to OpenSSL's providers")),
    ("ssl.keymanager.algorithm", Rule::Refused(NO_CLASSES)),
    ("ssl.trustmanager.algorithm", Rule::Refused(NO_CLASSES)),
    ("ssl.secure.random.implementation", Rule::Refused(NO_CLASSES)),
    ("ssl.engine.factory.class", Rule::Refused(NO_CLASSES)),
    ("security.providers", Rule::Refused(NO_CLASSES)),
    ("sasl.client.callback.handler.class", Rule::Refused(NO_CLASSES)),
    ("sasl.login.callback.handler.class", Rule::Refused(NO_CLASSES)),
    ("sasl.login.class", Rule::Refused(NO_CLASSES)),
    ("metric.reporters", Rule::Refused(NO_JMX)),
    ("metrics.num.samples", Rule::Refused(NO_JMX)),
    ("metrics.recording.level", Rule::Refused(NO_JMX)),
    ("metrics.sample.window.ms", Rule::Refused(NO_JMX)),
    ("auto.include.jmx.reporter", Rule::Refused(NO_JMX)),
];

/// All `kafka.*` settings of `options` in librdkafka's words.
///
/// # Errors
/// A setting has no counterpart, or a value that cannot be taken over.
pub(super) fn translated(options: &Options, role: Role) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for (name, value) in options.with_prefix(PREFIX) {
        let mut set = |name: &str, value: &str| settings.push((name.to_owned(), value.to_owned()));
        match name {
            "receive.buffer.bytes" => set("socket.receive.buffer.bytes", or_systems(value)),
            "send.buffer.bytes" => set("socket.send.buffer.bytes", or_systems(value)),
            "request.timeout.ms" if role == Role::Consumer => set("socket.timeout.ms", value),
            "security.protocol" => set(name, &value.to_ascii_lowercase()),
            "ssl.endpoint.identification.algorithm" if value.trim().is_empty() => set(name, "none"),
            "ssl.endpoint.identification.algorithm" => set(name, &value.to_ascii_lowercase()),
            "ssl.truststore.type" | "ssl.keystore.type" => {}
            "ssl.truststore.location" => set("ssl.ca.location", truststore(options, value)?),
            "ssl.truststore.password" => {
                return Err(refused(name, "a PEM file has no password; set kafka.ssl.ca.location to one"));
            }
            "ssl.keystore.location" => keystore(options, value, set)?,
            "partitioner.class" => set("partitioner", partitioner(value)?),
            "partitioner.ignore.keys" if value.eq_ignore_ascii_case("true") => set("partitioner", "random"),
            "partitioner.ignore.keys" => {}
            "sasl.jaas.config" => {
                for (name, value) in login(value)? {
                    // What stands on its own is meant.
                    if options.get(&format!("{PREFIX}{name}")).is_none() {
                        set(name, &value);
                    }
                }
            }
            _ => match RULES.iter().find(|(java, _)| *java == name) {
                None => set(name, value),
                Some((_, Rule::Is(ours))) => set(ours, value),
                Some((_, Rule::Kibibytes(ours))) => {
                    let bytes: u64 = value.trim().parse().map_err(|_| {
                        refused(name, &format!("its value '{value}' is no whole number of bytes"))
                    })?;
                    set(ours, &bytes.div_ceil(1024).to_string());
                }
                Some((_, Rule::Refused(remedy))) => return Err(refused(name, remedy)),
            },
        }
    }
    check_mechanism(&settings)?;
    Ok(settings)
}

/// Whether the name is Java's and is translated, or refused in words of its own.
pub(super) fn knows(name: &str) -> bool {
    let translated = [
        "receive.buffer.bytes",
        "send.buffer.bytes",
        "ssl.truststore.type",
        "ssl.keystore.type",
        "ssl.truststore.password",
        "partitioner.class",
        "partitioner.ignore.keys",
        "sasl.jaas.config",
    ];
    translated.contains(&name) || RULES.iter().any(|(java, _)| *java == name)
}

/// The Java setting that `name`, which librdkafka does not know, may have been meant to be.
pub(super) fn similar(name: &str) -> Option<&'static str> {
    nearest(name, RULES.iter().map(|(java, _)| *java))
}

fn refused(name: &str, remedy: &str) -> Error {
    Error::usage(format!("option 'kafka.{name}' is a setting of the Java client: {remedy}"))
}

/// Java's -1 leaves a buffer's size to the system; librdkafka's 0 does.
fn or_systems(value: &str) -> &str {
    if value.trim() == "-1" { "0" } else { value }
}

fn is_type(options: &Options, store: &str, kind: &str) -> bool {
    options.get(&format!("{PREFIX}{store}.type")).is_some_and(|given| given.trim().eq_ignore_ascii_case(kind))
}

/// A trust store of the type PEM is what librdkafka calls a CA file.
fn truststore<'a>(options: &Options, path: &'a str) -> Result<&'a str> {
    if is_type(options, "ssl.truststore", "PEM") {
        return Ok(path);
    }
    Err(refused(
        "ssl.truststore.location",
        &format!(
            "a Java trust store cannot be read; write it as PEM with: keytool -list -rfc -keystore {path} > ca.pem; and set kafka.ssl.ca.location to that file"
        ),
    ))
}

/// A key store of the type PEM holds key and certificate; librdkafka's own is PKCS#12.
fn keystore(options: &Options, path: &str, mut set: impl FnMut(&str, &str)) -> Result<()> {
    if is_type(options, "ssl.keystore", "PEM") {
        set("ssl.certificate.location", path);
        set("ssl.key.location", path);
        return Ok(());
    }
    if is_type(options, "ssl.keystore", "JKS") {
        return Err(refused(
            "ssl.keystore.type",
            &format!(
                "a JKS key store cannot be read; convert it with: keytool -importkeystore -srckeystore {path} -destkeystore client.p12 -deststoretype PKCS12; and set kafka.ssl.keystore.location to that file, without a type"
            ),
        ));
    }
    set("ssl.keystore.location", path);
    Ok(())
}

fn partitioner(class: &str) -> Result<&'static str> {
    match class.rsplit('.').next().unwrap_or(class).trim() {
        "DefaultPartitioner" => Ok("murmur2_random"),
        "UniformStickyPartitioner" => Ok("random"),
        _ => Err(refused(
            "partitioner.class",
            "there are no Java classes to load; set kafka.partitioner to murmur2_random (the default, as Java's), random, consistent_random or fnv1a_random, or write a column partition",
        )),
    }
}

/// User and password of a login by PLAIN or SCRAM.
fn login(jaas: &str) -> Result<Vec<(&'static str, String)>> {
    let name = "sasl.jaas.config";
    let malformed = || {
        refused(
            name,
            "it is not of the form <class> required username=\"…\" password=\"…\"; set kafka.sasl.username and kafka.sasl.password",
        )
    };
    let words = jaas_words(jaas).ok_or_else(malformed)?;
    let [class, flag, options @ ..] = words.as_slice() else {
        return Err(malformed());
    };
    match class.rsplit('.').next().unwrap_or(class) {
        "PlainLoginModule" | "ScramLoginModule" => {}
        "Krb5LoginModule" => {
            return Err(refused(name, "Kerberos is not built in; use SCRAM or PLAIN over TLS"));
        }
        "OAuthBearerLoginModule" => {
            return Err(refused(
                name,
                "set kafka.sasl.oauthbearer.method to oidc, and kafka.sasl.oauthbearer.client.id, .client.secret and .token.endpoint.url",
            ));
        }
        _ => {
            return Err(refused(
                name,
                "only PlainLoginModule and ScramLoginModule are understood; set kafka.sasl.mechanism, kafka.sasl.username and kafka.sasl.password",
            ));
        }
    }
    if !["required", "requisite", "sufficient", "optional"].contains(&flag.to_ascii_lowercase().as_str()) {
        return Err(malformed());
    }
    let option = |wanted: &str| {
        let values = options.iter().filter_map(|word| word.split_once('='));
        values.filter(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned()).next_back()
    };
    let (username, password) = option("username").zip(option("password")).ok_or_else(malformed)?;
    Ok(vec![("sasl.username", username), ("sasl.password", password)])
}

/// The words of a JAAS entry up to its semicolon, quotes taken off; `None` where a quote or the semicolon is missing.
fn jaas_words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    loop {
        match letters.next()? {
            ';' => {
                words.extend(word);
                return Some(words);
            }
            quote @ ('"' | '\'') => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next()? {
                        '\\' => word.push(letters.next()?),
                        letter if letter == quote => break,
                        letter => word.push(letter),
                    }
                }
            }
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
}

/// librdkafka's default mechanism is Kerberos, and so is Java's: it is not built in.
fn check_mechanism(settings: &[(String, String)]) -> Result<()> {
    let get = |wanted: &[&str]| {
        let found = settings.iter().filter(|(name, _)| wanted.contains(&name.as_str()));
        found.map(|(_, value)| value.as_str()).next_back()
    };
    let is_sasl = get(&["security.protocol"]).is_some_and(|protocol| protocol.starts_with("sasl_"));
    let mechanism = get(&["sasl.mechanism", "sasl.mechanisms"]);
    if is_sasl && mechanism.is_none_or(|mechanism| mechanism.eq_ignore_ascii_case("GSSAPI")) {
        return Err(Error::usage(
            "option 'kafka.sasl.mechanism' is missing or GSSAPI, and Kerberos is not built in; set it to PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(settings: &[(&str, &str)], role: Role) -> Result<Vec<(String, String)>> {
        let options = settings.iter().map(|(name, value)| (format!("{PREFIX}{name}"), *value)).collect();
        super::translated(&options, role)
    }

    fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn javas_names_become_librdkafkas() {
        for (java, ours) in [
            (("fetch.max.wait.ms", "7"), ("fetch.wait.max.ms", "7")),
            (("receive.buffer.bytes", "-1"), ("socket.receive.buffer.bytes", "0")),
            (("send.buffer.bytes", "131072"), ("socket.send.buffer.bytes", "131072")),
            (("request.timeout.ms", "9"), ("socket.timeout.ms", "9")),
            (("max.request.size", "5"), ("message.max.bytes", "5")),
            (("buffer.memory", "33554432"), ("queue.buffering.max.kbytes", "32768")),
            (("batch.size", "16384"), ("batch.size", "16384")),
            (("compression.zstd.level", "3"), ("compression.level", "3")),
            (("security.protocol", "SSL"), ("security.protocol", "ssl")),
            (
                ("ssl.endpoint.identification.algorithm", ""),
                ("ssl.endpoint.identification.algorithm", "none"),
            ),
            (("ssl.truststore.certificates", "pem"), ("ssl.ca.pem", "pem")),
            (("ssl.keystore.location", "a.p12"), ("ssl.keystore.location", "a.p12")),
            (
                ("partitioner.class", "org.apache.kafka.clients.producer.UniformStickyPartitioner"),
                ("partitioner", "random"),
            ),
            (("partitioner.ignore.keys", "true"), ("partitioner", "random")),
        ] {
            assert_eq!(translated(&[java], Role::Consumer).unwrap(), owned(&[ours]));
        }
        let native = [("request.timeout.ms", "9")];
        assert_eq!(translated(&native, Role::Producer).unwrap(), owned(&native));
    }

    #[test]
    fn stores_of_the_type_pem_are_files_of_certificates_and_keys() {
        let stores = [
            ("ssl.keystore.location", "me.pem"),
            ("ssl.keystore.type", "PEM"),
            ("ssl.truststore.location", "ca.pem"),
            ("ssl.truststore.type", "pem"),
        ];
        let expected = [
            ("ssl.certificate.location", "me.pem"),
            ("ssl.key.location", "me.pem"),
            ("ssl.ca.location", "ca.pem"),
        ];
        assert_eq!(translated(&stores, Role::Producer).unwrap(), owned(&expected));
    }

    #[test]
    fn a_login_is_taken_out_of_its_jaas_entry() {
        for (jaas, password) in [
            (
                r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="me" password="pw";"#,
                "pw",
            ),
            (
                "org.apache.kafka.common.security.plain.PlainLoginModule REQUIRED\n  password='a b;\"c'\n  username=me ;",
                "a b;\"c",
            ),
            (r#"x.ScramLoginModule required username="me" password="q\"=\\" tokenauth="false";"#, r#"q"=\"#),
        ] {
            let expected = owned(&[("sasl.username", "me"), ("sasl.password", password)]);
            assert_eq!(translated(&[("sasl.jaas.config", jaas)], Role::Consumer).unwrap(), expected);
        }
        let both = [
            ("sasl.jaas.config", "ScramLoginModule required username=a password=b;"),
            ("sasl.username", "c"),
        ];
        let expected = owned(&[("sasl.password", "b"), ("sasl.username", "c")]);
        assert_eq!(translated(&both, Role::Consumer).unwrap(), expected);
    }

    #[test]
    fn what_has_no_counterpart_is_refused_with_what_to_set() {
        for (settings, hint) in [
            (&[("ssl.truststore.location", "/a/b.jks")][..], "keytool -list -rfc -keystore /a/b.jks"),
            (&[("ssl.truststore.location", "b"), ("ssl.truststore.type", "PKCS12")], "ssl.ca.location"),
            (&[("ssl.keystore.location", "k.jks"), ("ssl.keystore.type", "JKS")], "-deststoretype PKCS12"),
            (
                &[("sasl.jaas.config", "ScramLoginModule required username=\"me\" password=\"hunter2;")],
                "sasl.username",
            ),
            (
                &[("sasl.jaas.config", "ScramLoginModule perhaps username=a password=hunter2;")],
                "sasl.username",
            ),
            (&[("sasl.jaas.config", "PlainLoginModule required password=hunter2;")], "sasl.username"),
            (&[("sasl.jaas.config", "com.me.MyModule required password=hunter2;")], "sasl.mechanism"),
            (&[("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required;")], "Kerberos"),
            (&[("sasl.jaas.config", "OAuthBearerLoginModule required;")], "sasl.oauthbearer.method"),
            (&[("security.protocol", "SASL_SSL")], "SCRAM-SHA-512"),
            (&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "GSSAPI")], "SCRAM-SHA-512"),
            (
                &[("partitioner.class", "org.apache.kafka.clients.producer.RoundRobinPartitioner")],
                "kafka.partitioner",
            ),
            (&[("buffer.memory", "much")], "bytes"),
            (&[("max.block.ms", "1")], "message.timeout.ms"),
            (&[("ssl.enabled.protocols", "TLSv1.2")], "OpenSSL"),
            (&[("metric.reporters", "x")], "statistics.interval.ms"),
        ] {
            let error = translated(settings, Role::Producer).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage);
            let error = error.to_string();
            assert!(error.contains(hint) && !error.contains("hunter2"), "{error}");
        }
    }
}
