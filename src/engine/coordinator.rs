//! The life of epochs: a state machine without I/O, clock or randomness.
//!
//! Events go in, effects come out; the driver carries effects out and reports back with events. Under both triggers an
//! epoch goes through the same four steps, in the order that the [`Policy`] gives. Only the oldest epoch goes beyond
//! its [`Step::Run`], so sink and logs see epochs strictly in order.
#![deny(clippy::wildcard_enum_match_arm)]

use std::collections::VecDeque;
use std::time::Duration;

use super::policy::{Bounds, Policy, Step, Until};
use crate::epoch::{EpochId, Offset};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The trigger fired; `moved`: some partition was read further since its last end.
    Tick { moved: bool },
    /// The answer to [`Effect::Plan`]: where the epoch ends in each partition, or that there is nothing new.
    Planned(Option<Vec<Offset>>),
    /// A partition has reached the epoch's end, and the sink has taken all that came before it.
    PartitionDone { epoch: EpochId, slot: usize, end: Offset },
    /// A step other than [`Step::Run`] is done.
    StepDone { epoch: EpochId, step: Step },
    /// The query is to end.
    Stop,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Ask the sources how far the next epoch may go.
    Plan,
    /// Let every partition end the epoch: at `ends`, or (`None`) wherever it is. After the `last` one they stay there.
    Finish { epoch: EpochId, ends: Option<Vec<Offset>>, last: bool },
    /// Commit the epoch in the sink.
    CommitSink { epoch: EpochId, ends: Vec<Offset> },
    /// Write `offsets/N`.
    LogOffsets { epoch: EpochId, ends: Vec<Offset> },
    /// Write `commits/N`.
    LogCommit(EpochId),
    /// Nothing was committed for too long: hold the sources back.
    Pause,
    /// Let them go on.
    Resume,
    /// The epoch is done.
    Committed { epoch: EpochId, ends: Vec<Offset> },
    /// There is nothing left to do: the query ends.
    End,
}

#[derive(Debug)]
struct Epoch {
    id: EpochId,
    /// Index into the policy's order of the step that is being done.
    at: usize,
    is_step_done: bool,
    ends: Vec<Option<Offset>>,
    /// Partitions that have not reached the end.
    running: usize,
    /// Made by a stop, perhaps of no records at all.
    is_last: bool,
    begun: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Waiting for the answer to `Plan`.
    Planning,
    Stopping,
    Ended,
}

/// Decides what happens next.
#[derive(Debug)]
pub(crate) struct Coordinator {
    policy: Policy,
    next: EpochId,
    /// Begun, not committed; oldest first.
    epochs: VecDeque<Epoch>,
    /// Ends of the last epoch that was committed.
    committed: Vec<Offset>,
    phase: Phase,
    is_paused: bool,
}

impl Coordinator {
    /// Begins with epoch `next`, whose partitions stand at `start`.
    pub(crate) fn new(policy: Policy, start: Vec<Offset>, next: EpochId) -> Self {
        let epochs = VecDeque::new();
        Self { policy, next, epochs, committed: start, phase: Phase::Running, is_paused: false }
    }

    /// Runs an epoch again whose `offsets/N` is there already and whose commit is not.
    pub(crate) fn rerun(&mut self, ends: Vec<Offset>, now: Duration) -> Vec<Effect> {
        let at = self.policy.order.iter().position(|step| *step == Step::LogOffsets).unwrap_or_default();
        self.begin(Some(ends), now);
        if let Some(epoch) = self.epochs.back_mut() {
            (epoch.at, epoch.is_step_done) = (at, true);
        }
        let mut effects = Vec::new();
        self.advance(&mut effects);
        effects
    }

    /// The epoch that begins next.
    pub(crate) fn next_epoch(&self) -> EpochId {
        self.next
    }

    /// Whether a tick could begin an epoch under a trigger that runs one at a time.
    pub(crate) fn is_idle(&self) -> bool {
        self.epochs.is_empty() && self.phase == Phase::Running
    }

    /// Takes in what has happened at `now` (since any fixed time) and says what to do.
    pub(crate) fn on(&mut self, event: Event, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Tick { moved } => self.on_tick(moved, now, &mut effects),
            Event::Planned(ends) => self.on_planned(ends, now, &mut effects),
            Event::PartitionDone { epoch, slot, end } => {
                if let Some(epoch) = self.epochs.iter_mut().find(|candidate| candidate.id == epoch) {
                    if let Some(place) = epoch.ends.get_mut(slot) {
                        place.get_or_insert(end);
                    }
                    epoch.running = epoch.running.saturating_sub(1);
                    let runs = self.policy.order.get(epoch.at) == Some(&Step::Run);
                    epoch.is_step_done |= runs && epoch.running == 0;
                }
                self.advance(&mut effects);
            }
            Event::StepDone { epoch, step } => {
                if let Some(epoch) = self.epochs.iter_mut().find(|candidate| candidate.id == epoch) {
                    epoch.is_step_done |= self.policy.order.get(epoch.at) == Some(&step);
                }
                self.advance(&mut effects);
            }
            Event::Stop => self.on_stop(now, &mut effects),
        }
        effects
    }

    fn on_tick(&mut self, moved: bool, now: Duration, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Running {
            return;
        }
        match self.policy.bounds {
            Bounds::Planned if self.epochs.is_empty() => {
                self.phase = Phase::Planning;
                effects.push(Effect::Plan);
            }
            Bounds::Planned => {}
            Bounds::AtTick => {
                let waits_too_long = self
                    .epochs
                    .front()
                    .is_some_and(|oldest| now >= oldest.begun + self.policy.max_uncommitted);
                if waits_too_long && !self.is_paused {
                    self.is_paused = true;
                    effects.push(Effect::Pause);
                }
                if moved && self.epochs.len() < self.policy.max_in_flight {
                    let epoch = self.begin(None, now);
                    effects.push(Effect::Finish { epoch, ends: None, last: false });
                    self.advance(effects);
                }
            }
        }
    }

    fn on_planned(&mut self, ends: Option<Vec<Offset>>, now: Duration, effects: &mut Vec<Effect>) {
        match (self.phase, ends) {
            (Phase::Planning, Some(ends)) => {
                self.phase = Phase::Running;
                self.begin(Some(ends), now);
                // The first step of a planned epoch is entered like any other.
                if let Some(epoch) = self.epochs.back_mut()
                    && let Some(step) = self.policy.order.first()
                {
                    let effect = enter(epoch, *step);
                    effects.push(effect);
                }
                self.advance(effects);
            }
            (Phase::Planning, None) if self.policy.until == Until::Stopped => self.phase = Phase::Running,
            (Phase::Planning | Phase::Stopping, _) => self.end(effects),
            (Phase::Running | Phase::Ended, _) => {}
        }
    }

    fn on_stop(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Ended | Phase::Stopping => {}
            // No epoch is begun; the answer to the question ends the query.
            Phase::Planning => self.phase = Phase::Stopping,
            Phase::Running => {
                self.phase = Phase::Stopping;
                // Partitions read and write on until they are told to stay: only an epoch that ends there keeps what
                // they have read meanwhile from coming again after the restart. It is dropped if that was nothing.
                if self.policy.bounds == Bounds::AtTick {
                    let epoch = self.begin(None, now);
                    if let Some(epoch) = self.epochs.back_mut() {
                        epoch.is_last = true;
                    }
                    effects.push(Effect::Finish { epoch, ends: None, last: true });
                    self.advance(effects);
                } else if self.epochs.is_empty() {
                    self.end(effects);
                }
            }
        }
    }

    fn begin(&mut self, ends: Option<Vec<Offset>>, now: Duration) -> EpochId {
        let id = self.next;
        self.next = id.next();
        let slots = self.committed.len();
        let ends = ends.map_or_else(|| vec![None; slots], |ends| ends.into_iter().map(Some).collect());
        // Without partitions there is nothing to wait for.
        let is_step_done = slots == 0 && self.policy.order.first() == Some(&Step::Run);
        self.epochs.push_back(Epoch {
            id,
            at: 0,
            is_step_done,
            ends,
            running: slots,
            is_last: false,
            begun: now,
        });
        id
    }

    /// Moves the oldest epochs on as far as they can go.
    fn advance(&mut self, effects: &mut Vec<Effect>) {
        while let Some(epoch) = self.epochs.front_mut() {
            if !epoch.is_step_done {
                return;
            }
            if epoch.is_last && epoch.at == 0 && self.committed == known_ends(epoch) {
                self.epochs.pop_front();
                self.end(effects);
                return;
            }
            epoch.at += 1;
            if let Some(step) = self.policy.order.get(epoch.at) {
                epoch.is_step_done = *step == Step::Run && epoch.running == 0;
                let effect = enter(epoch, *step);
                effects.push(effect);
                continue;
            }
            let (id, ends) = (epoch.id, known_ends(epoch));
            self.epochs.pop_front();
            self.committed.clone_from(&ends);
            self.on_committed(id, ends, effects);
        }
    }

    fn on_committed(&mut self, epoch: EpochId, ends: Vec<Offset>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Committed { epoch, ends });
        if self.is_paused {
            self.is_paused = false;
            effects.push(Effect::Resume);
        }
        match (self.phase, self.policy.until) {
            (Phase::Stopping, _) | (Phase::Running, Until::OneEpoch) => {
                if self.epochs.is_empty() {
                    self.end(effects);
                }
            }
            (Phase::Running, Until::CaughtUp) => {
                self.phase = Phase::Planning;
                effects.push(Effect::Plan);
            }
            (Phase::Running, Until::Stopped) | (Phase::Planning | Phase::Ended, _) => {}
        }
    }

    fn end(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Ended;
        effects.push(Effect::End);
    }
}

fn known_ends(epoch: &Epoch) -> Vec<Offset> {
    epoch.ends.iter().map(|end| end.unwrap_or_default()).collect()
}

fn enter(epoch: &Epoch, step: Step) -> Effect {
    match step {
        Step::Run => Effect::Finish { epoch: epoch.id, ends: Some(known_ends(epoch)), last: false },
        Step::CommitSink => Effect::CommitSink { epoch: epoch.id, ends: known_ends(epoch) },
        Step::LogOffsets => Effect::LogOffsets { epoch: epoch.id, ends: known_ends(epoch) },
        Step::LogCommit => Effect::LogCommit(epoch.id),
    }
}
