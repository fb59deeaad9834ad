//! What the Kafka source and sink share: client configuration, look-ups, and a thin layer over librdkafka's C interface
//! for the two calls that every record passes.

pub(crate) mod config;
pub(crate) mod consumer;
pub(crate) mod lookup;
pub(crate) mod mock;
pub(crate) mod producer;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::error::{Error, ErrorKind};

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
        Code::InvalidArgument => ErrorKind::Usage,
        _ => ErrorKind::Transient,
    }
}

/// An error of librdkafka with what was being done when it came.
pub(crate) fn kafka_error(doing: &str, error: KafkaError) -> Error {
    let kind = error.rdkafka_error_code().map_or(ErrorKind::Internal, kind_of);
    Error::new(kind, format!("{doing}: {error}")).with_source(error)
}
