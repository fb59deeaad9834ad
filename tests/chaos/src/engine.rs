//! The engine as its users run it: a process with a command line.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::harm::{Guarantee, Trigger};

/// One query's files and the way to start it.
pub(crate) struct Query {
    pub(crate) binary: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) guarantee: Guarantee,
    started: usize,
}

impl Query {
    pub(crate) fn new(binary: &Path, folder: &Path, guarantee: Guarantee, sql: &str) -> Result<Self> {
        std::fs::write(folder.join("pipeline.sql"), sql)?;
        Ok(Self { binary: binary.to_owned(), folder: folder.to_owned(), guarantee, started: 0 })
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.folder.join("checkpoint")
    }

    /// Starts a process; its output goes to files of its own.
    pub(crate) fn start(&mut self, trigger: Trigger) -> Result<Engine> {
        let log = |stream: &str| self.folder.join(format!("{}.{stream}", self.started));
        let (stdout, stderr) = (log("progress"), log("log"));
        self.started += 1;
        let child = Command::new(&self.binary)
            .arg("run")
            .arg(self.folder.join("pipeline.sql"))
            .arg("--checkpoint")
            .arg(self.checkpoint())
            .args(["--trigger", &trigger.to_string(), "--delivery", self.guarantee.delivery()])
            .args(["--progress", "json"])
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()?;
        Ok(Engine { child, stdout, stderr })
    }

    /// Every line of progress that any of its processes has printed.
    pub(crate) fn progress(&self) -> Result<Vec<serde_json::Value>> {
        let mut lines = Vec::new();
        for number in 0..self.started {
            let text = std::fs::read_to_string(self.folder.join(format!("{number}.progress")))?;
            // The last line of a killed process may be torn.
            lines.extend(text.lines().filter_map(|line| serde_json::from_str(line).ok()));
        }
        Ok(lines)
    }
}

/// A running process; killed when dropped.
pub(crate) struct Engine {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Engine {
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

    pub(crate) fn ended_before_its_first_epoch(&mut self) -> Result<bool> {
        let has_failed = self.child.try_wait()?.is_some_and(|status| status.code() == Some(1));
        Ok(has_failed && std::fs::metadata(&self.stdout)?.len() == 0)
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
