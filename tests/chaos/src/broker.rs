//! A real broker that can be killed, seen by the engine through a proxy and by everybody else directly.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::Result;
use crate::proxy::{Proxy, free_port};
use crate::tally::NotRun;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Broker {
    folder: TempDir,
    direct: String,
    /// What the engine connects to.
    pub(crate) proxy: Proxy,
}

impl Broker {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let behind = free_port()?;
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], behind)))?;
        std::fs::write(
            folder.path().join("proxied.properties"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:@PORT@,PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:@CONTROLLER@\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:@PORT@,PROXIED://{}\n\
                 listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT\n",
                proxy.address()
            ),
        )?;
        let mut broker = Self { folder, direct: String::new(), proxy };
        broker.restart()?;
        Ok(broker)
    }

    /// Starts it (again) at the same addresses, with what it had written.
    pub(crate) fn restart(&mut self) -> Result<()> {
        if !self.start_once()? {
            // On a machine that runs much else it may take longer than the script waits.
            service("kafka.sh").arg("stop").arg(self.folder.path()).status()?;
            if !self.start_once()? {
                return Err(NotRun("the broker did not start, twice".to_owned()).into());
            }
        }
        self.direct = std::fs::read_to_string(self.folder.path().join("bootstrap"))?.trim().to_owned();
        Ok(())
    }

    fn start_once(&self) -> Result<bool> {
        let status = service("kafka.sh")
            .arg("start")
            .arg(self.folder.path())
            .arg(self.folder.path().join("proxied.properties"))
            .stdout(Stdio::null())
            .status()?;
        Ok(status.success())
    }

    pub(crate) fn kill(&self) -> Result<()> {
        let pid = std::fs::read_to_string(self.folder.path().join("pid"))?;
        Command::new("kill").args(["-KILL", pid.trim()]).status()?;
        Ok(())
    }

    /// What the load and the oracle connect to.
    pub(crate) fn direct(&self) -> &str {
        &self.direct
    }

    pub(crate) fn create(&self, topics: &[(&str, i32)]) -> Result<()> {
        let new: Vec<_> =
            topics.iter().map(|(name, n)| NewTopic::new(name, *n, TopicReplication::Fixed(1))).collect();
        let admin = self.admin()?;
        for result in block_on(admin.create_topics(&new, &AdminOptions::new()))? {
            result.map_err(|(topic, code)| format!("topic {topic} was not created: {code}"))?;
        }
        Ok(())
    }

    pub(crate) fn grow(&self, topic: &str, partitions: i32) -> Result<()> {
        let (admin, wanted) = (self.admin()?, [NewPartitions::new(topic, partitions as usize)]);
        for result in block_on(admin.create_partitions(&wanted, &AdminOptions::new()))? {
            result.map_err(|(topic, code)| format!("topic {topic} did not grow: {code}"))?;
        }
        Ok(())
    }

    pub(crate) fn delete(&self, topics: &[&str]) -> Result<()> {
        let admin = self.admin()?;
        block_on(admin.delete_topics(topics, &AdminOptions::new()))?;
        Ok(())
    }

    /// All records of the topic that a reader of committed records sees, in order: partition and value.
    pub(crate) fn read(&self, topic: &str, partitions: i32) -> Result<Vec<(i32, String)>> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.direct).set("group.id", "oracle");
        config.set("isolation.level", "read_committed").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create()?;
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let (mut records, mut ends) = (Vec::new(), 0);
        let deadline = Instant::now() + PATIENCE;
        while ends < partitions {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let value = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                    records.push((message.partition(), value));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => ends += 1,
                Some(Err(_)) | None if Instant::now() < deadline => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(format!("{topic} could not be read within {PATIENCE:?}").into()),
            }
        }
        Ok(records)
    }

    /// Answers come only while the client lives.
    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", &self.direct).create()?)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = service("kafka.sh").arg("stop").arg(self.folder.path()).status();
    }
}

/// The script that starts and stops a service.
pub(crate) fn service(script: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../services").join(script))
}
