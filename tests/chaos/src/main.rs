//! Starts the real engine against a real broker under load, harms both at random, and counts every record afterwards.
//!
//! A run is a seed: `chaos --runs 1 --seed 42` tells the story of seed 42 again. `run.rs` is one run, `harm.rs` what is
//! done in it, `oracle.rs` what must hold.

mod broker;
mod engine;
mod harm;
mod load;
mod oracle;
mod proxy;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;

use crate::broker::Broker;
use crate::harm::{Guarantee, Plan};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs epochflow under seeded harm and counts every record.
#[derive(Parser)]
struct Args {
    /// Runs of each guarantee; run `i` has the seed `seed + i`.
    #[arg(long, default_value_t = 10)]
    runs: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this guarantee; default: both.
    #[arg(long, value_enum)]
    delivery: Option<Guarantee>,
    /// The engine; default: the `epochflow` beside this program.
    #[arg(long)]
    engine: Option<PathBuf>,
}

#[derive(Default)]
struct Tally {
    runs: u64,
    violated: u64,
    records: i64,
    duplicates: i64,
    harms: BTreeMap<&'static str, u64>,
}

fn main() -> ExitCode {
    match chaos(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every run kept its guarantee.
fn chaos(args: &Args) -> Result<bool> {
    let engine = match &args.engine {
        Some(engine) => engine.clone(),
        None => std::env::current_exe()?.with_file_name("epochflow"),
    };
    if !engine.exists() {
        return Err(format!(
            "{} is not there: build it with cargo build, or name it with --engine",
            engine.display()
        )
        .into());
    }
    let guarantees = match args.delivery {
        Some(guarantee) => vec![guarantee],
        None => vec![Guarantee::AtLeastOnce, Guarantee::ExactlyOnce],
    };
    let began = Instant::now();
    let mut broker = Broker::start()?;
    let mut tallies: BTreeMap<Guarantee, Tally> = BTreeMap::new();
    for seed in args.seed..args.seed + args.runs {
        for guarantee in &guarantees {
            one(&mut broker, &engine, seed, *guarantee, tallies.entry(*guarantee).or_default())?;
        }
    }
    for (guarantee, tally) in &tallies {
        println!(
            "{}: {} runs (seeds {} to {}), {} violated, {} records, {} duplicates, harms {:?}",
            guarantee.delivery(),
            tally.runs,
            args.seed,
            args.seed + args.runs - 1,
            tally.violated,
            tally.records,
            tally.duplicates,
            tally.harms
        );
    }
    println!("{:.0} s", began.elapsed().as_secs_f64());
    Ok(tallies.values().all(|tally| tally.violated == 0))
}

fn one(
    broker: &mut Broker,
    engine: &std::path::Path,
    seed: u64,
    guarantee: Guarantee,
    tally: &mut Tally,
) -> Result<()> {
    let began = Instant::now();
    let folder = tempfile::tempdir()?;
    let judged = run::run(broker, engine, folder.path(), seed, guarantee);
    tally.runs += 1;
    let plan = Plan::new(seed);
    for (_, harm) in &plan.harms {
        *tally.harms.entry(harm.name()).or_default() += 1;
    }
    let violations = match judged {
        Ok(verdict) => {
            tally.records += verdict.records;
            tally.duplicates += verdict.duplicates;
            println!(
                "{} seed {seed}: {} records, {} duplicates, {:.1} s, {}",
                guarantee.delivery(),
                verdict.records,
                verdict.duplicates,
                began.elapsed().as_secs_f64(),
                if verdict.violations.is_empty() { "kept" } else { "VIOLATED" }
            );
            verdict.violations
        }
        Err(error) => {
            println!("{} seed {seed}: VIOLATED", guarantee.delivery());
            vec![error.to_string()]
        }
    };
    if violations.is_empty() {
        return Ok(());
    }
    tally.violated += 1;
    let shown = violations.iter().take(5).map(|violation| format!("\n  {violation}")).collect::<String>();
    println!("{plan:?}{shown}\n  its files stay in {}", folder.keep().display());
    // Weather and broker may have been left in any state.
    *broker = Broker::start()?;
    Ok(())
}
