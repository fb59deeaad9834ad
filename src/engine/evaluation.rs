//! Polls a pipeline, and finds the records that it cannot process.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use futures::Stream;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::pipeline::Pipeline;
use crate::plan::trial::Piece;
use crate::sink::SinkWriter;

/// What a pipeline has to say.
pub(super) enum Step {
    Batch(RecordBatch),
    /// A record that cannot be processed, alone, and why.
    Bad {
        record: Piece,
        error: Error,
    },
    /// All records before the end are through.
    Drained,
    /// Records went through and nothing came of them.
    Nothing,
}

/// What came of the records that the leaf has handed out last.
#[derive(Debug)]
pub(super) struct Evaluation {
    /// Whether rows wait until all of their batch is through, since what came of a batch that fails is made again.
    gathers: bool,
    gathered: VecDeque<RecordBatch>,
    /// Gathered rows whose batch went through.
    passed: VecDeque<RecordBatch>,
    failure: Option<Error>,
    /// An operator has failed or the sink refuses a row, and the query will end at the record at fault: rows no longer count.
    is_searching: bool,
}

impl Evaluation {
    /// `goes_on`: the query goes on after a record that cannot be processed.
    pub(super) fn new(goes_on: bool) -> Self {
        let (gathered, passed) = (VecDeque::new(), VecDeque::new());
        Self { gathers: goes_on, gathered, passed, failure: None, is_searching: false }
    }

    /// The next step of `pipeline`, whose rows `writer` is going to take. `is_finishing`: an epoch is being ended.
    pub(super) fn poll_step(
        &mut self,
        pipeline: &mut Pipeline,
        writer: &mut dyn SinkWriter,
        is_finishing: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step>> {
        if let Some(batch) = self.passed.pop_front() {
            return Poll::Ready(Ok(Step::Batch(batch)));
        }
        loop {
            match Pin::new(&mut pipeline.stream).poll_next(cx) {
                Poll::Ready(Some(Ok(batch))) => match writer.check(&batch) {
                    Err(error) => self.on_failure(error, pipeline)?,
                    Ok(()) if self.is_searching => {}
                    Ok(()) if self.gathers => self.gathered.push_back(batch),
                    Ok(()) => return Poll::Ready(Ok(Step::Batch(batch))),
                },
                Poll::Ready(Some(Err(error))) => self.on_failure(Error::from(error), pipeline)?,
                Poll::Ready(None) => {
                    let ended = format!("the stream of {} has ended", pipeline.partition);
                    return Poll::Ready(Err(Error::internal(ended)));
                }
                Poll::Pending if pipeline.flow.trial.is_through() => {
                    if let Some(step) = self.judge(pipeline) {
                        return Poll::Ready(Ok(step));
                    }
                }
                Poll::Pending if is_finishing && pipeline.flow.is_drained() => {
                    return Poll::Ready(Ok(Step::Drained));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// # Errors
    /// `error`, where no record can be at fault.
    fn on_failure(&mut self, error: Error, pipeline: &Pipeline) -> Result<()> {
        if !pipeline.flow.trial.is_under_way() || !may_be_a_records_fault(error.kind()) {
            return Err(error);
        }
        self.is_searching = !self.gathers;
        self.failure.get_or_insert(error);
        Ok(())
    }

    /// Operators are done with what the leaf has handed out.
    fn judge(&mut self, pipeline: &Pipeline) -> Option<Step> {
        let Some(error) = self.failure.take() else {
            pipeline.flow.trial.accept();
            std::mem::swap(&mut self.passed, &mut self.gathered);
            // A step even if there are no rows: whoever polls may give way to other pipelines.
            return Some(self.passed.pop_front().map_or(Step::Nothing, Step::Batch));
        };
        self.gathered.clear();
        pipeline.flow.trial.split().map(|record| Step::Bad { record, error })
    }
}

/// Not an outage, nor a bug of ours, which would cost every record.
fn may_be_a_records_fault(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Data | ErrorKind::Query)
}
