//! The task of one pipeline: reads, transforms and writes without pause, and ends epochs when told to.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::bad_records::{BadRecord, BadRecordHandler};
use super::evaluation::{Evaluation, Step};
use crate::epoch::{EpochId, Offset, SourceRange};
use crate::error::{Error, Result};
use crate::plan::pipeline::Pipeline;
use crate::sink::{CommitMessage, SinkWriter};
use crate::telemetry::{EpochAcks, PipelineClock, TaskLatencies};

/// What the driver tells a pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Command {
    /// End the epoch at this offset, or (`None`) wherever the pipeline is; after the last one stay there.
    Finish {
        epoch: EpochId,
        end: Option<Offset>,
        last: bool,
    },
    /// Read nothing until told to resume. Epochs can still be ended.
    Pause,
    Resume,
}

/// A pipeline has reached the end of an epoch.
pub(super) struct Sealed {
    pub(super) slot: usize,
    pub(super) epoch: EpochId,
    pub(super) end: Offset,
    pub(super) rows_in: u64,
    pub(super) rows_out: u64,
    pub(super) bad_rows: u64,
    /// Batches that the sink was given.
    pub(super) batches: u64,
    pub(super) latencies: TaskLatencies,
    /// Complete once `taken` has resolved.
    pub(super) acks: Arc<EpochAcks>,
    /// Resolves when the sink has taken all rows of the epoch.
    pub(super) taken: BoxFuture<'static, Result<CommitMessage>>,
}

pub(super) struct PipelineTask {
    slot: usize,
    pipeline: Pipeline,
    evaluation: Evaluation,
    writer: Box<dyn SinkWriter>,
    /// Where the rows come from that the pipeline has given last.
    records: SourceRange,
    bad_records: BadRecordHandler,
    commands: mpsc::Receiver<Command>,
    sealed: mpsc::Sender<Sealed>,
    /// Whether records may be read that belong to no planned epoch (continuous).
    is_open: bool,
    is_paused: bool,
    finishing: Option<EpochId>,
    rows_in_before: u64,
    rows_out: u64,
    bad_rows: u64,
    batches: u64,
    clock: PipelineClock,
}

impl PipelineTask {
    pub(super) fn new(
        slot: usize,
        pipeline: Pipeline,
        writer: Box<dyn SinkWriter>,
        bad_records: BadRecordHandler,
        (commands, sealed): (mpsc::Receiver<Command>, mpsc::Sender<Sealed>),
        is_open: bool,
        clock: PipelineClock,
    ) -> Self {
        let (rows_in_before, rows_out, bad_rows, batches) = (0, 0, 0, 0);
        let (is_paused, finishing) = (false, None);
        let at = pipeline.flow.position();
        let records = SourceRange { partition: pipeline.partition.clone(), from: at, to: at };
        Self {
            slot,
            pipeline,
            evaluation: Evaluation::new(!bad_records.ends_the_query()),
            writer,
            records,
            bad_records,
            commands,
            sealed,
            is_open,
            is_paused,
            finishing,
            rows_in_before,
            rows_out,
            bad_rows,
            batches,
            clock,
        }
    }

    /// Runs until the driver drops its end of the commands.
    pub(super) async fn run(mut self) -> Result<()> {
        self.set_idle_end();
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv(), if self.finishing.is_none() => match command {
                    Some(command) => self.on_command(command),
                    None => return Ok(()),
                },
                step = std::future::poll_fn(|cx| {
                    let finishing = self.finishing.is_some();
                    self.evaluation.poll_step(&mut self.pipeline, self.writer.as_mut(), finishing, cx)
                }) => match step {
                    Ok(Step::Batch(batch)) => self.write(&batch).await?,
                    Ok(Step::Bad { record, error }) => {
                        let bad = BadRecord { record, error, is_first: self.bad_rows == 0 };
                        let Pipeline { partition, records, .. } = &self.pipeline;
                        self.bad_records.handle(bad, partition, records, self.writer.as_mut()).await?;
                        self.bad_rows += 1;
                    }
                    Ok(Step::Nothing) => {}
                    Ok(Step::Drained) => self.seal().await?,
                    Err(error) => {
                        let to = self.pipeline.flow.position();
                        return Err(error.at(&SourceRange { from: self.records.to, to, ..self.records.clone() }));
                    }
                },
            }
            // A pipeline that always has something to read must let others on its thread run.
            tokio::task::coop::consume_budget().await;
        }
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let position = self.pipeline.flow.position();
        // An operator may make several batches of one.
        if position > self.records.to {
            self.records.from = std::mem::replace(&mut self.records.to, position);
        }
        let rows = batch.num_rows() as u64;
        if rows == 0 {
            return Ok(());
        }
        self.rows_out += rows;
        self.batches += 1;
        // Operators pass on what they have before they ask for more, so this came of the batch handed over last.
        let hand_over = self.pipeline.flow.hand_over();
        self.writer.next_rows_are_of(&self.records);
        let written = self.writer.write_timed(batch, self.clock.acks(hand_over)).await;
        written.map_err(|error| error.at(&self.records))?;
        self.clock.written(hand_over, rows);
        Ok(())
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Finish { epoch, end, last } => {
                self.is_open &= !last;
                self.finishing = Some(epoch);
                let flow = &self.pipeline.flow;
                flow.set_end(end.unwrap_or_else(|| flow.position()));
            }
            Command::Pause => {
                self.is_paused = true;
                self.set_idle_end();
            }
            Command::Resume => {
                self.is_paused = false;
                self.set_idle_end();
            }
        }
    }

    /// Ends the epoch. Nothing here waits for acknowledgements: the next epoch's records go on at once.
    async fn seal(&mut self) -> Result<()> {
        let Some(epoch) = self.finishing.take() else {
            return Ok(());
        };
        let rows_in = self.pipeline.flow.rows();
        let (latencies, acks) = self.clock.seal();
        let sealed = Sealed {
            slot: self.slot,
            epoch,
            end: self.pipeline.flow.position(),
            rows_in: rows_in - self.rows_in_before,
            rows_out: std::mem::take(&mut self.rows_out),
            bad_rows: std::mem::take(&mut self.bad_rows),
            batches: std::mem::take(&mut self.batches),
            latencies,
            acks,
            taken: self.writer.seal(epoch),
        };
        self.rows_in_before = rows_in;
        self.bad_records.begin(epoch.next());
        self.set_idle_end();
        self.sealed.send(sealed).await.map_err(|_| Error::internal("the query's driver is gone"))
    }

    /// How far to read while no epoch is being ended.
    fn set_idle_end(&self) {
        let flow = &self.pipeline.flow;
        flow.set_end(if self.is_open && !self.is_paused { Offset::MAX } else { flow.position() });
    }
}
