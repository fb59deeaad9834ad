//! A producer's transactions: one at a time, begun with its first record, each failure sorted by what helps.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::producer::{AckedProducer, Topics};
use super::{kafka_error, kind_of};
use crate::epoch::{Offset, Partition};
use crate::error::{Error, ErrorKind, Result};

/// How long one call waits for the coordinator before it is made again.
const CALL: Duration = Duration::from_secs(10);
/// How long a failing call is made again, and one that does not return is waited for: as long as a broker may reasonably be
/// away.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two calls when the first one failed at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a transaction that nobody will commit is tried to be ended. Failing that, the next producer with its id ends
/// it, or the broker when its time is up.
const ABORT: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum State {
    Idle,
    /// Open since.
    Open(Instant),
    /// Being committed, or of unknown fate after that failed.
    Ending(Instant),
}

/// A producer whose records are visible to `read_committed` readers when their transaction is committed.
pub(crate) struct TransactionalProducer {
    producer: AckedProducer,
    state: Mutex<State>,
    /// The broker gives up on a transaction that is open for longer.
    timeout: Duration,
}

impl TransactionalProducer {
    /// A producer under the name `id`. Fences whoever had that name before and ends what that one left open. Blocks.
    ///
    /// # Errors
    /// The brokers do not answer, or do not allow it.
    pub(crate) fn new(config: &ClientConfig, id: &str, timeout: Duration) -> Result<Self> {
        let mut config = config.clone();
        config.set("transactional.id", id);
        config.set("transaction.timeout.ms", timeout.as_millis().to_string());
        let producer = AckedProducer::new(&config)?;
        let doing = format!("cannot begin to write in transactions under the transactional.id '{id}'");
        repeated(&doing, || Ok(producer.inner.init_transactions(CALL)))?;
        Ok(Self { producer, state: Mutex::new(State::Idle), timeout })
    }

    pub(crate) fn topics(&self) -> Topics {
        self.producer.topics()
    }

    /// Opens a transaction unless one is open. Does not wait for a broker.
    ///
    /// # Errors
    /// The producer is fenced or broken.
    pub(crate) fn begin(&self) -> Result<()> {
        let mut state = self.state.lock();
        match *state {
            State::Open(_) => Ok(()),
            State::Ending(_) => {
                Err(Error::internal("a record came for a producer whose last transaction is not committed"))
            }
            State::Idle => match self.producer.inner.begin_transaction() {
                Ok(()) => {
                    *state = State::Open(Instant::now());
                    Ok(())
                }
                Err(error) => {
                    drop(state);
                    Err(self.explain(kafka_error("cannot begin a transaction", error)))
                }
            },
        }
    }

    /// Commits the open transaction, with `offsets` and a text beside each, if there is one. All its records must be
    /// acknowledged. Blocks.
    ///
    /// # Errors
    /// The transaction is aborted, or its fate is unknown: make the producer anew and see.
    pub(crate) fn commit(
        &self,
        offsets: &[(Partition, Offset)],
        metadata: &str,
        group: &Arc<ConsumerGroupMetadata>,
    ) -> Result<()> {
        {
            let mut state = self.state.lock();
            match *state {
                State::Open(since) => *state = State::Ending(since),
                State::Idle | State::Ending(_) => return Ok(()),
            }
        }
        let producer = &self.producer.inner;
        let list = offset_list(offsets, metadata)?;
        self.send_offsets("cannot put the sources' offsets into the transaction", &list, group)
            // Nothing is in flight, so rdkafka's flush before it returns at once.
            .and_then(|()| {
                repeated("cannot commit the transaction", || Ok(producer.commit_transaction(CALL)))
            })
            .map_err(|error| self.explain(error))?;
        *self.state.lock() = State::Idle;
        Ok(())
    }

    /// Finds out that nobody has taken this producer's name since, with a transaction that is aborted and holds nothing but
    /// an offset for `place`: the coordinator takes none from who is fenced. One that is open will tell by its commit. Blocks.
    ///
    /// # Errors
    /// [`ErrorKind::Fenced`] if somebody has, or the brokers do not answer.
    pub(crate) fn confirm(&self, place: &Partition, group: &Arc<ConsumerGroupMetadata>) -> Result<()> {
        if !matches!(*self.state.lock(), State::Idle) {
            return Ok(());
        }
        self.begin()?;
        let producer = &self.producer.inner;
        let list = offset_list(&[(place.clone(), 0)], "")?;
        let doing = "cannot find out whether another instance of this query has just taken over";
        self.send_offsets(doing, &list, group)
            .and_then(|()| repeated(doing, || Ok(producer.abort_transaction(CALL))))
            .map_err(|error| self.explain(error))?;
        *self.state.lock() = State::Idle;
        Ok(())
    }

    /// librdkafka 2.12 gives no bound to this call: if the group's coordinator dies and is no longer among the cluster's
    /// brokers when librdkafka next looks, the call never returns. Then its thread and client are given up.
    fn send_offsets(
        &self,
        doing: &str,
        offsets: &TopicPartitionList,
        group: &Arc<ConsumerGroupMetadata>,
    ) -> Result<()> {
        repeated(doing, || {
            let (producer, offsets, group) =
                (Arc::clone(&self.producer.inner), offsets.clone(), Arc::clone(group));
            let (answer, answered) = mpsc::channel();
            std::thread::Builder::new()
                .name("kafka-offsets".into())
                .spawn(move || answer.send(producer.send_offsets_to_transaction(&offsets, &group, CALL)))
                .map_err(|e| Error::new(ErrorKind::Environment, "cannot start a thread").with_source(e))?;
            answered.recv_timeout(PATIENCE).map_err(|_| {
                let reason = "the Kafka client gave no answer: it lost the group's coordinator";
                Error::new(ErrorKind::Transient, format!("{doing}: {reason} ({PATIENCE:?})"))
            })
        })
    }

    /// The reason behind an error of this producer: records fail as *purged* when it is fenced, and a broker that has given
    /// up on a transaction answers as it does to one that is fenced.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let error = match self.producer.inner.client().fatal_error() {
            Some((code, reason)) if error.kind() != kind_of(code) => {
                Error::new(kind_of(code), format!("{error}: {reason}"))
            }
            _ => error,
        };
        let open_for = match *self.state.lock() {
            State::Open(since) | State::Ending(since) => since.elapsed(),
            State::Idle => return error,
        };
        if error.kind() == ErrorKind::Fenced && open_for >= self.timeout {
            return Error::new(
                ErrorKind::Transient,
                format!(
                    "{error}; the transaction was open for {open_for:?}, and the broker aborts it after {:?}: commit more often, or raise option 'kafka.transaction.timeout.ms'",
                    self.timeout
                ),
            );
        }
        error
    }
}

impl Drop for TransactionalProducer {
    /// Readers of committed records would wait for a transaction that is left open.
    fn drop(&mut self) {
        if matches!(*self.state.lock(), State::Idle) {
            return;
        }
        let producer = self.producer.clone();
        let abort = move || {
            if let Err(error) = producer.inner.abort_transaction(ABORT) {
                tracing::debug!(target: "epochflow::kafka", "could not abort a transaction: {error}");
            }
        };
        // Without the thread the next start ends it.
        let _ = std::thread::Builder::new().name("kafka-abort".into()).spawn(abort);
    }
}

/// Calls again while librdkafka says that this may help: the call then goes on where it was.
///
/// # Errors
/// That of the call, or what kept it from being made or answered.
fn repeated(doing: &str, mut call: impl FnMut() -> Result<Result<(), KafkaError>>) -> Result<()> {
    let started = Instant::now();
    loop {
        match call()? {
            Ok(()) => return Ok(()),
            Err(error) if may_go_on(&error) && started.elapsed() < PATIENCE => {
                tracing::debug!(target: "epochflow::kafka", "{doing}, trying again: {error}");
                std::thread::park_timeout(PAUSE);
            }
            Err(error) => return Err(kafka_error(doing, error)),
        }
    }
}

fn may_go_on(error: &KafkaError) -> bool {
    matches!(error, KafkaError::Transaction(error) if error.is_retriable())
}

fn offset_list(offsets: &[(Partition, Offset)], metadata: &str) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in offsets {
        let mut element = list.add_partition(&partition.topic, partition.number);
        element.set_metadata(metadata);
        element
            .set_offset(KafkaOffset::Offset(*offset))
            .map_err(|e| kafka_error(&format!("cannot commit offset {offset} of {partition}"), e))?;
    }
    Ok(list)
}
