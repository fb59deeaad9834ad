//! Three brokers that are one cluster, started once for all tests that harm them, one after the other.

use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::broker::{kill, run, script};
use super::{PATIENCE, eventually};

const BROKERS: &str = "3";

pub(crate) struct Cluster {
    folder: PathBuf,
    pub(crate) address: String,
}

static CLUSTER: OnceCell<Mutex<Cluster>> = OnceCell::const_new();

impl Cluster {
    /// The cluster, for one test at a time. It ends with the test process.
    pub(crate) async fn alone() -> MutexGuard<'static, Cluster> {
        let started =
            CLUSTER.get_or_init(async || Mutex::new(tokio::task::spawn_blocking(Self::start).await.unwrap()));
        started.await.lock().await
    }

    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let owner = std::process::id().to_string();
        run(script("start", &folder).args(["--brokers", BROKERS, "--while", &owner]));
        let address = std::fs::read_to_string(folder.join("bootstrap")).unwrap().trim().to_owned();
        Self { folder, address }
    }

    /// The broker that leads a partition now.
    pub(crate) fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let metadata = self.client().fetch_metadata(Some(topic), PATIENCE).ok()?;
        let partitions = metadata.topics().first()?.partitions();
        let found = partitions.iter().find(|candidate| candidate.id() == partition)?;
        (found.leader() > 0).then_some(found.leader())
    }

    /// Kills a broker and waits until others lead what it led of `topic`.
    pub(crate) async fn kill(&self, broker: i32, topic: &str, partition: i32) {
        kill(&self.folder.join(broker.to_string()));
        eventually("another broker leads", async || {
            self.leader(topic, partition).filter(|leader| *leader != broker)
        })
        .await;
    }

    /// Starts it again, and waits until every partition has all its replicas in sync.
    pub(crate) async fn start_again(&self, broker: i32) {
        let folder = self.folder.join(broker.to_string());
        tokio::task::spawn_blocking(move || run(&mut script("start", &folder))).await.unwrap();
        eventually("all replicas are in sync", async || {
            let metadata = self.client().fetch_metadata(None, PATIENCE).ok()?;
            let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.all(|partition| partition.isr().len() == partition.replicas().len()).then_some(())
        })
        .await;
    }

    /// The broker that keeps the state of a transactional id, or of a group.
    pub(crate) async fn coordinator(&self, internal_topic: &str, id: &str) -> (i32, i32) {
        eventually("there is a coordinator", async || {
            let metadata = self.client().fetch_metadata(Some(internal_topic), PATIENCE).ok()?;
            let partitions = i32::try_from(metadata.topics().first()?.partitions().len()).ok()?;
            // Java's hash of the name, without its sign, says which partition.
            let hash =
                id.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
            let partition = (hash & i32::MAX).checked_rem(partitions)?;
            Some((self.leader(internal_topic, partition)?, partition))
        })
        .await
    }

    fn client(&self) -> BaseConsumer {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap()
    }
}
