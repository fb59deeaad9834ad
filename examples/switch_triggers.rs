//! One checkpoint, three runs: continuous, then available-now, then continuous again.
//! `cargo run --example switch_triggers`; it needs nothing installed.
#![allow(clippy::print_stdout, reason = "examples print")]

use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;

use epochflow::{EmbeddedBroker, Result as EpochflowResult, StreamSession, Trigger};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

const PER_RUN: usize = 100;

/// Runs the query under `trigger` until it has caught up, and stops it. Each run is a session of its own, as after
/// a restart of the process.
async fn run(brokers: &str, checkpoint: &str, trigger: Trigger) -> EpochflowResult<()> {
    let session = StreamSession::new()?;
    let sql = format!(
        "CREATE EXTERNAL TABLE numbers STORED AS KAFKA LOCATION 'kafka://{brokers}/numbers'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
         CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/copies';
         INSERT INTO copies SELECT key, value FROM numbers;"
    );
    let writer = session.pipeline(&sql).await?.option("checkpointLocation", checkpoint).trigger(trigger);
    let query = writer.start().await?;
    if trigger.is_bounded() {
        query.await_termination().await?;
    } else {
        query.process_all_available().await?;
        query.stop().await?;
    }
    let progress = query.recent_progress();
    let rows: u64 = progress.iter().map(|epoch| epoch.num_input_rows).sum();
    let epochs: Vec<_> = progress.iter().map(|epoch| epoch.batch_id).collect();
    println!("{trigger}: query {}, {rows} records in epochs {epochs:?}", query.id());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = EmbeddedBroker::start(&[("numbers", 2), ("copies", 1)])?;
    let brokers = broker.bootstrap_servers();
    let folder = tempfile::tempdir()?;
    let checkpoint = folder.path().display().to_string();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;

    let second = Trigger::Continuous(Duration::from_secs(1));
    for (turn, trigger) in [second, Trigger::AvailableNow, second].into_iter().enumerate() {
        for number in turn * PER_RUN..(turn + 1) * PER_RUN {
            let text = number.to_string();
            let record = FutureRecord::to("numbers").key(&text).payload(&text);
            producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
        }
        run(brokers, &checkpoint, trigger).await?;
    }

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader").set("fetch.wait.max.ms", "1");
    let consumer: StreamConsumer = config.create()?;
    let mut from_the_start = TopicPartitionList::new();
    from_the_start.add_partition_offset("copies", 0, Offset::Beginning)?;
    consumer.assign(&from_the_start)?;
    let (mut copies, mut distinct) = (0, BTreeSet::new());
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(1), consumer.recv()).await {
        distinct.insert(String::from_utf8_lossy(message?.payload().unwrap_or_default()).into_owned());
        copies += 1;
    }
    println!(
        "{} numbers went in; {copies} copies came out, {} of them distinct",
        3 * PER_RUN,
        distinct.len()
    );
    Ok(())
}
