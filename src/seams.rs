//! Ways to what reads from outside, for `fuzz/` alone. No part of the API: it may change or go at any time.
//!
//! Everything else is reached through public names.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::error::{Error, Result};
use crate::options::Options;
use crate::sink::console::ConsoleSinkProvider;
use crate::sink::kafka::KafkaSinkProvider;
use crate::sink::noop::NoopSinkProvider;
use crate::sink::parquet::{self, ParquetSinkProvider};
use crate::sink::{Sink, SinkProvider};
use crate::source::kafka::KafkaSourceProvider;
use crate::source::rate::{RatePerBatchProvider, RateProvider};
use crate::source::{Source, SourceProvider};

/// A built-in source.
///
/// # Errors
/// There is none of this format, or the options are wrong.
pub fn source(format: &str, options: &Options) -> Result<Arc<dyn Source>> {
    let known: [&dyn SourceProvider; 3] = [&KafkaSourceProvider, &RateProvider, &RatePerBatchProvider];
    let provider = known.into_iter().find(|provider| provider.format() == format);
    provider.ok_or_else(|| Error::usage("no such source"))?.source(options)
}

/// A built-in sink.
///
/// # Errors
/// There is none of this format, or the options or columns are wrong.
pub fn sink(format: &str, options: &Options, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
    let known: [&dyn SinkProvider; 4] =
        [&KafkaSinkProvider, &ConsoleSinkProvider, &NoopSinkProvider, &ParquetSinkProvider];
    let provider = known.into_iter().find(|provider| provider.format() == format);
    provider.ok_or_else(|| Error::usage("no such sink"))?.sink(options, schema)
}

/// Options of a query, in a session that was set to nothing.
///
/// # Errors
/// A value that has no meaning.
pub fn query_options(options: &Options) -> Result<()> {
    crate::session::check_query_options(options)
}

/// An entry of the Parquet sink's log, read and written.
///
/// # Errors
/// It is no such entry.
pub fn rewritten_sink_log(text: &str) -> Result<String> {
    parquet::rewritten(text)
}

/// Which of the Parquet sink's log's files would be read.
///
/// # Errors
/// The log has gaps.
pub fn sink_log_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    parquet::names_to_read(names)
}
