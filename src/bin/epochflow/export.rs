//! `epochflow export-spark`.

use std::path::PathBuf;

use clap::Args;
use datafusion::prelude::SessionConfig;
use epochflow::checkpoint::Checkpoint;
use epochflow::{Error, ErrorKind, Result, SparkExport, SparkTrigger};

use super::{AccessArgs, StoreArgs, run};

/// Options of `export-spark`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// File with the pipeline's SQL.
    pipeline: PathBuf,
    /// The checkpoint that Spark is to go on from; without it the program takes it as its argument.
    #[arg(long)]
    checkpoint: Option<String>,
    /// continuous:1s, processing-time:500ms, available-now or once; or real-time:5s, Spark's Real-Time Mode.
    #[arg(long, default_value = "continuous:1s", value_parser = trigger)]
    trigger: SparkTrigger,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    store: StoreArgs,
}

fn trigger(text: &str) -> Result<SparkTrigger> {
    text.parse()
}

/// Prints the program, or what stands against it.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the program is the command's result, the rest is not"
)]
pub(super) async fn export(args: ExportArgs) -> Result<()> {
    // For the lines of what differs.
    let config = SessionConfig::new().set_bool("datafusion.sql_parser.collect_spans", true);
    let session = run::session(&args.pipeline, &args.access, config)?;
    let mut writer = run::read(&session, &args.pipeline).await?;
    if let Some(location) = &args.checkpoint {
        writer = writer.option("checkpointLocation", location);
    }
    let differences = match writer.export_spark(args.trigger).await? {
        SparkExport::Program(program) => {
            if let Some(location) = &args.checkpoint {
                let facts = Checkpoint::open(location, &args.store.options)?.facts().await?;
                if let Some(warning) = args.trigger.handover_warning(&facts) {
                    eprintln!("warning: {warning}");
                }
            }
            print!("{program}");
            return Ok(());
        }
        SparkExport::Refused(differences) => differences,
    };
    differences.iter().for_each(|difference| eprintln!("{}: {difference}", args.pipeline.display()));
    let count = differences.len();
    let thing = if count == 1 { "thing" } else { "things" };
    let message =
        format!("{count} {thing} in {} would mean something else in Spark", args.pipeline.display());
    Err(Error::new(ErrorKind::Query, message))
}
