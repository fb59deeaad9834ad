//! `now()` and its kin that follow the clock.
//!
//! DataFusion replaces them by a constant when it plans; in a query that runs for months they would stand still.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::Utc;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The functions that replace DataFusion's of the same names.
pub(super) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [Clock::Timestamp, Clock::Date, Clock::Time].into_iter().map(|clock| {
        // Volatile keeps them from being folded into a constant; a batch is evaluated at one instant.
        let signature = Signature::nullary(Volatility::Volatile);
        let aliases = clock.aliases().iter().map(|alias| (*alias).to_owned()).collect();
        Arc::new(ScalarUDF::new_from_impl(ClockFunction { clock, signature, aliases }))
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Clock {
    Timestamp,
    Date,
    Time,
}

impl Clock {
    fn name(self) -> &'static str {
        match self {
            Clock::Timestamp => "now",
            Clock::Date => "current_date",
            Clock::Time => "current_time",
        }
    }

    fn aliases(self) -> &'static [&'static str] {
        match self {
            Clock::Timestamp => &["current_timestamp"],
            Clock::Date => &["today"],
            Clock::Time => &[],
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Clock::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Clock::Date => DataType::Date32,
            Clock::Time => DataType::Time64(TimeUnit::Nanosecond),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ClockFunction {
    clock: Clock,
    signature: Signature,
    aliases: Vec<String>,
}

impl ScalarUDFImpl for ClockFunction {
    fn name(&self) -> &str {
        self.clock.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.clock.data_type())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        const NANOS_PER_DAY: i64 = 86_400_000_000_000;
        let nanos = Utc::now().timestamp_nanos_opt().unwrap_or(i64::MAX);
        let value = match self.clock {
            Clock::Timestamp => ScalarValue::TimestampNanosecond(Some(nanos), None),
            Clock::Date => ScalarValue::Date32(i32::try_from(nanos.div_euclid(NANOS_PER_DAY)).ok()),
            Clock::Time => ScalarValue::Time64Nanosecond(Some(nanos.rem_euclid(NANOS_PER_DAY))),
        };
        Ok(ColumnarValue::Scalar(value))
    }
}
