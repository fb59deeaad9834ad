//! `from_json(text, 'a INT, b STRING')`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::DeserializeSeed;

use super::columns::Column;
use super::schema;
use crate::error::Error;

/// As in Spark's mode PERMISSIVE: malformed JSON gives a struct of nulls, and a value that does not fit gives null.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FromJson {
    signature: Signature,
}

impl FromJson {
    pub(super) fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for FromJson {
    fn name(&self) -> &'static str {
        "from_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Err(Error::internal("from_json's type depends on its schema").into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        let schema =
            args.scalar_arguments.get(1).copied().flatten().and_then(|schema| schema.try_as_str().flatten());
        let schema = schema.ok_or_else(|| {
            Error::query(
                "from_json needs its schema as a text, such as from_json(text, 'a INT, b ARRAY<STRING>')",
            )
        })?;
        let data_type = schema::parse(schema)
            .map_err(|error| Error::query(format!("from_json's schema '{schema}': {error}")))?;
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let data_type = args.return_type().clone();
        let is_scalar = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let Some(json) = args.args.into_iter().next() else {
            return Err(DataFusionError::Execution("from_json has no arguments".into()));
        };
        let json = cast(&json.into_array(rows)?, &DataType::Utf8)?;
        let values = parse(&json, &data_type)?;
        Ok(if is_scalar {
            ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?)
        } else {
            ColumnarValue::Array(values)
        })
    }
}

fn parse(json: &ArrayRef, data_type: &DataType) -> DataFusionResult<ArrayRef> {
    let mut column = Column::new(data_type);
    let mut malformed = Vec::new();
    for (row, json) in json.as_string::<i32>().iter().enumerate() {
        match json.map(str::trim) {
            None | Some("") => column.append_null(),
            Some(json) => {
                let mut reader = serde_json::Deserializer::from_str(json);
                // A struct takes an object, nothing else.
                let fits = !matches!(column, Column::Struct { .. }) || json.starts_with('{');
                let read = if fits {
                    (&mut column).deserialize(&mut reader).and_then(|()| reader.end())
                } else {
                    column.append_empty();
                    Ok(())
                };
                if read.is_err() {
                    column.complete(row + 1);
                    malformed.push(row);
                }
            }
        }
    }
    let values = column.finish(data_type)?;
    if malformed.is_empty() { Ok(values) } else { without(&values, &malformed) }
}

/// Nothing of what was read before the mistake counts.
fn without(values: &ArrayRef, malformed: &[usize]) -> DataFusionResult<ArrayRef> {
    let mut is_malformed = vec![false; values.len()];
    for row in malformed {
        if let Some(mark) = is_malformed.get_mut(*row) {
            *mark = true;
        }
    }
    let mask = BooleanArray::from(is_malformed);
    let Some(rows) = values.as_struct_opt() else {
        return Ok(nullif(values, &mask)?);
    };
    let columns = rows.columns().iter().map(|column| nullif(column, &mask)).collect::<Result<Vec<_>, _>>()?;
    // A struct of nulls is not null.
    let is_there = (0..rows.len()).map(|row| rows.is_valid(row) || mask.value(row)).collect::<Vec<_>>();
    let rows =
        StructArray::try_new_with_length(rows.fields().clone(), columns, Some(is_there.into()), rows.len())?;
    Ok(Arc::new(rows))
}
