//! From a checkpoint and a plan to open pipelines.

use std::sync::Arc;

use bytes::Bytes;

use super::QuerySpec;
use super::bounds::clamp;
use super::reconcile::reconciled;
use crate::checkpoint::{
    OffsetEntry, OffsetMetadata, Recovery, Restart, decide, decode_initial, encode_initial, encode_own_start,
};
use crate::epoch::{Cut, EpochId, SourceOffsets};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::PlannedQuery;
use crate::plan::pipeline::{self, Pipeline, PlannedSource};
use crate::query::{BadRecords, Trigger};
use crate::source::{ReadMode, ReadRequest, Source};

/// A query at the place where it goes on.
pub(super) struct OpenQuery {
    pub(super) sources: Vec<Arc<dyn Source>>,
    pub(super) pipelines: Vec<Pipeline>,
    /// The epoch to begin with.
    pub(super) next: EpochId,
    /// The end of epoch `next`, where it was planned by an earlier run that did not commit it.
    pub(super) rerun: Option<Cut>,
    /// Of the newest entry in the log, to be carried forward.
    pub(super) metadata: Option<OffsetMetadata>,
}

/// Finds out what a new query would meet at its sources, while its checkpoint's folder is not yet made.
pub(super) async fn check(spec: &QuerySpec) -> Result<()> {
    if spec.checkpoint.read_query_id().await?.is_none() {
        let planned = pipeline::sources(&spec.planned.physical, false)?;
        // A source with a start of its own has none before the checkpoint keeps it.
        for source in
            sources_for(&planned, spec.trigger)?.iter().filter(|source| source.own_start().is_none())
        {
            source.initial_offsets().await?;
        }
    }
    Ok(())
}

impl OpenQuery {
    pub(super) async fn new(spec: &QuerySpec) -> Result<Self> {
        let planned = pipeline::sources(&spec.planned.physical, spec.bad_records == BadRecords::DeadLetter)?;
        let sources = sources_for(&planned, spec.trigger)?;
        let bounded = !matches!(spec.trigger, Trigger::Continuous(_));
        let place = Place::find(spec, &sources, bounded).await?;
        let mut readers = Vec::with_capacity(planned.len());
        for ((planned, source), start) in planned.iter().zip(&sources).zip(&place.start) {
            let request =
                ReadRequest { start: start.clone(), projection: planned.columns.projection.clone() };
            readers.push(source.open(request).await?);
        }
        let pipelines = pipeline::open(&spec.planned.physical, &planned, readers, &spec.context)?;
        let Place { next, rerun, metadata, .. } = place;
        Ok(Self { sources, pipelines, next, rerun, metadata })
    }
}

/// # Errors
/// A source of the plan cannot be read under `trigger`.
pub(crate) fn check_sources(planned: &PlannedQuery, trigger: Trigger) -> Result<()> {
    sources_for(&pipeline::sources(&planned.physical, false)?, trigger).map(drop)
}

/// The plan's sources as a query under `trigger` reads them.
fn sources_for(planned: &[PlannedSource], trigger: Trigger) -> Result<Vec<Arc<dyn Source>>> {
    let mode = match trigger {
        Trigger::Continuous(_) => ReadMode::Continuous,
        Trigger::ProcessingTime(_) | Trigger::AvailableNow | Trigger::Once => ReadMode::MicroBatch,
    };
    let for_query = |PlannedSource { source, .. }: &PlannedSource| {
        Ok(source.for_query(mode)?.unwrap_or_else(|| Arc::clone(source)))
    };
    planned.iter().map(for_query).collect()
}

/// Where a query goes on.
struct Place {
    next: EpochId,
    start: Cut,
    rerun: Option<Cut>,
    metadata: Option<OffsetMetadata>,
}

impl Place {
    async fn find(spec: &QuerySpec, sources: &[Arc<dyn Source>], bounded: bool) -> Result<Self> {
        let log = &spec.checkpoint;
        let restart = if bounded { Restart::MicroBatch } else { Restart::Continuous };
        recall_starts(spec, sources, false).await?;
        let recovery = decide(&reconciled(spec, sources).await?, restart)?;
        log.discard(recovery.discard()).await?;
        let next = recovery.first_epoch();
        match recovery {
            Recovery::Fresh { .. } => {
                recall_starts(spec, sources, true).await?;
                let start = initial_offsets(spec, sources).await?;
                Ok(Self { next, start, rerun: None, metadata: None })
            }
            Recovery::Resume { committed, start: entry, .. } => {
                let start = resumed(&entry, sources).await?;
                tracing::info!("going on after epoch {committed} of {}", log.location());
                Ok(Self { next, start, rerun: None, metadata: entry.metadata })
            }
            Recovery::Rerun { epoch, start, end, .. } => {
                // Before the start, which a source may find to be in conflict with it.
                let planned = decoded(&end, sources)?;
                let start = match start {
                    Some(entry) => resumed(&entry, sources).await?,
                    None => initial_offsets(spec, sources).await?,
                };
                // (Without failOnDataLoss=false a topic that was made anew has ended the query before this.)
                let ends = clamp(&planned, &latest(sources).await?);
                tracing::info!(
                    "epoch {epoch} was planned and not committed; running it again with the same bounds"
                );
                let rerun = Some(start.iter().zip(ends).map(|(start, end)| within(start, &end)).collect());
                Ok(Self { next, start, rerun, metadata: end.metadata })
            }
        }
    }
}

/// The planned end for exactly the partitions that are read: one that came since ends where it starts.
fn within(start: &SourceOffsets, end: &SourceOffsets) -> SourceOffsets {
    let end_of = |partition, from: i64| end.get(partition).copied().unwrap_or(from).max(from);
    start.iter().map(|(partition, from)| (partition.clone(), end_of(partition, *from))).collect()
}

/// The ends of all sources as of now.
pub(super) async fn latest(sources: &[Arc<dyn Source>]) -> Result<Cut> {
    futures::future::try_join_all(sources.iter().map(|source| source.latest_offsets())).await
}

async fn resumed(entry: &OffsetEntry, sources: &[Arc<dyn Source>]) -> Result<Cut> {
    let mut cut = Vec::with_capacity(sources.len());
    for (source, offsets) in sources.iter().zip(decoded(entry, sources)?) {
        cut.push(source.resume_offsets(&offsets).await?);
    }
    Ok(cut)
}

/// Where each source stands by `entry`.
pub(super) fn decoded(entry: &OffsetEntry, sources: &[Arc<dyn Source>]) -> Result<Cut> {
    if entry.offsets.len() != sources.len() {
        return Err(Error::new(
            ErrorKind::Checkpoint,
            format!(
                "the checkpoint holds offsets of {} sources and the query has {}; use the query that wrote it, or a new checkpoint",
                entry.offsets.len(),
                sources.len()
            ),
        ));
    }
    let decode = |(source, line): (&Arc<dyn Source>, &Option<String>)| match line {
        Some(line) => source.decode_offsets(line),
        None => Ok(SourceOffsets::new()),
    };
    sources.iter().zip(&entry.offsets).map(decode).collect()
}

/// Tells sources with a start of their own when the query began; a query that `is_new` begins now, unless it has before.
async fn recall_starts(spec: &QuerySpec, sources: &[Arc<dyn Source>], is_new: bool) -> Result<()> {
    for (number, source) in sources.iter().enumerate() {
        let Some(now) = source.own_start() else { continue };
        let mut held = spec.checkpoint.initial(number).await?;
        if held.is_none() && is_new {
            let start = Bytes::from(encode_own_start(&now));
            held = Some(spec.checkpoint.put_initial(number, start).await?);
        }
        if let Some(held) = held {
            source.recall_start(&decode_initial(&held, &format!("sources/{number}/0"))?)?;
        }
    }
    Ok(())
}

/// The offsets that the first run found, kept so that a restart before the first commit starts at the same place.
async fn initial_offsets(spec: &QuerySpec, sources: &[Arc<dyn Source>]) -> Result<Cut> {
    let mut cut = Vec::with_capacity(sources.len());
    for (number, source) in sources.iter().enumerate() {
        if source.own_start().is_some() {
            cut.push(source.initial_offsets().await?);
            continue;
        }
        let held = match spec.checkpoint.initial(number).await? {
            Some(held) => held,
            None => {
                let found = encode_initial(&source.encode_offsets(&source.initial_offsets().await?));
                spec.checkpoint.put_initial(number, Bytes::from(found)).await?
            }
        };
        let offsets = source.decode_offsets(&decode_initial(&held, &format!("sources/{number}/0"))?)?;
        cut.push(source.resume_offsets(&offsets).await?);
    }
    Ok(cut)
}
