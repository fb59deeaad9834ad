//! One drain: how fast a subject empties a topic that is full when it starts.

use std::time::{Duration, Instant};

use crate::kafka::{self, POLL, Sender, Topics};
use crate::subject::{Route, Subject, Usage};
use crate::{Args, Result, record};

const RECORD_BYTES: usize = 200;
const PARTITIONS: i32 = 4;
/// Here throughput counts: records may wait for each other, in the relay and in the engine alike.
const LINGER_MS: &str = "5";
/// Without any output for so long, a drain has failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What one drain gave.
pub(crate) struct Drain {
    pub(crate) subject: Subject,
    pub(crate) repeat: usize,
    pub(crate) thousand_per_second: f64,
    pub(crate) usage: Option<Usage>,
}

/// The full topic, which every run reads from its beginning.
pub(crate) struct Reservoir {
    topic: String,
    records: u64,
    _topics: Topics,
}

impl Reservoir {
    pub(crate) fn fill(args: &Args, records: u64) -> Result<Self> {
        let topic = format!("bench-{}-drain-in", std::process::id());
        let topics = Topics::create(&args.brokers, &[(&topic, PARTITIONS)])?;
        let sender = Sender::new(&args.brokers, LINGER_MS)?;
        let start = Instant::now();
        for seq in 0..records {
            let payload = record::encode(seq as i64, 0, false, RECORD_BYTES);
            sender.send(&topic, (seq % PARTITIONS as u64) as i32, None, payload.as_bytes())?;
        }
        sender.finish()?;
        eprintln!(
            "filled the topic at {:.0} thousand records/s",
            thousand_per_second(records, start.elapsed())
        );
        Ok(Self { topic, records, _topics: topics })
    }

    pub(crate) fn drain(&self, args: &Args, subject: Subject, repeat: usize) -> Result<Drain> {
        let to = format!("bench-{}-drain-{}-{repeat}-out", std::process::id(), subject.name());
        let _topics = Topics::create(&args.brokers, &[(&to, 1)])?;
        let consumer = kafka::consumer(&args.brokers, &to, 1)?;
        let route = Route { from: &self.topic, partitions: PARTITIONS, to: &to, linger_ms: LINGER_MS };
        let mut child = subject.start(args, &route)?.ok_or("this subject has nothing to drain with")?;

        let (mut count, mut first) = (0, None);
        let mut last = Instant::now();
        while count < self.records {
            match consumer.poll(POLL) {
                Some(Ok(_)) => {
                    // Counted from the first output on: how long a child takes to start is another question.
                    last = Instant::now();
                    first.get_or_insert(last);
                    count += 1;
                }
                Some(Err(error)) => eprintln!("receiver: {error}"),
                None => child.check()?,
            }
            if last.elapsed() > STALLED_AFTER {
                return Err(format!("{} of {} records came out, then none", count, self.records).into());
            }
        }
        let took = first.map_or(Duration::ZERO, |first| last - first);
        let usage = Some(child.usage()?);
        child.stop()?;
        Ok(Drain { subject, repeat, thousand_per_second: thousand_per_second(count, took), usage })
    }
}

fn thousand_per_second(records: u64, took: Duration) -> f64 {
    records as f64 / 1_000.0 / took.as_secs_f64()
}
