//! `get_json_object(text, '$.a.b[0]')`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::columns::FieldOf;

/// The part of a JSON text at a path: text without its quotes, everything else as JSON. Null where there is nothing or
/// JSON's null, and where text or path are malformed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct GetJsonObject {
    signature: Signature,
}

impl GetJsonObject {
    pub(super) fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for GetJsonObject {
    fn name(&self) -> &'static str {
        "get_json_object"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let [json, paths] = args.args.as_slice() else {
            return Err(DataFusionError::Execution("get_json_object has two arguments".into()));
        };
        let is_scalar = [json, paths].iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let json = cast(&json.clone().into_array(rows)?, &DataType::Utf8)?;
        let values: ArrayRef = match paths {
            // One path for all rows is read once.
            ColumnarValue::Scalar(path) => {
                let path = path.try_as_str().flatten().and_then(steps);
                Arc::new(all(json.as_string::<i32>().iter().map(|json| (json, path.as_deref()))))
            }
            ColumnarValue::Array(paths) => {
                let paths = cast(paths, &DataType::Utf8)?;
                let paths: Vec<_> =
                    paths.as_string::<i32>().iter().map(|path| path.and_then(steps)).collect();
                let paths = paths.iter().map(Option::as_deref);
                Arc::new(all(json.as_string::<i32>().iter().zip(paths)))
            }
        };
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        } else {
            ColumnarValue::Array(values)
        })
    }
}

fn all<'a>(rows: impl Iterator<Item = (Option<&'a str>, Option<&'a [Step]>)>) -> arrow::array::StringArray {
    let mut values = StringBuilder::new();
    for (json, path) in rows {
        values.append_option(json.zip(path).and_then(|(json, path)| get(json, path)));
    }
    values.finish()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Element(usize),
    /// `[*]`: every element of a list.
    Each,
}

/// Steps of a path at most: as deep as JSON is read elsewhere. A path may come with a record.
const MAX_STEPS: usize = 128;

/// `$.field`, `$['field']`, `$[0]` and `$[*]`, one after the other.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_STEPS {
            return None;
        }
        if let Some(named) = rest.strip_prefix('.') {
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let (name, after) = named.split_at(end);
            if name.is_empty() {
                return None;
            }
            steps.push(Step::Field(name.to_owned()));
            rest = after;
        } else {
            let inner = rest.strip_prefix('[')?;
            if let Some(quoted) = inner.strip_prefix('\'') {
                let (name, after) = quoted.split_once("']")?;
                steps.push(Step::Field(name.to_owned()));
                rest = after;
            } else {
                let (index, after) = inner.split_once(']')?;
                let index = index.trim();
                steps.push(if index == "*" { Step::Each } else { Step::Element(index.parse().ok()?) });
                rest = after;
            }
        }
    }
    Some(steps)
}

fn get<'a>(json: &'a str, path: &[Step]) -> Option<Cow<'a, str>> {
    // The whole text must be JSON, not only what stands before the place.
    let found = find(serde_json::from_str(json).ok()?, path)?;
    match found.strip_prefix('"') {
        Some(_) => serde_json::from_str::<String>(&found).ok().map(Cow::Owned),
        None if found == "null" => None,
        None => Some(found),
    }
}

fn find<'a>(json: &'a RawValue, path: &[Step]) -> Option<Cow<'a, str>> {
    let Some((step, rest)) = path.split_first() else {
        return Some(Cow::Borrowed(json.get()));
    };
    let mut reader = serde_json::Deserializer::from_str(json.get());
    match step {
        Step::Field(name) => find(reader.deserialize_map(Member(name)).ok()??, rest),
        Step::Element(index) => find(reader.deserialize_seq(Element(*index)).ok()??, rest),
        Step::Each => {
            let elements: Vec<&RawValue> = serde_json::from_str(json.get()).ok()?;
            let found: Vec<_> = elements.into_iter().filter_map(|element| find(element, rest)).collect();
            // As in Spark: one match stands alone.
            match found.as_slice() {
                [] => None,
                [one] => Some(one.clone()),
                many => Some(Cow::Owned(format!("[{}]", many.join(",")))),
            }
        }
    }
}

struct Member<'n>(&'n String);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key_seed(FieldOf { names: std::slice::from_ref(self.0), next: 0 })? {
            if found.is_none() && key.is_some() {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut index = 0;
        while let Some(element) = list.next_element::<&RawValue>()? {
            if index == self.0 {
                found = Some(element);
            }
            index += 1;
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_text_by_path() {
        let json = r#"{"a":{"b":[1,{"c":"x\"y"},null]},"d e":true,"n":1.50,"s":"t"}"#;
        for (path, expected) in [
            ("$", Some(json)),
            ("$.s", Some("t")),
            ("$.n", Some("1.50")),
            ("$['d e']", Some("true")),
            ("$.a.b[0]", Some("1")),
            ("$.a.b[1]", Some(r#"{"c":"x\"y"}"#)),
            ("$.a.b[1].c", Some(r#"x"y"#)),
            ("$.a.b[*].c", Some(r#"x"y"#)),
            ("$.a.b[*]", Some(r#"[1,{"c":"x\"y"},null]"#)),
            ("$.a.b[2]", None),
            ("$.a.b[7]", None),
            ("$.a.z", None),
            ("$.s.z", None),
            ("a", None),
            ("$.", None),
            ("$[x]", None),
        ] {
            let found = steps(path).and_then(|path| get(json, &path).map(Cow::into_owned));
            assert_eq!(found.as_deref(), expected, "{path}");
        }
        assert_eq!(get(r#"{"s":1"#, &steps("$.s").unwrap()), None);
    }

    #[test]
    fn a_path_without_end_is_no_path() {
        let json = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let path = steps(&format!("${}", "[0]".repeat(MAX_STEPS))).unwrap();
        assert_eq!(get(&json(MAX_STEPS), &path).as_deref(), Some("1"));
        for step in ["[0]", "[*]", ".a"] {
            assert_eq!(steps(&format!("${}", step.repeat(100_000))), None, "{step}");
        }
        assert_eq!(get(&json(100_000), &steps("$").unwrap()).unwrap().len(), 200_001);
    }
}
