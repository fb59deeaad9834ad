//! How progress and events look in Spark's JSON.

use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_not_a_rate(rate: &f64) -> bool {
    !rate.is_finite()
}

/// What a rate that was left out reads as.
pub(super) fn not_a_rate() -> f64 {
    f64::NAN
}

/// A number without an exponent, with one digit behind the point at least.
fn plain(number: f64) -> String {
    let mut text = String::new();
    // Rust's `Display` of floats knows no exponents; writing to text cannot fail.
    let _ = write!(text, "{number}");
    if !text.contains('.') {
        text.push_str(".0");
    }
    text
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn rate<S: Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    RawValue::from_string(plain(*rate)).map_err(serde::ser::Error::custom)?.serialize(serializer)
}

/// An offset that is JSON is shown as JSON, not as text with JSON inside.
pub(super) mod embedded {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;
    use serde_json::value::RawValue;

    pub(in super::super) fn serialize<S: Serializer>(offset: &str, serializer: S) -> Result<S::Ok, S::Error> {
        match RawValue::from_string(offset.to_owned()) {
            Ok(json) => json.serialize(serializer),
            Err(_) => serializer.serialize_str(offset),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<String, D::Error> {
        Ok(super::offset(Value::deserialize(deserializer)?))
    }
}

/// The same for an offset that may be unknown.
pub(super) mod embedded_option {
    use serde::{Deserialize, Deserializer, Serializer};
    use serde_json::Value;

    #[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub(in super::super) fn serialize<S: Serializer>(
        offset: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match offset {
            Some(offset) => super::embedded::serialize(offset, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        Ok(Option::<Value>::deserialize(deserializer)?.map(super::offset))
    }
}

/// The reverse of embedding: text is itself, anything else the JSON that it is, its keys in their order.
fn offset(json: Value) -> String {
    match json {
        Value::String(text) => text,
        json => json.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_exponent() {
        for (number, text) in
            [(0.0, "0.0"), (5e-7, "0.0000005"), (1e21, "1000000000000000000000.0"), (99.9, "99.9")]
        {
            assert_eq!(plain(number), text);
        }
    }
}
