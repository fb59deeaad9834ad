//! Crashes and restarts in every place, under either trigger: the real coordinator, decision, logs and store, in memory.
//!
//! What really happened is kept in a [`World`] where no crash can reach it, and each write and deletion of the checkpoint
//! is held against that: no committed offset is lost, ids are contiguous, no epoch commits before its predecessor, no
//! record is skipped.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::coordinator::{Coordinator, Effect, Event};
use super::policy::{Bounds, Step, policy};
use crate::checkpoint::{Checkpoint, CheckpointStore, CommitEntry, OffsetEntry, Recovery, Restart, decide};
use crate::epoch::{EpochId, Offset};
use crate::error::Result;
use crate::query::Trigger;
use crate::sink::Delivery;
use crate::testing::{Failure, Fault, FaultyStore, Operation};

/// Commits that are kept: few, so that short schedules purge.
const RETAINED: u64 = 2;
const SLOTS: usize = 2;
const TRIGGERS: [Trigger; 3] = [
    Trigger::Continuous(Duration::from_secs(1)),
    Trigger::ProcessingTime(Duration::ZERO),
    Trigger::AvailableNow,
];

/// Makes the decisions that a schedule consists of.
trait Choose: Send + 'static {
    /// One of `0..of`.
    fn choose(&mut self, of: usize) -> usize;
    /// One of `0..of`, where 0 is no crash.
    fn crash(&mut self, of: usize) -> usize;
    /// Which of so many pieces of work that can be done is done next; `None`: the clock ticks, or a stop comes.
    fn next_work(&mut self, of: usize) -> Option<usize>;
    fn is_stop(&mut self) -> bool;
}

/// Goes through all triggers of all runs and all places for up to `crashes` crashes: counts up in the choices that turned
/// up last time. Work is done in order, with a tick after each piece if epochs are to overlap.
#[derive(Debug)]
struct Exhaustive {
    overlap: bool,
    is_tick_due: bool,
    taken: Vec<(usize, usize)>,
    at: usize,
    crashes: usize,
    crashes_left: usize,
}

impl Exhaustive {
    fn new(crashes: usize, overlap: bool) -> Self {
        let (taken, at) = (Vec::new(), 0);
        Self { overlap, is_tick_due: false, taken, at, crashes, crashes_left: crashes }
    }

    /// The next schedule; whether there is one.
    fn advance(&mut self) -> bool {
        (self.at, self.crashes_left, self.is_tick_due) = (0, self.crashes, false);
        while let Some((taken, of)) = self.taken.pop() {
            if taken + 1 < of {
                self.taken.push((taken + 1, of));
                return true;
            }
        }
        false
    }
}

impl Choose for Exhaustive {
    fn choose(&mut self, of: usize) -> usize {
        if self.at == self.taken.len() {
            self.taken.push((0, of));
        }
        self.at += 1;
        self.taken[self.at - 1].0
    }

    fn crash(&mut self, of: usize) -> usize {
        let crash = if self.crashes_left > 0 { self.choose(of) } else { 0 };
        self.crashes_left -= usize::from(crash > 0);
        crash
    }

    fn next_work(&mut self, of: usize) -> Option<usize> {
        self.is_tick_due = self.overlap && !self.is_tick_due;
        (of > 0 && !self.is_tick_due).then_some(0)
    }

    fn is_stop(&mut self) -> bool {
        false
    }
}

impl Choose for StdRng {
    fn choose(&mut self, of: usize) -> usize {
        self.random_range(0..of)
    }

    fn crash(&mut self, of: usize) -> usize {
        if self.random_ratio(1, 12) { self.random_range(1..of) } else { 0 }
    }

    fn next_work(&mut self, of: usize) -> Option<usize> {
        (of > 0 && self.random_ratio(3, 4)).then(|| self.random_range(0..of))
    }

    fn is_stop(&mut self) -> bool {
        self.random_ratio(1, 16)
    }
}

/// The process is dead.
#[derive(Debug)]
struct Crash;

/// What really happened, and who decides what happens.
struct World<C> {
    choose: C,
    files: Arc<InMemory>,
    is_dead: bool,
    /// Records that there are in each partition.
    latest: Vec<Offset>,
    /// How often the sink was given each of them.
    written: Vec<Vec<u32>>,
    sink: BTreeSet<EpochId>,
    /// Ends of the last committed epoch, and the epoch.
    ends: Vec<Offset>,
    committed: Option<EpochId>,
    /// An epoch was begun while one before it was not committed.
    has_overlap: bool,
    trace: Vec<String>,
}

impl<C: Choose> World<C> {
    fn new(choose: C) -> Self {
        Self {
            choose,
            files: Arc::new(InMemory::new()),
            is_dead: false,
            latest: vec![1; SLOTS],
            written: vec![Vec::new(); SLOTS],
            sink: BTreeSet::new(),
            ends: vec![0; SLOTS],
            committed: None,
            has_overlap: false,
            trace: Vec::new(),
        }
    }

    fn check(&self, holds: bool, what: &str) {
        assert!(
            holds,
            "{what}\n{}\ncommitted {:?} at {:?}",
            self.trace.join("\n"),
            self.committed,
            self.ends
        );
    }

    fn next(&self) -> EpochId {
        self.committed.map_or(EpochId::FIRST, EpochId::next)
    }

    fn file(&self, path: &Path) -> Option<Vec<u8>> {
        let read = async { self.files.get(path).await.ok()?.bytes().await.ok() };
        read.now_or_never().flatten().map(|bytes| bytes.to_vec())
    }

    /// Decides about a call to the store, and holds what is going to be there against what happened.
    fn on_call(&mut self, operation: Operation, path: &Path) -> Option<Fault> {
        let failure = Failure::NoAnswer;
        if self.is_dead {
            return Some(Fault::Before(failure));
        }
        // A crash around a read leaves the same files as one around the change before or after it.
        if !matches!(operation, Operation::Put | Operation::Delete) {
            return None;
        }
        let what = format!("{operation:?} {path}");
        // An entry of Spark on a file system without atomic files may be half there. Ours may not, but must do no harm.
        let is_offsets = path.as_ref().contains("/offsets/");
        let ways = if operation == Operation::Put && is_offsets { 4 } else { 3 };
        let (fault, when) = match self.choose.crash(ways) {
            0 => (None, ""),
            1 => (Some(Fault::Before(failure)), "crash before "),
            2 => (Some(Fault::After(failure)), "crash after "),
            _ => (Some(Fault::Torn(failure)), "crash in "),
        };
        self.trace.push(format!("{when}{what}"));
        self.is_dead = fault.is_some();
        if !matches!(fault, Some(Fault::Before(_))) {
            self.on_change(operation, path);
        }
        fault
    }

    fn on_change(&mut self, operation: Operation, path: &Path) {
        let mut parts = path.as_ref().rsplit('/');
        let (Some(name), Some(dir)) = (parts.next(), parts.next()) else { return };
        let Ok(epoch) = name.parse().map(EpochId) else { return };
        match (operation, dir) {
            (Operation::Put, _) => {
                self.check(self.file(path).is_none(), "an entry is in the way");
                self.check(epoch == self.next(), "epochs are logged out of order, or with a gap");
                if dir == "commits" {
                    self.on_commit(epoch);
                }
            }
            (Operation::Delete, "offsets") => {
                let is_purged = epoch.0 + RETAINED <= self.committed.map_or(0, |committed| committed.0 + 1);
                let is_discarded = self.committed.is_none_or(|committed| epoch > committed);
                self.check(is_purged || is_discarded, "the end of a committed epoch is lost");
            }
            _ => {
                let is_purged = self.committed.is_some_and(|committed| epoch < committed);
                self.check(is_purged, "the last commit is lost");
            }
        }
    }

    fn on_commit(&mut self, epoch: EpochId) {
        let entry = self.file(&Path::from(format!("q/offsets/{epoch}")));
        let entry = entry.and_then(|bytes| OffsetEntry::decode(&bytes, "offsets").ok());
        self.check(entry.is_some(), "committed without an end");
        let ends = entry.map(|entry| ends_in(&entry)).unwrap_or_default();
        for (slot, (from, to)) in self.ends.iter().zip(&ends).enumerate() {
            self.check(from <= to, "an end went back");
            let mut records = *from..*to;
            let is_written = |record: Offset| {
                let times = self.written[slot].get(usize::try_from(record).unwrap());
                times.is_some_and(|times| *times > 0)
            };
            self.check(records.all(is_written), "a record was skipped");
        }
        self.check(self.sink.contains(&epoch), "committed before the sink was");
        (self.committed, self.ends) = (Some(epoch), ends);
    }

    fn write(&mut self, slot: usize, from: Offset, to: Offset) {
        self.check(from >= self.ends[slot] || from >= to, "a record was read again that is committed");
        let written = &mut self.written[slot];
        for record in from..to {
            let record = usize::try_from(record).unwrap();
            written.resize(written.len().max(record + 1), 0);
            written[record] += 1;
        }
    }
}

fn ends_in(entry: &OffsetEntry) -> Vec<Offset> {
    serde_json::from_str(entry.offsets[0].as_deref().unwrap()).unwrap()
}

fn entry_of(ends: &[Offset]) -> OffsetEntry {
    OffsetEntry { metadata: None, offsets: vec![Some(serde_json::to_string(ends).unwrap())] }
}

/// Something that is under way and can be done next.
#[derive(Clone, Debug)]
enum Work {
    Plan,
    Reach { epoch: EpochId, slot: usize, end: Offset },
    CommitSink(EpochId),
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

        let policy = policy(trigger, Delivery::AtLeastOnce);
        let restart = match policy.bounds {
            Bounds::AtTick => Restart::Continuous,
            Bounds::Planned => Restart::MicroBatch,
        };
        let recovery = now(world, checkpoint.facts())?;
        let recovery = decide(&recovery, restart);
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
            positions: start,
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
        while !self.is_ended && self.world.lock().committed < Some(goal) {
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
                Effect::CommitSink { epoch, .. } => self.work.push(Work::CommitSink(epoch)),
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
            Work::CommitSink(epoch) => {
                self.world.lock().trace.push(format!("commit {epoch} in the sink"));
                let mut world = self.world.lock();
                world.check(epoch == world.next(), "the sink saw an epoch before its turn");
                world.sink.insert(epoch);
                drop(world);
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
fn live<C: Choose>(goal: EpochId, choose: C) -> (usize, World<C>) {
    let world = Arc::new(Mutex::new(World::new(choose)));
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
    for (crashes, overlap) in [(2, false), (2, true)] {
        let mut schedule = Exhaustive::new(crashes, overlap);
        let (mut schedules, mut overlapping) = (0, 0);
        loop {
            let world = live(EpochId(2), schedule).1;
            schedules += 1;
            overlapping += usize::from(world.has_overlap);
            schedule = world.choose;
            if !schedule.advance() {
                break;
            }
        }
        println!(
            "{schedules} schedules with up to {crashes} crashes, {overlapping} of them with overlapping epochs"
        );
        assert!(schedules > 1_000 && (overlapping > 0) == overlap);
    }
}

#[test]
fn a_hundred_thousand_random_schedules_lose_nothing() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let run = |first: u64| -> usize {
        let seeds = (first..100_000).step_by(usize::try_from(threads).unwrap());
        seeds.map(|seed| live(EpochId(4), StdRng::seed_from_u64(seed)).0).sum()
    };
    let starts: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || run(first))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{starts} starts");
}
