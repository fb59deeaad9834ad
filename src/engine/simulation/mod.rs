//! Crashes and restarts in every place, under either trigger: the real coordinator, decision, logs and store, in memory.
//!
//! What really happened is kept in a `World` where no crash can reach it, and each write and deletion of the checkpoint
//! is held against that: no committed offset is lost, ids are contiguous, no epoch commits before its predecessor, no
//! record is skipped. Under exactly-once the sink's commits are held against each other, too: no record comes twice.

mod choose;
mod world;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use object_store::path::Path;
use parking_lot::Mutex;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::choose::{Choose, Exhaustive};
use self::world::{World, ends_in, entry_of};
use super::coordinator::{Coordinator, Effect, Event};
use super::policy::{Bounds, Step, policy};
use super::reconcile::{Finding, compare};
use crate::checkpoint::{Checkpoint, CheckpointStore, CommitEntry, OffsetEntry, Recovery, Restart, decide};
use crate::epoch::{EpochId, Offset};
use crate::error::Result;
use crate::query::Trigger;
use crate::sink::Delivery;
use crate::testing::FaultyStore;

/// Commits that are kept: few, so that short schedules purge.
const RETAINED: u64 = 2;
const SLOTS: usize = 2;
/// Far beyond what a life takes; only a standstill gets there.
const MOST_STEPS: usize = 10_000;
const TRIGGERS: [Trigger; 3] = [
    Trigger::Continuous(Duration::from_secs(1)),
    Trigger::ProcessingTime(Duration::ZERO),
    Trigger::AvailableNow,
];

/// The process is dead.
#[derive(Debug)]
struct Crash;

/// Something that is under way and can be done next.
#[derive(Clone, Debug)]
enum Work {
    Plan,
    Reach { epoch: EpochId, slot: usize, end: Offset },
    CommitSink { epoch: EpochId, ends: Vec<Offset> },
    LogOffsets { epoch: EpochId, ends: Vec<Offset> },
    LogCommit(EpochId),
    Purge(EpochId),
}

/// One life of the process: what the driver and the pipelines do, one thing at a time.
struct Process<C> {
    world: Arc<Mutex<World<C>>>,
    checkpoint: Checkpoint,
    bounds: Bounds,
    coordinator: Coordinator,
    work: Vec<Work>,
    /// Where each partition stands.
    positions: Vec<Offset>,
    /// Where the sink's next commit starts.
    uncommitted: Vec<Offset>,
    is_ended: bool,
}

impl<C: Choose> Process<C> {
    /// Starts where the checkpoint says, and checks that it says what happened.
    fn start(world: &Arc<Mutex<World<C>>>, trigger: Trigger) -> Result<Self, Crash> {
        let store = {
            let mut world = world.lock();
            world.is_dead = false;
            world.trace.push(format!("start {trigger}"));
            FaultyStore::new(Arc::clone(&world.files) as _)
        };
        let decider = Arc::clone(world);
        store.script(move |operation, path| decider.lock().on_call(operation, path));
        let files = CheckpointStore::from_object_store(Arc::new(store), "q".into());
        let checkpoint = Checkpoint::from_store(files);

        let delivery = world.lock().delivery;
        let policy = policy(trigger, delivery);
        let restart = match policy.bounds {
            Bounds::AtTick => Restart::Continuous,
            Bounds::Planned => Restart::MicroBatch,
        };
        let mut facts = now(world, checkpoint.facts())?;
        if delivery == Delivery::ExactlyOnce {
            let last = world.lock().sink.last().copied();
            let finding = compare(&facts, last);
            world.lock().check(finding.is_ok(), &format!("{finding:?}"));
            if let Ok(Finding::SinkIsAhead(epoch)) = finding {
                now(world, checkpoint.put_commit(epoch, &CommitEntry::default()))?;
                facts = now(world, checkpoint.facts())?;
            }
        }
        let recovery = decide(&facts, restart);
        world.lock().check(recovery.is_ok(), &format!("{recovery:?}"));
        let recovery = recovery.unwrap();
        let planned = {
            let world = world.lock();
            let entry = world.file(&Path::from(format!("q/offsets/{}", world.next())));
            entry.and_then(|bytes| OffsetEntry::decode(&bytes, "offsets").ok())
        };
        now(world, checkpoint.discard(recovery.discard()))?;
        let first = recovery.first_epoch();
        let (start, rerun) = match &recovery {
            Recovery::Fresh { .. } => (vec![0; SLOTS], None),
            Recovery::Resume { start, .. } => (ends_in(start), None),
            Recovery::Rerun { start, end, .. } => {
                (start.as_ref().map_or(vec![0; SLOTS], ends_in), Some(ends_in(end)))
            }
        };
        {
            let world = world.lock();
            world.check(first == world.next(), "epoch ids have a gap, or one came twice");
            world.check(start == world.ends, "a restart did not begin at the last commit's end");
            if restart == Restart::MicroBatch {
                let planned = planned.as_ref().map(ends_in);
                world.check(rerun == planned, "a planned epoch was run to another end");
            }
        }
        let mut process = Self {
            world: Arc::clone(world),
            checkpoint,
            bounds: policy.bounds,
            coordinator: Coordinator::new(policy, start.clone(), first),
            work: Vec::new(),
            positions: start.clone(),
            uncommitted: start,
            is_ended: false,
        };
        if let Some(ends) = rerun {
            let effects = process.coordinator.rerun(ends, Duration::ZERO);
            process.perform(effects);
        }
        Ok(process)
    }

    /// Goes on until epoch `goal` is committed, or the query has ended.
    fn run(&mut self, goal: EpochId) -> Result<(), Crash> {
        let mut steps = 0;
        while !self.is_ended && self.world.lock().committed < Some(goal) {
            steps += 1;
            self.world.lock().check(steps < MOST_STEPS, "no epoch is committed any more");
            self.world.lock().latest.iter_mut().for_each(|latest| *latest += 1);
            if self.bounds == Bounds::AtTick {
                self.flow();
            }
            let picked = self.world.lock().choose.next_work(self.work.len());
            match picked {
                Some(picked) => self.work_on(picked)?,
                None if self.world.lock().choose.is_stop() => self.event(Event::Stop),
                None => self.event(Event::Tick { moved: true }),
            }
        }
        if self.is_ended {
            let world = self.world.lock();
            world.check(self.positions == world.ends, "a clean stop leaves records that are repeated");
        }
        Ok(())
    }

    /// Records pass, whatever the checkpoint is about.
    fn flow(&mut self) {
        let mut world = self.world.lock();
        for (slot, position) in self.positions.iter_mut().enumerate() {
            let latest = world.latest[slot];
            world.write(slot, *position, latest);
            *position = latest;
        }
    }

    fn event(&mut self, event: Event) {
        let effects = self.coordinator.on(event, Duration::ZERO);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Plan => self.work.push(Work::Plan),
                Effect::Finish { epoch, ends, last } => {
                    let ends = ends.unwrap_or_else(|| self.positions.clone());
                    let reach = |(slot, end)| Work::Reach { epoch, slot, end };
                    self.work.extend(ends.into_iter().enumerate().map(reach));
                    let mut world = self.world.lock();
                    world.has_overlap |= epoch > world.next();
                    if last {
                        self.bounds = Bounds::Planned;
                    }
                }
                Effect::CommitSink { epoch, ends } => self.work.push(Work::CommitSink { epoch, ends }),
                Effect::LogOffsets { epoch, ends } => self.work.push(Work::LogOffsets { epoch, ends }),
                Effect::LogCommit(epoch) => self.work.push(Work::LogCommit(epoch)),
                Effect::Committed { epoch, .. } => {
                    let is_purging = self.work.iter().any(|work| matches!(work, Work::Purge(_)));
                    let threshold = (epoch.0 + 1).checked_sub(RETAINED).filter(|_| !is_purging);
                    self.work.extend(threshold.map(|first| Work::Purge(EpochId(first))));
                }
                Effect::End => self.is_ended = true,
                Effect::Pause | Effect::Resume => {}
            }
        }
    }

    fn work_on(&mut self, picked: usize) -> Result<(), Crash> {
        match self.work.remove(picked) {
            Work::Plan => {
                let latest = self.world.lock().latest.clone();
                self.event(Event::Planned(Some(latest)));
            }
            Work::Reach { epoch, slot, end } => {
                if end > self.positions[slot] {
                    self.world.lock().write(slot, self.positions[slot], end);
                    self.positions[slot] = end;
                }
                self.event(Event::PartitionDone { epoch, slot, end });
            }
            Work::CommitSink { epoch, ends } => {
                self.world.lock().trace.push(format!("commit {epoch} in the sink"));
                self.world.lock().on_sink(epoch, &self.uncommitted, &ends);
                self.uncommitted = ends;
                self.event(Event::StepDone { epoch, step: Step::CommitSink });
            }
            Work::LogOffsets { epoch, ends } => {
                now(&self.world, self.checkpoint.put_offsets(epoch, &entry_of(&ends)))?;
                self.event(Event::StepDone { epoch, step: Step::LogOffsets });
            }
            Work::LogCommit(epoch) => {
                now(&self.world, self.checkpoint.put_commit(epoch, &CommitEntry::default()))?;
                self.event(Event::StepDone { epoch, step: Step::LogCommit });
            }
            Work::Purge(threshold) => now(&self.world, self.checkpoint.purge_before(threshold))?,
        }
        Ok(())
    }
}

/// What memory answers at once; an error is only of a process that died.
fn now<C: Choose, T>(world: &Mutex<World<C>>, work: impl Future<Output = Result<T>>) -> Result<T, Crash> {
    let done = work.now_or_never().unwrap();
    let world = world.lock();
    if world.is_dead {
        return Err(Crash);
    }
    world.check(done.is_ok(), &format!("{:?}", done.as_ref().err()));
    done.map_err(|_| Crash)
}

/// Starts, stops and crashes until epoch `goal` is committed; how many starts that took, and what happened.
fn live<C: Choose>(goal: EpochId, choose: C, delivery: Delivery) -> (usize, World<C>) {
    let world = Arc::new(Mutex::new(World::new(choose, delivery)));
    let mut starts = 0;
    while world.lock().committed < Some(goal) {
        starts += 1;
        let trigger = TRIGGERS[world.lock().choose.choose(TRIGGERS.len())];
        let _ = Process::start(&world, trigger).and_then(|mut process| process.run(goal));
    }
    // The stores that hold it on are gone with their processes.
    (starts, Arc::into_inner(world).unwrap().into_inner())
}

#[test]
fn three_epochs_survive_every_crash_under_every_trigger() {
    // Under exactly-once an epoch ends only when the one before is committed, so none overlap.
    for (crashes, overlap, delivery) in [
        (2, false, Delivery::AtLeastOnce),
        (2, true, Delivery::AtLeastOnce),
        (2, false, Delivery::ExactlyOnce),
    ] {
        let mut schedule = Exhaustive::new(crashes, overlap);
        let (mut schedules, mut overlapping) = (0, 0);
        loop {
            let world = live(EpochId(2), schedule, delivery).1;
            schedules += 1;
            overlapping += usize::from(world.has_overlap);
            schedule = world.choose;
            if !schedule.advance() {
                break;
            }
        }
        println!(
            "{delivery}: {schedules} schedules with up to {crashes} crashes, {overlapping} of them with overlapping epochs"
        );
        assert!(schedules > 1_000 && (overlapping > 0) == overlap);
    }
}

#[test]
fn a_hundred_thousand_random_schedules_lose_nothing() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let run = |first: u64| -> usize {
        let seeds = (first..100_000).step_by(usize::try_from(threads).unwrap());
        let delivery = |seed| if seed % 2 == 0 { Delivery::AtLeastOnce } else { Delivery::ExactlyOnce };
        seeds.map(|seed| live(EpochId(4), StdRng::seed_from_u64(seed), delivery(seed)).0).sum()
    };
    let starts: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{starts} starts");
}
