//! The engine as its users run it: a process with a command line.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Result;

/// A running process; killed when dropped.
pub(crate) struct Engine {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    /// What it needs was away before it had begun, so it may say so and end.
    may_fail_to_start: bool,
}

impl Engine {
    /// Starts `command` with its output in files of its own, whose names begin with `files`.
    pub(crate) fn start(command: &mut Command, files: &Path) -> Result<Self> {
        let (stdout, stderr) = (files.with_extension("progress"), files.with_extension("log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        Ok(Self { child, stdout, stderr, may_fail_to_start: false })
    }

    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    pub(crate) fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// SIGTERM; it must end cleanly within `patience`.
    pub(crate) fn stop(mut self, patience: Duration) -> Result<()> {
        self.signal("TERM")?;
        match self.ended_within(patience)? {
            Some(status) if status.success() => Ok(()),
            // So early that its main function had not begun.
            Some(status) if status.signal() == Some(15) && self.last_words().is_empty() => Ok(()),
            Some(status) => {
                Err(format!("told to stop, the engine ended with {status}: {}", self.last_words()).into())
            }
            None => Err(format!("the engine did not stop within {patience:?}: {}", self.last_words()).into()),
        }
    }

    /// # Errors
    /// It has ended, which it never should by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                Err(format!("the engine ended by itself with {status}: {}", self.last_words()).into())
            }
        }
    }

    /// Broker or store are, or were, away. A query that meets this at its start says so and ends.
    pub(crate) fn excuse(&mut self) -> Result<()> {
        self.may_fail_to_start = self.reported()? == 0;
        Ok(())
    }

    /// Whether it could not start for a reason that is not its own.
    pub(crate) fn has_failed_to_start(&mut self) -> Result<bool> {
        let has_failed = self.child.try_wait()?.is_some_and(|status| status.code() == Some(1));
        Ok(self.may_fail_to_start && has_failed && self.reported()? == 0)
    }

    /// How much it has said of its epochs: nothing before the first is committed, and more with each.
    pub(crate) fn reported(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.stdout)?.len())
    }

    /// The epochs with records that it has reported as committed, in order.
    pub(crate) fn epochs_with_rows(&self) -> Result<Vec<u64>> {
        let text = std::fs::read_to_string(&self.stdout)?;
        // The last line may be half written.
        let reports = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let with_rows = reports.filter(|report| report["numInputRows"].as_u64() > Some(0));
        Ok(with_rows.filter_map(|report| report["batchId"].as_u64()).collect())
    }

    /// Whether the last thing that it said is that another has taken its place.
    pub(crate) fn is_fenced(&self) -> bool {
        let words = self.last_words();
        ["another query writes to this checkpoint", "fenced", "appeared while this query started"]
            .iter()
            .any(|reason| words.contains(reason))
    }

    pub(crate) fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    pub(crate) fn ended_within(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() > deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(3)..].join(" | ")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("kill -{name} failed: {}", self.last_words()).into())
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
