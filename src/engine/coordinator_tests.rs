//! The coordinator by example, and under random schedules against a small model of the world around it.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::coordinator::{Coordinator, Effect, Event};
use super::policy::{Bounds, Policy, Step, policy};
use crate::epoch::{EpochId, Offset};
use crate::query::Trigger;
use crate::sink::Delivery;

const CONTINUOUS: Trigger = Trigger::Continuous(Duration::from_secs(1));
const MICRO_BATCH: Trigger = Trigger::ProcessingTime(Duration::ZERO);

/// A coordinator with a clock, which is spoken to and answers in short words.
struct Query {
    coordinator: Coordinator,
    now: Duration,
}

impl Query {
    fn new(trigger: Trigger, slots: usize) -> Self {
        Self::delivering(Delivery::AtLeastOnce, trigger, slots)
    }

    fn delivering(delivery: Delivery, trigger: Trigger, slots: usize) -> Self {
        let coordinator = Coordinator::new(policy(trigger, delivery), vec![0; slots], EpochId::FIRST);
        Self { coordinator, now: Duration::from_secs(1) }
    }

    fn on(&mut self, event: Event) -> String {
        words(&self.coordinator.on(event, self.now))
    }

    fn tick(&mut self, moved: bool) -> String {
        self.on(Event::Tick { moved })
    }

    fn planned(&mut self, ends: &[Offset]) -> String {
        self.on(Event::Planned(Some(ends.to_vec())))
    }

    fn partition_done(&mut self, epoch: u64, slot: usize, end: Offset) -> String {
        self.on(Event::PartitionDone { epoch: EpochId(epoch), slot, end })
    }

    fn done(&mut self, epoch: u64, step: Step) -> String {
        self.on(Event::StepDone { epoch: EpochId(epoch), step })
    }

    fn stop(&mut self) -> String {
        self.on(Event::Stop)
    }

    /// Takes an epoch whose partitions are done through the steps that are left; the answer to the last one.
    fn commit(&mut self, epoch: u64) -> String {
        [Step::CommitSink, Step::LogOffsets, Step::LogCommit].map(|step| self.done(epoch, step))[2].clone()
    }
}

fn words(effects: &[Effect]) -> String {
    let words = effects.iter().map(|effect| match effect {
        Effect::Finish { epoch, ends: None, last: false } => format!("finish {epoch}"),
        Effect::Finish { epoch, ends: None, last: true } => format!("finish {epoch} and stay"),
        Effect::Finish { epoch, ends: Some(ends), .. } => format!("run {epoch} to {ends:?}"),
        Effect::CommitSink { epoch, .. } => format!("sink {epoch}"),
        Effect::LogOffsets { epoch, ends } => format!("offsets/{epoch} = {ends:?}"),
        Effect::LogCommit(epoch) => format!("commits/{epoch}"),
        Effect::Committed { epoch, ends } => format!("{epoch} is done at {ends:?}"),
        Effect::Plan | Effect::Pause | Effect::Resume | Effect::End => format!("{effect:?}").to_lowercase(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn under_exactly_once_the_end_is_logged_before_the_sink_commits_and_two_epochs_are_alive_at_most() {
    let mut query = Query::delivering(Delivery::ExactlyOnce, CONTINUOUS, 1);
    assert_eq!(query.tick(true), "finish 0");
    assert_eq!(query.partition_done(0, 0, 5), "offsets/0 = [5]");
    assert_eq!(query.done(0, Step::LogOffsets), "sink 0");
    assert_eq!(query.tick(true), "", "epoch 1 grows until epoch 0 is committed");
    assert_eq!(query.done(0, Step::CommitSink), "commits/0");
    assert_eq!(query.tick(true), "");
    assert_eq!(query.done(0, Step::LogCommit), "0 is done at [5]");
    assert_eq!(query.tick(true), "finish 1");
}

#[test]
fn a_continuous_epoch_is_run_then_committed_in_the_sink_then_logged() {
    let mut query = Query::new(CONTINUOUS, 2);
    assert_eq!(query.tick(true), "finish 0");
    assert_eq!(query.partition_done(0, 1, 7), "");
    assert_eq!(query.partition_done(0, 0, 5), "sink 0");
    assert_eq!(query.done(0, Step::CommitSink), "offsets/0 = [5, 7]");
    assert_eq!(query.done(0, Step::LogOffsets), "commits/0");
    assert_eq!(query.done(0, Step::LogCommit), "0 is done at [5, 7]");
}

#[test]
fn a_planned_epoch_is_logged_before_it_is_run() {
    let mut query = Query::new(MICRO_BATCH, 2);
    assert_eq!(query.tick(false), "plan");
    assert_eq!(query.planned(&[5, 7]), "offsets/0 = [5, 7]");
    assert_eq!(query.tick(true), "");
    assert_eq!(query.done(0, Step::LogOffsets), "run 0 to [5, 7]");
    // A reader may come out beyond the end, over offsets that hold no record; the planned end holds.
    assert_eq!(query.partition_done(0, 0, 6), "");
    assert_eq!(query.partition_done(0, 1, 7), "sink 0");
    assert_eq!(query.done(0, Step::CommitSink), "commits/0");
    assert_eq!(query.done(0, Step::LogCommit), "0 is done at [5, 7]");
    assert_eq!(query.tick(true), "plan");
}

#[test]
fn with_nothing_new_no_epoch_begins() {
    let mut query = Query::new(CONTINUOUS, 1);
    assert_eq!(query.tick(false), "");
    let mut query = Query::new(MICRO_BATCH, 1);
    assert_eq!(query.tick(true), "plan");
    assert_eq!(query.on(Event::Planned(None)), "");
}

#[test]
fn epochs_in_flight_commit_in_order_although_their_partitions_finish_out_of_order() {
    let mut query = Query::new(CONTINUOUS, 2);
    assert_eq!(query.tick(true), "finish 0");
    assert_eq!(query.tick(true), "finish 1");
    assert_eq!(query.partition_done(1, 0, 20), "");
    assert_eq!(query.partition_done(1, 1, 21), "");
    assert_eq!(query.partition_done(0, 0, 10), "");
    assert_eq!(query.partition_done(0, 1, 11), "sink 0");
    assert_eq!(query.commit(0), "0 is done at [10, 11], sink 1");
    assert_eq!(query.commit(1), "1 is done at [20, 21]");
}

#[test]
fn with_too_many_epochs_in_flight_a_tick_begins_none() {
    let mut query = Query::new(CONTINUOUS, 1);
    for epoch in 0..4 {
        assert_eq!(query.tick(true), format!("finish {epoch}"));
    }
    assert_eq!(query.tick(true), "");
    assert_eq!(query.partition_done(0, 0, 1), "sink 0");
    query.commit(0);
    assert_eq!(query.tick(true), "finish 4");
}

#[test]
fn without_a_commit_for_too_long_sources_are_held_back_until_the_next_one() {
    let mut query = Query::new(CONTINUOUS, 1);
    query.tick(true);
    query.now += policy(CONTINUOUS, Delivery::AtLeastOnce).max_uncommitted;
    assert_eq!(query.tick(false), "pause");
    assert_eq!(query.tick(false), "");
    query.partition_done(0, 0, 9);
    assert_eq!(query.commit(0), "0 is done at [9], resume");
}

#[test]
fn a_stop_makes_one_last_epoch_of_what_was_read_and_none_of_nothing() {
    let mut query = Query::new(CONTINUOUS, 1);
    assert_eq!(query.stop(), "finish 0 and stay");
    assert_eq!(query.stop(), "");
    assert_eq!(query.tick(true), "");
    assert_eq!(query.partition_done(0, 0, 9), "sink 0");
    assert_eq!(query.commit(0), "0 is done at [9], end");
    let mut idle = Query::new(CONTINUOUS, 1);
    assert_eq!(idle.stop(), "finish 0 and stay");
    assert_eq!(idle.partition_done(0, 0, 0), "end");
}

/// Otherwise they would read and write on while the query ends, and all that would come twice after the restart.
#[test]
fn a_stop_closes_the_partitions_also_when_nothing_is_known_to_be_unread() {
    for (read_meanwhile, outcome) in [(0, "end"), (1, "sink 1")] {
        let mut in_flight = Query::new(CONTINUOUS, 1);
        in_flight.tick(true);
        assert_eq!(in_flight.stop(), "finish 1 and stay");
        assert_eq!(in_flight.partition_done(1, 0, 9 + read_meanwhile), "");
        in_flight.partition_done(0, 0, 9);
        assert_eq!(in_flight.commit(0), format!("0 is done at [9], {outcome}"));

        let mut idle = Query::new(CONTINUOUS, 1);
        idle.tick(true);
        idle.partition_done(0, 0, 9);
        idle.commit(0);
        assert_eq!(idle.stop(), "finish 1 and stay");
        assert_eq!(idle.partition_done(1, 0, 9 + read_meanwhile), outcome);
    }
}

#[test]
fn a_stop_during_planning_runs_nothing_and_during_a_batch_finishes_it() {
    let mut query = Query::new(MICRO_BATCH, 1);
    query.tick(true);
    assert_eq!(query.stop(), "");
    assert_eq!(query.planned(&[5]), "end");

    let mut query = Query::new(MICRO_BATCH, 1);
    query.tick(true);
    query.planned(&[5]);
    assert_eq!(query.stop(), "");
    assert_eq!(query.done(0, Step::LogOffsets), "run 0 to [5]");
    query.partition_done(0, 0, 5);
    query.done(0, Step::CommitSink);
    assert_eq!(query.done(0, Step::LogCommit), "0 is done at [5], end");
}

#[test]
fn once_ends_after_one_epoch_and_available_now_when_nothing_is_left() {
    let batch = |query: &mut Query, epoch| {
        query.planned(&[5]);
        query.done(epoch, Step::LogOffsets);
        query.partition_done(epoch, 0, 5);
        query.done(epoch, Step::CommitSink);
        query.done(epoch, Step::LogCommit)
    };
    let mut once = Query::new(Trigger::Once, 1);
    assert_eq!(once.tick(false), "plan");
    assert_eq!(batch(&mut once, 0), "0 is done at [5], end");

    let mut available_now = Query::new(Trigger::AvailableNow, 1);
    assert_eq!(available_now.tick(false), "plan");
    assert_eq!(batch(&mut available_now, 0), "0 is done at [5], plan");
    assert_eq!(batch(&mut available_now, 1), "1 is done at [5], plan");
    assert_eq!(available_now.on(Event::Planned(None)), "end");
}

#[test]
fn an_epoch_that_is_logged_already_is_run_at_once_with_its_ends() {
    let mut query = Query::new(MICRO_BATCH, 1);
    assert_eq!(words(&query.coordinator.rerun(vec![5], query.now)), "run 0 to [5]");
    assert_eq!(query.partition_done(0, 0, 5), "sink 0");
    assert_eq!(query.done(0, Step::CommitSink), "commits/0");
    assert_eq!(query.done(0, Step::LogCommit), "0 is done at [5]");
}

/// One thing that happens around the coordinator.
#[derive(Clone, Copy, Debug)]
enum Op {
    Tick(bool),
    Stop,
    /// One piece of outstanding work, picked by number, is done; partitions have grown by this much.
    Complete(usize, Offset),
    Seconds(u64),
}

/// Work that an effect has set off.
#[derive(Clone, Copy)]
enum Work {
    Plan,
    Reach { epoch: EpochId, slot: usize, end: Offset },
    Do { epoch: EpochId, step: Step },
}

/// What has become of an epoch.
#[derive(Debug, Default)]
struct Life {
    begun: bool,
    reached: usize,
    ends: Vec<Offset>,
    /// Steps that were asked for, and those that are done.
    asked: Vec<Step>,
    done: Vec<Step>,
}

/// Answers effects and checks that each may come now.
struct World {
    coordinator: Coordinator,
    policy: Policy,
    now: Duration,
    work: Vec<Work>,
    positions: Vec<Offset>,
    lives: BTreeMap<EpochId, Life>,
    /// The epoch that may be committed, and the one that may begin.
    oldest: EpochId,
    next: EpochId,
    logged: Vec<Offset>,
    seen: Seen,
    trace: String,
}

#[derive(Debug, Default)]
struct Seen {
    pause: bool,
    last: bool,
    stop: bool,
    end: bool,
}

impl World {
    fn new(trigger: Trigger, delivery: Delivery, slots: usize, rerun: bool) -> Self {
        let (policy, first) = (policy(trigger, delivery), EpochId(7));
        let mut world = Self {
            coordinator: Coordinator::new(policy.clone(), vec![0; slots], first),
            policy,
            now: Duration::ZERO,
            work: Vec::new(),
            positions: vec![0; slots],
            lives: BTreeMap::new(),
            oldest: first,
            next: first,
            logged: vec![0; slots],
            seen: Seen::default(),
            trace: String::new(),
        };
        if rerun && world.policy.bounds == Bounds::Planned {
            let (ends, logged) = (vec![3; slots], vec![Step::LogOffsets]);
            let life = Life { ends: ends.clone(), asked: logged.clone(), done: logged, ..Life::default() };
            world.lives.insert(first, life);
            let effects = world.coordinator.rerun(ends, world.now);
            world.perform(effects);
        }
        world
    }

    fn check(&self, holds: bool, what: &str) {
        assert!(holds, "{what}\n{}", self.trace);
    }

    fn event(&mut self, event: Event) {
        let heard = format!("{:>4} s  {event:?}", self.now.as_secs());
        let effects = self.coordinator.on(event, self.now);
        self.trace += &format!("{heard} -> {}\n", words(&effects));
        self.perform(effects);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Tick(moved) => self.event(Event::Tick { moved }),
            Op::Stop => {
                self.seen.stop = true;
                self.event(Event::Stop);
                if self.policy.bounds == Bounds::AtTick && !self.seen.end {
                    self.check(self.seen.last, "after a stop partitions read on");
                }
            }
            Op::Seconds(seconds) => self.now += Duration::from_secs(seconds),
            Op::Complete(pick, grown) => {
                self.positions.iter_mut().for_each(|position| *position += grown);
                if !self.work.is_empty() {
                    let work = self.work.swap_remove(pick % self.work.len());
                    self.complete(work, grown);
                }
            }
        }
    }

    fn complete(&mut self, work: Work, grown: Offset) {
        match work {
            Work::Plan => self.event(Event::Planned((grown > 0).then(|| self.positions.clone()))),
            Work::Reach { epoch, slot, end } => {
                self.lives.entry(epoch).or_default().reached += 1;
                self.event(Event::PartitionDone { epoch, slot, end });
            }
            Work::Do { epoch, step } => {
                self.lives.entry(epoch).or_default().done.push(step);
                self.event(Event::StepDone { epoch, step });
            }
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.check(!self.seen.end, "something was asked for after the end");
            match effect {
                Effect::Plan => {
                    self.check(self.oldest == self.next && self.work.is_empty(), "planned during an epoch");
                    self.work.push(Work::Plan);
                }
                Effect::Finish { epoch, ends, last } => self.begin(epoch, ends, last),
                Effect::CommitSink { epoch, .. } => self.step(epoch, Step::CommitSink),
                Effect::LogOffsets { epoch, ends } => {
                    let grew = ends.iter().zip(&self.logged).all(|(end, before)| end >= before);
                    self.check(grew, "an end went back");
                    if self.policy.bounds == Bounds::Planned {
                        self.lives.entry(epoch).or_default().ends.clone_from(&ends);
                    }
                    self.check(self.lives.get(&epoch).is_some_and(|life| life.ends == ends), "other ends");
                    self.logged = ends;
                    self.step(epoch, Step::LogOffsets);
                }
                Effect::LogCommit(epoch) => self.step(epoch, Step::LogCommit),
                Effect::Pause | Effect::Resume => {
                    let pause = effect == Effect::Pause;
                    self.check(self.seen.pause != pause, "pause and resume do not alternate");
                    self.seen.pause = pause;
                }
                Effect::Committed { epoch, ends } => {
                    let is_done = |life: Life| life.done.contains(&Step::LogCommit) && life.ends == ends;
                    let is_done = self.lives.remove(&epoch).is_some_and(is_done);
                    self.check(epoch == self.oldest && is_done, "not committed, or not the oldest");
                    self.oldest = epoch.next();
                }
                Effect::End => {
                    let is_empty =
                        |life: &Life| self.seen.last && life.asked.is_empty() && life.ends == self.logged;
                    let is_done = self.lives.values().all(is_empty) && self.work.is_empty();
                    self.check(is_done, "ended before all was done");
                    self.seen.end = true;
                }
            }
        }
    }

    fn begin(&mut self, epoch: EpochId, ends: Option<Vec<Offset>>, last: bool) {
        self.check(epoch == self.next, "epoch ids have a gap");
        self.check(!self.seen.last, "an epoch after the last one");
        let planned = self.policy.bounds == Bounds::Planned;
        self.check(last || planned || !self.seen.stop, "an epoch after the stop");
        (self.next, self.seen.last) = (epoch.next(), last);
        let in_flight = self.lives.values().filter(|life| life.begun).count();
        self.check(last || in_flight < self.policy.max_in_flight, "too many epochs in flight");
        let life = self.lives.entry(epoch).or_default();
        life.begun = true;
        let is_logged = !planned || (life.done == [Step::LogOffsets] && ends.as_ref() == Some(&life.ends));
        let ends = ends.unwrap_or_else(|| self.positions.clone());
        life.ends.clone_from(&ends);
        self.check(is_logged, "run before its end was logged, or to another end");
        self.work.extend((0..).zip(ends).map(|(slot, end)| Work::Reach { epoch, slot, end }));
    }

    fn step(&mut self, epoch: EpochId, step: Step) {
        self.check(epoch == self.oldest, "a step before the epoch before was committed");
        let (order, slots) = (self.policy.order, self.positions.len());
        let life = self.lives.entry(epoch).or_default();
        let before: Vec<Step> = order.into_iter().take_while(|each| *each != step).collect();
        let is_done = |each: &Step| match each {
            Step::Run => life.begun && life.reached == slots,
            Step::CommitSink | Step::LogOffsets | Step::LogCommit => life.done.contains(each),
        };
        let in_order = before.iter().all(is_done) && !life.asked.contains(&step);
        life.asked.push(step);
        self.check(in_order, "a step was asked for twice, or before the one before was done");
        self.work.push(Work::Do { epoch, step });
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => any::<bool>().prop_map(Op::Tick),
        12 => (any::<usize>(), 0i64..4).prop_map(|(pick, grown)| Op::Complete(pick, grown)),
        2 => (0u64..90).prop_map(Op::Seconds),
        1 => Just(Op::Stop),
    ];
    proptest::collection::vec(op, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn under_every_schedule_epochs_are_whole_in_order_and_come_to_an_end(
        trigger in proptest::sample::select(vec![CONTINUOUS, MICRO_BATCH, Trigger::AvailableNow, Trigger::Once]),
        delivery in proptest::sample::select(vec![Delivery::AtLeastOnce, Delivery::ExactlyOnce]),
        slots in 0usize..=4, rerun: bool, ops in ops(),
    ) {
        let mut world = World::new(trigger, delivery, slots, rerun);
        ops.into_iter().for_each(|op| world.apply(op));
        if !world.seen.stop {
            world.apply(Op::Stop);
        }
        while !world.work.is_empty() {
            world.apply(Op::Complete(world.work.len() - 1, 1));
        }
        world.check(world.seen.end, "stopped and idle, and not at an end");
    }
}
