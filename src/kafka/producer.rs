//! A producer whose acknowledgements are counted by epoch, not by record.
#![expect(unsafe_code, reason = "the safe interface looks the topic up by name for each record")]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::bindings as ffi;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext, Message};
use tokio::sync::Notify;

use super::config::refused_client;
use super::{InUse, Lease, kafka_error, kind_of, lease};
use crate::epoch::SourceRange;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Unacked;

/// librdkafka's RD_KAFKA_PARTITION_UA.
const ANY_PARTITION: i32 = -1;

/// Deliveries still to be acknowledged for one epoch of one writer.
///
/// Counts from 1, so that it cannot reach zero before [`seal`](Acks::seal) says that none follows.
#[derive(Debug)]
pub(crate) struct Acks {
    outstanding: AtomicI64,
    failure: Mutex<Option<Error>>,
    complete: Notify,
}

impl Acks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { outstanding: AtomicI64::new(1), failure: Mutex::new(None), complete: Notify::new() })
    }

    /// No record of this epoch follows.
    pub(crate) fn seal(&self) {
        self.settle();
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// The first record that the broker refused, or that could not be delivered in time.
    pub(crate) async fn wait(&self) -> Result<()> {
        while self.outstanding.load(Ordering::Acquire) > 0 {
            self.complete.notified().await;
        }
        // Each wakes the next who waits.
        self.complete.notify_one();
        self.check()
    }

    /// The first failure so far: a writer need not wait for the end of its epoch to learn of it.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    fn settle(&self) {
        if self.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete.notify_one();
        }
    }

    fn fail(&self, error: Error) {
        self.failure.lock().get_or_insert(error);
    }
}

/// Records that are sent off together. Each has a reference, and so has whoever sends them: when the last one goes, all are
/// acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    acks: Arc<Acks>,
    unacked: Option<Unacked>,
    /// Where they come from in the source, for the error of one that the broker refuses.
    origin: Option<SourceRange>,
}

impl InFlight {
    pub(crate) fn new(acks: &Arc<Acks>, unacked: Option<Unacked>, origin: Option<SourceRange>) -> Arc<Self> {
        acks.outstanding.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { acks: Arc::clone(acks), unacked, origin })
    }

    fn fail(&self, error: Error) {
        self.acks.fail(match &self.origin {
            Some(origin) => error.at(origin),
            None => error,
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // Before the epoch can be complete: its latencies are read then.
        self.unacked = None;
        self.acks.settle();
    }
}

/// Where writers wait while the queue is full.
#[derive(Debug, Default)]
struct Room {
    made: Notify,
    waiting: AtomicUsize,
}

impl Room {
    /// A record has left the queue. Seldom does anybody wait: telling nobody would cost as much as settling its ack.
    fn made(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.made.notify_waiters();
        }
    }

    async fn wait(&self) {
        /// Counts a writer for as long as it waits, even if it gives up.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        // A delivery between the refused record and this call would not be heard, hence the bound.
        let _ = tokio::time::timeout(Duration::from_millis(5), self.made.notified()).await;
    }
}

/// Settles acknowledgements and tells waiting writers that the queue has room again.
#[derive(Debug)]
pub(super) struct DeliveryContext {
    room: Arc<Room>,
    in_use: InUse,
}

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.in_use.log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.in_use.log(&error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Arc<InFlight>;

    fn delivery(&self, result: &DeliveryResult<'_>, in_flight: Arc<InFlight>) {
        if let Err((error, message)) = result {
            let kind = error.rdkafka_error_code().map_or(ErrorKind::Internal, kind_of);
            let topic = message.topic();
            let told = match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => format!(
                    "Kafka did not take a record of {} bytes for topic '{topic}', or what was sent with it: {error}; raise max.message.bytes of the topic, or let the query make smaller rows. If this record is small enough, set option 'kafka.batch.size' below max.message.bytes",
                    message.payload_len() + message.key_len()
                ),
                _ => format!("Kafka did not take a record for topic '{topic}': {error}"),
            };
            in_flight.fail(Error::new(kind, told).with_source(error.clone()));
        }
        drop(in_flight);
        self.room.made();
    }
}

/// One record to write; parts that are `None` are null in Kafka.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    /// `None` leaves the choice to the partitioner.
    pub(crate) partition: Option<i32>,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Queued {
    Yes,
    /// The queue is full; wait for [`AckedProducer::room`] and try again.
    Full,
}

/// A producer that takes records from many writers.
#[derive(Clone)]
pub(crate) struct AckedProducer {
    pub(super) inner: Arc<BaseProducer<DeliveryContext>>,
    room: Arc<Room>,
    _lease: Lease,
}

impl AckedProducer {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self> {
        let (lease, in_use) = lease();
        let room = Arc::new(Room::default());
        let context = DeliveryContext { room: Arc::clone(&room), in_use: in_use.clone() };
        let inner: BaseProducer<DeliveryContext> =
            config.create_with_context(context).map_err(|e| refused_client(config, &e))?;
        let inner = Arc::new(inner);
        serve_deliveries(Arc::clone(&inner), in_use)?;
        Ok(Self { inner, room, _lease: lease })
    }

    /// Drops what is not acknowledged: nothing may come after what another producer is going to write.
    pub(crate) fn discard(self) {
        self.inner.purge(PurgeConfig::default().queue().inflight());
    }

    /// A writer's handle on the topics that it meets.
    pub(crate) fn topics(&self) -> Topics {
        Topics { producer: self.clone(), handles: HashMap::new(), last: None }
    }

    /// Partitions of `topic`, waiting up to `timeout` for the answer.
    ///
    /// # Errors
    /// The topic does not exist or no broker answers.
    pub(crate) fn partition_count(&self, topic: &str, timeout: Duration) -> Result<usize> {
        let in_use = &self.inner.context().in_use;
        let metadata = in_use
            .ask(timeout, |wait| self.inner.client().fetch_metadata(Some(topic), wait))
            .map_err(|e| in_use.unanswered(&format!("cannot look up topic '{topic}' to write to"), e))?;
        let found = metadata.topics().iter().find(|candidate| candidate.name() == topic);
        match found.and_then(|found| found.error()) {
            None => Ok(found.map_or(0, |found| found.partitions().len())),
            Some(error) => Err(kafka_error(
                &format!("cannot write to topic '{topic}'"),
                KafkaError::MetadataFetch(RDKafkaErrorCode::from(error)),
            )),
        }
    }

    /// Whether the brokers refuse the producer's login or certificate.
    pub(crate) fn is_refused(&self) -> bool {
        self.inner.context().in_use.is_refused()
    }

    /// Resolves when a record has left the queue since the call, or after a moment at the latest.
    pub(crate) async fn room(&self) {
        self.room.wait().await;
    }
}

/// Acknowledgements come out of a queue that somebody must poll; the thread also takes the last reference, since
/// closing a producer blocks.
fn serve_deliveries(producer: Arc<BaseProducer<DeliveryContext>>, in_use: InUse) -> Result<()> {
    let serve = move || {
        while in_use.is_true() || Arc::strong_count(&producer) > 1 {
            // Acks wake it at once. rdkafka spins through the last millisecond of the wait, so a short one would cost.
            producer.poll(Duration::from_secs(1));
        }
    };
    let spawned = std::thread::Builder::new().name("kafka-acks".into()).spawn(serve);
    spawned.map(drop).map_err(|e| {
        Error::new(ErrorKind::Environment, "cannot start a thread for Kafka's acks").with_source(e)
    })
}

/// librdkafka's topic handles by name, so that a record costs no look-up.
pub(crate) struct Topics {
    producer: AckedProducer,
    handles: HashMap<Arc<str>, TopicHandle>,
    /// Of the record before: most have the same topic, and comparing names is less than hashing one.
    last: Option<(Arc<str>, TopicHandle)>,
}

#[derive(Clone, Copy)]
struct TopicHandle(*mut ffi::rd_kafka_topic_t);

// SAFETY: a topic handle is reference-counted and locked inside librdkafka.
unsafe impl Send for TopicHandle {}

impl Topics {
    pub(crate) fn producer(&self) -> &AckedProducer {
        &self.producer
    }

    /// Puts one record into the producer's queue.
    ///
    /// # Errors
    /// The record can never be written: it is too large, or its topic or partition cannot exist.
    pub(crate) fn send(
        &mut self,
        topic: &str,
        record: Record<'_>,
        in_flight: &Arc<InFlight>,
    ) -> Result<Queued> {
        let handle = self.handle(topic)?;
        let (value, value_len) = raw(record.value);
        let (key, key_len) = raw(record.key);
        let opaque = Arc::into_raw(Arc::clone(in_flight));
        // SAFETY: the handle lives as long as `self`; librdkafka copies key and value (MSG_F_COPY) before it returns,
        // and hands `opaque` back exactly once, to `delivery`, if and only if it takes the record.
        let refused = unsafe {
            ffi::rd_kafka_produce(
                handle,
                record.partition.unwrap_or(ANY_PARTITION),
                ffi::RD_KAFKA_MSG_F_COPY,
                value.cast_mut(),
                value_len,
                key,
                key_len,
                opaque.cast_mut().cast(),
            ) != 0
        };
        if !refused {
            return Ok(Queued::Yes);
        }
        // SAFETY: reads librdkafka's thread-local error of the call just made; the record was not taken, so the
        // reference made above is ours again.
        let code = unsafe {
            drop(Arc::from_raw(opaque));
            RDKafkaErrorCode::from(ffi::rd_kafka_last_error())
        };
        not_queued(topic, code, record)
    }

    /// The same with headers or a timestamp (milliseconds since 1970), at the cost of a look-up and allocations.
    ///
    /// # Errors
    /// As [`send`](Topics::send).
    pub(crate) fn send_with(
        &self,
        topic: &str,
        record: Record<'_>,
        timestamp: Option<i64>,
        headers: &[(&str, Option<&[u8]>)],
        in_flight: &Arc<InFlight>,
    ) -> Result<Queued> {
        let mut message: BaseRecord<'_, [u8], [u8], Arc<InFlight>> =
            BaseRecord::with_opaque_to(topic, Arc::clone(in_flight));
        message.key = record.key;
        message.payload = record.value;
        message.partition = record.partition;
        message.timestamp = timestamp;
        if !headers.is_empty() {
            let fold = |all: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| {
                all.insert(Header { key, value: value.as_ref().map(|value| *value) })
            };
            message.headers = Some(headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), fold));
        }
        match self.producer.inner.send(message) {
            Ok(()) => Ok(Queued::Yes),
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                not_queued(topic, code, record)
            }
        }
    }

    fn handle(&mut self, topic: &str) -> Result<*mut ffi::rd_kafka_topic_t> {
        if let Some((name, handle)) = &self.last
            && **name == *topic
        {
            return Ok(handle.0);
        }
        if let Some((name, handle)) = self.handles.get_key_value(topic) {
            self.last = Some((Arc::clone(name), *handle));
            return Ok(handle.0);
        }
        let name = CString::new(topic)
            .map_err(|_| Error::usage(format!("topic '{topic}' has a NUL byte in its name")))?;
        // SAFETY: the client is live; librdkafka copies the name; a null configuration means the client's default.
        let handle = unsafe {
            ffi::rd_kafka_topic_new(self.producer.inner.client().native_ptr(), name.as_ptr(), ptr::null_mut())
        };
        if handle.is_null() {
            return Err(Error::usage(format!("'{topic}' is not a valid topic name")));
        }
        self.handles.insert(topic.into(), TopicHandle(handle));
        Ok(handle)
    }
}

fn not_queued(topic: &str, code: RDKafkaErrorCode, record: Record<'_>) -> Result<Queued> {
    if code == RDKafkaErrorCode::QueueFull {
        return Ok(Queued::Full);
    }
    let size = record.value.map_or(0, <[u8]>::len) + record.key.map_or(0, <[u8]>::len);
    let partition = record.partition.map(|number| format!(" partition {number}")).unwrap_or_default();
    Err(Error::new(
        kind_of(code),
        format!("cannot write a record of {size} bytes to topic '{topic}'{partition}: {code}"),
    ))
}

impl Drop for Topics {
    fn drop(&mut self) {
        for handle in self.handles.values() {
            // SAFETY: each handle came from rd_kafka_topic_new, is released once, and before the producer.
            unsafe { ffi::rd_kafka_topic_destroy(handle.0) };
        }
    }
}

fn raw(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr().cast(), bytes.len()))
}
