//! How a running query shows its progress.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use epochflow::StreamingQueryProgress;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::ProgressMode;

/// Shows progress in one of the ways of `--progress`.
pub(super) struct ProgressPrinter {
    mode: ProgressMode,
    live: Option<ProgressBar>,
    rows_in: u64,
    rows_out: u64,
}

impl ProgressPrinter {
    pub(super) fn new(mode: ProgressMode) -> Self {
        let on_terminal = mode == ProgressMode::Plain && std::io::stderr().is_terminal();
        Self { mode, live: on_terminal.then(live_line), rows_in: 0, rows_out: 0 }
    }

    /// Shows each epoch until the query ends.
    pub(super) async fn print(mut self, mut progress: Receiver<Arc<StreamingQueryProgress>>) {
        loop {
            match progress.recv().await {
                Ok(progress) => self.show(&progress),
                // A slow terminal skips epochs; the sums below are then too low, the query goes on.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn show(&mut self, progress: &StreamingQueryProgress) {
        self.rows_in += progress.num_input_rows;
        self.rows_out += progress.sink.num_output_rows;
        let line = match (self.mode, &self.live) {
            (ProgressMode::None, _) => return,
            (ProgressMode::Json, _) => {
                // A closed pipe ends the output, not the query.
                let _ = writeln!(std::io::stdout().lock(), "{}", progress.json());
                return;
            }
            (ProgressMode::Plain, _) => format!(
                "epoch {}: {} rows in ({:.0}/s), {} out, {} ms; {} in and {} out since the start",
                progress.batch_id,
                progress.num_input_rows,
                progress.input_rows_per_second,
                progress.sink.num_output_rows,
                progress.batch_duration,
                self.rows_in,
                self.rows_out,
            ),
        };
        match &self.live {
            Some(bar) => bar.set_message(line),
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{line}");
            }
        }
    }
}

/// One line that is drawn over and over.
pub(super) fn live_line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
