//! The `epochflow` binary as a child process.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::eventually;

const BINARY: &str = env!("CARGO_BIN_EXE_epochflow");

/// A running `epochflow`; killed when dropped.
pub(crate) struct Engine {
    child: KilledWhenDropped,
    stdout: Output,
    stderr: Output,
}

/// Who a child runs as.
#[derive(Clone, Copy, Debug)]
pub(crate) enum User {
    Same,
    /// Whom permissions bind, as they do not bind the superuser.
    Nobody,
}

/// What a child has written so far, read as it comes: a full pipe would hold the child up.
struct Output {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let mut text = written.lock();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader }
    }

    /// All of it, once the child has ended.
    fn whole(self) -> String {
        self.reader.join().unwrap();
        let text = self.text.lock();
        text.clone()
    }
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
        Self::start_in(&[], args)
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_in(environment: &[(&str, String)], args: &[&str]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(args).envs(environment.iter().map(|(name, value)| (name, value)));
        Self::spawn(command)
    }

    /// The same as `user`, and so that a limit of file sizes gives an error instead of a signal.
    pub(crate) fn start_as(user: User, args: &[&str]) -> Self {
        let run = match user {
            User::Same => "exec \"$0\" \"$@\"",
            User::Nobody => {
                "if [ $(id -u) != 0 ]; then exec \"$0\" \"$@\"; fi
                exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$0\" \"$@\""
            }
        };
        let mut command = Command::new("bash");
        command.args(["-c", &format!("trap '' XFSZ; {run}"), BINARY]).args(args);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        if command.get_envs().all(|(name, _)| name != "RUST_LOG") {
            command.env("RUST_LOG", "warn");
        }
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        Self { child: KilledWhenDropped(child), stdout, stderr }
    }

    /// Starts `epochflow run` quietly.
    pub(crate) fn run(pipeline: &Path, checkpoint: &Path, trigger: &str) -> Self {
        Self::run_delivering("at-least-once", pipeline, checkpoint, trigger)
    }

    /// The same with `--delivery`.
    pub(crate) fn run_delivering(delivery: &str, pipeline: &Path, checkpoint: &Path, trigger: &str) -> Self {
        let (pipeline, checkpoint) = (pipeline.to_str().unwrap(), checkpoint.to_str().unwrap());
        let place = ["run", pipeline, "--checkpoint", checkpoint, "--trigger", trigger];
        Self::start(&[&place[..], &["--delivery", delivery, "--progress", "none"]].concat())
    }

    /// SIGKILL: no chance to say goodbye.
    pub(crate) fn kill(mut self) {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap();
    }

    /// What it has written to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text.lock().clone()
    }

    /// What it has written to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text.lock().clone()
    }

    /// The process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(mut self) -> Ended {
        let status = eventually("epochflow has ended", async || self.child.0.try_wait().unwrap()).await;
        Ended { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }

    /// SIGTERM, and a clean end.
    pub(crate) async fn stop(self) {
        let before = self.stderr.text.lock().len();
        self.signal("-TERM");
        let ended = self.ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
        assert_eq!(&ended.stderr[before..], "", "a clean stop warns of nothing");
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_none()
    }
}

struct KilledWhenDropped(Child);

impl Drop for KilledWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Writes a pipeline into `folder`.
pub(crate) fn pipeline(folder: &Path, sql: &str) -> PathBuf {
    let path = folder.join("pipeline.sql");
    std::fs::write(&path, sql).unwrap();
    path
}
