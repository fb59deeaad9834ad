//! Partition columns: rows go to a folder `column=value/…` by their values, as in Hive and Spark.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, ErrorKind, Result};

/// Stands for null and for the empty text.
const NO_VALUE: &str = "__HIVE_DEFAULT_PARTITION__";

/// Which columns go into the folder's name and which into the file.
#[derive(Clone, Debug)]
pub(super) struct Partitioning {
    columns: Vec<usize>,
    data: Vec<usize>,
    data_schema: SchemaRef,
}

impl Partitioning {
    /// By the columns of these names, outermost folder first.
    ///
    /// # Errors
    /// A column is not there or of a type without a plain name, or none is left for the files.
    pub(super) fn new(schema: &SchemaRef, names: &[&str]) -> Result<Self> {
        let columns = names.iter().map(|name| partition_column(schema, name)).collect::<Result<Vec<_>>>()?;
        let data: Vec<usize> = (0..schema.fields().len()).filter(|index| !columns.contains(index)).collect();
        if data.is_empty() {
            return Err(Error::query(
                "the Parquet sink has no column to write: partitionBy must leave at least one of the query's columns",
            ));
        }
        let data_schema: Schema = schema
            .project(&data)
            .map_err(|e| Error::internal("columns of the Parquet sink").with_source(e))?;
        Ok(Self { columns, data, data_schema: Arc::new(data_schema) })
    }

    /// Of the rows in a file.
    pub(super) fn data_schema(&self) -> &SchemaRef {
        &self.data_schema
    }

    /// The rows of `batch` by the folder that they belong to; a folder's name is empty or ends with `/`.
    pub(super) fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let failed = |e: ArrowError| {
            Error::new(ErrorKind::Data, "rows cannot be split by the columns of partitionBy").with_source(e)
        };
        let data = batch.project(&self.data).map_err(failed)?;
        if self.columns.is_empty() {
            return Ok(vec![(String::new(), data)]);
        }
        let columns = self
            .columns
            .iter()
            .map(|index| cast(batch.column(*index), &DataType::Utf8))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let mut rows_by_values: BTreeMap<Vec<&str>, Vec<u32>> = BTreeMap::new();
        for row in 0..batch.num_rows() {
            let values = columns
                .iter()
                .map(|column| if column.is_null(row) { "" } else { column.as_string::<i32>().value(row) })
                .collect();
            rows_by_values.entry(values).or_default().push(row as u32);
        }
        let schema = batch.schema();
        rows_by_values
            .into_iter()
            .map(|(values, rows)| {
                let mut folder = String::new();
                for (index, value) in self.columns.iter().zip(values) {
                    let value = if value.is_empty() { NO_VALUE.to_owned() } else { escaped(value) };
                    let _ = write!(folder, "{}={value}/", escaped(schema.field(*index).name()));
                }
                let rows = if rows.len() == data.num_rows() {
                    data.clone()
                } else {
                    take_record_batch(&data, &UInt32Array::from(rows)).map_err(failed)?
                };
                Ok((folder, rows))
            })
            .collect()
    }
}

fn partition_column(schema: &SchemaRef, name: &str) -> Result<usize> {
    let Some((index, field)) = schema.column_with_name(name) else {
        return Err(Error::usage(format!(
            "option 'partitionBy' names the column '{name}', which the query does not give"
        )));
    };
    let data_type = field.data_type();
    let is_plain = data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean | DataType::Date32
        );
    if is_plain {
        return Ok(index);
    }
    Err(Error::query(format!(
        "column '{name}' of partitionBy has the type {data_type}, which has no plain form for the name of a folder; cast it \
         to text, an integer or a date"
    )))
}

/// Escapes as Hive and Spark do.
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c) {
            let _ = write!(name, "%{:02X}", u32::from(c));
        } else {
            name.push(c);
        }
    }
    name
}

/// The names and values in a file's path, decoded; `None` is null.
pub(super) fn values_in(path: &str) -> Vec<(String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .map(|(name, value)| (unescaped(name), (value != NO_VALUE).then(|| unescaped(value))))
        .collect()
}

fn unescaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        match after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                text.push(char::from(byte));
                rest = &after[2..];
            }
            None => {
                text.push('%');
                rest = after;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_their_values() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
            ("p", Arc::new(StringArray::from(vec![Some("x"), Some("a b/c:d%é"), None, Some("x")]))),
            ("d", Arc::new(Date32Array::from(vec![Some(0), Some(0), None, Some(0)]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let partitioning = Partitioning::new(&batch.schema(), &["d", "p"]).unwrap();
        let split = partitioning.split(&batch).unwrap();
        let rows: BTreeMap<&str, Vec<i64>> = split
            .iter()
            .map(|(folder, rows)| {
                assert_eq!(rows.schema(), *partitioning.data_schema());
                let values = rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().values();
                (folder.as_str(), values.to_vec())
            })
            .collect();
        assert_eq!(
            rows,
            BTreeMap::from([
                ("d=1970-01-01/p=x/", vec![1, 4]),
                ("d=1970-01-01/p=a b%2Fc%3Ad%25é/", vec![2]),
                ("d=__HIVE_DEFAULT_PARTITION__/p=__HIVE_DEFAULT_PARTITION__/", vec![3]),
            ])
        );
        let named = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        for (folder, p) in [
            ("p=a b%2Fc%3Ad%25é/", Some("a b/c:d%é")),
            ("p=__HIVE_DEFAULT_PARTITION__/", None),
            ("p=50%/", Some("50%")),
        ] {
            assert_eq!(values_in(&format!("{folder}part-0")), [named("p", p)]);
        }
    }

    #[test]
    fn columns_without_a_plain_name_are_refused() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema =
            Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("t", time, true)]));
        for (names, hint) in [(&["b"][..], "'b'"), (&["t"], "cast it"), (&["a", "t"], "cast it")] {
            let error = Partitioning::new(&schema, names).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
        assert!(Partitioning::new(&schema, &["a"]).unwrap_err().to_string().contains("at least one"));
    }
}
