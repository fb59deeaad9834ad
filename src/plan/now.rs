//! `now()` and its kin that follow the clock.
//!
//! DataFusion replaces them by a constant when it plans; in a query that runs for months they would stand still. The
//! session's functions read the wall clock. [`bind`] gives a query functions of its own, which a micro-batch can stop at
//! its own time.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use chrono::{DateTime, Offset, TimeZone, Utc};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use crate::error::Result;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const NANOS_PER_DAY: i64 = 86_400 * NANOS_PER_SECOND;

/// The functions that replace DataFusion's of the same names.
pub(crate) fn functions(config: &ConfigOptions) -> impl Iterator<Item = Arc<ScalarUDF>> {
    let time_zone = time_zone(config);
    [Reading::Timestamp, Reading::Date, Reading::Time]
        .into_iter()
        .map(move |reading| Arc::new(ClockFunction::new(reading, Arc::default(), time_zone.clone()).into()))
}

/// Makes the plan's clock functions read `clock`.
pub(super) fn bind(plan: LogicalPlan, clock: &Arc<QueryClock>) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expression| {
            expression.transform_up(|expression| match expression {
                Expr::ScalarFunction(ScalarFunction { func, args }) => {
                    let Some(function) = func.inner().downcast_ref::<ClockFunction>() else {
                        return Ok(Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args })));
                    };
                    let own =
                        ClockFunction::new(function.reading, Arc::clone(clock), function.time_zone.clone());
                    let func = Arc::new(own.into());
                    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args })))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(bound.data)
}

/// The time as a query sees it: the wall clock's, unless a micro-batch has stopped it.
#[derive(Debug)]
pub(crate) struct QueryClock {
    /// Nanoseconds since 1970, or [`RUNNING`].
    stopped_at: AtomicI64,
}

const RUNNING: i64 = i64::MIN;

impl Default for QueryClock {
    fn default() -> Self {
        Self { stopped_at: AtomicI64::new(RUNNING) }
    }
}

impl QueryClock {
    /// Stands at this time, in milliseconds since 1970, until told otherwise; `None` lets it run.
    pub(super) fn stop_at(&self, timestamp_ms: Option<i64>) {
        let nanos = timestamp_ms.and_then(|millis| millis.checked_mul(1_000_000)).unwrap_or(RUNNING);
        self.stopped_at.store(nanos, Ordering::Relaxed);
    }

    fn nanos(&self) -> i64 {
        match self.stopped_at.load(Ordering::Relaxed) {
            RUNNING => Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX),
            nanos => nanos,
        }
    }
}

/// What is read from the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reading {
    Timestamp,
    Date,
    Time,
}

impl Reading {
    fn name(self) -> &'static str {
        match self {
            Reading::Timestamp => "now",
            Reading::Date => "current_date",
            Reading::Time => "current_time",
        }
    }

    fn aliases(self) -> &'static [&'static str] {
        match self {
            Reading::Timestamp => &["current_timestamp"],
            Reading::Date => &["today"],
            Reading::Time => &[],
        }
    }
}

#[derive(Debug)]
struct ClockFunction {
    reading: Reading,
    clock: Arc<QueryClock>,
    /// The session's, as it was set when the query was planned.
    time_zone: Option<Arc<str>>,
    signature: Signature,
    aliases: Vec<String>,
}

impl ClockFunction {
    fn new(reading: Reading, clock: Arc<QueryClock>, time_zone: Option<Arc<str>>) -> Self {
        // Volatile keeps them from being folded into a constant; a batch is evaluated at one instant.
        let signature = Signature::nullary(Volatility::Volatile);
        let aliases = reading.aliases().iter().map(|alias| (*alias).to_owned()).collect();
        Self { reading, clock, time_zone, signature, aliases }
    }
}

impl PartialEq for ClockFunction {
    fn eq(&self, other: &Self) -> bool {
        self.reading == other.reading
            && Arc::ptr_eq(&self.clock, &other.clock)
            && self.time_zone == other.time_zone
    }
}

impl Eq for ClockFunction {}

impl Hash for ClockFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.reading.hash(state);
        self.time_zone.hash(state);
    }
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        self.reading.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.reading {
            Reading::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, self.time_zone.clone()),
            Reading::Date => DataType::Date32,
            Reading::Time => DataType::Time64(TimeUnit::Nanosecond),
        })
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        // As in DataFusion, only the type of `now()` says that it is never null.
        let is_nullable = self.reading != Reading::Timestamp;
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, is_nullable)))
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        Some(Self::new(self.reading, Arc::clone(&self.clock), time_zone(config)).into())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let nanos = self.clock.nanos();
        let value = match self.reading {
            Reading::Timestamp => ScalarValue::TimestampNanosecond(Some(nanos), self.time_zone.clone()),
            Reading::Date => {
                let days = local(nanos, self.time_zone.as_deref()).div_euclid(NANOS_PER_DAY);
                ScalarValue::Date32(i32::try_from(days).ok())
            }
            Reading::Time => {
                let nanos = local(nanos, self.time_zone.as_deref()).rem_euclid(NANOS_PER_DAY);
                ScalarValue::Time64Nanosecond(Some(nanos))
            }
        };
        Ok(ColumnarValue::Scalar(value))
    }
}

fn time_zone(config: &ConfigOptions) -> Option<Arc<str>> {
    config.execution.time_zone.as_deref().map(Arc::from)
}

/// What a clock on the wall of that time zone shows; UTC where there is none, or none of that name.
fn local(nanos: i64, time_zone: Option<&str>) -> i64 {
    let Some(zone) = time_zone.and_then(|zone| zone.parse::<Tz>().ok()) else {
        return nanos;
    };
    let utc = DateTime::from_timestamp_nanos(nanos).naive_utc();
    let ahead = i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc());
    nanos.saturating_add(ahead * NANOS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_clock_stands_and_a_running_one_runs() {
        let clock = QueryClock::default();
        assert!(clock.nanos() > 1_700_000_000 * NANOS_PER_SECOND);
        clock.stop_at(Some(1_500));
        assert_eq!(clock.nanos(), 1_500_000_000);
        clock.stop_at(None);
        assert!(clock.nanos() > 1_700_000_000 * NANOS_PER_SECOND);
    }

    #[test]
    fn dates_and_times_are_those_of_the_time_zone() {
        let midnight = 20_000 * NANOS_PER_DAY;
        assert_eq!(local(midnight, None), midnight);
        assert_eq!(local(midnight, Some("+02:00")), midnight + 7_200 * NANOS_PER_SECOND);
        assert_eq!(local(midnight, Some("-01:30")).div_euclid(NANOS_PER_DAY), 19_999);
    }
}
