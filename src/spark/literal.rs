//! Arrow's types and values in Spark's SQL.

use arrow::datatypes::{DataType, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use datafusion::common::ScalarValue;

use super::{Refusal, refuse};

/// Types that mean the same in both engines. Arrow's layouts of text and binary are one type in Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    Float,
    Double,
    Text,
    Binary,
    Date,
    Timestamp,
    /// NULL without a type.
    Null,
}

impl Kind {
    pub(super) fn of(data_type: &DataType) -> Option<Kind> {
        Some(match data_type {
            DataType::Boolean => Kind::Boolean,
            DataType::Int8 => Kind::TinyInt,
            DataType::Int16 => Kind::SmallInt,
            DataType::Int32 => Kind::Int,
            DataType::Int64 => Kind::BigInt,
            DataType::Float32 => Kind::Float,
            DataType::Float64 => Kind::Double,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Kind::Binary,
            DataType::Date32 => Kind::Date,
            // Nanoseconds come from literals and casts; values with more than microseconds are refused.
            DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, None) => Kind::Timestamp,
            DataType::Null => Kind::Null,
            _ => return None,
        })
    }

    pub(super) fn is_integer(self) -> bool {
        matches!(self, Kind::TinyInt | Kind::SmallInt | Kind::Int | Kind::BigInt)
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Kind::Float | Kind::Double)
    }

    /// The type's name in Spark.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::TinyInt => "TINYINT",
            Kind::SmallInt => "SMALLINT",
            Kind::Int => "INT",
            Kind::BigInt => "BIGINT",
            Kind::Float => "FLOAT",
            Kind::Double => "DOUBLE",
            Kind::Text => "STRING",
            Kind::Binary => "BINARY",
            Kind::Date => "DATE",
            Kind::Timestamp => "TIMESTAMP",
            Kind::Null => "VOID",
        }
    }
}

/// A value as Spark's SQL writes it, with its exact type.
pub(super) fn literal(value: &ScalarValue) -> Result<String, Refusal> {
    let Some(kind) = Kind::of(&value.data_type()) else {
        return refuse(
            format!("a value of the type {}", value.data_type()),
            "use text, binary, boolean, a signed integer, double, date or timestamp",
        );
    };
    if value.is_null() {
        return Ok(if kind == Kind::Null { "NULL".into() } else { format!("CAST(NULL AS {})", kind.name()) });
    }
    let out_of_range = || {
        refuse(
            format!("the value {value}"),
            "write a finite number, and times of the years 1 to 9999 in microseconds",
        )
    };
    Ok(match value {
        ScalarValue::Boolean(Some(value)) => value.to_string(),
        ScalarValue::Int8(Some(value)) => format!("{value}Y"),
        ScalarValue::Int16(Some(value)) => format!("{value}S"),
        ScalarValue::Int32(Some(value)) => value.to_string(),
        ScalarValue::Int64(Some(value)) => format!("{value}L"),
        ScalarValue::Float32(Some(value)) if value.is_finite() => format!("{value:?}F"),
        ScalarValue::Float64(Some(value)) if value.is_finite() => format!("{value:?}D"),
        ScalarValue::Utf8(Some(text))
        | ScalarValue::LargeUtf8(Some(text))
        | ScalarValue::Utf8View(Some(text)) => quoted(text),
        ScalarValue::Binary(Some(bytes))
        | ScalarValue::LargeBinary(Some(bytes))
        | ScalarValue::BinaryView(Some(bytes)) => {
            format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        }
        ScalarValue::Date32(Some(days)) => match date(*days) {
            Some(date) => format!("DATE'{}'", date.format("%Y-%m-%d")),
            None => return out_of_range(),
        },
        ScalarValue::TimestampMicrosecond(Some(micros), None) => match timestamp(*micros) {
            Some(text) => text,
            None => return out_of_range(),
        },
        ScalarValue::TimestampNanosecond(Some(nanos), None) if nanos % 1000 == 0 => {
            match timestamp(nanos / 1000) {
                Some(text) => text,
                None => return out_of_range(),
            }
        }
        _ => return out_of_range(),
    })
}

fn date(days: i32) -> Option<NaiveDate> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()))?;
    (1..=9999).contains(&date.year()).then_some(date)
}

fn timestamp(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros)?;
    (1..=9999).contains(&time.year()).then(|| format!("TIMESTAMP'{}'", time.format("%Y-%m-%d %H:%M:%S%.6f")))
}

/// A text in quotes, with the escapes of Spark's SQL.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}
