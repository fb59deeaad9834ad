//! What is measured, and the child process that does the work.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use tempfile::TempDir;

use crate::{Args, Result, sys};

/// The text that both filters look for.
pub(crate) const MATCH: &str = r#""match":true"#;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Subject {
    Hop,
    Relay,
    Passthrough,
    PassthroughExactlyOnce,
    PassthroughSlowStore,
    RelayFilter,
    #[value(name = "filter-1-in-50")]
    Filter1In50,
}

/// From where to where, for one run.
pub(crate) struct Route<'a> {
    pub(crate) from: &'a str,
    pub(crate) partitions: i32,
    pub(crate) to: &'a str,
    pub(crate) linger_ms: &'a str,
}

impl Subject {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The bare relay that does the same work.
    pub(crate) fn baseline(self) -> Option<Self> {
        match self {
            Self::Passthrough | Self::PassthroughExactlyOnce | Self::PassthroughSlowStore => {
                Some(Self::Relay)
            }
            Self::Filter1In50 => Some(Self::RelayFilter),
            Self::Hop | Self::Relay | Self::RelayFilter => None,
        }
    }

    /// One record in how many comes out.
    pub(crate) fn one_in(self) -> u64 {
        if self.filters() { 50 } else { 1 }
    }

    fn filters(self) -> bool {
        matches!(self, Self::RelayFilter | Self::Filter1In50)
    }

    /// Starts the child, if the subject has one.
    pub(crate) fn start(self, args: &Args, route: &Route<'_>) -> Result<Option<Child>> {
        match self {
            Self::Hop => Ok(None),
            Self::Relay | Self::RelayFilter => Child::relay(args, route, self.filters()).map(Some),
            Self::Passthrough | Self::Filter1In50 | Self::PassthroughExactlyOnce => {
                let exactly_once = self == Self::PassthroughExactlyOnce;
                let delivery = if exactly_once { "exactly-once" } else { "at-least-once" };
                Child::engine(args, route, self.filters(), delivery).map(Some)
            }
            Self::PassthroughSlowStore => Child::engine_with_slow_store(args, route).map(Some),
        }
    }
}

/// What a child used.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) peak_rss_mib: f64,
    pub(crate) cpu_seconds: f64,
}

/// A process of its own, so that its memory and CPU time are its own; killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    _folder: TempDir,
}

impl Child {
    fn relay(args: &Args, route: &Route<'_>, filter: bool) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["relay", "--brokers", args.brokers.as_str(), "--from", route.from, "--to", route.to]);
        command.args(["--partitions", &route.partitions.to_string(), "--linger-ms", route.linger_ms]);
        if filter {
            command.args(["--only", MATCH]);
        }
        Self::spawn(command, tempfile::tempdir()?)
    }

    fn engine(args: &Args, route: &Route<'_>, filter: bool, delivery: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pipeline = folder.path().join("pipeline.sql");
        std::fs::write(&pipeline, sql(&args.brokers, route, filter))?;
        let checkpoint = match &args.checkpoint {
            None => folder.path().join("checkpoint"),
            // The output topic's name is new in every run, and so must be the checkpoint.
            Some(base) => PathBuf::from(format!("{}/{}", base.trim_end_matches('/'), route.to)),
        };
        let mut command = Command::new(&args.epochflow);
        command.arg("run").arg(pipeline).arg("--checkpoint").arg(checkpoint);
        command.args(["--trigger", &format!("continuous:{}", args.epoch), "--progress", "none"]);
        command.args(["--delivery", delivery]);
        Self::spawn(command, folder)
    }

    /// The library in this program, in a process of its own: the command cannot make its store slow.
    fn engine_with_slow_store(args: &Args, route: &Route<'_>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let pipeline = folder.path().join("pipeline.sql");
        std::fs::write(&pipeline, sql(&args.brokers, route, false))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("slow-store").arg(pipeline);
        Self::spawn(command, folder)
    }

    fn spawn(mut command: Command, folder: TempDir) -> Result<Self> {
        sys::die_with_parent(&mut command);
        let process = command.spawn().map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        Ok(Self { process, _folder: folder })
    }

    /// Fails if the child has ended, which it never should by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.process.try_wait()? {
            None => Ok(()),
            Some(status) => Err(format!("the child ended by itself ({status})").into()),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let pid = self.process.id();
        Ok(Usage { peak_rss_mib: sys::peak_rss_mib(pid)?, cpu_seconds: sys::cpu_seconds(pid)? })
    }

    /// Stops the child in the way that it promises to obey within 5 s.
    pub(crate) fn stop(mut self) -> Result<()> {
        sys::terminate(self.process.id());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            match self.process.try_wait()? {
                None => std::thread::sleep(Duration::from_millis(10)),
                // No code: the signal killed it, as it does the relay.
                Some(status) if status.success() || status.code().is_none() => return Ok(()),
                Some(status) => return Err(format!("the child failed when told to stop ({status})").into()),
            }
        }
        Err("the child did not stop within 5 s".into())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn sql(brokers: &str, route: &Route<'_>, filter: bool) -> String {
    let Route { from, to, linger_ms, .. } = route;
    // The engine's own default must be 0 as well, so it is not set where 0 is meant.
    let options =
        if *linger_ms == "0" { String::new() } else { format!(" OPTIONS ('kafka.linger.ms' '{linger_ms}')") };
    let filter =
        if filter { format!(" WHERE CAST(value AS STRING) LIKE '%{MATCH}%'") } else { String::new() };
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}' \
         OPTIONS ('startingOffsets' 'earliest');\n\
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}'{options};\n\
         INSERT INTO out SELECT key, value FROM events{filter};\n"
    )
}
