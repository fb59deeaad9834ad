//! One drain: how fast a subject empties a topic that is full when it starts.

use std::time::{Duration, Instant};

use super::clients::{Sender, Topics};
use super::expected::Expected;
use super::live::Live;
use super::outcome::Output;
use super::process::{Line, Lines, Role};
use super::query::Query;
use super::subject::{Route, Subject};
use super::sys::Usage;
use super::{Result, Settings, receive, record, stream};

/// Here throughput counts: records may wait for each other, in all subjects alike.
const LINGER_MS: &str = "5";
/// Without any output for so long, a drain has failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// The same for the first output: a virtual machine with a cluster in it may take its time.
const STARTS_WITHIN: Duration = Duration::from_secs(180);

/// What one drain gave.
#[derive(Debug)]
pub(super) struct Drain {
    pub(super) query: &'static Query,
    pub(super) subject: String,
    pub(super) repeat: usize,
    /// Records of the full topic, whether they pass or not.
    pub(super) records_per_second: f64,
    pub(super) output: Output,
    pub(super) usage: Usage,
    pub(super) cpu_seconds_per_million: f64,
}

/// The full topic of a query, which every run reads from its beginning.
pub(super) struct Reservoir {
    query: &'static Query,
    topic: String,
    records: u64,
    _topics: Topics,
}

const PARTITIONS: i32 = 4;

impl Reservoir {
    pub(super) fn fill(
        settings: &Settings,
        query: &'static Query,
        records: u64,
        live: &Live,
    ) -> Result<Self> {
        let topic = format!("bench-{}-{}-drain-in", std::process::id(), query.id);
        let topics = Topics::create(&settings.brokers, &[(&topic, PARTITIONS)])?;
        let sender = Sender::new(&settings.brokers, LINGER_MS)?;
        let start = Instant::now();
        for (seq, fields) in (0..records).zip(stream::rows(settings.stream(query), settings.plain_bytes())) {
            let payload = record::encode(seq as i64, 0, &fields);
            sender.send(&topic, (seq % PARTITIONS as u64) as i32, None, payload.as_bytes())?;
        }
        sender.finish()?;
        let rate = records as f64 / 1e3 / start.elapsed().as_secs_f64();
        live.doing(format!("{}: filled a topic at {rate:.0} thousand records/s", query.id));
        Ok(Self { query, topic, records, _topics: topics })
    }

    pub(super) fn drain(
        &self,
        settings: &Settings,
        expected: &Expected,
        subject: &Subject,
        repeat: usize,
        live: &Live,
    ) -> Result<Drain> {
        let name = format!("bench-{}-{}-drain-{}", std::process::id(), self.query.id, subject.name());
        let to = format!("{name}-{repeat}-out");
        let _topics = Topics::create(&settings.brokers, &[(&to, 1)])?;
        let folder = tempfile::tempdir()?;
        let route = Route {
            from: &self.topic,
            partitions: PARTITIONS,
            to: &to,
            to_partitions: 1,
            linger_ms: LINGER_MS,
            folder: folder.path(),
        };
        let must_come = if *subject == Subject::Relay { expected.passing } else { expected.result };
        let lines = Lines::new();
        let mut receiver = receive::start(settings, &route, must_come.count, &lines)?;
        let mut child = subject
            .start(settings, self.query, &route, expected, &lines)?
            .ok_or_else(|| format!("{} has nothing to drain with", subject.name()))?;

        let (mut seen, mut last_change) = (0, Instant::now());
        let (received, duplicates) = loop {
            let Some(Line { from: Role::Receiver, value }) = lines.next() else {
                child.check()?;
                receiver.check_not_failed()?;
                continue;
            };
            if let Some(output) = receive::output(&value) {
                break output;
            }
            live.received(&value);
            let count = value["received"].as_u64().unwrap_or_default();
            if count > seen {
                (seen, last_change) = (count, Instant::now());
            } else if last_change.elapsed() > if seen == 0 { STARTS_WITHIN } else { STALLED_AFTER } {
                return Err(format!("{seen} of {} records came out, then none", must_come.count).into());
            }
        };
        let usage = child.usage()?;
        child.stop()?;
        receiver.finish()?;
        // Counted from the first output on: how long a child takes to start is another question.
        let times = receive::samples(&route)?;
        let (first, last) = times.first().zip(times.last()).ok_or("nothing came out")?;
        let seconds = (last.received_ns - first.received_ns) as f64 / 1e9;
        Ok(Drain {
            query: self.query,
            subject: subject.name().to_owned(),
            repeat,
            records_per_second: self.records as f64 / seconds,
            output: Output { expected: must_come, received, duplicates, comparable: subject.is_own() },
            usage,
            cpu_seconds_per_million: usage.cpu_seconds * 1e6 / self.records as f64,
        })
    }
}
