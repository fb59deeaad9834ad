//! Two processes on one checkpoint in a store without a lock: whatever they do to each other, one is left in the end.

use std::time::{Duration, Instant};

use crate::Result;
use crate::engine::Engine;
use crate::harm::{Meeting, Trigger, Twins};
use crate::query::Query;

/// How long the two may take to find out about each other. Whoever writes to the checkpoint next finds out; starting a
/// process, and taking over in Kafka, take their time on a machine that runs much else.
const SETTLED: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);

/// Lets a second process meet `first`; who is left, with its trigger. If both have ended, whoever watches over them has
/// started one.
///
/// # Errors
/// They do not settle, or one ends for another reason than the other.
pub(crate) fn meet(
    query: &mut Query,
    first: Engine,
    trigger: Trigger,
    twins: Twins,
) -> Result<(Engine, Trigger)> {
    let mut both = Pair { first: Some(first), second: Some(query.start(twins.trigger)?) };
    match twins.meeting {
        Meeting::Together => {}
        Meeting::Overtaken => both.let_the_second_overtake()?,
        Meeting::Killed(after) => {
            both.run_for(after)?;
            if let Some(first) = both.first.take() {
                first.kill()?;
                query.look()?;
            }
        }
    }
    let deadline = Instant::now() + SETTLED;
    while both.first.is_some() && both.second.is_some() {
        both.bury()?;
        if Instant::now() > deadline {
            return Err(format!("two processes run on one checkpoint for {SETTLED:?}").into());
        }
        std::thread::sleep(STEP);
    }
    // The other may have left, with its last breath, what ends the one that is left at its next step.
    let known = both.reported()?;
    while both.is_one_left() && both.reported()? == known {
        both.bury()?;
        if Instant::now() > deadline {
            return Err(
                format!("of two processes the one that is left commits nothing within {SETTLED:?}").into()
            );
        }
        std::thread::sleep(STEP);
    }
    match both {
        Pair { first: Some(first), .. } => Ok((first, trigger)),
        Pair { second: Some(second), .. } => Ok((second, twins.trigger)),
        Pair { .. } => Ok((query.start(twins.trigger)?, twins.trigger)),
    }
}

/// Those that have not ended.
struct Pair {
    first: Option<Engine>,
    second: Option<Engine>,
}

impl Pair {
    fn is_one_left(&self) -> bool {
        self.first.is_some() != self.second.is_some()
    }

    /// Grows with each epoch that one of them commits.
    fn reported(&self) -> Result<u64> {
        [&self.first, &self.second].into_iter().flatten().map(Engine::reported).sum()
    }

    fn run_for(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.bury()?;
            std::thread::sleep(STEP);
        }
        Ok(())
    }

    /// Wakes the first up again when the second has committed, or has ended.
    fn let_the_second_overtake(&mut self) -> Result<()> {
        let Some(first) = &self.first else { return Ok(()) };
        first.pause()?;
        let deadline = Instant::now() + SETTLED;
        while self.second.as_ref().is_some_and(|second| second.reported().is_ok_and(|length| length == 0)) {
            self.bury()?;
            if Instant::now() > deadline {
                return Err(
                    format!("beside a paused process another commits nothing within {SETTLED:?}").into()
                );
            }
            std::thread::sleep(STEP);
        }
        self.first.as_ref().map_or(Ok(()), Engine::resume)
    }

    /// Forgets whoever has ended, as long as it was for the other's sake.
    fn bury(&mut self) -> Result<()> {
        for place in [&mut self.first, &mut self.second] {
            let Some(engine) = place else { continue };
            let Some(status) = engine.has_ended()? else { continue };
            if status.code() != Some(1) || !engine.is_fenced() {
                let words = engine.last_words();
                return Err(format!("one of two processes ended with {status}: {words}").into());
            }
            *place = None;
        }
        Ok(())
    }
}
