//! A function written in Rust, used in SQL over a stream: `cargo run --example udf`; it needs nothing installed.
#![allow(clippy::print_stdout, reason = "examples print")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use epochflow::{EmbeddedBroker, StreamDataFrame, StreamSession, Trigger};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

/// `mask('4929123412341234')` is `************1234`. Called once a batch with whole columns.
fn mask(arguments: &[ColumnarValue]) -> DataFusionResult<ColumnarValue> {
    let columns = ColumnarValue::values_to_arrays(arguments)?;
    let masked: StringArray = columns[0]
        .as_string::<i32>()
        .iter()
        .map(|text| {
            text.map(|text| {
                let hidden = text.chars().count().saturating_sub(4);
                let shown = text.chars().skip(hidden);
                std::iter::repeat_n('*', hidden).chain(shown).collect::<String>()
            })
        })
        .collect();
    Ok(ColumnarValue::Array(Arc::new(masked) as ArrayRef))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = EmbeddedBroker::start(&[("cards", 1)])?;
    let brokers = broker.bootstrap_servers();
    let producer: FutureProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    for card in ["4929123412341234", "5500000000000004", "42"] {
        let record = FutureRecord::<str, str>::to("cards").payload(card);
        producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
    }

    let session = StreamSession::new()?;
    let text = DataType::Utf8;
    session.context().register_udf(create_udf(
        "mask",
        vec![text.clone()],
        text,
        Volatility::Immutable,
        Arc::new(mask),
    ));

    let sql = format!(
        "CREATE EXTERNAL TABLE cards STORED AS KAFKA LOCATION 'kafka://{brokers}/cards'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1')"
    );
    session.sql(&sql).await?;
    let masked = session.sql("SELECT \"offset\", mask(CAST(value AS STRING)) AS card FROM cards").await?;
    let query = masked
        .write_stream()
        .format("memory")
        .query_name("masked")
        .trigger(Trigger::AvailableNow)
        .start()
        .await?;
    query.await_termination().await?;

    // The memory sink's table has the query's name.
    let rows = session.sql("SELECT card FROM masked ORDER BY \"offset\"").await?.collect().await?;
    println!("{}", pretty_format_batches(&rows)?);
    Ok(())
}
