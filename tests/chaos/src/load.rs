//! Sends numbered records to every partition, without pause, until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::Result;

pub(crate) struct Load {
    partitions: Arc<AtomicI32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<i64>>>>,
}

impl Load {
    pub(crate) fn start(brokers: &str, topic: &str, partitions: i32) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "2");
        // Growth is known soon, and a broker that is away for long loses nothing.
        config.set("topic.metadata.refresh.interval.ms", "200").set("message.timeout.ms", "0");
        let producer: BaseProducer = config.create()?;
        let (partitions, stop) = (Arc::new(AtomicI32::new(partitions)), Arc::new(AtomicBool::new(false)));
        let (wanted, stopped, topic) = (Arc::clone(&partitions), Arc::clone(&stop), topic.to_owned());
        let thread = std::thread::spawn(move || send(&producer, &topic, &wanted, &stopped));
        Ok(Self { partitions, stop, thread: Some(thread) })
    }

    pub(crate) fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    pub(crate) fn grow_to(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// The records of each partition, once all are in the topic. The value of a record is its number, and its offset.
    pub(crate) fn end_sending(&mut self) -> Result<Vec<i64>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or("the load has ended before")?;
        thread.join().unwrap_or_else(|_| Err("the load panicked".into()))
    }
}

impl Drop for Load {
    /// A run that fails in the middle leaves no load to the next.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send(producer: &BaseProducer, topic: &str, partitions: &AtomicI32, stop: &AtomicBool) -> Result<Vec<i64>> {
    const PAUSE: Duration = Duration::from_millis(2);
    let mut sent: Vec<i64> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        sent.resize(partitions.load(Ordering::Relaxed) as usize, 0);
        for (partition, next) in (0..).zip(&mut sent) {
            let value = next.to_string();
            match producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload(&value)) {
                Ok(()) => *next += 1,
                // Full, or the partition is too new: its turn comes again.
                Err((
                    KafkaError::MessageProduction(
                        RDKafkaErrorCode::QueueFull | RDKafkaErrorCode::UnknownPartition,
                    ),
                    _,
                )) => {}
                Err((error, _)) => return Err(error.into()),
            }
        }
        producer.poll(PAUSE);
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(sent)
}
