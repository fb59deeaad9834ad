//! The Parquet sink: files in a folder of any object store, committed epoch by epoch in Spark's `_spark_metadata` log.
//!
//! An epoch's rows go to files of its own, and one entry of the log makes them visible: readers that go by the log (Spark,
//! and [`table`]) see each epoch as a whole, once, or not at all. Files of an epoch that a crash has kept from being committed
//! stay in the folder, and no such reader looks at them.

mod format;
mod log;
mod partitions;
pub(crate) mod table;
mod writer;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use self::format::LoggedFile;
use self::log::SinkLog;
use self::partitions::Partitioning;
use self::writer::{Layout, ParquetWriter};
use super::{CommitMessage, Delivery, Sink, SinkOwner, SinkProvider, SinkWriter};
use crate::epoch::EpochId;
use crate::error::{Error, Result};
use crate::options::{Options, invalid, parse_duration};
use crate::store::FileStore;

/// Options of the sink itself; all others are settings of the object store.
const OPTIONS: &[&str] = &["path", "compression", "partitionBy", "maxFileBytes", "maxFileAge", "delivery"];
const MAX_FILE_BYTES: u64 = 128 << 20;

/// Makes Parquet sinks.
#[derive(Debug)]
pub(crate) struct ParquetSinkProvider;

#[derive(Debug)]
struct ParquetSink {
    layout: Arc<Layout>,
    log: SinkLog,
}

impl SinkProvider for ParquetSinkProvider {
    fn format(&self) -> &'static str {
        "parquet"
    }

    fn sink(&self, options: &Options, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        let files = folder(options)?;
        let names = options.get("partitionBy").unwrap_or_default();
        let names: Vec<&str> = names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        let schema = file_schema(schema);
        check_names(&schema)?;
        let partitioning = Partitioning::new(&schema, &names)?;
        let (compression, codec) = compression(options)?;
        let properties = WriterProperties::builder().set_compression(compression).build();
        ArrowWriter::try_new(Vec::new(), Arc::clone(partitioning.data_schema()), Some(properties.clone()))
            .map_err(|e| {
                Error::query("the Parquet sink cannot write a column of the query; cast it").with_source(e)
            })?;
        let max_file_bytes = options.positive("maxFileBytes")?.unwrap_or(MAX_FILE_BYTES);
        let layout = Layout {
            files: files.clone(),
            partitioning,
            properties,
            extension: format!("{codec}.parquet"),
            max_file_bytes: usize::try_from(max_file_bytes).unwrap_or(usize::MAX),
            max_file_age: options.get("maxFileAge").map(parse_duration).transpose()?,
        };
        Ok(Arc::new(ParquetSink { layout: Arc::new(layout), log: SinkLog::new(files) }))
    }
}

#[async_trait]
impl Sink for ParquetSink {
    fn description(&self) -> String {
        format!("FileSink[{}]", self.layout.files.location())
    }

    async fn open(&self) -> Result<()> {
        self.log.refresh().await
    }

    fn writer(&self, pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(ParquetWriter::new(Arc::clone(&self.layout), pipeline)))
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let added = messages.into_iter().filter_map(CommitMessage::take::<Vec<LoggedFile>>).flatten();
        self.log.add(epoch, added.collect()).await
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    async fn take_over(&self, _owner: &SinkOwner) -> Result<Option<EpochId>> {
        self.log.refresh().await?;
        Ok(self.log.latest())
    }
}

/// The folder that the options name.
fn folder(options: &Options) -> Result<FileStore> {
    let path = options.get("path").ok_or_else(|| {
        Error::usage("the Parquet sink has no folder; set option 'path', or LOCATION, to a path or to the URL of an object store")
    })?;
    let of_the_store: Vec<(String, String)> = options
        .iter()
        .filter(|(name, _)| !OPTIONS.iter().any(|own| own.eq_ignore_ascii_case(name)))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    FileStore::open(path, &of_the_store).map_err(|error| {
        error.context(format!("the Parquet sink, whose own options are {}", OPTIONS.join(", ")))
    })
}

/// The columns as files hold them. Spark reads no nanoseconds.
fn file_schema(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(Field::new(field.name(), micros, field.is_nullable()))
        }
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn check_names(schema: &Schema) -> Result<()> {
    for (index, field) in schema.fields().iter().enumerate() {
        let is_double =
            schema.fields().iter().take(index).any(|other| other.name().eq_ignore_ascii_case(field.name()));
        if is_double {
            return Err(Error::query(format!(
                "the query gives two columns '{}' to the Parquet sink, and Spark does not tell capitals from small letters; \
                 rename one with AS",
                field.name()
            )));
        }
        if *field.data_type() == DataType::Null {
            return Err(Error::query(format!(
                "column '{}' of the Parquet sink has no type; write CAST(NULL AS …)",
                field.name()
            )));
        }
    }
    Ok(())
}

/// The codec, and the part of a file's name that tells it.
fn compression(options: &Options) -> Result<(Compression, &'static str)> {
    let name = options.get("compression").unwrap_or("snappy");
    match name.trim().to_ascii_lowercase().as_str() {
        "none" | "uncompressed" => Ok((Compression::UNCOMPRESSED, "")),
        "snappy" => Ok((Compression::SNAPPY, ".snappy")),
        "gzip" => Ok((Compression::GZIP(GzipLevel::default()), ".gz")),
        "lz4_raw" => Ok((Compression::LZ4_RAW, ".lz4raw")),
        "zstd" => Ok((Compression::ZSTD(ZstdLevel::default()), ".zstd")),
        _ => Err(invalid("compression", name, "none, snappy, gzip, lz4_raw or zstd")),
    }
}

/// An entry of the log, read and written.
pub(crate) fn rewritten(text: &str) -> Result<String> {
    format::encode(&format::present(format::decode(text)?))
}

/// Which of the log's files are to be read.
pub(crate) fn names_to_read<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let entries = format::to_read(names.filter_map(format::EntryName::parse).collect())?;
    Ok(entries.iter().map(ToString::to_string).collect())
}
