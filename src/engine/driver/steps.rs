//! The work that the driver's decisions ask for: each begins something in the background, whose end the driver hears of.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::bounds::{are_others, clamp};
use super::super::coordinator::Event;
use super::super::open::latest;
use super::super::policy::Step;
use super::super::reconcile::rival_entry;
use super::super::retry::{until_written, while_transient};
use super::{Done, Driver};
use crate::checkpoint::{CommitEntry, OffsetEntry, OffsetMetadata, purge_threshold};
use crate::epoch::{EpochId, Offset};

impl Driver<'_> {
    pub(super) fn plan(&mut self) {
        self.reports.restart_clock();
        if let Some(source) = self.sources.first() {
            self.shared.set_status(format!("Getting offsets from {}", source.description()), false, true);
        }
        let (sources, available) = (self.sources.clone(), self.carried.available.clone());
        self.spawn(async move {
            let latest = while_transient("asking the sources for their ends", || latest(&sources)).await?;
            Ok(Done::Planned {
                latest: available.map_or_else(|| latest.clone(), |ends| clamp(&ends, &latest)),
            })
        });
    }

    pub(super) fn ask_for_partitions(&mut self) {
        self.is_discovering = true;
        let (sources, read) = (self.sources.clone(), self.slots.committed());
        self.spawn(async move {
            let latest = latest(&sources).await;
            if let Err(error) = &latest {
                tracing::debug!("could not ask for new partitions: {error}");
            }
            Ok(Done::Partitions { are_others: latest.is_ok_and(|latest| are_others(&read, &latest)) })
        });
    }

    pub(super) fn commit_sink(&mut self, epoch: EpochId, ends: &[Offset]) {
        if self.is_continuous() {
            self.shared.set_status(format!("Committing epoch {epoch}"), true, true);
        }
        self.reports.all_is_taken(epoch);
        let mut messages = self.messages.remove(&epoch).unwrap_or_default();
        messages.sort_by_key(|(slot, _)| *slot);
        let messages = messages.into_iter().map(|(_, message)| message).collect();
        let sink = Arc::clone(&self.spec.sink);
        let ends = self.slots.cut(ends);
        self.spawn(async move {
            sink.commit_at(epoch, &ends, messages).await?;
            Ok(Done::Event(Event::StepDone { epoch, step: Step::CommitSink }))
        });
    }

    pub(super) fn log_offsets(&mut self, epoch: EpochId, ends: &[Offset]) {
        if !self.is_continuous() {
            self.shared.set_status("Writing offsets to log", true, true);
        }
        self.step_began.insert((epoch, "walCommit"), Instant::now());
        let now = chrono::Utc::now().timestamp_millis();
        let metadata = OffsetMetadata::following(self.metadata.as_ref(), now);
        self.metadata = Some(metadata.clone());
        let cut = self.slots.cut(ends);
        let offsets =
            self.sources.iter().zip(&cut).map(|(source, offsets)| Some(source.encode_offsets(offsets)));
        let entry = OffsetEntry { metadata: Some(metadata), offsets: offsets.collect() };
        let (log, store_errors) = (Arc::clone(&self.spec.checkpoint), self.spec.store_errors);
        let delivery = self.spec.sink.delivery();
        self.spawn(async move {
            let doing = format!("writing offsets/{epoch}");
            let written = until_written(&doing, store_errors, || log.put_offsets(epoch, &entry)).await;
            written.map_err(|error| rival_entry(error, delivery))?;
            Ok(Done::Event(Event::StepDone { epoch, step: Step::LogOffsets }))
        });
    }

    pub(super) fn log_commit(&mut self, epoch: EpochId) {
        self.step_began.insert((epoch, "commitOffsets"), Instant::now());
        let watermark = self.metadata.as_ref().map_or(0, |metadata| metadata.batch_watermark_ms);
        let entry = CommitEntry { next_batch_watermark_ms: watermark };
        let (log, store_errors) = (Arc::clone(&self.spec.checkpoint), self.spec.store_errors);
        self.spawn(async move {
            let doing = format!("writing commits/{epoch}");
            until_written(&doing, store_errors, || log.put_commit(epoch, &entry)).await?;
            Ok(Done::Event(Event::StepDone { epoch, step: Step::LogCommit }))
        });
    }

    pub(super) fn on_committed(&mut self, epoch: EpochId, ends: &[Offset]) {
        self.step_is_done(epoch, "commitOffsets");
        let start = self.slots.committed();
        self.slots.commit(ends);
        let end = self.slots.committed();
        self.reports.publish(epoch, self.shared, &self.sources, self.spec.sink.as_ref(), &start, &end);
        self.ticker.on_committed();
        if self.is_continuous() {
            self.shared.set_status("Running", self.slots.have_moved(), true);
        } else {
            self.shared.set_status("Waiting for next trigger", false, false);
        }
        self.answer_waiters();
        self.purge(epoch);
    }

    /// Old entries go in the background: no epoch waits for it, and a failure only leaves files for the next time.
    fn purge(&mut self, committed: EpochId) {
        let Some(threshold) = purge_threshold(committed).filter(|_| !self.is_purging) else {
            return;
        };
        self.is_purging = true;
        let log = Arc::clone(&self.spec.checkpoint);
        self.spawn(async move {
            if let Err(error) = log.purge_before(threshold).await {
                tracing::warn!("could not delete old entries of the checkpoint: {error}");
            }
            Ok(Done::Purged)
        });
    }
}
