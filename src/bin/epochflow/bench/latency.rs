//! One latency run: a generator, a subject between two topics, a receiver, and the one who watches them: this process.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::clients::Topics;
use super::expected::Expected;
use super::live::Live;
use super::outcome::{EpochEnds, Memory, Output, Run, histogram, timeline};
use super::process::{Child, Line, Lines, Role};
use super::receive::{self, Sample};
use super::record::Digest;
use super::send::{self, Delay};
use super::subject::{Route, Subject};
use super::sys::{self, Usage};
use super::{Case, Result, Settings};

/// A record waits for no other one.
pub(super) const LINGER_MS: &str = "0";
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long after the last record was sent the receiver still waits for the missing ones.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `subject` once. The run's output is checked by the caller, who may want to see it all the same.
pub(super) fn run(
    settings: &Settings,
    case: Case,
    expected: &Expected,
    subject: &Subject,
    repeat: usize,
    live: &Live,
) -> Result<Run> {
    let Case { query, rate, .. } = case;
    let name = format!("bench-{}-{}-{}-{rate}-{repeat}", std::process::id(), query.id, subject.name());
    let (from, to) = match subject {
        Subject::Hop => (name.clone(), name),
        _ => (format!("{name}-in"), format!("{name}-out")),
    };
    let partitions = settings.partitions;
    let wanted = [(from.as_str(), partitions), (to.as_str(), partitions)];
    let _topics = Topics::create(&settings.brokers, if from == to { &wanted[..1] } else { &wanted })?;
    let folder = tempfile::tempdir()?;
    let route = Route {
        from: &from,
        partitions,
        to: &to,
        to_partitions: partitions,
        linger_ms: LINGER_MS,
        folder: folder.path(),
    };
    let must_come = match subject {
        Subject::Hop => expected.sent,
        Subject::Relay => expected.passing,
        Subject::Engine(_) | Subject::Command { .. } => expected.result,
    };

    let lines = Lines::new();
    let mut crew = Crew {
        subject: subject.start(settings, query, &route, expected, &lines)?,
        receiver: receive::start(settings, &route, must_come.count, &lines)?,
        sender: send::start(settings, case, &route, expected.probe, &lines)?,
        lines,
        engine: Vec::new(),
    };
    let sampling = settings.memory_every();
    crew.await_ready()?;
    let before = crew.usage()?;
    crew.sender.tell()?;
    let Watched { delay, received, duplicates, memory } = crew.watch(live, sampling)?;
    let usage = crew.usage()?.zip(before);
    let usage =
        usage.map(|(after, before)| Usage { cpu_seconds: after.cpu_seconds - before.cpu_seconds, ..after });
    let ends_ns = crew.finish()?;

    let samples = receive::samples(&route)?;
    let measured: Vec<Sample> =
        samples.into_iter().filter(|sample| sample.seq >= settings.warm_up_records(rate)).collect();
    Ok(Run {
        case,
        subject: subject.name().to_owned(),
        repeat,
        latency: histogram(measured.iter().map(Sample::latency_us))?,
        epoch_ends: (!ends_ns.is_empty()).then(|| EpochEnds::new(&measured, &ends_ns)).transpose()?,
        delay,
        output: Output { expected: must_come, received, duplicates, comparable: subject.is_own() },
        records_per_second: rate_of(&measured),
        usage,
        cpu_seconds_per_million: usage.map(|usage| usage.cpu_seconds * 1e6 / expected.sent.count as f64),
        timeline: timeline(&measured),
        memory,
    })
}

fn rate_of(samples: &[Sample]) -> f64 {
    let times = || samples.iter().map(|sample| sample.received_ns);
    match (times().min(), times().max()) {
        (Some(first), Some(last)) if last > first => samples.len() as f64 * 1e9 / (last - first) as f64,
        _ => 0.0,
    }
}

/// What was seen of a run from its start to its end.
struct Watched {
    /// How late the generator was.
    delay: Delay,
    received: Digest,
    /// Records that came twice.
    duplicates: u64,
    memory: Memory,
}

/// The processes of a run.
struct Crew {
    subject: Option<Child>,
    receiver: Child,
    sender: Child,
    lines: Lines,
    /// What the engine has reported.
    engine: Vec<Value>,
}

impl Crew {
    /// The next line of generator or receiver, after a look at whether all are well.
    fn next(&mut self) -> Result<Option<Line>> {
        match self.lines.next() {
            Some(Line { from: Role::Subject, value }) => self.engine.push(value),
            Some(line) => return Ok(Some(line)),
            None => self.subject.as_mut().map_or(Ok(()), Child::check)?,
        }
        Ok(None)
    }

    /// Waits until a probe has come through.
    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            self.receiver.check_not_failed()?;
            self.sender.check_not_failed()?;
            if self.next()?.is_some_and(|line| line.value["ready"] == true) {
                return Ok(());
            }
        }
        Err(format!("nothing came out within {} s", READY_WITHIN.as_secs()).into())
    }

    /// Watches the run to its end, and how much memory the subject has, at that distance.
    fn watch(&mut self, live: &Live, sampling: Duration) -> Result<Watched> {
        let (mut delay, mut output, mut give_up) = (None, None, None);
        let (start, mut memory) = (Instant::now(), Memory::default());
        loop {
            if let (Some(delay), Some((received, duplicates))) = (delay, output) {
                return Ok(Watched { delay, received, duplicates, memory });
            }
            if start.elapsed() >= sampling * memory.points.len() as u32
                && let Some(usage) = self.usage()?
            {
                memory.points.push((start.elapsed().as_secs_f64(), usage.rss_mib));
            }
            match self.next()? {
                Some(Line { from: Role::Sender, value }) => {
                    if let Some(found) = send::delay(&value) {
                        delay = Some(found);
                        give_up = Some(Instant::now() + GRACE);
                    }
                }
                Some(Line { value, .. }) => match receive::output(&value) {
                    Some(found) => output = Some(found),
                    None => live.received(&value),
                },
                None => {
                    self.sender.check_not_failed()?;
                    self.receiver.check_not_failed()?;
                }
            }
            if give_up.is_some_and(|at| Instant::now() > at) {
                give_up = None;
                self.receiver.tell()?;
            }
        }
    }

    fn usage(&self) -> Result<Option<Usage>> {
        self.subject.as_ref().map(Child::usage).transpose()
    }

    /// Ends all; when the engine's epochs ended, on the samples' clock.
    fn finish(mut self) -> Result<Vec<u64>> {
        self.sender.finish()?;
        self.receiver.finish()?;
        if let Some(subject) = self.subject {
            subject.stop()?;
        }
        while let Some(line) = self.lines.next() {
            self.engine.push(line.value);
        }
        Ok(epoch_ends(&self.engine))
    }
}

/// An epoch ends when the next one begins, which its progress tells in wall-clock milliseconds.
fn epoch_ends(progress: &[Value]) -> Vec<u64> {
    let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
    let monotonic = i128::from(sys::now_ns()) - wall_ns;
    let began = progress.iter().filter_map(|progress| {
        let time = chrono::DateTime::parse_from_rfc3339(progress["timestamp"].as_str()?).ok()?;
        u64::try_from(i128::from(time.timestamp_millis()) * 1_000_000 + monotonic).ok()
    });
    began.skip(1).collect()
}
