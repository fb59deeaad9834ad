//! Writes one pipeline's rows to files, which become visible when the sink commits their epoch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use async_trait::async_trait;
use futures::future::BoxFuture;
use parquet::arrow::AsyncArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::format::LoggedFile;
use super::partitions::Partitioning;
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::{CommitMessage, SinkWriter};
use crate::store::{FileStore, Upload};

/// Each open file holds column buffers. Beyond this the largest is closed, and its folder gets another file later.
const MAX_OPEN_FILES: usize = 64;

/// How files are written.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) files: FileStore,
    pub(super) partitioning: Partitioning,
    pub(super) properties: WriterProperties,
    /// Of a file's name, such as `.snappy.parquet`.
    pub(super) extension: String,
    pub(super) max_file_bytes: usize,
    pub(super) max_file_age: Option<Duration>,
}

pub(super) struct ParquetWriter {
    layout: Arc<Layout>,
    pipeline: usize,
    /// Of the running epoch.
    files: EpochFiles,
}

impl ParquetWriter {
    pub(super) fn new(layout: Arc<Layout>, pipeline: usize) -> Self {
        Self { layout, pipeline, files: EpochFiles::new() }
    }

    async fn write_to(&mut self, folder: String, rows: &RecordBatch) -> Result<()> {
        if !self.files.open.contains_key(&folder) {
            if self.files.open.len() >= MAX_OPEN_FILES {
                self.files.close_largest();
            }
            let path = format!("{folder}{}", self.files.next_name(self.pipeline, &self.layout.extension));
            self.files.open.insert(folder.clone(), OpenFile::new(Arc::clone(&self.layout), path)?);
        }
        let Some(file) = self.files.open.get_mut(&folder) else {
            return Err(Error::internal("a file of the Parquet sink was closed early"));
        };
        file.write(rows).await?;
        if file.is_full() {
            self.files.close(&folder);
        }
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for ParquetWriter {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        for (folder, rows) in self.layout.partitioning.split(&fitting(batch)?)? {
            self.write_to(folder, &rows).await?;
        }
        Ok(())
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        let sealed = std::mem::replace(&mut self.files, EpochFiles::new());
        Box::pin(async move { sealed.closed().await.map(CommitMessage::with) })
    }
}

/// Spark reads no nanoseconds.
pub(super) fn fitting(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = super::file_schema(&batch.schema());
    let failed = |e| Error::new(ErrorKind::Data, "a column of the Parquet sink does not fit").with_source(e);
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| cast(column, field.data_type()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    RecordBatch::try_new(schema, columns).map_err(failed)
}

/// The files that one pipeline writes in one epoch.
struct EpochFiles {
    id: Uuid,
    named: u32,
    /// By folder.
    open: BTreeMap<String, OpenFile>,
    closing: Vec<JoinHandle<Result<LoggedFile>>>,
}

impl EpochFiles {
    fn new() -> Self {
        Self { id: Uuid::new_v4(), named: 0, open: BTreeMap::new(), closing: Vec::new() }
    }

    fn next_name(&mut self, pipeline: usize, extension: &str) -> String {
        let number = self.named;
        self.named += 1;
        format!("part-{pipeline:05}-{}.c{number:03}{extension}", self.id)
    }

    /// Closes beside the rows that go on.
    fn close(&mut self, folder: &str) {
        if let Some(file) = self.open.remove(folder) {
            self.closing.push(file.close());
        }
    }

    fn close_largest(&mut self) {
        let largest = self.open.iter().max_by_key(|(_, file)| file.size()).map(|(folder, _)| folder.clone());
        if let Some(folder) = largest {
            self.close(&folder);
        }
    }

    /// All of the epoch's files, whole and durable.
    async fn closed(self) -> Result<Vec<LoggedFile>> {
        let closing = self.closing.into_iter().chain(self.open.into_values().map(OpenFile::close));
        // Each is under way before the first is waited for.
        let closing: Vec<_> = closing.collect();
        let mut files = Vec::with_capacity(closing.len());
        for file in closing {
            files.push(file.await.map_err(|e| {
                Error::internal("closing a file of the Parquet sink ended early").with_source(e)
            })??);
        }
        Ok(files)
    }
}

struct OpenFile {
    layout: Arc<Layout>,
    path: String,
    writer: AsyncArrowWriter<Upload>,
    opened: Instant,
}

impl OpenFile {
    fn new(layout: Arc<Layout>, path: String) -> Result<Self> {
        let schema = Arc::clone(layout.partitioning.data_schema());
        let upload = layout.files.upload(&path)?;
        let writer = AsyncArrowWriter::try_new(upload, schema, Some(layout.properties.clone()))
            .map_err(|e| failed(&layout, &path, e))?;
        Ok(Self { layout, path, writer, opened: Instant::now() })
    }

    async fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.writer.write(rows).await.map_err(|e| failed(&self.layout, &self.path, e))
    }

    /// As far as it can be known before the last rows are compressed.
    fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    fn is_full(&self) -> bool {
        let is_old = self.layout.max_file_age.is_some_and(|age| self.opened.elapsed() >= age);
        is_old || self.size() >= self.layout.max_file_bytes
    }

    /// Writes the rest on a thread of its own, since compressing takes time that no record and no epoch should wait for.
    fn close(self) -> JoinHandle<Result<LoggedFile>> {
        tokio::task::spawn_blocking(move || tokio::runtime::Handle::current().block_on(self.finish()))
    }

    async fn finish(mut self) -> Result<LoggedFile> {
        self.writer.finish().await.map_err(|e| failed(&self.layout, &self.path, e))?;
        let files = &self.layout.files;
        files.make_durable(&self.path).await?;
        let now = chrono::Utc::now().timestamp_millis();
        Ok(LoggedFile::added(files.url(&self.path), self.writer.bytes_written() as u64, now))
    }
}

fn failed(layout: &Layout, path: &str, error: ParquetError) -> Error {
    let kind = match &error {
        // A remote store is behind a network; on a disk something must be mended.
        ParquetError::External(_) if layout.files.is_remote() => ErrorKind::Transient,
        ParquetError::External(_) => ErrorKind::Environment,
        _ => ErrorKind::Data,
    };
    Error::new(kind, format!("cannot write {}: {error}", layout.files.describe(path))).with_source(error)
}
