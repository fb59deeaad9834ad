//! Records under the functions that read JSON: a line with a schema, path or key, then a record a line.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF};
use epochflow::StreamSession;

/// Of each kind of column one, and the ways in which they nest.
const SCHEMAS: [&str; 7] = [
    "a INT, b STRING, c BOOLEAN",
    "a ARRAY<INT>, b MAP<STRING, BIGINT>, c STRUCT<a: TINYINT, b: ARRAY<STRING>>",
    "ARRAY<STRUCT<a: INT, b: ARRAY<STRUCT<a: STRING>>>>",
    "MAP<STRING, ARRAY<MAP<STRING, STRING>>>",
    "a DATE, b TIMESTAMP, c DECIMAL(10,2)",
    "a DOUBLE, b FLOAT",
    "STRING",
];

/// Functions of a text and a key.
const BY_KEY: [&str; 9] = [
    "json_get",
    "json_get_str",
    "json_get_int",
    "json_get_float",
    "json_get_bool",
    "json_get_json",
    "json_as_text",
    "json_contains",
    "json_get_array",
];

static SESSION: LazyLock<StreamSession> = LazyLock::new(|| StreamSession::new().unwrap());

/// `data` as a key and records.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (key, records) = text.split_once('\n').unwrap_or(("", &text));
    let records: ArrayRef = Arc::new(StringArray::from(records.lines().collect::<Vec<_>>()));
    for schema in SCHEMAS.into_iter().chain([key]) {
        let _ = from_json(&records, schema);
    }
    for name in BY_KEY.into_iter().chain(["get_json_object"]) {
        let _ = call(name, &records, &[ScalarValue::from(key)]);
        let _ = call(name, &records, &[ScalarValue::Int64(key.parse().ok())]);
    }
    // Each record is its own path and schema.
    let _ = invoke(
        "get_json_object",
        vec![ColumnarValue::Array(Arc::clone(&records)), ColumnarValue::Array(Arc::clone(&records))],
    );
    for name in ["json_length", "json_object_keys", "to_json"] {
        let _ = call(name, &records, &[]);
    }
}

/// What fits the schema is the same once written and read again.
fn from_json(records: &ArrayRef, schema: &str) -> Result<()> {
    let schema = [ScalarValue::from(schema)];
    let read = call("from_json", records, &schema)?;
    assert_eq!(read.len(), records.len());
    let written = call("to_json", &read, &[])?;
    let again = call("from_json", &written, &schema)?;
    let written_again = call("to_json", &again, &[])?;
    // A text is written in quotes, and one that is JSON is read as it is.
    if !matches!(read.data_type(), DataType::Utf8 | DataType::Float32 | DataType::Float64) {
        assert_eq!(written_again.as_string::<i32>(), written.as_string::<i32>(), "{}", read.data_type());
    }
    Ok(())
}

fn call(name: &str, records: &ArrayRef, more: &[ScalarValue]) -> Result<ArrayRef> {
    let mut values = vec![ColumnarValue::Array(Arc::clone(records))];
    values.extend(more.iter().cloned().map(ColumnarValue::Scalar));
    invoke(name, values)
}

fn invoke(name: &str, values: Vec<ColumnarValue>) -> Result<ArrayRef> {
    let state = SESSION.context().state_ref();
    let function: Arc<ScalarUDF> = Arc::clone(state.read().scalar_functions().get(name).unwrap());
    let arg_fields: Vec<_> =
        values.iter().map(|value| Arc::new(Field::new("x", value.data_type(), true))).collect();
    let scalars: Vec<Option<ScalarValue>> = values
        .iter()
        .map(|value| match value {
            ColumnarValue::Scalar(scalar) => Some(scalar.clone()),
            ColumnarValue::Array(_) => None,
        })
        .collect();
    let scalars: Vec<_> = scalars.iter().map(Option::as_ref).collect();
    let return_field = function
        .return_field_from_args(ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &scalars })?;
    let rows = values
        .iter()
        .find_map(|value| match value {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        })
        .unwrap_or(1);
    let config_options = Arc::new(ConfigOptions::default());
    let args =
        ScalarFunctionArgs { args: values, arg_fields, number_rows: rows, return_field, config_options };
    function.invoke_with_args(args)?.into_array(rows)
}
