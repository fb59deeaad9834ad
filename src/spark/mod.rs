//! Says a query in PySpark, for a hand-over of its checkpoint to Apache Spark.
//!
//! What is printed gives the same rows in Spark: for every row that both engines take, the same values. It is an
//! allow-list. What was not found to be the same (`tests/data/spark-4.1.2/expressions.json` holds the evidence) is
//! refused by name. `expression.rs` prints expressions and `functions.rs` calls, over a plan in which DataFusion's casts
//! are explicit; `rows.rs` prints the plan, `options.rs` the tables' options, `program.rs` puts it together, and `location.rs` says
//! where the checkpoint is.

mod expression;
mod functions;
mod literal;
mod location;
mod options;
mod program;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use crate::checkpoint::LogFacts;
use crate::error::{Error, Result};
use crate::options::{Options, parse_duration};
use crate::query::Trigger;

/// When the query makes progress in Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SparkTrigger {
    /// As under this trigger here.
    Like(Trigger),
    /// Spark's Real-Time Mode, with the length of its batches; nothing here has this name.
    RealTime(Duration),
}

impl FromStr for SparkTrigger {
    type Err = Error;

    /// `real-time:5s`, or what [`Trigger`] takes.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("real-time", batch)) => Ok(Self::RealTime(parse_duration(batch)?)),
            _ => text.parse().map(Self::Like),
        }
    }
}

impl SparkTrigger {
    /// Why Spark should not go on from a checkpoint as it stands, and what to do first.
    pub fn handover_warning(self, facts: &LogFacts) -> Option<String> {
        match self {
            Self::Like(Trigger::Continuous(_)) => facts.continuous_warning(),
            Self::Like(_) | Self::RealTime(_) => facts.micro_batch_warning(),
        }
    }

    /// Whether Spark plans its batches from the ends of the sources, as its limits on a batch need it.
    fn is_micro_batch(self) -> bool {
        !matches!(self, Self::Like(Trigger::Continuous(_)) | Self::RealTime(_))
    }
}

/// What came of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SparkExport {
    /// The text of a PySpark program.
    Program(String),
    /// There is no program: these things mean something else in Spark or are not there.
    Refused(Vec<SparkDifference>),
}

/// Something in a query that means something else in Spark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparkDifference {
    /// Where it is, such as `line 4, WHERE`.
    pub place: String,
    /// What it is and how it differs.
    pub what: String,
    /// What to write instead.
    pub way_out: String,
}

impl fmt::Display for SparkDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.what, self.way_out)
    }
}

/// Something that cannot be printed, before its place is known.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    what: String,
    way_out: String,
}

fn refuse<T>(what: impl Into<String>, way_out: impl Into<String>) -> std::result::Result<T, Refusal> {
    Err(Refusal { what: what.into(), way_out: way_out.into() })
}

/// A query that is known to be one that can run here.
pub(crate) struct SparkQuery<'a> {
    pub(crate) state: &'a SessionState,
    /// As written, before DataFusion's optimiser.
    pub(crate) plan: LogicalPlan,
    /// The sink's format and options.
    pub(crate) format: &'a str,
    pub(crate) options: &'a Options,
    /// As a query here opens it; without one the program takes it from its command line.
    pub(crate) checkpoint: Option<&'a str>,
    pub(crate) name: Option<&'a str>,
}

impl SparkQuery<'_> {
    /// The program, or why there is none.
    ///
    /// # Errors
    /// DataFusion cannot make the casts of the plan explicit.
    pub(crate) fn export(self, trigger: SparkTrigger) -> Result<SparkExport> {
        let plan = self.state.analyzer().execute_and_check(
            self.plan.clone(),
            self.state.config_options(),
            |_, _| {},
        )?;
        let mut differences = Vec::new();
        let rows = rows::Rows::of(&plan, trigger, &mut differences);
        let writer = program::writer(&self, plan.schema(), trigger, &mut differences);
        Ok(if differences.is_empty() {
            SparkExport::Program(program::program(&self, &rows, &writer, trigger))
        } else {
            SparkExport::Refused(differences)
        })
    }
}

/// A text as a literal of Python: JSON's escapes are Python's, too.
fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
