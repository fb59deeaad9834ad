//! Child processes: what is measured and what measures it, each in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::Value;

use super::Result;
use super::clients::POLL;
use super::sys::{self, Usage};

/// Far longer than the 5 s that the engine promises; a rival's virtual machine may need it.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

/// The part that a child plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// What is measured.
    Subject,
    /// The generator.
    Sender,
    Receiver,
}

/// A line of JSON that a child has written on stdout.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) from: Role,
    pub(super) value: Value,
}

/// Where the lines of a run's children arrive.
#[derive(Debug)]
pub(super) struct Lines {
    sender: Sender<Line>,
    receiver: Receiver<Line>,
}

impl Lines {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }

    /// The next line, if one comes soon.
    pub(super) fn next(&self) -> Option<Line> {
        match self.receiver.recv_timeout(POLL) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Killed when dropped, with all that it has started.
#[derive(Debug)]
pub(super) struct Child {
    process: std::process::Child,
    name: String,
}

impl Child {
    /// Starts `command`; what it writes on stdout comes through `lines` as far as it is JSON.
    pub(super) fn spawn(mut command: Command, role: Role, name: &str, lines: &Lines) -> Result<Self> {
        sys::die_with_parent(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let program = command.get_program().to_owned();
        let mut process = command.spawn().map_err(|error| format!("cannot run {program:?}: {error}"))?;
        if let Some(output) = process.stdout.take() {
            let lines = lines.sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
                    if let Ok(value) = serde_json::from_str(&line)
                        && lines.send(Line { from: role, value }).is_err()
                    {
                        return;
                    }
                }
            });
        }
        Ok(Self { process, name: name.to_owned() })
    }

    /// Sends a line, for which the generator and the receiver wait.
    pub(super) fn tell(&mut self) -> Result<()> {
        if let Some(input) = &mut self.process.stdin {
            writeln!(input)?;
        }
        Ok(())
    }

    /// Fails if the child has ended, which it never should by itself.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("{} ended by itself ({status})", self.name).into()),
        }
    }

    /// Fails if the child has failed; it may have ended well.
    pub(super) fn check_not_failed(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            Some(status) if !status.success() => Err(format!("{} failed ({status})", self.name).into()),
            _ => Ok(()),
        }
    }

    pub(super) fn usage(&self) -> Result<Usage> {
        sys::usage(self.process.id())
    }

    /// Waits for its end, which must be a success.
    pub(super) fn finish(mut self) -> Result<()> {
        let status = self.process.wait()?;
        if status.success() { Ok(()) } else { Err(format!("{} failed ({status})", self.name).into()) }
    }

    /// Stops it by SIGTERM.
    pub(super) fn stop(mut self) -> Result<()> {
        sys::signal_group(self.process.id(), libc::SIGTERM);
        let deadline = Instant::now() + STOPS_WITHIN;
        while Instant::now() < deadline {
            match self.process.try_wait()? {
                None => std::thread::park_timeout(Duration::from_millis(10)),
                // No code, or 128 + 15: the signal killed it, as it does the relay and virtual machines.
                Some(status) if status.success() || matches!(status.code(), None | Some(143)) => {
                    return Ok(());
                }
                Some(status) => {
                    return Err(format!("{} failed when told to stop ({status})", self.name).into());
                }
            }
        }
        Err(format!("{} did not stop within {} s", self.name, STOPS_WITHIN.as_secs()).into())
    }
}

/// An option whose value is one of a list.
pub(super) fn option(command: &mut Command, name: &str, value: impl ValueEnum) {
    if let Some(value) = value.to_possible_value() {
        command.args([name, value.get_name()]);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // All of it fails only if the child is gone already.
        if matches!(self.process.try_wait(), Ok(None)) {
            sys::signal_group(self.process.id(), libc::SIGKILL);
            let _ = self.process.wait();
        }
    }
}
