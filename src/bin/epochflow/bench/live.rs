//! What the user sees while it runs: one line that is drawn over and over on a terminal, else a line for each run.

use std::io::IsTerminal;

use indicatif::ProgressBar;
use parking_lot::Mutex;
use serde_json::Value;

use crate::progress::live_line;

/// Shows on stderr what is being done.
#[derive(Debug)]
pub(super) struct Live {
    bar: Option<ProgressBar>,
    doing: Mutex<String>,
}

impl Live {
    pub(super) fn new() -> Self {
        Self { bar: std::io::stderr().is_terminal().then(live_line), doing: Mutex::default() }
    }

    /// What is done from now on.
    pub(super) fn doing(&self, what: String) {
        match &self.bar {
            Some(bar) => bar.set_message(what.clone()),
            None => eprintln!("{what}"),
        }
        *self.doing.lock() = what;
    }

    /// A receiver's report.
    pub(super) fn received(&self, report: &Value) {
        let (Some(bar), Some(received)) = (&self.bar, report["received"].as_u64()) else { return };
        let mut line = format!("{}: {received} records", self.doing.lock());
        if let (Some(p50), Some(p99)) = (report["p50Us"].as_f64(), report["p99Us"].as_f64()) {
            line += &format!(", now p50 {:.2} ms, p99 {:.2} ms", p50 / 1e3, p99 / 1e3);
        }
        bar.set_message(line);
    }

    /// Makes room for results.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
