//! Which column of the query is which part of a Kafka record.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef, TimeUnit, TimestampMillisecondType};

use crate::error::{Error, ErrorKind, Result};

/// Positions of the record's parts in the query's output.
#[derive(Clone, Debug)]
pub(super) struct ColumnMap {
    /// Of option `topic`, which wins over the column.
    pub(super) topic: Option<Arc<str>>,
    value: usize,
    key: Option<usize>,
    topic_column: Option<usize>,
    partition: Option<usize>,
    headers: Option<usize>,
    timestamp: Option<usize>,
}

impl ColumnMap {
    /// Finds the columns by exact name; others are left out, as in Spark.
    pub(super) fn new(schema: &SchemaRef, topic: Option<Arc<str>>) -> Result<Self> {
        let find = |name: &str, accepted: fn(&DataType) -> bool, expected: &str| -> Result<Option<usize>> {
            let Some((index, field)) = schema.column_with_name(name) else {
                return Ok(None);
            };
            // A null literal has no type of its own and fits every part.
            if accepted(field.data_type()) || *field.data_type() == DataType::Null {
                return Ok(Some(index));
            }
            Err(Error::query(format!(
                "column '{name}' of the Kafka sink has the type {}; it must be {expected}: cast it in the SELECT",
                field.data_type()
            )))
        };
        let names =
            || schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        let value = find("value", is_bytes, "text or binary")?.ok_or_else(|| {
            Error::query(format!(
                "the Kafka sink needs a column 'value', and the query gives [{}]; name one with AS value",
                names()
            ))
        })?;
        let topic_column = find("topic", is_text, "text")?;
        if topic.as_ref().is_some_and(|topic| topic.is_empty()) || (topic.is_none() && topic_column.is_none())
        {
            return Err(Error::usage(
                "the Kafka sink has no topic: set option 'topic', name one in LOCATION, or select a column 'topic'",
            ));
        }
        Ok(Self {
            topic,
            value,
            key: find("key", is_bytes, "text or binary")?,
            topic_column,
            partition: find("partition", |t| matches!(t, DataType::Int32 | DataType::Int64), "an integer")?,
            headers: find(
                "headers",
                is_headers,
                "an array of structs with key (text) and value (binary or text)",
            )?,
            timestamp: find("timestamp", |t| matches!(t, DataType::Timestamp(..)), "a timestamp")?,
        })
    }

    /// # Errors
    /// A row whose key and value are larger than `limit`.
    pub(super) fn check_sizes(&self, batch: &RecordBatch, limit: usize) -> Result<()> {
        if batch.get_array_memory_size() <= limit {
            return Ok(());
        }
        let bytes = |index: Option<usize>| index.map(|index| Bytes::new(batch.column(index)));
        let (value, key) = (bytes(Some(self.value)), bytes(self.key));
        let size_of = |column: &Option<Bytes<'_>>, row| {
            column.as_ref().and_then(|column| column.get(row)).map_or(0, <[u8]>::len)
        };
        let sizes = (0..batch.num_rows()).map(|row| size_of(&value, row) + size_of(&key, row));
        let Some(size) = sizes.into_iter().find(|size| *size > limit) else {
            return Ok(());
        };
        let topic = self.topic.as_deref().unwrap_or("of column topic");
        Err(Error::new(
            ErrorKind::Data,
            format!(
                "a row of {size} bytes for the topic '{topic}' is larger than the {limit} bytes that can be written; raise max.message.bytes of the topic, and where they are set the options 'kafka.message.max.bytes' and 'kafka.queue.buffering.max.kbytes', or let the query make smaller rows"
            ),
        ))
    }

    /// Access to the parts of a batch's rows.
    pub(super) fn rows<'a>(&'a self, batch: &'a RecordBatch) -> Result<Rows<'a>> {
        let column = |index: Option<usize>| {
            index.map(|index| batch.column(index)).filter(|column| *column.data_type() != DataType::Null)
        };
        let converted = |index: Option<usize>, to: DataType| -> Result<Option<ArrayRef>> {
            let failed =
                |e| Error::new(ErrorKind::Data, "a column of the Kafka sink does not fit").with_source(e);
            column(index).map(|column| cast(column, &to).map_err(failed)).transpose()
        };
        Ok(Rows {
            fixed_topic: self.topic.as_deref(),
            value: column(Some(self.value)).map(Bytes::new),
            key: column(self.key).map(Bytes::new),
            topic: if self.topic.is_some() { None } else { column(self.topic_column).map(Bytes::new) },
            partition: converted(self.partition, DataType::Int64)?,
            timestamp: converted(self.timestamp, DataType::Timestamp(TimeUnit::Millisecond, None))?,
            headers: column(self.headers),
        })
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_bytes(data_type: &DataType) -> bool {
    is_text(data_type) || matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_headers(data_type: &DataType) -> bool {
    let DataType::List(entry) = data_type else {
        return false;
    };
    let DataType::Struct(fields) = entry.data_type() else {
        return false;
    };
    matches!(fields.as_ref(), [key, value]
        if key.name() == "key" && is_text(key.data_type()) && value.name() == "value" && is_bytes(value.data_type()))
}

/// Text or binary in any of Arrow's layouts.
enum Bytes<'a> {
    Binary(&'a arrow::array::BinaryArray),
    LargeBinary(&'a arrow::array::LargeBinaryArray),
    BinaryView(&'a arrow::array::BinaryViewArray),
    Text(&'a arrow::array::StringArray),
    LargeText(&'a arrow::array::LargeStringArray),
    TextView(&'a arrow::array::StringViewArray),
    Nothing,
}

impl<'a> Bytes<'a> {
    fn new(column: &'a ArrayRef) -> Self {
        match column.data_type() {
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::LargeBinary => Self::LargeBinary(column.as_binary()),
            DataType::BinaryView => Self::BinaryView(column.as_binary_view()),
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::LargeUtf8 => Self::LargeText(column.as_string()),
            DataType::Utf8View => Self::TextView(column.as_string_view()),
            _ => Self::Nothing,
        }
    }

    fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Binary(column) => column.is_valid(row).then(|| column.value(row)),
            Self::LargeBinary(column) => column.is_valid(row).then(|| column.value(row)),
            Self::BinaryView(column) => column.is_valid(row).then(|| column.value(row)),
            Self::Text(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Self::LargeText(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Self::TextView(column) => column.is_valid(row).then(|| column.value(row).as_bytes()),
            Self::Nothing => None,
        }
    }
}

/// The rows of a batch as parts of records.
pub(super) struct Rows<'a> {
    fixed_topic: Option<&'a str>,
    value: Option<Bytes<'a>>,
    key: Option<Bytes<'a>>,
    topic: Option<Bytes<'a>>,
    partition: Option<ArrayRef>,
    timestamp: Option<ArrayRef>,
    headers: Option<&'a ArrayRef>,
}

impl<'a> Rows<'a> {
    pub(super) fn value(&self, row: usize) -> Option<&'a [u8]> {
        self.value.as_ref().and_then(|column| column.get(row))
    }

    pub(super) fn key(&self, row: usize) -> Option<&'a [u8]> {
        self.key.as_ref().and_then(|column| column.get(row))
    }

    pub(super) fn topic(&self, row: usize) -> Result<&'a str> {
        let topic = match self.fixed_topic {
            Some(topic) => Some(topic),
            None => self
                .topic
                .as_ref()
                .and_then(|column| column.get(row))
                .and_then(|t| std::str::from_utf8(t).ok()),
        };
        topic.filter(|topic| !topic.is_empty()).ok_or_else(|| {
            Error::new(
                ErrorKind::Data,
                "a row for the Kafka sink has no topic; set option 'topic' as the default for all rows",
            )
        })
    }

    pub(super) fn partition(&self, row: usize) -> Result<Option<i32>> {
        let Some(column) = &self.partition else {
            return Ok(None);
        };
        let column = column.as_primitive::<Int64Type>();
        if column.is_null(row) {
            return Ok(None);
        }
        let number = column.value(row);
        i32::try_from(number).ok().filter(|number| *number >= 0).map(Some).ok_or_else(|| {
            Error::new(
                ErrorKind::Data,
                format!("a row for the Kafka sink has the partition {number}; expected 0 or more"),
            )
        })
    }

    /// Milliseconds since 1970.
    pub(super) fn timestamp(&self, row: usize) -> Option<i64> {
        let column = self.timestamp.as_ref()?.as_primitive::<TimestampMillisecondType>();
        column.is_valid(row).then(|| column.value(row))
    }

    /// Whether rows carry parts that only the slower call can send.
    pub(super) fn are_plain(&self) -> bool {
        self.headers.is_none() && self.timestamp.is_none()
    }

    /// Calls `send` with the row's headers, in order.
    pub(super) fn with_headers<T>(&self, row: usize, send: impl FnOnce(&[(&str, Option<&[u8]>)]) -> T) -> T {
        let list =
            self.headers.and_then(|column| column.as_list_opt::<i32>()).filter(|list| list.is_valid(row));
        let Some(list) = list else { return send(&[]) };
        let entries = list.value(row);
        let entries: &StructArray = entries.as_struct();
        let (keys, values) = (Bytes::new(entries.column(0)), Bytes::new(entries.column(1)));
        let headers: Vec<(&str, Option<&[u8]>)> = (0..entries.len())
            .filter(|entry| entries.is_valid(*entry))
            .map(|entry| {
                let key = keys.get(entry).and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
                (key, values.get(entry))
            })
            .collect();
        send(&headers)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int32Array, StringArray, StringViewArray};
    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
        Arc::new(Schema::new(fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true)).collect::<Vec<_>>()))
    }

    #[test]
    fn columns_are_checked_by_name_and_type() {
        let text = DataType::Utf8View;
        for (fields, topic, hint) in [
            (vec![("key", text.clone())], Some("out"), "needs a column 'value', and the query gives [key]"),
            (vec![("value", DataType::Int64)], Some("out"), "'value' of the Kafka sink has the type Int64"),
            (vec![("value", text.clone()), ("key", DataType::Float64)], Some("out"), "'key'"),
            (vec![("value", text.clone()), ("partition", text.clone())], Some("out"), "an integer"),
            (vec![("value", text.clone())], None, "no topic"),
            (vec![("value", text.clone())], Some(""), "no topic"),
        ] {
            let error = ColumnMap::new(&schema(&fields), topic.map(Arc::from)).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
        assert!(
            ColumnMap::new(
                &schema(&[("value", text.clone()), ("topic", text), ("other", DataType::Date32)]),
                None
            )
            .is_ok()
        );
    }

    #[test]
    fn a_row_is_too_large_by_itself_and_not_by_its_batch() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "value",
                Arc::new(StringViewArray::from(vec![Some("a".repeat(60)), None, Some("b".repeat(50))])),
            ),
            ("key", Arc::new(StringArray::from(vec![None, Some("k".repeat(100)), Some("k".repeat(51))]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let map = ColumnMap::new(&batch.schema(), Some("out".into())).unwrap();
        let error = map.check_sizes(&batch, 100).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().contains("101 bytes for the topic 'out'"), "{error}");
        map.check_sizes(&batch, 101).unwrap();
        map.check_sizes(&batch.slice(0, 2), 100).unwrap();
    }

    #[test]
    fn parts_of_a_row() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("value", Arc::new(BinaryArray::from(vec![Some(&b"v"[..]), None]))),
            ("key", Arc::new(StringViewArray::from(vec![Some("k"), Some("")]))),
            ("topic", Arc::new(StringArray::from(vec![Some("t"), None]))),
            ("partition", Arc::new(Int32Array::from(vec![Some(3), None]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let map = ColumnMap::new(&batch.schema(), None).unwrap();
        let rows = map.rows(&batch).unwrap();
        assert!(rows.are_plain());
        assert_eq!((rows.value(0), rows.value(1)), (Some(&b"v"[..]), None));
        assert_eq!((rows.key(0), rows.key(1)), (Some(&b"k"[..]), Some(&b""[..])));
        assert_eq!((rows.partition(0).unwrap(), rows.partition(1).unwrap()), (Some(3), None));
        assert_eq!(rows.topic(0).unwrap(), "t");
        assert!(rows.topic(1).unwrap_err().to_string().contains("no topic"));
    }
}
