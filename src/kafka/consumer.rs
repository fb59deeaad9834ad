//! A consumer with one queue a partition, read in batches.
//!
//! rdkafka's safe interface costs a heap allocation and an event a message; librdkafka's batch call costs neither, so
//! this file and `producer.rs` speak to it directly. Everything unsafe about Kafka is in these two files.
#![expect(unsafe_code, reason = "librdkafka's batch interface has no safe wrapper")]

use std::ffi::{CStr, CString, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::Context;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use rdkafka::bindings as ffi;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext, Offset as KafkaOffset, TopicPartitionList};

use super::config::refused_client;
use super::{InUse, Lease, kafka_error, lease};
use crate::epoch::{Partition, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};

/// Messages asked of librdkafka in one call.
const CHUNK: usize = 512;

/// Hears librdkafka's global errors.
#[derive(Debug)]
pub(crate) struct LoggingContext(pub(super) InUse);

impl ClientContext for LoggingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log_line(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.log(&error, reason);
    }
}

impl ConsumerContext for LoggingContext {}

pub(crate) type LoggingConsumer = BaseConsumer<LoggingContext>;

/// A consumer that reads assigned partitions, each from its own queue.
pub(crate) struct PartitionedConsumer {
    inner: Arc<LoggingConsumer>,
    lease: Lease,
}

impl PartitionedConsumer {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self> {
        let (lease, in_use) = lease();
        let inner: LoggingConsumer = config
            .create_with_context(LoggingContext(in_use.clone()))
            .map_err(|e| refused_client(config, &e))?;
        let inner = Arc::new(inner);
        serve_events(Arc::clone(&inner), in_use)?;
        Ok(Self { inner, lease })
    }

    /// Begins to read `start`; the queues come back in its order.
    ///
    /// The queues are split off first: librdkafka then never forwards a partition to the main queue, so no record can
    /// slip past its own.
    pub(crate) fn assign(&self, start: &SourceOffsets) -> Result<Vec<PartitionQueue>> {
        let queues = start
            .keys()
            .map(|partition| PartitionQueue::split_off(self, partition))
            .collect::<Result<Vec<_>>>()?;
        let mut list = TopicPartitionList::with_capacity(start.len());
        for (partition, offset) in start {
            list.add_partition_offset(&partition.topic, partition.number, KafkaOffset::Offset(*offset))
                .map_err(|e| kafka_error(&format!("cannot start {partition} at offset {offset}"), e))?;
        }
        self.inner.assign(&list).map_err(|e| kafka_error("cannot assign partitions", e))?;
        Ok(queues)
    }

    /// What is known of the ends of these partitions while they are read.
    pub(crate) fn watermarks(&self, partitions: impl IntoIterator<Item = Partition>) -> Watermarks {
        let named = |partition: Partition| Some((CString::new(&*partition.topic).ok()?, partition));
        let partitions = partitions.into_iter().filter_map(named).collect();
        Watermarks { consumer: Arc::downgrade(&self.inner), partitions }
    }
}

/// The ends of partitions as of the last fetch of each: librdkafka keeps them, nobody is asked.
///
/// These are the ends of the logs, also for readers of committed records only.
pub(crate) struct Watermarks {
    consumer: Weak<LoggingConsumer>,
    partitions: Vec<(CString, Partition)>,
}

impl Watermarks {
    /// `None` until each partition was fetched once, and when nobody reads them any more.
    pub(crate) fn ends(&self) -> Option<SourceOffsets> {
        let consumer = self.consumer.upgrade()?;
        let end = |(topic, partition): &(CString, Partition)| {
            let (mut low, mut high) = (-1, -1);
            // SAFETY: the client is live, `topic` ends with NUL, and the two out-parameters are valid for a write.
            let answer = unsafe {
                ffi::rd_kafka_get_watermark_offsets(
                    consumer.client().native_ptr(),
                    topic.as_ptr(),
                    partition.number,
                    &raw mut low,
                    &raw mut high,
                )
            };
            let is_known = RDKafkaErrorCode::from(answer) == RDKafkaErrorCode::NoError && high >= 0;
            is_known.then(|| (partition.clone(), high))
        };
        self.partitions.iter().map(end).collect()
    }
}

/// Logs and errors come out of the main queue, so somebody must poll it. The thread also takes the last reference:
/// closing a consumer blocks, and must not do so on a worker of an async runtime.
pub(super) fn serve_events(consumer: Arc<LoggingConsumer>, in_use: InUse) -> Result<()> {
    let serve = move || {
        while in_use.is_true() || Arc::strong_count(&consumer) > 1 {
            if let Some(Err(error)) = consumer.poll(Duration::from_millis(100)) {
                tracing::debug!(target: "epochflow::kafka", "{error}");
            }
        }
    };
    let spawned = std::thread::Builder::new().name("kafka-events".into()).spawn(serve);
    spawned.map(drop).map_err(|e| {
        Error::new(ErrorKind::Environment, "cannot start a thread for Kafka's events").with_source(e)
    })
}

/// Wakes the reader of a queue, and remembers when it first had to.
struct Arrivals {
    waker: AtomicWaker,
    base: Instant,
    /// Nanoseconds from `base` to when the queue stopped being empty; 0 if that was told already.
    nanos: AtomicU64,
}

impl Arrivals {
    fn new() -> Arc<Self> {
        Arc::new(Self { waker: AtomicWaker::new(), base: Instant::now(), nanos: AtomicU64::new(0) })
    }

    fn note_now(&self) {
        let nanos = u64::try_from(self.base.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.store(nanos, Ordering::Relaxed);
    }

    fn take(&self) -> Option<Instant> {
        let nanos = self.nanos.swap(0, Ordering::Relaxed);
        (nanos > 0).then(|| self.base + Duration::from_nanos(nanos))
    }
}

/// The fetched, not yet read messages of one partition.
pub(crate) struct PartitionQueue {
    queue: *mut ffi::rd_kafka_queue_t,
    arrivals: Arc<Arrivals>,
    /// Outlives the queue.
    _consumer: Arc<LoggingConsumer>,
    _lease: Lease,
}

// SAFETY: librdkafka's queues are locked inside and may be used from any thread.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    fn split_off(owner: &PartitionedConsumer, partition: &Partition) -> Result<Self> {
        let consumer = Arc::clone(&owner.inner);
        let topic = CString::new(&*partition.topic)
            .map_err(|_| Error::usage(format!("topic '{}' has a NUL byte in its name", partition.topic)))?;
        let arrivals = Arrivals::new();
        // SAFETY: the client pointer is live while `consumer` is; librdkafka copies the topic.
        let queue = unsafe {
            ffi::rd_kafka_queue_get_partition(
                consumer.client().native_ptr(),
                topic.as_ptr(),
                partition.number,
            )
        };
        if queue.is_null() {
            return Err(Error::internal(format!("librdkafka gave no queue for {partition}")));
        }
        // SAFETY: the queue is live; `arrivals` outlives the callback, which `drop` disables before it releases both.
        unsafe {
            ffi::rd_kafka_queue_forward(queue, ptr::null_mut());
            ffi::rd_kafka_queue_cb_event_enable(queue, Some(wake), Arc::as_ptr(&arrivals).cast_mut().cast());
        }
        Ok(Self { queue, arrivals, _consumer: consumer, _lease: owner.lease.clone() })
    }

    /// Moves what has been fetched, up to `max` messages or about `max_bytes`, to the end of `batch`, and says since when it
    /// could have been: since the queue was empty, or since the read before, if that left something. Does not wait; if
    /// nothing is there, the task of `cx` is woken when something is.
    pub(crate) fn read(
        &self,
        cx: &mut Context<'_>,
        batch: &mut Messages,
        max: usize,
        max_bytes: usize,
    ) -> Option<Instant> {
        let mut arrived = self.arrivals.take();
        let mut may_be_more = self.drain(batch, max, max_bytes);
        if batch.is_empty() {
            self.arrivals.waker.register(cx.waker());
            // What came between the two would otherwise wait: the callback fires on the edge from empty only.
            may_be_more = self.drain(batch, max, max_bytes);
            if batch.is_empty() {
                return None;
            }
            arrived = None;
        }
        // The messages may have come after the first look at their time.
        let arrived = arrived.or_else(|| self.arrivals.take()).unwrap_or_else(Instant::now);
        if may_be_more {
            self.arrivals.note_now();
        }
        Some(arrived)
    }

    /// Whether it stopped at a bound, so that more may be there.
    fn drain(&self, batch: &mut Messages, max: usize, max_bytes: usize) -> bool {
        let mut bytes = 0;
        while batch.0.len() < max && bytes < max_bytes {
            let from = batch.0.len();
            let wanted = CHUNK.min(max - from);
            batch.0.reserve(wanted);
            // SAFETY: `wanted` slots are reserved behind `from`; librdkafka writes at most that many and says how many.
            let got = unsafe {
                let slots = batch.0.as_mut_ptr().add(from);
                let got =
                    ffi::rd_kafka_consume_batch_queue(self.queue, 0, slots, wanted).max(0).unsigned_abs();
                batch.0.set_len(from + got);
                got
            };
            bytes += batch.iter().skip(from).map(|m| m.value().map_or(0, <[u8]>::len)).sum::<usize>();
            if got < wanted {
                return false;
            }
        }
        true
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is live until here. Disabling takes the lock under which the callback runs, so it is over
        // before `arrivals` goes.
        unsafe {
            ffi::rd_kafka_queue_cb_event_enable(self.queue, None, ptr::null_mut());
            ffi::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// Runs on a broker thread of librdkafka with the queue locked: it may note the time and wake, nothing else.
extern "C" fn wake(_client: *mut ffi::rd_kafka_t, arrivals: *mut c_void) {
    // SAFETY: `arrivals` is the pointer given with the callback, and lives until the callback is disabled.
    let arrivals = unsafe { &*arrivals.cast::<Arrivals>() };
    arrivals.note_now();
    arrivals.waker.wake();
}

/// Messages in librdkafka's own memory, given back when dropped.
#[derive(Default)]
pub(crate) struct Messages(Vec<*mut ffi::rd_kafka_message_t>);

// SAFETY: a message belongs to whoever polled it and holds no thread's state.
unsafe impl Send for Messages {}

impl Messages {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> + Clone {
        // SAFETY: each pointer is a live message until `self` drops it.
        self.0.iter().map(|message| Message(unsafe { &**message }))
    }

    /// Splits off the messages from `at` on.
    pub(crate) fn split_off(&mut self, at: usize) -> Messages {
        Messages(self.0.split_off(at))
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        for message in &self.0 {
            // SAFETY: this is the only owner, and drops it once.
            unsafe { ffi::rd_kafka_message_destroy(*message) };
        }
    }
}

/// One message, or an error about the partition in its place.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a>(&'a ffi::rd_kafka_message_t);

impl<'a> Message<'a> {
    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        let code = RDKafkaErrorCode::from(self.0.err);
        (code != RDKafkaErrorCode::NoError).then_some(code)
    }

    /// The offset of the record; for the end of the partition, the next one to come.
    pub(crate) fn offset(&self) -> i64 {
        self.0.offset
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        bytes(self.0.key, self.0.key_len)
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        bytes(self.0.payload, self.0.len)
    }

    /// Milliseconds since 1970 (-1 without one), and Spark's code for its type.
    pub(crate) fn timestamp(&self) -> (i64, i32) {
        let mut kind = ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live and `kind` is valid for a write.
        let millis = unsafe { ffi::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        let code = match kind {
            ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => 0,
            ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => 1,
            ffi::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => -1,
        };
        (millis, code)
    }

    /// Calls `visit` with name and value of each header; whether there were any.
    pub(crate) fn headers(&self, mut visit: impl FnMut(&'a str, Option<&'a [u8]>)) -> bool {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is live; librdkafka keeps the parsed headers with it.
        let found = unsafe { ffi::rd_kafka_message_headers(self.0, &raw mut headers) };
        if RDKafkaErrorCode::from(found) != RDKafkaErrorCode::NoError {
            return false;
        }
        let mut index = 0;
        loop {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: `headers` is live with the message, and the three out-parameters are valid for a write.
            let got = unsafe {
                ffi::rd_kafka_header_get_all(headers, index, &raw mut name, &raw mut value, &raw mut size)
            };
            if RDKafkaErrorCode::from(got) != RDKafkaErrorCode::NoError {
                return index > 0;
            }
            // SAFETY: librdkafka ends header names with NUL and keeps them with the message.
            let name = unsafe { CStr::from_ptr(name) };
            visit(name.to_str().unwrap_or("\u{fffd}"), bytes(value.cast_mut(), size));
            index += 1;
        }
    }
}

/// Null stays `None`; an empty slice stays empty.
fn bytes<'a>(start: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: called with a message's own pointer and length; the slice is lent no longer than the message.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}
