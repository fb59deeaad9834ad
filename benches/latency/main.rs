//! How long a record takes through the engine, and how many a second go through, on a real broker, side by side with
//! the least that any engine must do: a bare librdkafka consume → produce. See `benches/README.md`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: tables to stdout, notes to stderr"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "keeping a schedule is the point, on threads where nothing else waits"
)]

use std::path::PathBuf;

use clap::Parser;
use serde_json::{Value, json};

mod drain;
mod idle;
mod kafka;
mod latency;
mod record;
mod relay;
mod report;
mod slow_store;
mod subject;
mod sys;

use drain::Reservoir;
use subject::Subject;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
#[command(
    name = "latency",
    about = "Latency and throughput through epochflow, beside a bare relay, on a real broker"
)]
struct Args {
    /// HOST:PORT of a broker
    #[arg(long)]
    brokers: String,
    /// Records per second, one table each
    #[arg(long, value_delimiter = ',', default_value = "100,1000", value_parser = clap::value_parser!(u64).range(1..))]
    rates: Vec<u64>,
    /// Measured seconds of a run
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often each subject runs, in turn with the others
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Which subjects, in which order [default: all; with --drain: relay,passthrough]
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// Interval of the engine's continuous trigger
    #[arg(long, default_value = "1s")]
    epoch: String,
    /// Folder or URL under which each engine run gets a checkpoint [default: a temporary folder]
    #[arg(long)]
    checkpoint: Option<String>,
    /// The engine's binary
    #[arg(long, default_value = env!("CARGO_BIN_EXE_epochflow"))]
    epochflow: PathBuf,
    /// Measure throughput instead: fill a topic with so many records, then empty it
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(2..))]
    drain: Option<u64>,
    /// Measure an idle query instead: processor time over so many seconds, on an empty topic of 16 partitions
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    idle: Option<u64>,
    /// Also write every run's figures to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    // What a process of its own is needed for runs this program again.
    match std::env::args().nth(1).as_deref() {
        Some("relay") => return relay::Relay::parse_from(std::env::args().skip(1)).run(),
        Some("slow-store") => return slow_store::SlowStore::parse_from(std::env::args().skip(1)).run(),
        _ => {}
    }
    let args = Args::parse();
    let (runs, lost) = match (args.drain, args.idle) {
        (Some(records), _) => (measure_drain(&args, records)?, 0),
        (None, Some(seconds)) => (vec![idle::measure(&args, seconds)?], 0),
        (None, None) => measure_latency(&args)?,
    };
    if let Some(file) = &args.json {
        let settings = json!({
            "rates": args.rates, "seconds": args.seconds, "repeat": args.repeat, "epoch": args.epoch,
            "checkpoint": args.checkpoint, "drain": args.drain,
            "cores": std::thread::available_parallelism()?.get(), "optimized": !cfg!(debug_assertions),
        });
        std::fs::write(file, serde_json::to_vec_pretty(&json!({ "settings": settings, "runs": runs }))?)?;
    }
    if lost == 0 { Ok(()) } else { Err(format!("{lost} records were lost").into()) }
}

/// The runs' figures and how many records were lost.
fn measure_latency(args: &Args) -> Result<(Vec<Value>, u64)> {
    use Subject::{
        Filter1In50, Hop, Passthrough, PassthroughExactlyOnce, PassthroughSlowStore, Relay, RelayFilter,
    };
    let all =
        [Hop, Relay, Passthrough, PassthroughExactlyOnce, PassthroughSlowStore, RelayFilter, Filter1In50];
    let subjects = subjects(args, &all);
    let (mut values, mut lost) = (Vec::new(), 0);
    for &rate in &args.rates {
        let mut runs = Vec::new();
        for (repeat, subject) in turns(args.repeat, subjects) {
            eprintln!("{rate} records/s, repeat {repeat}: {}", subject.name());
            let run = latency::run(args, subject, rate, repeat)
                .map_err(|error| format!("{}: {error}", subject.name()))?;
            lost += run.lost;
            runs.push(run);
        }
        report::print_latency(rate, &runs);
        values.extend(runs.iter().map(report::run_json));
    }
    Ok((values, lost))
}

fn measure_drain(args: &Args, records: u64) -> Result<Vec<Value>> {
    let subjects = subjects(args, &[Subject::Relay, Subject::Passthrough]);
    if subjects.iter().any(|subject| *subject == Subject::Hop || subject.one_in() != 1) {
        return Err("--drain measures only relay and passthrough".into());
    }
    let reservoir = Reservoir::fill(args, records)?;
    let mut drains = Vec::new();
    for (repeat, subject) in turns(args.repeat, subjects) {
        eprintln!("drain, repeat {repeat}: {}", subject.name());
        let drain =
            reservoir.drain(args, subject, repeat).map_err(|error| format!("{}: {error}", subject.name()))?;
        drains.push(drain);
    }
    report::print_drain(&drains);
    Ok(drains.iter().map(report::drain_json).collect())
}

fn subjects<'a>(args: &'a Args, default: &'a [Subject]) -> &'a [Subject] {
    if args.subjects.is_empty() { default } else { &args.subjects }
}

/// A B A B …: what changes on the machine meanwhile then changes for all subjects.
fn turns(repeat: usize, subjects: &[Subject]) -> impl Iterator<Item = (usize, Subject)> {
    (1..=repeat).flat_map(move |repeat| subjects.iter().map(move |subject| (repeat, *subject)))
}
