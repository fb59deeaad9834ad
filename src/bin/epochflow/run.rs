//! `epochflow run` and `epochflow explain`.

use std::path::{Path, PathBuf};

use datafusion::prelude::SessionConfig;
use epochflow::{DataStreamWriter, Error, ErrorKind, Result, StreamSession, Trigger};

use super::interrupts::Interrupts;
use super::progress::ProgressPrinter;
use super::{AccessArgs, ProgressMode, RunArgs, metrics};

/// Runs a pipeline until it ends, fails, or is told to stop.
pub(super) async fn run(args: RunArgs) -> Result<()> {
    if let Some(address) = args.metrics_addr {
        metrics::serve(address)?;
    }
    let interrupts = Interrupts::listen()?;
    let session = session(&args.pipeline, &args.access, SessionConfig::new())?;
    let mut writer = read(&session, &args.pipeline)
        .await?
        .option("checkpointLocation", &args.checkpoint)
        .trigger(args.trigger)
        .restart(args.restart);
    for (name, value) in args.query_options {
        writer = writer.option(name, value);
    }
    for (name, value) in args.store.options {
        writer = writer.store_option(name, value);
    }
    if let Some(slo) = args.latency_slo {
        writer = writer.option("latencySlo", slo);
    }
    if let Some(delivery) = args.delivery {
        writer = writer.delivery(delivery);
    }
    if let Some(name) = args.name {
        writer = writer.query_name(name);
    }
    until_told_to_stop(writer, args.progress, interrupts).await
}

/// Starts a query and shows its progress until it ends, fails, or the command is interrupted.
pub(super) async fn until_told_to_stop(
    writer: DataStreamWriter,
    progress: ProgressMode,
    mut interrupts: Interrupts,
) -> Result<()> {
    // A broker that does not answer must not make the command deaf.
    let query = tokio::select! {
        query = writer.start() => query?,
        () = interrupts.next() => return Ok(()),
    };
    let printer = tokio::spawn(ProgressPrinter::new(progress).print(query.progress()));
    tokio::select! {
        ended = query.await_termination() => ended?,
        () = interrupts.next() => query.stop().await?,
    }
    // The query has ended, so its progress has, too.
    printer.await.map_err(|e| Error::new(ErrorKind::Internal, "printing the progress failed").with_source(e))
}

/// Prints the plan of a pipeline.
#[expect(clippy::print_stdout, reason = "the plan is the command's result")]
pub(super) async fn explain(pipeline: &Path, trigger: Trigger, access: &AccessArgs) -> Result<()> {
    let session = session(pipeline, access, SessionConfig::new())?;
    let writer = read(&session, pipeline).await?.trigger(trigger);
    println!("{}", writer.explain().await?);
    Ok(())
}

/// A session whose SQL text reaches what lies beside the pipeline, and what `access` adds.
pub(super) fn session(pipeline: &Path, access: &AccessArgs, config: SessionConfig) -> Result<StreamSession> {
    let beside = beside(pipeline).map(|folder| folder.display().to_string());
    let locations = beside.iter().chain(&access.locations);
    locations
        .fold(StreamSession::builder().config(config), |builder, location| builder.allow_location(location))
        .build()
}

/// The folder that the pipeline's file is in. None for a pipe such as /dev/stdin, and not the root: nobody means to give away
/// the whole file system by putting a file there.
fn beside(pipeline: &Path) -> Option<PathBuf> {
    if !pipeline.metadata().is_ok_and(|file| file.is_file()) {
        return None;
    }
    let parent = pipeline.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    folder.parent().is_some().then_some(folder)
}

/// Reads a pipeline from its file.
pub(super) async fn read(session: &StreamSession, pipeline: &Path) -> Result<DataStreamWriter> {
    let sql = std::fs::read_to_string(pipeline).map_err(|e| {
        Error::new(ErrorKind::Usage, format!("cannot read the pipeline {}: {e}", pipeline.display()))
            .with_source(e)
    })?;
    session.pipeline(&sql).await
}
