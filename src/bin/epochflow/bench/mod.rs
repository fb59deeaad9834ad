//! `epochflow bench`: how long a record takes through the engine, and how many a second go through, on a real broker, side
//! by side with the least that any engine must do: a bare librdkafka consume → produce. See `benches/README.md`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool: tables to stdout, notes to stderr"
)]

mod clients;
mod drain;
mod expected;
mod html;
mod idle;
mod json;
mod latency;
mod library;
mod live;
mod outcome;
mod plot;
mod process;
mod query;
mod receive;
mod record;
mod relay;
mod schedule;
mod send;
mod start;
mod stats;
mod stream;
mod subject;
mod sustain;
mod sys;
mod tables;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use clap::{Args, Subcommand};
use epochflow::{Delivery, Error, ErrorKind, Trigger, parse_duration};
use serde_json::{Value, json};

use self::clients::Isolation;
use self::drain::{Drain, Reservoir};
use self::expected::Expected;
use self::live::Live;
use self::outcome::Run;
use self::query::Query;
use self::schedule::Arrivals;
use self::stream::Stream;
use self::subject::Subject;
use self::sustain::{Limit, Search};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// `bench`, and the parts of it that run in processes of their own.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    settings: Option<Settings>,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Part {
    #[command(hide = true)]
    Send(send::Send),
    #[command(hide = true)]
    Receive(receive::Receive),
    #[command(hide = true)]
    Relay(relay::Relay),
    #[command(hide = true)]
    Library(library::Library),
}

/// What to measure, and how.
#[derive(Clone, Debug, Args)]
struct Settings {
    /// HOST:PORT of a broker
    #[arg(long)]
    brokers: String,
    /// Queries, in order: p0 h1 h6 h12 h13 h14 h19 h22 n0 n1 n2 n14 n21 n22
    #[arg(long, value_delimiter = ',', default_value = "p0", value_parser = query::parse)]
    queries: Vec<&'static Query>,
    /// Records per second; a run for each
    #[arg(long, value_delimiter = ',', default_value = "100,1000", value_parser = clap::value_parser!(u64).range(1..))]
    rates: Vec<u64>,
    /// How records follow each other
    #[arg(long, value_enum, default_value_t = Arrivals::Steady)]
    arrivals: Arrivals,
    /// Partitions of both topics
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,
    /// Measured seconds of a run
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Seconds before them that are not measured
    #[arg(long, default_value_t = 2)]
    warm_up: u64,
    /// How often each subject runs, in turn with the others
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Subjects, in order: hop relay epochflow slow-store micro-batch exactly-once [default: hop,relay,epochflow; with
    /// --drain: relay,epochflow]
    #[arg(long, value_delimiter = ',', value_parser = subject::parse)]
    subjects: Vec<Subject>,
    /// Another engine, NAME=COMMAND: copies a topic until SIGTERM. {brokers} {from} {to} {partitions} {query} {linger_ms}
    /// {folder} are put in; may be repeated
    #[arg(long = "subject-command", value_name = "NAME=COMMAND", value_parser = subject::parse_command)]
    commands: Vec<Subject>,
    /// The engine's trigger
    #[arg(long, default_value = "continuous:1s", value_parser = crate::trigger)]
    trigger: Trigger,
    /// What the engine's sink promises: at-least-once or exactly-once [default: the engine's]
    #[arg(long, value_parser = crate::delivery)]
    delivery: Option<Delivery>,
    /// Folder or URL under which each run of the engine gets a checkpoint [default: a temporary folder]
    #[arg(long)]
    checkpoint: Option<String>,
    /// How long the checkpoint store of the subject slow-store takes for a write
    #[arg(long, default_value = "200ms", value_parser = parse_duration)]
    store_delay: Duration,
    /// What the receiver sees of transactions
    #[arg(long, value_enum, default_value_t = Isolation::ReadUncommitted)]
    isolation: Isolation,
    /// Length of P0's records [default: 110; with --drain: 200]
    #[arg(long)]
    record_bytes: Option<usize>,
    /// Decides the distances of --arrivals poisson
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another binary of the engine
    #[arg(long)]
    epochflow: Option<PathBuf>,
    /// Measure throughput instead: fill a topic with so many records, then empty it
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(2..))]
    drain: Option<u64>,
    /// Find the highest rate that each subject sustains instead, from the first of --rates on
    #[arg(long, conflicts_with = "drain")]
    sustainable: bool,
    /// With --sustainable: do not try higher rates than this
    #[arg(long, requires = "sustainable", value_name = "RATE", value_parser = clap::value_parser!(u64).range(1..))]
    rates_up_to: Option<u64>,
    /// Measure an idle query instead: processor time over so many seconds, on an empty topic of 16 partitions
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["drain", "sustainable"], value_parser = clap::value_parser!(u64).range(1..))]
    idle: Option<u64>,
    /// Measure starting and stopping instead: so many times, on a checkpoint of 100 epochs
    #[arg(long, value_name = "TIMES", conflicts_with_all = ["drain", "sustainable", "idle"], value_parser = clap::value_parser!(u64).range(1..))]
    start: Option<u64>,
    /// Also write every run's figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also write a report with charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What is the same for all subjects that are compared.
#[derive(Clone, Copy, Debug)]
struct Case {
    query: &'static Query,
    rate: u64,
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        self.query.id == other.query.id && self.rate == other.rate
    }
}

/// Runs the bench, or a part of it.
pub(super) async fn bench(args: BenchArgs) -> epochflow::Result<()> {
    let outcome = match (args.part, args.settings) {
        (Some(Part::Send(part)), _) => part.run(),
        (Some(Part::Receive(part)), _) => part.run(),
        (Some(Part::Relay(part)), _) => part.run(),
        (Some(Part::Library(part)), _) => part.run().await,
        (None, Some(settings)) => measure(&settings).await,
        (None, None) => return Err(Error::new(ErrorKind::Usage, "bench needs --brokers HOST:PORT")),
    };
    // What the engine itself says keeps its kind; all else is about the broker, the machine or a subject.
    outcome.map_err(|error| match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => Error::new(ErrorKind::Environment, other.to_string()),
    })
}

/// What was measured.
#[derive(Default)]
struct Results {
    runs: Vec<Run>,
    drains: Vec<Drain>,
    /// What is neither.
    others: Vec<Value>,
    problems: Vec<String>,
}

async fn measure(settings: &Settings) -> Result<()> {
    let live = Live::new();
    let mut results = Results::default();
    let measured = if let Some(records) = settings.drain {
        measure_drains(settings, records, &live, &mut results).await
    } else if settings.idle.is_some() || settings.start.is_some() {
        measure_without_load(settings, &live, &mut results).await
    } else if settings.sustainable {
        measure_sustainable(settings, &live, &mut results).await
    } else {
        measure_latency(settings, &live, &mut results).await
    };
    live.clear();
    // What has been measured until something failed is worth keeping.
    write_files(settings, &results)?;
    measured?;
    if results.problems.is_empty() { Ok(()) } else { Err(results.problems.join("; ").into()) }
}

async fn measure_latency(settings: &Settings, live: &Live, results: &mut Results) -> Result<()> {
    for (query, rate) in
        settings.queries.iter().flat_map(|query| settings.rates.iter().map(move |rate| (*query, *rate)))
    {
        let case = Case { query, rate };
        let expected = settings.expected(query, settings.records(rate)).await?;
        let first = results.runs.len();
        for (repeat, subject) in settings.turns() {
            live.doing(format!("{} at {rate}/s, repeat {repeat}, {}", query.id, subject.name()));
            let run = latency::run(settings, case, &expected, &subject, repeat, live)
                .map_err(|error| format!("{} at {rate}/s, {}: {error}", query.id, subject.name()))?;
            if let Some(problem) = run.output.problem() {
                results.problems.push(format!("{} at {rate}/s, {}: {problem}", query.id, subject.name()));
            }
            results.runs.push(run);
        }
        live.clear();
        println!("\n{} at {rate} records/s", query.id.to_uppercase());
        let runs: Vec<&Run> = results.runs[first..].iter().collect();
        tables::latency(&runs).iter().for_each(tables::Table::print);
    }
    Ok(())
}

async fn measure_drains(settings: &Settings, records: u64, live: &Live, results: &mut Results) -> Result<()> {
    for query in &settings.queries {
        let expected = settings.expected(query, records).await?;
        let reservoir = Reservoir::fill(settings, query, records, live)?;
        let first = results.drains.len();
        for (repeat, subject) in settings.turns() {
            live.doing(format!("{} drain, repeat {repeat}, {}", query.id, subject.name()));
            let drain = reservoir
                .drain(settings, &expected, &subject, repeat, live)
                .map_err(|error| format!("{} drain, {}: {error}", query.id, subject.name()))?;
            if let Some(problem) = drain.output.problem() {
                results.problems.push(format!("{} drain, {}: {problem}", query.id, subject.name()));
            }
            results.drains.push(drain);
        }
        live.clear();
        println!("\n{}, {records} records", query.id.to_uppercase());
        tables::drain(&results.drains[first..].iter().collect::<Vec<_>>()).print();
    }
    Ok(())
}

async fn measure_without_load(settings: &Settings, live: &Live, results: &mut Results) -> Result<()> {
    for query in &settings.queries {
        if let Some(seconds) = settings.idle {
            results.others.push(idle::measure(settings, query, seconds).await?);
        }
        if let Some(times) = settings.start {
            // As many records as let some pass, whichever the query.
            const ROWS: u64 = 5_000;
            let expected = settings.expected(query, ROWS).await?;
            results.others.push(start::measure(settings, query, &expected, times, live)?);
        }
    }
    Ok(())
}

async fn measure_sustainable(settings: &Settings, live: &Live, results: &mut Results) -> Result<()> {
    let first = settings.rates.first().copied().unwrap_or(1_000);
    for query in &settings.queries {
        for (repeat, subject) in settings.turns() {
            let mut search = Search::new(first, settings.rates_up_to);
            let mut limit = None;
            while let Some(rate) = search.next() {
                live.doing(format!("{}, repeat {repeat}, {}: {rate}/s", query.id, subject.name()));
                let expected = settings.expected(query, settings.records(rate)).await?;
                let run = latency::run(settings, Case { query, rate }, &expected, &subject, repeat, live)?;
                let judged = sustain::judge(&run);
                limit = judged.err().or(limit);
                search.tried(judged.is_ok());
                results.runs.push(run);
            }
            live.clear();
            let by_generator = if limit == Some(Limit::Generator) { ", the generator's limit" } else { "" };
            let sustained = search.sustained();
            println!("{}, {}: sustains {sustained} records/s{by_generator}", query.id, subject.name());
            results.others.push(json!({
                "query": query.id, "subject": subject.name(), "repeat": repeat, "sustainedRate": sustained,
                "generatorsLimit": limit == Some(Limit::Generator),
            }));
        }
    }
    Ok(())
}

fn write_files(settings: &Settings, results: &Results) -> Result<()> {
    if let Some(file) = &settings.json {
        let runs = results.runs.iter().map(json::run).chain(results.drains.iter().map(json::drain));
        let all: Vec<Value> = runs.chain(results.others.iter().cloned()).collect();
        let report = json!({ "settings": json::settings(settings), "runs": all });
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    if let Some(file) = &settings.html {
        std::fs::write(file, html::report(settings, &results.runs, &results.drains)?)?;
    }
    Ok(())
}

impl Settings {
    /// A B A B …: what changes on the machine meanwhile then changes for all subjects.
    fn turns(&self) -> impl Iterator<Item = (usize, Subject)> {
        let default: &[&str] =
            if self.drain.is_some() { &["relay", "epochflow"] } else { &["hop", "relay", "epochflow"] };
        let mut subjects = self.subjects.clone();
        if subjects.is_empty() {
            subjects.extend(default.iter().filter_map(|name| subject::parse(name).ok()));
        }
        subjects.extend(self.commands.iter().cloned());
        (1..=self.repeat as usize)
            .flat_map(move |repeat| subjects.clone().into_iter().map(move |subject| (repeat, subject)))
    }

    fn stream(&self, query: &Query) -> Stream {
        if self.drain.is_some() { query.bulk } else { query.stream }
    }

    fn plain_bytes(&self) -> usize {
        self.record_bytes.unwrap_or(if self.drain.is_some() { 200 } else { 110 })
    }

    fn warm_up_records(&self, rate: u64) -> u64 {
        rate * self.warm_up
    }

    /// How many records a run sends, warm-up included.
    fn records(&self, rate: u64) -> u64 {
        self.warm_up_records(rate) + rate * self.seconds
    }

    /// How often memory is looked at: often enough for a curve, and seldom enough to cost nothing.
    fn memory_every(&self) -> Duration {
        const POINTS: u32 = 400;
        (Duration::from_secs(self.warm_up + self.seconds) / POINTS).max(Duration::from_millis(500))
    }

    async fn expected(&self, query: &Query, records: u64) -> Result<Expected> {
        expected::compute(query, self.stream(query), self.plain_bytes(), records).await
    }

    /// This program again, for a part of the bench.
    fn this_program(&self, part: &str) -> Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", part]);
        Ok(command)
    }
}
