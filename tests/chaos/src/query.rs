//! One query: what its processes run, and all that is known of its epochs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Result;
use crate::engine::Engine;
use crate::harm::{Guarantee, Trigger};
use crate::oracle::{Ends, Outcome};
use crate::store::{Place, Way};

/// From where to where.
pub(crate) struct Topics {
    /// As the engine sees the broker.
    pub(crate) brokers: String,
    pub(crate) from: String,
    pub(crate) to: String,
}

pub(crate) struct Query {
    binary: PathBuf,
    folder: PathBuf,
    guarantee: Guarantee,
    topics: Topics,
    place: Place,
    /// For each process that was started: the ends that were known to be committed before.
    floors: Vec<Ends>,
    /// Ends that the checkpoint has shown as committed.
    shown: Vec<Ends>,
}

impl Query {
    pub(crate) fn new(
        binary: &Path,
        folder: &Path,
        guarantee: Guarantee,
        topics: Topics,
        place: Place,
    ) -> Self {
        let (binary, folder) = (binary.to_owned(), folder.to_owned());
        Self { binary, folder, guarantee, topics, place, floors: Vec::new(), shown: Vec::new() }
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, trigger: Trigger) -> Result<Engine> {
        self.look()?;
        let process = self.floors.len();
        self.floors.push(newest(&self.reported()?));
        let files = self.folder.join(process.to_string());
        let pipeline = files.with_extension("sql");
        std::fs::write(&pipeline, self.sql(process))?;
        let mut command = Command::new(&self.binary);
        command.arg("run").arg(pipeline).arg("--checkpoint").arg(self.place.location());
        command.args(["--trigger", &trigger.to_string(), "--delivery", self.guarantee.delivery()]);
        command.args(["--progress", "json"]).env("RUST_LOG", "info");
        command.envs(self.place.environment(Way::Harmed));
        Engine::start(&mut command, &files)
    }

    /// Rows keep the partition of their record, so that their order can be seen, and tell which process wrote them.
    fn sql(&self, process: usize) -> String {
        let Topics { brokers, from, to } = &self.topics;
        format!(
            "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}'
               OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '300');
             CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}';
             INSERT INTO out
               SELECT partition, concat(offset, '/', CAST(value AS STRING), '/{process}') AS value FROM events"
        )
    }

    /// Notes what is committed now. A process may have died between writing a commit and reporting it.
    pub(crate) fn look(&mut self) -> Result<()> {
        let output = self.tool("show", &["--json"])?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            if reason.contains("there is no checkpoint") {
                return Ok(());
            }
            return Err(format!("the checkpoint cannot be read: {}", reason.trim()).into());
        }
        let shown: Value = serde_json::from_slice(&output.stdout)?;
        self.shown.extend(self.ends(&shown["offsets"][0]));
        Ok(())
    }

    /// # Errors
    /// The checkpoint is not what a checkpoint should be.
    pub(crate) fn verify(&self) -> Result<()> {
        let output = self.tool("verify", &[])?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("the checkpoint is damaged: {}", String::from_utf8_lossy(&output.stdout).trim()).into())
    }

    fn tool(&self, name: &str, args: &[&str]) -> Result<std::process::Output> {
        let mut command = Command::new(&self.binary);
        command.args(["checkpoint", name, &self.place.location()]).args(args);
        command.envs(self.place.environment(Way::Direct)).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// All that the oracle needs to know, apart from the rows.
    pub(crate) fn outcome(&self, sent: &[i64]) -> Result<Outcome> {
        let mut outcome = Outcome { sent: sent.to_vec(), floors: self.floors.clone(), ..Outcome::default() };
        for (epoch, start, end) in self.reported()? {
            outcome.note_committed(&start);
            outcome.note_committed(&end);
            outcome.note_reported(epoch, end);
        }
        self.shown.iter().for_each(|ends| outcome.note_committed(ends));
        Ok(outcome)
    }

    /// Every epoch that one of its processes has reported as committed: number, start and end.
    fn reported(&self) -> Result<Vec<(u64, Ends, Ends)>> {
        let mut epochs = Vec::new();
        for process in 0..self.floors.len() {
            let path = self.folder.join(process.to_string()).with_extension("progress");
            // Not there while its process is about to be started.
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            // The last line of a killed process may be torn.
            for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                let source = &line["sources"][0];
                let ends = (self.ends(&source["startOffset"]), self.ends(&source["endOffset"]));
                if let (Some(epoch), (start, Some(end))) = (line["batchId"].as_u64(), ends) {
                    epochs.push((epoch, start.unwrap_or_default(), end));
                }
            }
        }
        Ok(epochs)
    }

    fn ends(&self, offsets: &Value) -> Option<Ends> {
        let partitions = offsets[&self.topics.from].as_object()?;
        partitions.iter().map(|(partition, end)| Some((partition.parse().ok()?, end.as_i64()?))).collect()
    }
}

fn newest(epochs: &[(u64, Ends, Ends)]) -> Ends {
    let mut newest: Ends = BTreeMap::new();
    for (partition, end) in epochs.iter().flat_map(|(_, _, end)| end) {
        let known = newest.entry(*partition).or_default();
        *known = (*known).max(*end);
    }
    newest
}
