//! The `epochflow` binary as a child process.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::eventually;

/// A running `epochflow`; killed when dropped.
pub(crate) struct Engine {
    child: Child,
}

/// What an ended `epochflow` left.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Engine {
    /// Starts `epochflow` with these arguments.
    pub(crate) fn start(args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_epochflow"))
            .args(args)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// Starts `epochflow run` quietly.
    pub(crate) fn run(pipeline: &Path, checkpoint: &Path, trigger: &str) -> Self {
        let (pipeline, checkpoint) = (pipeline.to_str().unwrap(), checkpoint.to_str().unwrap());
        Self::start(&[
            "run",
            pipeline,
            "--checkpoint",
            checkpoint,
            "--trigger",
            trigger,
            "--progress",
            "none",
        ])
    }

    /// SIGKILL: no chance to say goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = eventually("epochflow has ended", async || self.child.try_wait().unwrap()).await;
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { status, stdout, stderr }
    }

    /// SIGTERM, and a clean end.
    pub(crate) async fn stop(self) {
        self.signal("-TERM");
        let ended = self.ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(ended.stderr, "", "a clean stop warns of nothing");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a pipeline into `folder`.
pub(crate) fn pipeline(folder: &Path, sql: &str) -> PathBuf {
    let path = folder.join("pipeline.sql");
    std::fs::write(&path, sql).unwrap();
    path
}
