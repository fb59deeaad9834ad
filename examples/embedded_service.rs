//! A query inside an async service that does other work, with a graceful shutdown:
//! `cargo run --example embedded_service`; it ends by itself after 3 s, or at Ctrl-C. It needs nothing installed.
#![allow(clippy::print_stdout, reason = "examples print")]

use std::error::Error;
use std::time::Duration;

use epochflow::{EmbeddedBroker, StreamSession, StreamingQuery, Trigger};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// The service's other work; it shares neither thread nor runtime with the query.
async fn serve(brokers: String) -> Result<(), rdkafka::error::KafkaError> {
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let mut every = tokio::time::interval(Duration::from_millis(5));
    for number in 0_u64.. {
        every.tick().await;
        let value = format!("{{\"request\":{number},\"millis\":{}}}", number * 7 % 50);
        let record = FutureRecord::<str, str>::to("requests").payload(&value);
        producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
    }
    Ok(())
}

/// Prints what each epoch did, as a service would hand it to its metrics.
async fn watch(query: StreamingQuery) {
    let mut progress = query.progress();
    while let Ok(epoch) = progress.recv().await {
        let (rows_in, rows_out) = (epoch.num_input_rows, epoch.sink.num_output_rows);
        println!("epoch {}: {rows_in} requests, {rows_out} of them slow", epoch.batch_id);
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = EmbeddedBroker::start(&[("requests", 2), ("slow", 1)])?;
    let brokers = broker.bootstrap_servers().to_owned();
    let checkpoint = tempfile::tempdir()?;
    let session = StreamSession::new()?;
    let sql = format!(
        "CREATE EXTERNAL TABLE requests STORED AS KAFKA LOCATION 'kafka://{brokers}/requests'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
         CREATE EXTERNAL TABLE slow STORED AS KAFKA LOCATION 'kafka://{brokers}/slow';
         INSERT INTO slow SELECT value FROM requests WHERE json_get_int(CAST(value AS STRING), 'millis') >= 40;"
    );
    let query = session
        .pipeline(&sql)
        .await?
        .option("checkpointLocation", checkpoint.path().display())
        .trigger(Trigger::Continuous(Duration::from_millis(500)))
        .query_name("slow requests")
        .start()
        .await?;
    let watcher = tokio::spawn(watch(query.clone()));

    tokio::select! {
        failed = query.await_termination() => failed?,
        failed = serve(brokers) => failed?,
        () = tokio::time::sleep(Duration::from_secs(3)) => println!("the time is over"),
        _ = tokio::signal::ctrl_c() => println!("interrupted"),
    }
    // Ends the running epoch and commits it; the next start goes on after it.
    query.stop().await?;
    watcher.abort();
    println!("status: {}", query.status().message);
    Ok(())
}
