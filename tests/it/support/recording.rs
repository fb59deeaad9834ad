//! A sink that tells the test what reaches it, row by row, before and at each commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use epochflow::{CommitMessage, EpochId, Error, ErrorKind, Options, Result, Sink, SinkProvider, SinkWriter};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock};

/// What has happened in the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    Written(String),
    Committed(u64),
}

/// The test's end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recording {
    log: Arc<Mutex<Vec<Happened>>>,
    fail_on: Arc<Mutex<Option<String>>>,
    failures: Arc<Mutex<Failures>>,
    held: Arc<RwLock<()>>,
}

/// What the next calls end with.
#[derive(Debug, Default)]
struct Failures {
    open: VecDeque<Error>,
    commit: VecDeque<Error>,
}

impl Recording {
    /// Fails the query at this row.
    pub(crate) fn fail_on(&self, row: &str) {
        *self.fail_on.lock() = Some(row.to_owned());
    }

    /// Takes no row as long as the guard lives.
    pub(crate) async fn hold(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.held).write_owned().await
    }

    /// The next opening fails.
    pub(crate) fn fail_open(&self, error: Error) {
        self.failures.lock().open.push_back(error);
    }

    /// The next commit fails.
    pub(crate) fn fail_commit(&self, error: Error) {
        self.failures.lock().commit.push_back(error);
    }

    pub(crate) fn log(&self) -> Vec<Happened> {
        self.log.lock().clone()
    }

    pub(crate) fn written(&self) -> Vec<String> {
        let written = |happened: &Happened| match happened {
            Happened::Written(row) => Some(row.clone()),
            Happened::Committed(_) => None,
        };
        self.log.lock().iter().filter_map(written).collect()
    }

    pub(crate) fn has(&self, row: &str) -> bool {
        self.log.lock().iter().any(|happened| *happened == Happened::Written(row.to_owned()))
    }

    pub(crate) fn commits(&self) -> Vec<u64> {
        let committed = |happened: &Happened| match happened {
            Happened::Committed(epoch) => Some(*epoch),
            Happened::Written(_) => None,
        };
        self.log.lock().iter().filter_map(committed).collect()
    }
}

impl SinkProvider for Recording {
    fn format(&self) -> &'static str {
        "recording"
    }

    fn sink(&self, _options: &Options, _schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(self.clone()))
    }

    fn allows_temporary_checkpoint(&self) -> bool {
        true
    }
}

#[async_trait]
impl Sink for Recording {
    fn description(&self) -> String {
        "Recording".into()
    }

    fn metrics(&self) -> BTreeMap<String, String> {
        [("rowsRecorded".to_owned(), self.written().len().to_string())].into()
    }

    async fn open(&self) -> Result<()> {
        self.failures.lock().open.pop_front().map_or(Ok(()), Err)
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(self.clone()))
    }

    async fn commit(&self, epoch: EpochId, _messages: Vec<CommitMessage>) -> Result<()> {
        if let Some(error) = self.failures.lock().commit.pop_front() {
            return Err(error);
        }
        self.log.lock().push(Happened::Committed(epoch.0));
        Ok(())
    }
}

#[async_trait]
impl SinkWriter for Recording {
    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let _free = self.held.read().await;
        let text = cast(batch.column(0), &DataType::Utf8).unwrap();
        for row in text.as_string::<i32>() {
            let row = row.unwrap_or("NULL");
            if self.fail_on.lock().as_deref() == Some(row) {
                return Err(Error::new(ErrorKind::Data, format!("the sink refuses the row '{row}'")));
            }
            self.log.lock().push(Happened::Written(row.to_owned()));
        }
        Ok(())
    }

    fn seal(&mut self, _epoch: EpochId) -> BoxFuture<'static, Result<CommitMessage>> {
        Box::pin(std::future::ready(Ok(CommitMessage::empty())))
    }
}
