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
mod query;
mod run;
mod store;
mod tally;
mod twins;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;

use crate::harm::{Guarantee, Plan};
use crate::run::Surroundings;
use crate::store::S3Server;
use crate::tally::{NotRun, Tally};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// How often a run is begun whose broker does not start.
const TRIES: u32 = 2;

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
    /// Runs at a time, each with a broker of its own: most of a run is waiting.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
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
    let s3 = S3Server::start()?;
    let seeds = args.seed..args.seed + args.runs;
    let runs = seeds.flat_map(|seed| guarantees.iter().map(move |guarantee| (seed, *guarantee)));
    let (runs, tally) = (Mutex::new(runs), Mutex::new(Tally::default()));
    let next = || runs.lock().unwrap_or_else(PoisonError::into_inner).next();
    // One after the other, so that no two find the same port free.
    let jobs = (0..args.jobs).map(|_| Surroundings::new(&s3)).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let working: Vec<_> = jobs
            .into_iter()
            .map(|around| {
                let (next, tally, s3, engine) = (&next, &tally, &s3, &engine);
                scope.spawn(move || {
                    let mut job = Job { engine, s3, around: Some(around), tally };
                    while let Some((seed, guarantee)) = next() {
                        job.run(seed, guarantee)?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .collect();
        working.into_iter().try_for_each(|job| job.join().unwrap_or_else(|_| Err("a job panicked".into())))
    })?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last = args.seed + args.runs.saturating_sub(1);
    println!("{tally}seeds {} to {last}, {:.0} s", args.seed, began.elapsed().as_secs_f64());
    Ok(tally.is_kept())
}

/// Runs one after the other, with what they can harm.
struct Job<'a> {
    engine: &'a Path,
    s3: &'a S3Server,
    /// `None` after a run that may have left weather and broker in any state.
    around: Option<Surroundings<'a>>,
    tally: &'a Mutex<Tally>,
}

impl Job<'_> {
    /// Tells a story and its verdict. What the driver could not run it tries once more.
    fn run(&mut self, seed: u64, guarantee: Guarantee) -> Result<()> {
        for _ in 0..TRIES {
            match self.one(seed, guarantee) {
                Err(error) if error.is::<NotRun>() => {
                    println!("{} seed {seed}: {error}", guarantee.delivery());
                    self.around = None;
                }
                judged => return judged,
            }
        }
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).count_not_run(guarantee, seed);
        Ok(())
    }

    /// # Errors
    /// [`NotRun`], or the machine fails.
    fn one(&mut self, seed: u64, guarantee: Guarantee) -> Result<()> {
        let began = Instant::now();
        let (plan, name) = (Plan::new(seed), guarantee.delivery());
        let folder = tempfile::tempdir()?;
        let mut around = match self.around.take() {
            Some(around) => around,
            None => Surroundings::new(self.s3)?,
        };
        let judged = match run::run(&mut around, self.engine, folder.path(), seed, guarantee) {
            Err(error) if error.is::<NotRun>() => return Err(error),
            judged => judged,
        };
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.count(guarantee, seed, &plan, judged.as_ref().ok());
        let violations = match judged {
            Ok(verdict) => {
                println!(
                    "{name} seed {seed}: {} records, {} duplicates, {:.1} s, {}",
                    verdict.records,
                    verdict.duplicates,
                    began.elapsed().as_secs_f64(),
                    if verdict.violations.is_empty() { "kept" } else { "VIOLATED" }
                );
                verdict.violations
            }
            Err(error) => {
                println!("{name} seed {seed}: VIOLATED");
                vec![error.to_string()]
            }
        };
        if violations.is_empty() {
            self.around = Some(around);
            return Ok(());
        }
        let shown = violations.iter().take(5).map(|violation| format!("\n  {violation}")).collect::<String>();
        println!("{plan:?}{shown}\n  its files stay in {}", folder.keep().display());
        Ok(())
    }
}
