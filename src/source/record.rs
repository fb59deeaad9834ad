//! A record apart from the columns that a query reads of it: where it stands, and what it was.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};

use super::Source;
use crate::epoch::Offset;
use crate::error::{Error, Result};

/// The columns that readers build for a query: its own, and behind them what tells a record's place and content.
#[derive(Clone, Debug)]
pub(crate) struct RecordColumns {
    /// For [`ReadRequest`](super::ReadRequest).
    pub(crate) projection: Vec<usize>,
    /// How many of them are the query's.
    pub(crate) own: usize,
    names: Vec<String>,
}

/// A record as it came. Headers stay in the form of the Kafka source's column.
#[derive(Debug)]
pub(crate) struct WholeRecord {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl RecordColumns {
    /// For a query that reads `projection` of `source`. `whole`: records must be told as they came.
    pub(crate) fn new(source: &dyn Source, projection: &[usize], whole: bool) -> Self {
        let schema = source.record_schema();
        let is_binary = |name: &str| {
            let field = schema.field_with_name(name).ok();
            field.is_some_and(|field| matches!(field.data_type(), DataType::Binary | DataType::Utf8))
        };
        let has_value = is_binary("value");
        let is_needed = |name: &str| match name {
            "offset" => true,
            "key" | "value" | "headers" => whole,
            // What is no key and value is told as JSON of all that there is.
            _ => whole && !has_value,
        };
        let mut columns = projection.to_vec();
        let more = schema.fields().iter().enumerate().filter(|(_, field)| is_needed(field.name()));
        columns.extend(more.map(|(index, _)| index).filter(|index| !projection.contains(index)));
        let name = |index: &usize| schema.fields().get(*index).map(|field| field.name().clone());
        let names = columns.iter().map(|index| name(index).unwrap_or_default()).collect();
        Self { projection: columns, own: projection.len(), names }
    }

    fn column<'a>(&self, rows: &'a RecordBatch, name: &str) -> Option<&'a ArrayRef> {
        let index = self.names.iter().position(|candidate| candidate == name)?;
        rows.columns().get(index)
    }

    /// The offset of the first of `rows`, if the source tells it.
    pub(crate) fn offset(&self, rows: &RecordBatch) -> Option<Offset> {
        let offsets = self.column(rows, "offset")?.as_primitive_opt::<Int64Type>()?;
        (!offsets.is_empty() && offsets.is_valid(0)).then(|| offsets.value(0))
    }

    /// The first of `rows`, which were read whole.
    ///
    /// # Errors
    /// It has a column that cannot be told.
    pub(crate) fn whole(&self, rows: &RecordBatch) -> Result<WholeRecord> {
        let bytes = |name: &str| {
            let column = self.column(rows, name).filter(|column| column.is_valid(0))?;
            let column = cast(column, &DataType::Binary).ok()?;
            Some(column.as_binary::<i32>().value(0).to_vec())
        };
        let is_record = self
            .column(rows, "value")
            .is_some_and(|value| matches!(value.data_type(), DataType::Binary | DataType::Utf8));
        if !is_record {
            return Ok(WholeRecord { key: None, value: Some(json(rows)?), headers: Vec::new() });
        }
        let headers = self.column(rows, "headers").map(headers).unwrap_or_default();
        Ok(WholeRecord { key: bytes("key"), value: bytes("value"), headers })
    }
}

fn headers(column: &ArrayRef) -> Vec<(String, Option<Vec<u8>>)> {
    let Some(list) = column.as_list_opt::<i32>().filter(|list| list.is_valid(0)) else {
        return Vec::new();
    };
    let entries = list.value(0);
    let Some(entries) = entries.as_struct_opt() else {
        return Vec::new();
    };
    let (Some(names), Some(values)) =
        (entries.column(0).as_string_opt::<i32>(), entries.column(1).as_binary_opt::<i32>())
    else {
        return Vec::new();
    };
    let value = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
    names
        .iter()
        .zip(values)
        .map(|(name, bytes)| (name.unwrap_or_default().to_owned(), value(bytes)))
        .collect()
}

fn json(rows: &RecordBatch) -> Result<Vec<u8>> {
    let row: ArrayRef = Arc::new(arrow::array::StructArray::from(rows.clone()));
    let field = Arc::new(arrow::datatypes::Field::new("record", row.data_type().clone(), false));
    let options = EncoderOptions::default();
    let mut text = Vec::new();
    let mut encoder = make_encoder(&field, row.as_ref(), &options)
        .map_err(|e| Error::internal("cannot write a record as JSON").with_source(e))?;
    encoder.encode(0, &mut text);
    Ok(text)
}
