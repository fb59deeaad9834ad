//! Two processes on one checkpoint in a store without a lock: whatever they do to each other, one is left in the end.

use std::time::{Duration, Instant};

use crate::Result;
use crate::engine::Engine;
use crate::harm::{Meeting, Trigger, Twins};
use crate::query::Query;

/// How long the two may take to find out about each other, and the one that is left to show that it is. Whoever writes to
/// the checkpoint next finds out; starting a process, and taking over in Kafka, take their time on a machine that runs much
/// else.
const SETTLED: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(10);
/// Starts in vain that are excused: broker and store are there, but slow where much else runs.
const STARTS: u32 = 3;

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
    let second = Twin { engine: query.start(twins.trigger)?, trigger: twins.trigger };
    let first = Twin { engine: first, trigger };
    let mut both = Pair { query, twins: [Some(first), Some(second)], starts: 0 };
    match twins.meeting {
        Meeting::Together => {}
        Meeting::Overtaken => both.let_the_second_overtake()?,
        Meeting::Killed(after) => {
            both.run_for(after)?;
            if let Some(first) = both.twins[0].take() {
                first.engine.kill()?;
                both.query.look()?;
            }
        }
    }
    let deadline = Instant::now() + SETTLED;
    while both.twins.iter().all(Option::is_some) {
        both.step(deadline, "two processes run on one checkpoint")?;
    }
    // The other may have left, with its last breath, what ends the one that is left at its next step; or have crossed it and
    // taken one of its two producers in Kafka. Two epochs with rows, of different turns, show that it has all it needs.
    let deadline = Instant::now() + SETTLED;
    let known = both.epochs_with_rows()?.len();
    while let Some(epochs) = both.left().map(Engine::epochs_with_rows).transpose()? {
        let turns = |turn| epochs.iter().skip(known).any(|epoch| epoch % 2 == turn);
        if turns(0) && turns(1) {
            break;
        }
        both.step(deadline, "of two processes the one that is left does not commit on")?;
    }
    let [first, second] = both.twins;
    match first.or(second) {
        Some(Twin { engine, trigger }) => Ok((engine, trigger)),
        None => Ok((query.start(twins.trigger)?, twins.trigger)),
    }
}

struct Twin {
    engine: Engine,
    trigger: Trigger,
}

struct Pair<'a> {
    query: &'a mut Query,
    /// Those that have not ended.
    twins: [Option<Twin>; 2],
    /// In vain so far.
    starts: u32,
}

impl Pair<'_> {
    /// One of them.
    fn left(&self) -> Option<&Engine> {
        self.twins.iter().flatten().next().map(|twin| &twin.engine)
    }

    fn epochs_with_rows(&self) -> Result<Vec<u64>> {
        self.left().map_or(Ok(Vec::new()), Engine::epochs_with_rows)
    }

    fn step(&mut self, deadline: Instant, what: &str) -> Result<()> {
        self.bury()?;
        if Instant::now() > deadline {
            let words: Vec<_> = self.twins.iter().flatten().map(|twin| twin.engine.last_words()).collect();
            return Err(format!("{what} within {SETTLED:?}: {words:?}").into());
        }
        std::thread::sleep(STEP);
        Ok(())
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
        let Some(first) = &self.twins[0] else { return Ok(()) };
        first.engine.pause()?;
        let deadline = Instant::now() + SETTLED;
        let has_committed = |twin: &Twin| twin.engine.reported().is_ok_and(|length| length > 0);
        while self.twins[1].as_ref().is_some_and(|second| !has_committed(second)) {
            self.step(deadline, "beside a paused process another does not commit")?;
        }
        self.twins[0].as_ref().map_or(Ok(()), |first| first.engine.resume())
    }

    /// Forgets whoever has ended for the other's sake, and starts again who could not start for want of an answer.
    fn bury(&mut self) -> Result<()> {
        for place in &mut self.twins {
            let Some(twin) = place else { continue };
            let Some(status) = twin.engine.has_ended()? else { continue };
            if status.code() == Some(1) && twin.engine.is_fenced() {
                *place = None;
            } else if status.code() == Some(1) && twin.engine.reported()? == 0 && self.starts < STARTS {
                self.starts += 1;
                twin.engine = self.query.start(twin.trigger)?;
            } else {
                let words = twin.engine.last_words();
                return Err(format!("one of two processes ended with {status}: {words}").into());
            }
        }
        Ok(())
    }
}
