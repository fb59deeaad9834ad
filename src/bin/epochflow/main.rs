//! The `epochflow` command: a thin user of the library.
//!
//! Exit status: 0 when the query ended as it should, 1 when it failed, 2 for wrong usage. Logs go to stderr (`RUST_LOG`),
//! results to stdout.

mod bench;
mod checkpoint;
mod demo;
mod export;
mod interrupts;
mod metrics;
mod progress;
mod run;
mod show;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use epochflow::checkpoint::RewindTo;
use epochflow::{Delivery, EpochId, ErrorKind, LatencySlo, RestartPolicy, Result, Trigger};
use tracing_subscriber::EnvFilter;

/// SQL over Kafka, about a millisecond from record in to record out.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it at work: embedded broker, generator, query and latencies in one process.
    Demo(demo::DemoArgs),
    /// Run a pipeline: SQL statements with one INSERT INTO sink SELECT … FROM source.
    Run(RunArgs),
    /// Plan a pipeline and check that it is supported, without a broker.
    Explain {
        /// File with the pipeline's SQL.
        pipeline: PathBuf,
        /// continuous:1s, processing-time:500ms, available-now or once.
        #[arg(long, default_value = "continuous:1s", value_parser = trigger)]
        trigger: Trigger,
        #[command(flatten)]
        access: AccessArgs,
    },
    /// Print a pipeline as a PySpark program that goes on from the same checkpoint.
    ExportSpark(export::ExportArgs),
    /// Measure latency and throughput on your own broker, beside a bare relay: benches/README.md.
    Bench(Box<bench::BenchArgs>),
    /// Look into checkpoints, and change where a stopped query goes on.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// What a checkpoint holds: query, last epoch, offsets, who wrote it.
    Show(show::ShowArgs),
    /// Read all of a checkpoint and name what is wrong with it; exit status 1 if anything is.
    Verify {
        /// Path or URL.
        location: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make an earlier epoch the last committed one: what came after it is read and written once more.
    Rewind {
        /// Path or URL.
        location: String,
        #[command(flatten)]
        to: RewindArgs,
        /// Do it; without, it is only shown.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Make one source go on elsewhere, by a committed epoch without records.
    SetOffsets {
        /// Path or URL.
        location: String,
        /// Number of the source, from 0, in the order of the query from left to right.
        #[arg(long)]
        source: usize,
        /// For every partition the next record to read, as `checkpoint show` prints it: {"events":{"0":1200}}.
        #[arg(long, value_name = "JSON")]
        offsets: String,
        /// Do it; without, it is only shown.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Where to rewind to.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RewindArgs {
    /// This committed epoch.
    #[arg(long, value_name = "N")]
    to_epoch: Option<u64>,
    /// The newest committed epoch that was planned by then: RFC 3339, or milliseconds since 1970.
    #[arg(long, value_name = "T", value_parser = timestamp, allow_negative_numbers = true)]
    to_timestamp: Option<i64>,
}

impl RewindArgs {
    fn target(&self) -> RewindTo {
        match (self.to_epoch, self.to_timestamp) {
            (Some(epoch), _) => RewindTo::Epoch(EpochId(epoch)),
            // One of the two is there: clap sees to it.
            (None, at) => RewindTo::Timestamp(at.unwrap_or_default()),
        }
    }
}

/// Options of `run`.
#[derive(Debug, Args)]
struct RunArgs {
    /// File with the pipeline's SQL.
    pipeline: PathBuf,
    /// Where the query keeps its place: a path, or the URL of an object store.
    #[arg(long)]
    checkpoint: String,
    /// continuous:1s, processing-time:500ms, available-now or once.
    #[arg(long, value_parser = trigger)]
    trigger: Trigger,
    /// The query's name, for progress and messages.
    #[arg(long)]
    name: Option<String>,
    /// plain: a line an epoch on stderr (one live line on a terminal); json: Spark's StreamingQueryProgress, one a line on
    /// stdout.
    #[arg(long, value_enum, default_value_t = ProgressMode::Plain)]
    progress: ProgressMode,
    /// What the sink promises: at-least-once or exactly-once; wins over the sink table's option.
    #[arg(long, value_parser = delivery)]
    delivery: Option<Delivery>,
    /// What to do when the query fails in a way that another attempt may mend: never, on-failure (10 restarts in 10
    /// minutes), or on-failure:MAX/WINDOW such as on-failure:3/1m.
    #[arg(long, default_value = "on-failure", value_parser = restart_policy)]
    restart: RestartPolicy,
    /// Option of the query, such as badRecords=skip or staticReload=5m; may be repeated.
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = name_and_value)]
    query_options: Vec<(String, String)>,
    /// Serve metrics for Prometheus at http://HOST:PORT/metrics.
    #[arg(long, value_name = "HOST:PORT", value_parser = metrics::address)]
    metrics_addr: Option<SocketAddr>,
    /// What rows may take from their timestamp to the acknowledgement, such as 5ms@p99: counted, and reported when missed.
    #[arg(long, value_name = "SLO", value_parser = latency_slo)]
    latency_slo: Option<LatencySlo>,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// What a pipeline may reach.
#[derive(Debug, Default, Args)]
struct AccessArgs {
    /// Let the pipeline reach this file, folder, URL, or broker (kafka://host:port); may be repeated. Without, it reaches what
    /// lies in its own folder, and every broker.
    #[arg(long = "allow", value_name = "PATH|URL")]
    locations: Vec<String>,
}

#[derive(Debug, Args)]
struct StoreArgs {
    /// Option of the checkpoint's object store, such as aws_region=eu-west-1; may be repeated.
    #[arg(long = "store-option", value_name = "NAME=VALUE", value_parser = name_and_value)]
    options: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProgressMode {
    Plain,
    Json,
    None,
}

fn trigger(text: &str) -> Result<Trigger> {
    text.parse()
}

fn delivery(text: &str) -> Result<Delivery> {
    text.parse()
}

fn restart_policy(text: &str) -> Result<RestartPolicy> {
    text.parse()
}

fn latency_slo(text: &str) -> Result<LatencySlo> {
    text.parse()
}

/// Milliseconds since 1970.
fn timestamp(text: &str) -> std::result::Result<i64, String> {
    if let Ok(millis) = text.parse() {
        return Ok(millis);
    }
    let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|error| {
        format!("{error}; write RFC 3339, as in 2026-01-31T12:00:00Z, or milliseconds since 1970")
    });
    time.map(|time| time.timestamp_millis())
}

fn name_and_value(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let is_terminal = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Demo(args) => demo::demo(args).await,
            Command::Run(args) => run::run(args).await,
            Command::Explain { pipeline, trigger, access } => run::explain(&pipeline, trigger, &access).await,
            Command::ExportSpark(args) => export::export(args).await,
            Command::Bench(args) => bench::bench(*args).await,
            Command::Checkpoint(command) => checkpoint::run(command).await,
        }
    });
    // Threads that are still busy with a client that closes must not hold up the exit.
    runtime.shutdown_timeout(Duration::ZERO);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), if error.kind() == ErrorKind::Usage { 2 } else { 1 }),
    }
}

/// One readable line, whatever the message holds.
#[expect(clippy::print_stderr, reason = "this is the command's own voice")]
fn fail(message: &str, status: u8) -> ExitCode {
    eprintln!("epochflow: {}", message.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(status)
}
