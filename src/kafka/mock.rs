//! An embedded broker for demonstrations and tests that need no durability.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rdkafka::mocking::MockCluster;

use crate::error::{Error, ErrorKind, Result};

/// A Kafka broker inside this process, on a free port of 127.0.0.1, until it is dropped.
///
/// It is librdkafka's mock cluster: it keeps a few megabytes a partition, nothing on disk, does not carry out
/// transactions, and wakes a waiting fetch only when its time is over. So give the source
/// `kafka.fetch.wait.max.ms = 1`, and never measure or prove guarantees with it.
///
/// ```no_run
/// let broker = epochflow::EmbeddedBroker::start(&[("in", 4), ("out", 1)])?;
/// println!("kafka://{}/in", broker.bootstrap_servers());
/// # Ok::<_, epochflow::Error>(())
/// ```
#[derive(Debug)]
pub struct EmbeddedBroker {
    bootstrap_servers: String,
    keep: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker with these topics, each with its number of partitions.
    ///
    /// # Errors
    /// The port cannot be opened or a topic cannot be made.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self> {
        let topics: Vec<(String, i32)> =
            topics.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let (keep, until_dropped) = mpsc::channel::<()>();
        let (report, started) = mpsc::channel();
        // The cluster must stay on the thread that made it.
        let thread = std::thread::Builder::new()
            .name("embedded-broker".into())
            .spawn(move || {
                let cluster = MockCluster::new(1).and_then(|cluster| {
                    for (name, partitions) in &topics {
                        cluster.create_topic(name, *partitions, 1)?;
                    }
                    Ok(cluster)
                });
                match cluster {
                    Ok(cluster) => {
                        if report.send(Ok(cluster.bootstrap_servers())).is_ok() {
                            let _ = until_dropped.recv();
                        }
                    }
                    Err(error) => {
                        let _ = report.send(Err(error));
                    }
                }
            })
            .map_err(|e| {
                Error::new(ErrorKind::Environment, "cannot start the embedded broker's thread").with_source(e)
            })?;
        let bootstrap_servers = started
            .recv()
            .map_err(|e| Error::internal("the embedded broker ended at once").with_source(e))?
            .map_err(|e| super::kafka_error("cannot start the embedded broker", e))?;
        Ok(Self { bootstrap_servers, keep: Some(keep), thread: Some(thread) })
    }

    /// `host:port`, for `kafka.bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.keep.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
