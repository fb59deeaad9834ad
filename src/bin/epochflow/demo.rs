//! `epochflow demo`: everything in one process, nothing to install.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use epochflow::{EmbeddedBroker, Error, ErrorKind, Result, StreamSession, Trigger};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::interrupts::Interrupts;
use super::progress::live_line;

/// Options of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Stop after so many seconds; 0 runs until Ctrl-C.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Records per second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    rate: u64,
}

const PARTITIONS: i32 = 4;
const TICK: Duration = Duration::from_millis(1);
/// Records of the first moments also wait for connections to be made; they do not count for the latency.
const WARM_UP: Duration = Duration::from_secs(1);

/// One order in ten is large; `sent` travels along so that the reader can tell the latency.
fn pipeline(brokers: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE orders STORED AS KAFKA LOCATION 'kafka://{brokers}/orders'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
         CREATE EXTERNAL TABLE large_orders STORED AS KAFKA LOCATION 'kafka://{brokers}/large_orders';
         CREATE VIEW parsed AS SELECT key, json_get_int(CAST(value AS STRING), 'sent') AS sent,
           json_get_int(CAST(value AS STRING), 'amount') AS amount FROM orders;
         INSERT INTO large_orders
           SELECT key, concat('{{\"sent\":', sent, ',\"amount\":', amount, '}}') AS value FROM parsed WHERE amount >= 900;"
    )
}

/// What the reader has seen.
struct Seen {
    micros: Histogram<u64>,
    records: u64,
}

pub(super) async fn demo(args: DemoArgs) -> Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let broker = EmbeddedBroker::start(&[("orders", PARTITIONS), ("large_orders", 1)])?;
    let brokers = broker.bootstrap_servers().to_owned();
    let folder = TemporaryFolder::new()?;
    let session = StreamSession::new()?;
    let sql = pipeline(&brokers);
    let query = session
        .pipeline(&sql)
        .await?
        .option("checkpointLocation", folder.0.display())
        .trigger(Trigger::Continuous(Duration::from_secs(1)))
        .query_name("demo")
        .start()
        .await?;
    say(&format!("embedded broker at {brokers}; the query, under the trigger continuous:1s:"));
    say(&format!(
        "{}\n",
        sql.lines().map(|line| format!("  {}", line.trim())).collect::<Vec<_>>().join("\n")
    ));

    let stopped = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let new_histogram = || {
        Histogram::new_with_bounds(1, 60_000_000, 3)
            .map_err(|e| Error::new(ErrorKind::Internal, e.to_string()))
    };
    let seen = Arc::new(Mutex::new(Seen { micros: new_histogram()?, records: 0 }));
    let generator = {
        let (brokers, stopped, sent) = (brokers.clone(), Arc::clone(&stopped), Arc::clone(&sent));
        std::thread::spawn(move || generate(&brokers, args.rate, &stopped, &sent))
    };
    let reader = {
        let (brokers, stopped, seen) = (brokers.clone(), Arc::clone(&stopped), Arc::clone(&seen));
        let from = now_micros() + u64::try_from(WARM_UP.as_micros()).unwrap_or_default();
        std::thread::spawn(move || read(&brokers, from, &stopped, &seen))
    };

    let started = Instant::now();
    let outcome = tokio::select! {
        failed = query.await_termination() => failed,
        () = show_live(&sent, &seen, started) => Ok(()),
        () = until_over(args.seconds, &mut interrupts) => Ok(()),
    };
    let took = started.elapsed();
    stopped.store(true, Ordering::Relaxed);
    generator.join().map_err(|_| Error::new(ErrorKind::Internal, "the generator panicked"))??;
    reader.join().map_err(|_| Error::new(ErrorKind::Internal, "the reader panicked"))??;
    query.stop().await?;
    summary(&sent, &seen, took, query.last_progress().map_or(0, |progress| progress.batch_id + 1));
    outcome
}

async fn until_over(seconds: u64, interrupts: &mut Interrupts) {
    let over = async {
        match seconds {
            0 => std::future::pending().await,
            seconds => tokio::time::sleep(Duration::from_secs(seconds)).await,
        }
    };
    tokio::select! {
        () = over => {}
        () = interrupts.next() => {}
    }
}

async fn show_live(sent: &AtomicU64, seen: &Mutex<Seen>, started: Instant) {
    let live = std::io::stderr().is_terminal().then(live_line);
    let mut every = tokio::time::interval(Duration::from_millis(if live.is_some() { 250 } else { 1000 }));
    every.tick().await;
    loop {
        every.tick().await;
        let rate = sent.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        let line = {
            let seen = seen.lock();
            format!(
                "{rate:.0} records/s in, {} matches out, latency {}",
                seen.records,
                latencies(&seen.micros)
            )
        };
        match &live {
            Some(bar) => bar.set_message(line),
            None => say(&line),
        }
    }
}

fn latencies(micros: &Histogram<u64>) -> String {
    if micros.is_empty() {
        return "not measured yet".to_owned();
    }
    let millis = |micros: u64| micros as f64 / 1000.0;
    format!(
        "p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        millis(micros.value_at_quantile(0.5)),
        millis(micros.value_at_quantile(0.99)),
        millis(micros.max())
    )
}

fn summary(sent: &AtomicU64, seen: &Mutex<Seen>, took: Duration, epochs: u64) {
    let (sent, seen) = (sent.load(Ordering::Relaxed), seen.lock());
    let rate = sent as f64 / took.as_secs_f64();
    say(&format!(
        "\n{sent} records in {:.1} s ({rate:.0}/s), {} matches out, {epochs} epochs committed",
        took.as_secs_f64(),
        seen.records
    ));
    say(&format!("latency from sent to received: {}", latencies(&seen.micros)));
    say("the embedded broker polls: a real Kafka is faster, see benches/README.md");
}

/// Results go to stdout; a closed pipe is no reason to fail.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn now_micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

fn kafka(doing: &str, error: rdkafka::error::KafkaError) -> Error {
    Error::new(ErrorKind::Internal, format!("the demo could not {doing}: {error}")).with_source(error)
}

/// Sends orders on a fixed schedule; what is due in a tick goes out together.
fn generate(brokers: &str, rate: u64, stopped: &AtomicBool, sent: &AtomicU64) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("linger.ms", "0");
    let producer: BaseProducer = config.create().map_err(|e| kafka("create a producer", e))?;
    let started = Instant::now();
    let mut number = 0;
    while !stopped.load(Ordering::Relaxed) {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
        // One tick's records go to one partition, as one batch: the embedded broker hands out a batch at a time.
        let partition = i32::try_from(number % u64::from(PARTITIONS.unsigned_abs())).unwrap_or_default();
        while number < due {
            let amount = number.wrapping_mul(2_654_435_761) % 1000;
            let value = format!("{{\"id\":{number},\"sent\":{},\"amount\":{amount}}}", now_micros());
            let key = number.to_string();
            let record = BaseRecord::to("orders").key(&key).payload(&value).partition(partition);
            match producer.send(record) {
                Ok(()) => number += 1,
                Err((e, _))
                    if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) =>
                {
                    break;
                }
                Err((e, _)) => return Err(kafka("send a record", e)),
            }
        }
        sent.store(number, Ordering::Relaxed);
        producer.poll(TICK);
    }
    producer.flush(Duration::from_secs(2)).map_err(|e| kafka("flush its records", e))
}

/// Counts the matches, and the latency of those sent at `from` (microseconds since 1970) or later.
fn read(brokers: &str, from: u64, stopped: &AtomicBool, seen: &Mutex<Seen>) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "demo").set("fetch.wait.max.ms", "1");
    let consumer: BaseConsumer = config.create().map_err(|e| kafka("create a consumer", e))?;
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset("large_orders", 0, Offset::Beginning)
        .and_then(|()| consumer.assign(&assignment))
        .map_err(|e| kafka("read the results", e))?;
    while !stopped.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
            continue;
        };
        let order: Option<serde_json::Value> =
            message.payload().and_then(|value| serde_json::from_slice(value).ok());
        if let Some(sent) = order.and_then(|order| order.get("sent")?.as_u64()) {
            let mut seen = seen.lock();
            seen.records += 1;
            if sent >= from {
                seen.micros.saturating_record(now_micros().saturating_sub(sent));
            }
        }
    }
    Ok(())
}

/// Removed when dropped.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("epochflow-demo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|e| {
            Error::new(ErrorKind::Environment, format!("cannot create the folder {}: {e}", folder.display()))
        })?;
        Ok(Self(folder))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
