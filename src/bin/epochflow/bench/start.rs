//! How long a query takes from the start of its process to the first record out, and to stop when it is idle.

use std::time::{Duration, Instant};

use epochflow::Trigger;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;
use serde_json::{Value, json};

use super::clients::{self, POLL, Sender, Topics};
use super::expected::Expected;
use super::live::Live;
use super::process::{Child, Lines};
use super::query::Query;
use super::subject::{Route, Subject, Variant};
use super::{Result, Settings, latency, record, stats, stream};

/// What a checkpoint keeps.
const EPOCHS: u64 = 100;
/// While the checkpoint is made.
const INTERVAL: Duration = Duration::from_millis(20);
const WITHIN: Duration = Duration::from_secs(60);

/// Starts the engine `times` times on one checkpoint, each time with a record that waits for it.
pub(super) fn measure(
    settings: &Settings,
    query: &Query,
    expected: &Expected,
    times: u64,
    live: &Live,
) -> Result<Value> {
    let [from, to] =
        ["in", "out"].map(|end| format!("bench-{}-{}-start-{end}", std::process::id(), query.id));
    let _topics = Topics::create(&settings.brokers, &[(&from, 1), (&to, 1)])?;
    let folder = tempfile::tempdir()?;
    let route = Route {
        from: &from,
        partitions: 1,
        to: &to,
        to_partitions: 1,
        linger_ms: latency::LINGER_MS,
        folder: folder.path(),
    };
    let mut ends = Ends {
        sender: Sender::new(&settings.brokers, latency::LINGER_MS)?,
        receiver: clients::consumer(&settings.brokers, &to, 1, settings.isolation)?,
        topic: &from,
        fields: stream::rows(settings.stream(query), settings.plain_bytes())
            .nth(expected.probe as usize)
            .ok_or("the stream has ended")?,
        seq: 0,
    };
    let engine = |settings: &Settings, lines: &Lines| -> Result<Child> {
        let engine = Subject::Engine(Variant::AsGiven).start(settings, query, &route, expected, lines)?;
        engine.ok_or_else(|| "the engine has a process".into())
    };

    live.doing(format!("{}: makes a checkpoint of {EPOCHS} epochs", query.id));
    let often = Settings { trigger: Trigger::Continuous(INTERVAL), ..settings.clone() };
    let lines = Lines::new();
    let mut child = engine(&often, &lines)?;
    for _ in 0..EPOCHS {
        ends.send()?;
        ends.receive(&mut child)?;
        committed(&lines, &mut child)?;
    }
    child.stop()?;

    let (mut starts, mut stops) = (Vec::new(), Vec::new());
    for time in 1..=times {
        live.doing(format!("{}: start {time} of {times}", query.id));
        ends.send()?;
        let lines = Lines::new();
        let began = Instant::now();
        let mut child = engine(settings, &lines)?;
        let received = ends.receive(&mut child)?;
        starts.push((received - began).as_secs_f64());
        committed(&lines, &mut child)?;
        let told = Instant::now();
        child.stop()?;
        stops.push(told.elapsed().as_secs_f64());
    }
    live.clear();
    let worst = |seconds: &[f64]| seconds.iter().copied().fold(0.0, f64::max);
    let median = |seconds: &[f64]| stats::median(seconds.to_vec()).unwrap_or_default();
    println!(
        "{}, checkpoint of {EPOCHS} epochs, {times} times: first record out after {:.0} ms (at most {:.0}), stopped \
         when idle within {:.0} ms (at most {:.0})",
        query.id.to_uppercase(),
        1e3 * median(&starts),
        1e3 * worst(&starts),
        1e3 * median(&stops),
        1e3 * worst(&stops),
    );
    Ok(json!({
        "query": query.id, "subject": "start", "epochs": EPOCHS, "times": times,
        "startSeconds": { "median": median(&starts), "max": worst(&starts) },
        "stopSeconds": { "median": median(&stops), "max": worst(&stops) },
    }))
}

/// What this process sends and receives.
struct Ends<'a> {
    sender: Sender,
    receiver: BaseConsumer,
    topic: &'a str,
    /// Of a row that the query lets pass.
    fields: String,
    seq: i64,
}

impl Ends<'_> {
    /// Sends a record that is in the topic when this returns.
    fn send(&mut self) -> Result<()> {
        self.seq += 1;
        let record = record::encode(self.seq, 0, &self.fields);
        self.sender.send(self.topic, 0, None, record.as_bytes())?;
        self.sender.finish()
    }

    /// When the record that was sent last has come out of `child`.
    fn receive(&self, child: &mut Child) -> Result<Instant> {
        let deadline = Instant::now() + WITHIN;
        while Instant::now() < deadline {
            let Some(message) = self.receiver.poll(POLL) else {
                child.check()?;
                continue;
            };
            let now = Instant::now();
            if record::seq(message?.payload().unwrap_or_default()) == Some(self.seq) {
                return Ok(now);
            }
        }
        Err(format!("nothing came out within {} s", WITHIN.as_secs()).into())
    }
}

/// Waits until the epoch with the record is committed: the query is idle then.
fn committed(lines: &Lines, child: &mut Child) -> Result<()> {
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline {
        match lines.next() {
            Some(line) if line.value["numInputRows"].as_u64() > Some(0) => return Ok(()),
            Some(_) => {}
            None => child.check()?,
        }
    }
    Err(format!("no epoch was committed within {} s", WITHIN.as_secs()).into())
}
