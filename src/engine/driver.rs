//! Carries out what the coordinator decides: one loop over all that can happen to a running query.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::QuerySpec;
use super::admission::Admission;
use super::bad_records::BadRecordHandler;
use super::bounds::{are_others, backlog, clamp, plan_end};
use super::coordinator::{Coordinator, Effect, Event};
use super::open::{OpenQuery, latest};
use super::policy::{Bounds, Policy, Step, Until, policy};
use super::reconcile::rival_entry;
use super::report::EpochReports;
use super::retry::{until_written, while_transient};
use super::slots::Slots;
use super::task::{Command, PipelineTask, Sealed};
use super::ticker::Ticker;
use crate::checkpoint::{CommitEntry, OffsetEntry, OffsetMetadata, purge_threshold};
use crate::epoch::{Cut, EpochId, Offset, SourceOffsets};
use crate::error::{Error, Result};
use crate::query::{QueryShared, Request, Trigger};
use crate::sink::CommitMessage;
use crate::source::Source;
use crate::telemetry::{EpochAcks, PipelineClock};

/// How long a stop waits for the running epoch.
const STOP_GRACE: Duration = Duration::from_secs(4);
/// How often a continuous query asks whether its sources have new partitions.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(10);

/// Why a driver has nothing more to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ended,
    /// All epochs are committed; the query is to be opened anew with the partitions that there are now.
    PartitionsChanged,
}

/// What outlives a driver, when the query is opened anew.
#[derive(Default)]
pub(super) struct Carried {
    /// Ends of the sources when an available-now query started.
    available: Option<Cut>,
    /// Who waits for a cut to be committed.
    waiters: Vec<(Cut, oneshot::Sender<Result<()>>)>,
    /// Requests that nobody has looked at.
    pub(super) requests: Vec<Request>,
}

/// Something that went on in the background and is done.
enum Done {
    Event(Event),
    Taken { sealed: SealedEnd, message: CommitMessage, acks: Arc<EpochAcks> },
    Planned { latest: Cut },
    Available { target: Cut, answer: oneshot::Sender<Result<()>> },
    Partitions { are_others: bool },
    Purged,
    Nothing,
}

/// Which pipeline has reached which end.
struct SealedEnd {
    slot: usize,
    epoch: EpochId,
    end: Offset,
}

type Background = FuturesUnordered<BoxFuture<'static, Result<Done>>>;

/// Drives one open query until it ends or must be opened anew.
pub(super) struct Driver<'a> {
    spec: &'a QuerySpec,
    shared: &'a Arc<QueryShared>,
    sources: Vec<Arc<dyn Source>>,
    policy: Policy,
    coordinator: Coordinator,
    slots: Slots,
    tasks: JoinSet<Result<()>>,
    sealed: mpsc::Receiver<Sealed>,
    background: Background,
    /// What writers told of epochs that the sink has not committed, by slot.
    messages: BTreeMap<EpochId, Vec<(usize, CommitMessage)>>,
    /// When an epoch's steps began, under the name that Spark's progress gives them.
    step_began: BTreeMap<(EpochId, &'static str), Instant>,
    reports: EpochReports,
    ticker: Ticker,
    admission: Admission,
    metadata: Option<OffsetMetadata>,
    carried: Carried,
    rerun: Option<Cut>,
    started: Instant,
    /// When a stop that was asked for gives up on the running epoch.
    stop_deadline: Option<Instant>,
    is_purging: bool,
    is_discovering: bool,
    is_changing: bool,
    outcome: Option<Outcome>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        spec: &'a QuerySpec,
        open: OpenQuery,
        shared: &'a Arc<QueryShared>,
        carried: Carried,
    ) -> Result<Self> {
        let policy =
            Policy { max_uncommitted: spec.max_uncommitted, ..policy(spec.trigger, spec.sink.delivery()) };
        let is_open = policy.bounds == Bounds::AtTick;
        let (report, sealed) = mpsc::channel(open.pipelines.len().max(1) * 2);
        let mut slots = Slots::new(open.sources.len());
        let mut tasks = JoinSet::new();
        let bad_records = BadRecordHandler::new(spec, shared.id, open.next);
        for (slot, pipeline) in open.pipelines.into_iter().enumerate() {
            // Every epoch in flight has one command, and a pause and a resume may stand between two.
            let (commands, commanded) = mpsc::channel(4 * policy.max_in_flight + 4);
            slots.push(&pipeline, commands);
            let writer = spec.sink.writer(slot, open.next)?;
            let handler = bad_records.clone();
            let channels = (commanded, report.clone());
            let clock = PipelineClock::new(spec.slo.map(|slo| slo.threshold()));
            let task = PipelineTask::new(slot, pipeline, writer, handler, channels, is_open, clock);
            tasks.spawn_on(task.run(), spec.executors.next_pipeline());
        }
        Ok(Self {
            spec,
            shared,
            admission: Admission::new(open.sources.len()),
            sources: open.sources,
            policy: policy.clone(),
            coordinator: Coordinator::new(policy, slots.committed_ends(), open.next),
            slots,
            tasks,
            sealed,
            background: Background::new(),
            messages: BTreeMap::new(),
            step_began: BTreeMap::new(),
            reports: EpochReports::new(),
            ticker: Ticker::new(spec.trigger),
            metadata: open.metadata,
            carried,
            rerun: open.rerun,
            started: Instant::now(),
            stop_deadline: None,
            is_purging: false,
            is_discovering: false,
            is_changing: false,
            outcome: None,
        })
    }

    /// Whether the user has asked for the end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop_deadline.is_some()
    }

    /// For the driver that takes over.
    pub(super) fn into_carried(self) -> Carried {
        self.carried
    }

    /// Runs until the query ends, fails, or must be opened anew. Readers and writers are gone when this returns: the
    /// same partitions may be opened again.
    pub(super) async fn run(&mut self, requests: &mut mpsc::Receiver<Request>) -> Result<Outcome> {
        let outcome = self.run_to_outcome(requests).await;
        self.tasks.shutdown().await;
        outcome
    }

    async fn run_to_outcome(&mut self, requests: &mut mpsc::Receiver<Request>) -> Result<Outcome> {
        self.shared.set_status("Running", false, true);
        if let Some(end) = self.rerun.take() {
            let ends = self.slots.ends(&end);
            self.reports.begin(self.coordinator.next_epoch(), vec![None; self.sources.len()], Duration::ZERO);
            let effects = self.coordinator.rerun(ends, self.started.elapsed());
            self.perform(effects)?;
        }
        for request in std::mem::take(&mut self.carried.requests) {
            self.on_request(request)?;
        }
        let mut discovery = tokio::time::interval_at(Instant::now() + DISCOVERY_INTERVAL, DISCOVERY_INTERVAL);
        discovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests_open = true;
        while self.outcome.is_none() {
            let deadline = self.stop_deadline;
            tokio::select! {
                biased;
                request = requests.recv(), if requests_open => match request {
                    Some(request) => self.on_request(request)?,
                    None => requests_open = false,
                },
                Some(sealed) = self.sealed.recv() => self.on_sealed(sealed),
                Some(done) = self.background.next() => self.on_done(done?)?,
                Some(ended) = self.tasks.join_next() => {
                    ended.map_err(|e| Error::internal("a pipeline's task panicked").with_source(e))??;
                }
                () = self.ticker.tick(), if self.is_continuous() || self.coordinator.is_idle() => {
                    self.on_tick()?;
                }
                _ = discovery.tick(), if self.is_continuous() && !self.is_discovering => self.ask_for_partitions(),
                () = until(deadline) => {
                    tracing::warn!("the running epoch did not end in {STOP_GRACE:?}; it will be read again at the next start");
                    self.outcome = Some(Outcome::Ended);
                }
            }
        }
        Ok(self.outcome.take().unwrap_or(Outcome::Ended))
    }

    fn on_tick(&mut self) -> Result<()> {
        let moved = self.slots.have_moved();
        if self.is_continuous() && self.reports.is_lag_due() {
            self.publish_lag();
        }
        if self.is_continuous() && self.coordinator.is_idle() {
            self.shared.set_status("Running", moved, true);
            if !moved {
                self.tell_idle();
            }
        }
        self.event(Event::Tick { moved })
    }

    /// Also while nothing can be committed: then above all.
    fn publish_lag(&self) {
        let mut telemetry = self.shared.telemetry.lock();
        for (source, position) in self.sources.iter().zip(self.slots.positions()) {
            if let Some(ends) = source.known_ends() {
                telemetry.on_lag(&position, &ends);
            }
        }
    }

    /// There is nothing to do: listeners hear of it now and then.
    fn tell_idle(&mut self) {
        if self.reports.is_idle_event_due(self.spec.idle_interval) {
            self.shared.idle();
        }
    }

    fn on_request(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Stop => {
                self.stop_deadline.get_or_insert(Instant::now() + STOP_GRACE);
                self.event(Event::Stop)
            }
            Request::ProcessAllAvailable(answer) => {
                let sources = self.sources.clone();
                self.spawn(async move {
                    match latest(&sources).await {
                        Ok(target) => Ok(Done::Available { target, answer }),
                        Err(error) => {
                            let _ = answer.send(Err(error));
                            Ok(Done::Nothing)
                        }
                    }
                });
                Ok(())
            }
        }
    }

    fn on_sealed(&mut self, sealed: Sealed) {
        if let Some(source) = self.slots.seal(sealed.slot, sealed.end) {
            self.reports.add_pipeline(&sealed, source);
        }
        let Sealed { slot, epoch, end, taken, acks, .. } = sealed;
        let sealed = SealedEnd { slot, epoch, end };
        self.background
            .push(Box::pin(async move { Ok(Done::Taken { sealed, message: taken.await?, acks }) }));
    }

    fn on_done(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Event(event) => {
                match event {
                    Event::StepDone { epoch, step: Step::CommitSink } => self.step_is_done(epoch, "addBatch"),
                    Event::StepDone { epoch, step: Step::LogOffsets } => {
                        self.step_is_done(epoch, "walCommit")
                    }
                    _ => {}
                }
                self.event(event)
            }
            Done::Taken { sealed: SealedEnd { slot, epoch, end }, message, acks } => {
                self.reports.add_acked(epoch, &acks.take());
                self.messages.entry(epoch).or_default().push((slot, message));
                self.event(Event::PartitionDone { epoch, slot, end })
            }
            Done::Planned { latest } => self.on_planned(latest),
            Done::Available { target, answer } => {
                self.carried.waiters.push((target, answer));
                self.answer_waiters();
                Ok(())
            }
            Done::Partitions { are_others } => {
                self.is_discovering = false;
                if are_others && !self.is_changing {
                    self.is_changing = true;
                    self.event(Event::Stop)?;
                }
                Ok(())
            }
            Done::Purged => {
                self.is_purging = false;
                Ok(())
            }
            Done::Nothing => Ok(()),
        }
    }

    fn on_planned(&mut self, latest: Cut) -> Result<()> {
        let looked = self.reports.since_began();
        let start = self.slots.committed();
        {
            let mut telemetry = self.shared.telemetry.lock();
            start.iter().zip(&latest).for_each(|(start, latest)| telemetry.on_lag(start, latest));
        }
        if self.carried.available.is_none() && are_others(&start, &latest) && self.stop_deadline.is_none() {
            self.outcome = Some(Outcome::PartitionsChanged);
            return Ok(());
        }
        let ends = self.planned_ends(&latest);
        if self.policy.until == Until::CaughtUp {
            self.carried.available.get_or_insert_with(|| latest.clone());
        }
        let is_new = ends != start;
        if is_new {
            let latest = latest.into_iter().map(Some).collect();
            self.reports.begin(self.coordinator.next_epoch(), latest, looked);
        } else {
            self.shared.set_status("Waiting for data to arrive", false, false);
            self.tell_idle();
        }
        let ends = is_new.then(|| self.slots.ends(&ends));
        self.event(Event::Planned(ends))
    }

    /// Where the next batch ends. What bounds a batch has no meaning for one that takes all there is.
    fn planned_ends(&mut self, latest: &Cut) -> Cut {
        let is_limited = self.policy.until != Until::OneEpoch;
        let may_wait = self.policy.until == Until::Stopped;
        let (start, now) = (self.slots.committed(), self.started.elapsed());
        let sources = self.sources.iter().zip(start.into_iter().zip(latest)).enumerate();
        let end_of =
            |(number, (source, (start, latest))): (usize, (&Arc<dyn Source>, (SourceOffsets, _)))| {
                let min = source.min_records_per_batch().filter(|_| may_wait);
                if !self.admission.admits(number, backlog(&start, latest), min, now) {
                    return start;
                }
                plan_end(&start, latest, source.max_records_per_batch().filter(|_| is_limited))
            };
        sources.map(end_of).collect()
    }

    fn event(&mut self, event: Event) -> Result<()> {
        let effects = self.coordinator.on(event, self.started.elapsed());
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<()> {
        effects.into_iter().try_for_each(|effect| self.perform_one(effect))
    }

    fn perform_one(&mut self, effect: Effect) -> Result<()> {
        match effect {
            Effect::Plan => self.plan(),
            Effect::Finish { epoch, ends, last } => {
                if ends.is_none() {
                    let began = Instant::now();
                    let latest = self.sources.iter().map(|source| source.known_ends()).collect();
                    self.reports.begin(epoch, latest, began.elapsed());
                } else {
                    self.shared.set_status("Processing new data", true, true);
                    // Records of the next epoch follow at once under the continuous trigger: its clock runs.
                    let stops = !self.is_continuous();
                    let time = self.metadata.as_ref().filter(|_| stops).map(|entry| entry.batch_timestamp_ms);
                    self.spec.planned.live.begin_batch(time);
                }
                let began = Instant::now();
                self.step_began.insert((epoch, "addBatch"), began);
                let ends = ends.unwrap_or_default();
                self.slots.command(|number| Command::Finish {
                    epoch,
                    end: ends.get(number).copied(),
                    last,
                })?;
                self.reports.add_duration(epoch, "getBatch", began);
            }
            Effect::CommitSink { epoch, ends } => self.commit_sink(epoch, &ends),
            Effect::LogOffsets { epoch, ends } => self.log_offsets(epoch, &ends),
            Effect::LogCommit(epoch) => self.log_commit(epoch),
            Effect::Pause => {
                tracing::warn!(
                    "no epoch could be committed for {:?}: holding the sources back until one is",
                    self.policy.max_uncommitted
                );
                self.shared.set_status("Waiting for the checkpoint", true, true);
                self.slots.command(|_| Command::Pause)?;
            }
            Effect::Resume => {
                tracing::info!("epochs are being committed again: the sources go on");
                self.shared.set_status("Running", true, true);
                self.slots.command(|_| Command::Resume)?;
            }
            Effect::Committed { epoch, ends } => self.on_committed(epoch, &ends),
            Effect::End => {
                self.outcome = Some(if self.is_changing && self.stop_deadline.is_none() {
                    Outcome::PartitionsChanged
                } else {
                    Outcome::Ended
                });
            }
        }
        Ok(())
    }

    fn plan(&mut self) {
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

    fn ask_for_partitions(&mut self) {
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

    fn commit_sink(&mut self, epoch: EpochId, ends: &[Offset]) {
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

    fn log_offsets(&mut self, epoch: EpochId, ends: &[Offset]) {
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

    fn log_commit(&mut self, epoch: EpochId) {
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

    fn on_committed(&mut self, epoch: EpochId, ends: &[Offset]) {
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

    fn step_is_done(&mut self, epoch: EpochId, phase: &'static str) {
        if let Some(began) = self.step_began.remove(&(epoch, phase)) {
            self.reports.add_duration(epoch, phase, began);
        }
    }

    fn answer_waiters(&mut self) {
        let slots = &self.slots;
        for (_, answer) in self.carried.waiters.extract_if(.., |(target, _)| slots.have_committed(target)) {
            let _ = answer.send(Ok(()));
        }
    }

    fn spawn(&self, work: impl Future<Output = Result<Done>> + Send + 'static) {
        self.background.push(Box::pin(work));
    }

    fn is_continuous(&self) -> bool {
        matches!(self.spec.trigger, Trigger::Continuous(_))
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
