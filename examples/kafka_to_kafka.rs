//! From one topic to another under the continuous trigger: `cargo run --example kafka_to_kafka`.
//!
//! An embedded broker stands in for Kafka, so there is nothing to install.
#![allow(clippy::print_stdout, reason = "examples print")]

use std::error::Error;
use std::time::Duration;

use datafusion::arrow::datatypes::DataType;
use datafusion::prelude::{cast, col, lit};
use epochflow::{EmbeddedBroker, StreamDataFrame, StreamSession, StreamingQuery, Trigger};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};

/// Copies the records whose value mentions an error. The handle keeps the query's threads alive.
async fn start(brokers: &str, checkpoint: &str) -> epochflow::Result<StreamingQuery> {
    let session = StreamSession::new()?;
    let events = session
        .read_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", "events")
        .option("startingOffsets", "earliest")
        .option("kafka.fetch.wait.max.ms", 1) // only the embedded broker needs this
        .load()?;
    let is_alert = cast(col("value"), DataType::Utf8).like(lit("%error%"));
    let alerts = events.filter(is_alert)?.select_columns(&["key", "value"])?;
    let query = alerts
        .write_stream()
        .format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("topic", "alerts")
        .option("checkpointLocation", checkpoint)
        .trigger(Trigger::Continuous(Duration::from_secs(1)));
    query.start().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = EmbeddedBroker::start(&[("events", 2), ("alerts", 1)])?;
    let brokers = broker.bootstrap_servers();
    let checkpoint = tempfile::tempdir()?;
    let query = start(brokers, &checkpoint.path().display().to_string()).await?;

    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    for number in 0..20 {
        let (key, level) = (number.to_string(), if number % 5 == 0 { "error" } else { "info" });
        let value = format!("{level}: event {number}");
        let record = FutureRecord::to("events").key(&key).payload(&value);
        producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
    }

    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "reader").set("fetch.wait.max.ms", "1");
    let consumer: StreamConsumer = config.create()?;
    let mut from_the_start = TopicPartitionList::new();
    from_the_start.add_partition_offset("alerts", 0, Offset::Beginning)?;
    consumer.assign(&from_the_start)?;
    for _ in 0..4 {
        let message = tokio::time::timeout(Duration::from_secs(10), consumer.recv()).await??;
        println!("alert: {}", String::from_utf8_lossy(message.payload().unwrap_or_default()));
    }

    query.stop().await?;
    let progress = query.last_progress().ok_or("no epoch was committed")?;
    println!("stopped after epoch {}; its progress: {}", progress.batch_id, progress.json());
    Ok(())
}
