//! The generator: open-loop, in a process of its own.

use std::io::{BufRead, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};

use clap::Args;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::clients::{POLL, Sender};
use super::latency::LINGER_MS;
use super::process::{Child, Lines, Role, option};
use super::record::{self, PROBE};
use super::schedule::{Arrivals, Schedule};
use super::stream::{self, Stream};
use super::subject::Route;
use super::{Case, Result, Settings, sys};

/// Sends probes until a line comes on stdin, then the schedule. Prints when it starts, and how late records left.
#[derive(Debug, Args)]
pub(super) struct Send {
    #[arg(long)]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    partitions: i32,
    #[arg(long)]
    linger_ms: String,
    #[arg(long)]
    stream: Stream,
    #[arg(long)]
    plain_bytes: usize,
    /// The row that probes consist of.
    #[arg(long)]
    probe: u64,
    #[arg(long)]
    arrivals: Arrivals,
    #[arg(long)]
    rate: u64,
    #[arg(long)]
    seed: u64,
    /// How many records in all.
    #[arg(long)]
    records: u64,
    /// The first record that counts.
    #[arg(long)]
    warm_up: u64,
}

impl Send {
    pub(super) fn run(&self) -> Result<()> {
        let sender = Sender::new(&self.brokers, &self.linger_ms)?;
        self.send_probes(&sender)?;
        let delay_us = self.send_schedule(&sender)?;
        let at = |quantile| delay_us.value_at_quantile(quantile);
        say(&json!({ "delayUs": { "p50": at(0.5), "p99": at(0.99), "max": delay_us.max() } }))
    }

    fn send_probes(&self, sender: &Sender) -> Result<()> {
        let (go, told) = channel();
        std::thread::spawn(move || go.send(std::io::stdin().lock().lines().next()));
        let mut rows = stream::rows(self.stream, self.plain_bytes);
        let fields = rows.nth(self.probe as usize).ok_or("the stream has ended")?;
        loop {
            let probe = record::encode(PROBE, sys::now_ns(), &fields);
            sender.send(&self.topic, 0, None, probe.as_bytes())?;
            match told.recv_timeout(POLL) {
                Err(RecvTimeoutError::Timeout) => sender.check()?,
                _ => return Ok(()),
            }
        }
    }

    /// Sends all records, none earlier than it is due and none left out; by how much each left late, in µs.
    fn send_schedule(&self, sender: &Sender) -> Result<Histogram<u64>> {
        /// For the rows before the first one to be made.
        const HEAD_START_NS: u64 = 100_000_000;
        let start = sys::now_ns() + HEAD_START_NS;
        say(&json!({ "start": start }))?;
        sys::exact_sleep();
        let mut delay_us = Histogram::new(3)?;
        let schedule = Schedule::new(self.arrivals, self.rate, self.seed);
        let rows = stream::rows(self.stream, self.plain_bytes);
        for ((seq, after), fields) in (0..self.records).zip(schedule).zip(rows) {
            let due = start + after;
            let payload = record::encode(seq as i64, due, &fields);
            sys::sleep_until(due);
            if seq >= self.warm_up {
                delay_us.record((sys::now_ns() - due) / 1_000)?;
            }
            let partition = (seq % self.partitions.unsigned_abs() as u64) as i32;
            sender.send(&self.topic, partition, None, payload.as_bytes())?;
        }
        sender.finish()?;
        Ok(delay_us)
    }
}

/// How late records left, in µs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delay {
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) max_us: u64,
}

/// Starts a generator at the begin of a route; `probe` is a row that comes out at its end.
pub(super) fn start(
    settings: &Settings,
    case: Case,
    route: &Route<'_>,
    probe: u64,
    lines: &Lines,
) -> Result<Child> {
    let rate = case.rate;
    let mut command = settings.this_program("send")?;
    command.args(["--brokers", &settings.brokers, "--topic", route.from, "--linger-ms", LINGER_MS]);
    command.args(["--partitions", &route.partitions.to_string(), "--probe", &probe.to_string()]);
    option(&mut command, "--stream", settings.stream(case.query));
    option(&mut command, "--arrivals", settings.arrivals);
    command.args(["--plain-bytes", &settings.plain_bytes().to_string(), "--rate", &rate.to_string()]);
    command.args(["--seed", &settings.seed.to_string(), "--records", &settings.records(rate).to_string()]);
    command.args(["--warm-up", &settings.warm_up_records(rate).to_string()]);
    Child::spawn(command, Role::Sender, "the generator", lines)
}

/// What a generator says in the end.
pub(super) fn delay(line: &Value) -> Option<Delay> {
    let number = |name: &str| line["delayUs"][name].as_u64();
    Some(Delay { p50_us: number("p50")?, p99_us: number("p99")?, max_us: number("max")? })
}

/// One line for the process that has started this one.
pub(super) fn say(value: &Value) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{value}")?)
}
