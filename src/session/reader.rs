//! `session.read_stream()`: describes a stream to read.

use std::fmt;

use datafusion::prelude::DataFrame;

use super::StreamSession;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::plan::table::StreamTable;

/// Describes a stream to read, as Spark's `DataStreamReader` does.
#[derive(Clone, Debug)]
#[must_use = "nothing is read before load()"]
pub struct DataStreamReader {
    session: StreamSession,
    format: Option<String>,
    options: Options,
}

impl DataStreamReader {
    pub(super) fn new(session: StreamSession) -> Self {
        Self { session, format: None, options: Options::new() }
    }

    /// The source's format, such as `kafka`.
    pub fn format(mut self, format: impl Into<String>) -> Self {
        self.format = Some(format.into());
        self
    }

    /// Sets an option of the source; names are case-insensitive.
    pub fn option(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.options.set(name, value.to_string());
        self
    }

    /// The stream as a data frame. Does no I/O.
    ///
    /// # Errors
    /// The format is unknown, or an option is wrong.
    pub fn load(self) -> Result<DataFrame> {
        let format = self
            .format
            .ok_or_else(|| Error::usage("the stream has no format; say read_stream().format(\"kafka\")"))?;
        let source = self.session.core.source(&format)?.source(&self.options)?;
        self.session.data_frame(StreamTable::new(format, self.options, Ok(source)))
    }
}
