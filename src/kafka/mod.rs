//! What the Kafka source and sink share: client configuration, look-ups, and a thin layer over librdkafka's C interface
//! for the two calls that every record passes.

pub(crate) mod config;
pub(crate) mod consumer;
mod java;
pub(crate) mod limits;
pub(crate) mod lookup;
pub(crate) mod mock;
pub(crate) mod producer;
pub(crate) mod reach;
pub(crate) mod transactions;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use crate::error::{Error, ErrorKind};
use crate::secrets::without_secrets;

/// Sorts a librdkafka error by its remedy.
pub(crate) fn kind_of(code: RDKafkaErrorCode) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::UnsupportedSASLMechanism
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::InvalidTopic
        | Code::UnsupportedVersion
        | Code::SSL => ErrorKind::Environment,
        Code::AutoOffsetReset | Code::OffsetOutOfRange => ErrorKind::DataLoss,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => ErrorKind::Fenced,
        Code::MessageSizeTooLarge | Code::InvalidMessage | Code::InvalidRecord => ErrorKind::Data,
        Code::InvalidArgument | Code::InvalidTransactionTimeout => ErrorKind::Usage,
        Code::Fatal | Code::OutOfOrderSequenceNumber | Code::UnknownProducerId => ErrorKind::Internal,
        _ => ErrorKind::Transient,
    }
}

/// An error of librdkafka with what was being done when it came.
pub(crate) fn kafka_error(doing: &str, error: KafkaError) -> Error {
    let kind = match &error {
        // Such as a file of certificates that is not there.
        KafkaError::ClientCreation(_) => ErrorKind::Environment,
        other => other.rdkafka_error_code().map_or(ErrorKind::Internal, kind_of),
    };
    Error::new(kind, format!("{doing}: {error}")).with_source(error)
}

/// Held by whoever uses a client.
#[derive(Clone, Debug)]
pub(crate) struct Lease(#[expect(dead_code, reason = "only counted")] Arc<()>);

/// Tells the client's own thread and callbacks whether anybody holds a [`Lease`]: one that nobody uses is to be closed,
/// and what it then meets is no news.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    held: Weak<()>,
    warned: Arc<parking_lot::Mutex<Option<Instant>>>,
    contact: Arc<parking_lot::Mutex<Contact>>,
}

/// What a client knows of how the brokers take it.
#[derive(Debug, Default)]
struct Contact {
    /// A login that was once taken does not become wrong because a broker goes down in the middle of the next one.
    is_known: bool,
    /// Why the login or the certificate was refused.
    refusal: Option<String>,
}

/// librdkafka reports brokers that are down at every attempt to reach them, dozens of times a second.
const WARNING_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) fn lease() -> (Lease, InUse) {
    let held = Arc::new(());
    let in_use = InUse { held: Arc::downgrade(&held), warned: Arc::default(), contact: Arc::default() };
    (Lease(held), in_use)
}

impl InUse {
    fn is_true(&self) -> bool {
        self.held.strong_count() > 0
    }

    /// Passes on a line of librdkafka's log. Even its errors are no failures here: the client goes on trying.
    fn log_line(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        let line = without_secrets(line);
        match level {
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", "{facility} {line}"),
            RDKafkaLogLevel::Info | RDKafkaLogLevel::Notice => {
                tracing::debug!(target: "librdkafka", "{facility} {line}");
            }
            _ if self.is_true() => tracing::warn!(target: "librdkafka", "{facility} {line}"),
            _ => tracing::debug!(target: "librdkafka", "{facility} {line}"),
        }
    }

    /// Asks a broker with `ask`, which takes how long to wait: `patience` in all, but no longer than until the brokers
    /// have refused the client's login or certificate. librdkafka itself would go on trying.
    fn ask<T>(&self, patience: Duration, mut ask: impl FnMut(Duration) -> KafkaResult<T>) -> KafkaResult<T> {
        let began = Instant::now();
        let mut wait = Duration::from_secs(1);
        loop {
            let left = patience.saturating_sub(began.elapsed());
            match ask(wait.min(left)) {
                Ok(answer) => {
                    *self.contact.lock() = Contact { is_known: true, refusal: None };
                    return Ok(answer);
                }
                Err(error) if left <= wait || self.is_refused() => return Err(error),
                Err(error) if error.rdkafka_error_code().map(kind_of) != Some(ErrorKind::Transient) => {
                    return Err(error);
                }
                // A broker that takes long to answer gets longer each time.
                Err(_) => wait *= 2,
            }
        }
    }

    fn is_refused(&self) -> bool {
        self.contact.lock().refusal.is_some()
    }

    /// The error of a question that was not answered: that the brokers refuse the client, if they do.
    fn unanswered(&self, doing: &str, error: KafkaError) -> Error {
        match &self.contact.lock().refusal {
            Some(reason) => Error::new(
                ErrorKind::Environment,
                format!(
                    "{doing}: the brokers refuse the login or the certificate; check the options kafka.security.protocol, kafka.sasl.* and kafka.ssl.*: {reason}"
                ),
            )
            .with_source(error),
            None => kafka_error(doing, error),
        }
    }

    fn on_refused(&self, reason: &str) {
        // A connection that broke says nothing of the login.
        let is_broken = ["Disconnected", "reset by peer"].iter().any(|mark| reason.contains(mark));
        let mut contact = self.contact.lock();
        if !contact.is_known && !is_broken {
            contact.refusal = Some(reason.to_owned());
        }
    }

    /// Logs a global error of a client, which is news, not a failure: the client goes on trying.
    fn log(&self, error: &KafkaError, reason: &str) {
        let reason = without_secrets(reason);
        let error_text = without_secrets(&error.to_string());
        if let Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) = error.rdkafka_error_code() {
            self.on_refused(&reason);
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => tracing::error!(target: "epochflow::kafka", "{reason}"),
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Authentication)
                if self.is_true() && self.is_warning_due() =>
            {
                tracing::warn!(target: "epochflow::kafka", "{reason}");
            }
            _ => tracing::debug!(target: "epochflow::kafka", "{error_text}: {reason}"),
        }
    }

    fn is_warning_due(&self) -> bool {
        let mut warned = self.warned.lock();
        let due = warned.is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL);
        if due {
            *warned = Some(Instant::now());
        }
        due
    }
}
