//! A query from one topic into another, as a process under load, and what must hold of its rows when an outage is over.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::crash::{Load, PARTITIONS, parse};
use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Receiver, create_at, unique};

/// Recovery may take several of the clients' own time-outs, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);
pub(crate) const BOTH: [&str; 2] = ["at-least-once", "exactly-once"];

/// Where a query runs, and how.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// What the test and the load connect to.
    pub(crate) direct: String,
    /// What the query connects to.
    pub(crate) brokers: String,
    pub(crate) replicas: i32,
    pub(crate) delivery: &'static str,
    pub(crate) trigger: &'static str,
    /// Of source and sink, as in SQL, with a comma before each.
    pub(crate) options: &'static str,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where its checkpoint is; `None`: in a folder.
    pub(crate) checkpoint: Option<String>,
}

impl Setting {
    pub(crate) fn new(brokers: &str, delivery: &'static str, trigger: &'static str) -> Self {
        let (direct, brokers) = (brokers.to_owned(), brokers.to_owned());
        let (replicas, options, environment, checkpoint) = (1, "", Vec::new(), None);
        Self { direct, brokers, replicas, delivery, trigger, options, environment, checkpoint }
    }
}

/// The query while it runs. The value of each record is its offset.
pub(crate) struct Flow {
    setting: Setting,
    pub(crate) source: String,
    pub(crate) sink: String,
    pub(crate) engine: Engine,
    load: Option<Load>,
    folder: tempfile::TempDir,
}

/// What an ended query has told.
pub(crate) struct Told {
    /// Each line of progress.
    pub(crate) progress: Vec<serde_json::Value>,
    /// Its log.
    pub(crate) log: String,
}

impl Told {
    pub(crate) fn restarts(&self) -> u64 {
        self.progress.last().map_or(0, |last| last["restarts"]["count"].as_u64().unwrap_or(0))
    }
}

/// Waits until each goes on.
pub(crate) async fn go_on(flows: &mut [Flow], when: &str) {
    for flow in flows {
        flow.goes_on(when).await;
    }
}

impl Flow {
    pub(crate) async fn start(setting: Setting) -> Self {
        let (source, sink) = (unique("outage-in"), unique("outage-out"));
        create_at(&setting.direct, &source, (PARTITIONS, setting.replicas), &[]).await;
        create_at(&setting.direct, &sink, (1, setting.replicas), &[]).await;
        let folder = tempfile::tempdir().unwrap();
        let (brokers, options) = (&setting.brokers, setting.options);
        let sql = format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
               OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '2000'{options});
             CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}'
               OPTIONS ('maxUncommitted' '60s'{options});
             INSERT INTO out SELECT concat(partition, '/', offset, '/', CAST(value AS STRING)) AS value FROM events"
        );
        let path = pipeline(folder.path(), &sql);
        let local = folder.path().join("checkpoint").to_str().unwrap().to_owned();
        let checkpoint = setting.checkpoint.clone().unwrap_or(local);
        let args = ["run", path.to_str().unwrap(), "--checkpoint", &checkpoint, "--trigger", setting.trigger];
        let more = ["--delivery", setting.delivery, "--progress", "json", "--restart", "on-failure:100/10m"];
        let engine = Engine::start_in(&setting.environment, &[&args[..], &more].concat());
        let load = Some(Load::start_at(&setting.direct, &source, Duration::from_millis(10)));
        Self { setting, source, sink, engine, load, folder }
    }

    pub(crate) fn progress(&self) -> Vec<serde_json::Value> {
        let text = self.engine.stdout();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Day and hour in which the last committed epoch began, by the query's clock.
    pub(crate) fn hour(&self) -> String {
        let progress = self.progress();
        progress.last().map_or_else(String::new, |last| last["timestamp"].as_str().unwrap()[..13].to_owned())
    }

    /// Records of each partition in committed epochs.
    pub(crate) fn committed(&self) -> Vec<i64> {
        let text = self.engine.stdout();
        let last: serde_json::Value =
            text.lines().last().map_or_else(Default::default, |line| serde_json::from_str(line).unwrap());
        let ends = &last["sources"][0]["endOffset"][&self.source];
        (0..PARTITIONS).map(|partition| ends[partition.to_string()].as_i64().unwrap_or(0)).collect()
    }

    /// Waits until further records of each partition are committed.
    pub(crate) async fn goes_on(&mut self, when: &str) {
        let (before, began) = (self.committed(), Instant::now());
        loop {
            let now = self.committed();
            if now.iter().zip(&before).all(|(now, before)| *now > before + 10) {
                return;
            }
            let lives = self.engine.is_running() && began.elapsed() < PATIENCE;
            assert!(lives, "{when}: {:?} stands at {now:?}, {}", self.setting, self.engine.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn is_continuous(&self) -> bool {
        self.setting.trigger.starts_with("continuous")
    }

    /// Waits once more, and ends.
    pub(crate) async fn goes_on_and_ends(mut self) -> Told {
        self.goes_on("after").await;
        self.end().await
    }

    /// Waits until nothing was committed for a second.
    pub(crate) async fn stands_still(&mut self) {
        let mut seen = (self.committed(), Instant::now());
        eventually("nothing is committed", async || {
            assert!(self.engine.is_running(), "{}", self.engine.stderr());
            let now = self.committed();
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            (seen.1.elapsed() > Duration::from_secs(1)).then_some(())
        })
        .await;
    }

    /// The checkpoint's folder.
    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.folder.path().join("checkpoint")
    }

    /// Ends the load, waits until all of it is out, stops the query cleanly and counts every record.
    pub(crate) async fn end(mut self) -> Told {
        let load = self.load.take().unwrap();
        let sent = tokio::task::spawn_blocking(move || load.end()).await.unwrap();
        let began = Instant::now();
        while self.committed().iter().any(|end| *end != sent) {
            let lives = self.engine.is_running() && began.elapsed() < PATIENCE;
            let now = self.committed();
            assert!(lives, "{:?} stands at {now:?} of {sent}, {}", self.setting, self.engine.stderr());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = Told { progress: self.progress(), log: self.engine.stderr() };
        self.engine.stop().await;
        let (brokers, sink) = (self.setting.direct.clone(), self.sink);
        let records = tokio::task::spawn_blocking(move || Receiver::committed_at(&brokers, &sink));
        let rows: Vec<_> = records.await.unwrap().into_iter().map(parse).collect();
        let may_repeat = self.setting.delivery == "at-least-once" && told.restarts() > 0;
        check(&rows, sent, may_repeat, &format!("{:?}\n{}", self.setting, told.log));
        told
    }
}

/// Every record once, each partition's in order; or at least once, where a restart may repeat.
fn check(rows: &[(i32, i64)], sent: i64, may_repeat: bool, about: &str) {
    for partition in 0..PARTITIONS {
        let mut offsets: Vec<i64> =
            rows.iter().filter(|(of, _)| *of == partition).map(|(_, offset)| *offset).collect();
        if may_repeat {
            offsets.sort_unstable();
            offsets.dedup();
        }
        assert!(
            offsets.iter().copied().eq(0..sent),
            "partition {partition}: {sent} sent; {about}\n{offsets:?}"
        );
    }
}
