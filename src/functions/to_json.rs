//! `to_json(value)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::decimals::DecimalEncoders;

/// A struct, list, map or plain value as JSON. Fields that are null are left out, as in Spark.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ToJson {
    signature: Signature,
}

impl ToJson {
    pub(super) fn new() -> Self {
        Self { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for ToJson {
    fn name(&self) -> &'static str {
        "to_json"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(ColumnarValue::Array(values)) => Ok(ColumnarValue::Array(encode(&values)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let text = encode(&value.to_array_of_size(1)?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&text, 0)?))
            }
            None => Err(DataFusionError::Execution("to_json has no argument".into())),
        }
    }
}

fn encode(values: &ArrayRef) -> DataFusionResult<ArrayRef> {
    let field = Arc::new(Field::new("value", values.data_type().clone(), true));
    let options = EncoderOptions::default().with_encoder_factory(Arc::new(DecimalEncoders));
    let mut encoder = make_encoder(&field, values.as_ref(), &options)?;
    let mut texts = StringBuilder::with_capacity(values.len(), 0);
    let mut buffer = Vec::new();
    for row in 0..values.len() {
        if encoder.is_null(row) || values.is_null(row) {
            texts.append_null();
            continue;
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        let text = std::str::from_utf8(&buffer).map_err(|e| DataFusionError::External(Box::new(e)))?;
        texts.append_value(text);
    }
    Ok(Arc::new(texts.finish()))
}
