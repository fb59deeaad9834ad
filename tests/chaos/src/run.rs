//! One run: load, engine, harm, and the wait until everything is out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::broker::Broker;
use crate::engine::{Engine, Query};
use crate::harm::{Guarantee, Harm, Plan, Trigger};
use crate::load::Load;
use crate::oracle::{Outcome, Verdict};
use crate::proxy::Weather;

/// How long the engine may take to read all that is there once nothing disturbs it. New partitions are found within 10 s.
const CATCH_UP: Duration = Duration::from_secs(60);
/// What the engine promises for SIGTERM is 5 s; on a machine that runs much else it may take longer.
const STOP: Duration = Duration::from_secs(20);
/// Partitions that `Harm::Grow` may add.
const MORE_PARTITIONS: i32 = 5;

/// Runs the story of `seed` and judges what came out.
///
/// # Errors
/// The engine ended when it should not, did not stop, or did not catch up; or the surroundings failed.
pub(crate) fn run(
    broker: &mut Broker,
    binary: &Path,
    folder: &Path,
    seed: u64,
    guarantee: Guarantee,
) -> Result<Verdict> {
    let plan = Plan::new(seed);
    let name = format!("chaos-{}-{seed}-{}", std::process::id(), guarantee.delivery());
    let (from, to) = (format!("{name}-in"), format!("{name}-out"));
    broker.create(&[(&from, plan.partitions), (&to, plan.partitions + MORE_PARTITIONS)])?;

    let mut query =
        Query::new(binary, folder, guarantee, &sql(&broker.proxy.address().to_string(), &from, &to))?;
    let load = Load::start(broker.direct(), &from, plan.partitions)?;
    let mut stage =
        Stage { engine: query.start(plan.first)?, query, load, broker, from: &from, trigger: plan.first };
    for (undisturbed, harm) in &plan.harms {
        std::thread::sleep(*undisturbed);
        stage.engine.check().map_err(|error| format!("before {harm:?}: {error}"))?;
        stage = stage.suffer(*harm).map_err(|error| format!("{harm:?}: {error}"))?;
    }
    let Stage { mut engine, query, load, .. } = stage;

    let partitions = load.partitions();
    let sent = load.end()?;
    let deadline = Instant::now() + CATCH_UP;
    let mut outcome = loop {
        engine.check()?;
        let outcome = outcome(broker.read(&to, partitions)?, &sent)?;
        let seen = |(partition, sent): (i32, &i64)| {
            *sent == 0 || outcome.rows.get(&partition).is_some_and(|rows| rows.contains(&(sent - 1)))
        };
        if (0..).zip(&sent).all(seen) {
            break outcome;
        }
        if Instant::now() > deadline {
            let verdict = outcome.judge(guarantee);
            return Err(format!(
                "not all is out after {CATCH_UP:?}: {:?}; {}",
                verdict.violations,
                engine.last_words()
            )
            .into());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    engine.stop(STOP)?;
    // Rows that came after the last one was seen are part of the story.
    outcome.rows = self::outcome(broker.read(&to, partitions)?, &sent)?.rows;
    outcome.committed = committed(&query, &from)?;
    broker.delete(&[&from, &to])?;
    Ok(outcome.judge(guarantee))
}

/// All that harm can be done to.
struct Stage<'a> {
    engine: Engine,
    query: Query,
    load: Load,
    broker: &'a mut Broker,
    from: &'a str,
    trigger: Trigger,
}

impl Stage<'_> {
    fn suffer(mut self, harm: Harm) -> Result<Self> {
        match harm {
            Harm::Kill { restart } => {
                self.engine.kill()?;
                (self.engine, self.trigger) = (self.query.start(restart)?, restart);
            }
            Harm::Switch { restart } => {
                self.engine.stop(STOP)?;
                (self.engine, self.trigger) = (self.query.start(restart)?, restart);
            }
            Harm::Pause(lasts) => {
                self.engine.pause()?;
                std::thread::sleep(lasts);
                self.engine.resume()?;
            }
            Harm::Second => {
                let mut second = self.query.start(self.trigger)?;
                let refused = second.ended_within(STOP)?.is_some_and(|status| status.code() == Some(1));
                // If the first one had no time to take the checkpoint yet, it is the one that is refused.
                if !refused {
                    let first =
                        self.engine.ended_within(STOP)?.is_some_and(|status| status.code() == Some(1));
                    if !first {
                        return Err("two processes run on one checkpoint".into());
                    }
                    self.engine = second;
                }
            }
            Harm::Cut => self.broker.proxy.cut(),
            Harm::HalfOpen(lasts) => self.weather(Weather::Still, lasts),
            Harm::Slow { delay, lasts } => self.weather(Weather::Slow(delay), lasts),
            Harm::Broker(away) => {
                self.broker.kill()?;
                std::thread::sleep(away);
                self.broker.restart()?;
                // A query whose broker is not there when it starts says so and ends; whoever started it starts it again.
                if self.engine.ended_before_its_first_epoch()? {
                    self.engine = self.query.start(self.trigger)?;
                }
            }
            Harm::Grow => {
                let partitions = self.load.partitions() + 1;
                self.broker.grow(self.from, partitions)?;
                self.load.grow_to(partitions);
            }
        }
        Ok(self)
    }

    fn weather(&self, weather: Weather, lasts: Duration) {
        self.broker.proxy.set(weather);
        std::thread::sleep(lasts);
        self.broker.proxy.set(Weather::Fair);
    }
}

/// Rows keep the partition of their record, so that their order can be seen.
fn sql(brokers: &str, from: &str, to: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}'
           OPTIONS ('startingOffsets' 'earliest', 'maxOffsetsPerTrigger' '300');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}';
         INSERT INTO out SELECT partition, concat(offset, '/', CAST(value AS STRING)) AS value FROM events"
    )
}

fn outcome(records: Vec<(i32, String)>, sent: &[i64]) -> Result<Outcome> {
    let mut rows: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, value) in records {
        let parts = value
            .split_once('/')
            .and_then(|(offset, number)| Some((offset.parse::<i64>().ok()?, number.parse::<i64>().ok()?)));
        match parts {
            Some((offset, number)) if offset == number => rows.entry(partition).or_default().push(offset),
            parts => {
                return Err(format!(
                    "'{value}' in partition {partition} is not what was sent there: {parts:?}"
                )
                .into());
            }
        }
    }
    Ok(Outcome { sent: sent.to_vec(), rows, ..Outcome::default() })
}

/// Where epochs ended, from all that the engine's processes reported and from the checkpoint.
fn committed(query: &Query, topic: &str) -> Result<BTreeMap<i32, std::collections::BTreeSet<i64>>> {
    let mut ends =
        query.progress()?.into_iter().map(|line| line["sources"][0]["endOffset"].clone()).collect::<Vec<_>>();
    // A process may die between writing the commit and printing it.
    for entry in std::fs::read_dir(query.checkpoint().join("offsets"))? {
        let text = std::fs::read_to_string(entry?.path())?;
        ends.extend(text.lines().nth(2).and_then(|line| serde_json::from_str(line).ok()));
    }
    let mut committed: BTreeMap<i32, std::collections::BTreeSet<i64>> = BTreeMap::new();
    for offsets in ends.iter().filter_map(|end| end[topic].as_object()) {
        for (partition, offset) in offsets {
            if let (Ok(partition), Some(offset)) = (partition.parse(), offset.as_i64()) {
                committed.entry(partition).or_default().insert(offset);
            }
        }
    }
    Ok(committed)
}
