//! One run: load, engine, harm, and the wait until everything is out.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::broker::Broker;
use crate::engine::Engine;
use crate::harm::{Guarantee, Harm, Plan, Store, Trigger};
use crate::load::Load;
use crate::oracle::{Row, Verdict};
use crate::proxy::{Proxy, Weather};
use crate::query::{Query, Topics};
use crate::store::{Place, S3Server};
use crate::tally::NotRun;
use crate::twins;

/// How long the engine may take to read all that is there once nothing disturbs it. New partitions are found within 10 s.
const CATCH_UP: Duration = Duration::from_secs(60);
/// What the engine promises for SIGTERM is 5 s; on a machine that runs much else it may take longer.
const STOP: Duration = Duration::from_secs(20);
/// Partitions that `Harm::Grow` may add.
const MORE_PARTITIONS: i32 = 5;

/// What a run can harm, apart from its engine: of its own, one run after the other.
pub(crate) struct Surroundings<'a> {
    broker: Broker,
    s3: &'a S3Server,
    /// Before the S3 server.
    store: Proxy,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn new(s3: &'a S3Server) -> Result<Self> {
        Ok(Self { broker: Broker::start()?, s3, store: s3.proxy()? })
    }
}

/// Runs the story of `seed` and judges what came out.
///
/// # Errors
/// The engine ended when it should not, did not stop, or did not catch up; or the surroundings failed.
pub(crate) fn run(
    around: &mut Surroundings<'_>,
    binary: &Path,
    folder: &Path,
    seed: u64,
    guarantee: Guarantee,
) -> Result<Verdict> {
    let plan = Plan::new(seed);
    let name = format!("chaos-{}-{seed}-{}", std::process::id(), guarantee.delivery());
    let (from, to) = (format!("{name}-in"), format!("{name}-out"));
    around.broker.create(&[(&from, plan.partitions), (&to, plan.partitions + MORE_PARTITIONS)])?;
    let place = match plan.store {
        Store::Disk => Place::Disk(folder.join("checkpoint")),
        Store::S3 => around.s3.bucket(&name, &around.store)?,
    };
    let brokers = around.broker.proxy.address().to_string();
    let topics = Topics { brokers, from: from.clone(), to: to.clone() };
    let mut query = Query::new(binary, folder, guarantee, topics, place);
    let load = Load::start(around.broker.direct(), &from, plan.partitions)?;
    let engine = query.start(plan.first)?;
    let mut stage = Stage { engine, query, load, around, from: &from, trigger: plan.first };
    for (undisturbed, harm) in &plan.harms {
        std::thread::sleep(*undisturbed);
        stage.check().map_err(|error| format!("before {harm:?}: {error}"))?;
        stage = stage.suffer(*harm).map_err(|error| match error.downcast::<NotRun>() {
            Ok(not_run) => crate::Error::from(*not_run),
            Err(error) => format!("{harm:?}: {error}").into(),
        })?;
    }

    let partitions = stage.load.partitions();
    let sent = stage.load.end_sending()?;
    let deadline = Instant::now() + CATCH_UP;
    loop {
        stage.check()?;
        let rows = rows(stage.around.broker.read(&to, partitions)?)?;
        let is_out = |(partition, sent): (i32, &i64)| {
            let came = |rows: &Vec<Row>| rows.iter().any(|row| row.offset == sent - 1);
            *sent == 0 || rows.get(&partition).is_some_and(came)
        };
        if (0..).zip(&sent).all(is_out) {
            break;
        }
        if Instant::now() > deadline {
            let mut outcome = stage.query.outcome(&sent)?;
            outcome.rows = rows;
            let violations = outcome.judge(guarantee).violations;
            let words = stage.engine.last_words();
            return Err(format!("not all is out after {CATCH_UP:?}: {violations:?}; {words}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let Stage { engine, mut query, around, .. } = stage;
    engine.stop(STOP)?;
    query.look()?;
    query.verify()?;
    let mut outcome = query.outcome(&sent)?;
    // Rows that came after the last one was seen are part of the story.
    outcome.rows = rows(around.broker.read(&to, partitions)?)?;
    around.broker.delete(&[&from, &to])?;
    Ok(outcome.judge(guarantee))
}

/// All that harm can be done to.
struct Stage<'a, 's> {
    engine: Engine,
    query: Query,
    load: Load,
    around: &'a mut Surroundings<'s>,
    from: &'a str,
    trigger: Trigger,
}

impl Stage<'_, '_> {
    /// A query whose broker or store is not there when it starts says so and ends; whoever started it starts it again.
    ///
    /// # Errors
    /// The engine has ended for another reason.
    fn check(&mut self) -> Result<()> {
        if self.engine.has_failed_to_start()? {
            self.engine = self.query.start(self.trigger)?;
        }
        self.engine.check()
    }

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
            Harm::Second => self.second()?,
            Harm::Twins(twins) => {
                self.around.store.set(Weather::Slow(twins.delay));
                let left = twins::meet(&mut self.query, self.engine, self.trigger, twins);
                self.around.store.set(Weather::Fair);
                (self.engine, self.trigger) = left?;
            }
            Harm::Cut => self.around.broker.proxy.cut(),
            Harm::HalfOpen(lasts) => during(&self.around.broker.proxy, Weather::Still, lasts),
            Harm::Slow { delay, lasts } => during(&self.around.broker.proxy, Weather::Slow(delay), lasts),
            Harm::Broker(away) => {
                self.engine.excuse()?;
                self.around.broker.kill()?;
                std::thread::sleep(away);
                self.around.broker.restart()?;
            }
            Harm::Grow => {
                let partitions = self.load.partitions() + 1;
                self.around.broker.grow(self.from, partitions)?;
                self.load.grow_to(partitions);
            }
            Harm::StoreCut => {
                self.engine.excuse()?;
                self.around.store.cut();
            }
            Harm::StoreHalfOpen(lasts) => during(&self.around.store, Weather::Still, lasts),
            Harm::StoreSlow { delay, lasts } => during(&self.around.store, Weather::Slow(delay), lasts),
            Harm::StoreAway(lasts) => {
                self.engine.excuse()?;
                during(&self.around.store, Weather::Away, lasts);
            }
        }
        Ok(self)
    }

    fn second(&mut self) -> Result<()> {
        let mut second = self.query.start(self.trigger)?;
        if second.ended_within(STOP)?.is_some_and(|status| status.code() == Some(1)) {
            return Ok(());
        }
        // If the first one had no time to take the checkpoint yet, it is the one that is refused.
        if self.engine.ended_within(STOP)?.is_none_or(|status| status.code() != Some(1)) {
            return Err("two processes run on one checkpoint".into());
        }
        self.engine = second;
        Ok(())
    }
}

fn during(proxy: &Proxy, weather: Weather, lasts: Duration) {
    proxy.set(weather);
    std::thread::sleep(lasts);
    proxy.set(Weather::Fair);
}

fn rows(records: Vec<(i32, String)>) -> Result<BTreeMap<i32, Vec<Row>>> {
    let mut rows: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    for (partition, value) in records {
        let parts: Vec<Option<i64>> = value.split('/').map(|part| part.parse().ok()).collect();
        match parts[..] {
            [Some(offset), Some(number), Some(process)] if offset == number => {
                rows.entry(partition).or_default().push(Row { offset, process: process as usize });
            }
            _ => return Err(format!("'{value}' in partition {partition} is not what was sent there").into()),
        }
    }
    Ok(rows)
}
