//! From fetched messages to Arrow: only the columns that the query reads are built.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, ListBuilder, RecordBatch, RecordBatchOptions,
    StringArray, StringBuilder, StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::epoch::Partition;
use crate::kafka::consumer::{Message, Messages};

/// Spark's row of the Kafka source; `headers` only where asked for.
pub(super) fn schema(include_headers: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("key", DataType::Binary, true),
        Field::new("value", DataType::Binary, true),
        Field::new("topic", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("offset", DataType::Int64, true),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("timestampType", DataType::Int32, true),
    ];
    if include_headers {
        let entry = Field::new("item", DataType::Struct(header_fields()), true);
        fields.push(Field::new("headers", DataType::List(Arc::new(entry)), true));
    }
    Arc::new(Schema::new(fields))
}

fn header_fields() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)])
}

/// A batch of `projected`, a projection of [`schema`].
pub(super) fn batch(
    messages: &Messages,
    partition: &Partition,
    projected: &SchemaRef,
) -> Result<RecordBatch, ArrowError> {
    let columns = projected
        .fields()
        .iter()
        .map(|field| column(field.name(), messages, partition))
        .collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(messages.len()));
    RecordBatch::try_new_with_options(Arc::clone(projected), columns, &options)
}

fn column(name: &str, messages: &Messages, partition: &Partition) -> Result<ArrayRef, ArrowError> {
    let rows = messages.len();
    let all = messages.iter();
    Ok(match name {
        "key" => binary(all.map(|message| message.key())),
        "value" => binary(all.map(|message| message.value())),
        "topic" => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(&*partition.topic, rows))),
        "partition" => Arc::new(Int32Array::from_value(partition.number, rows)),
        "offset" => Arc::new(Int64Array::from_iter_values(all.map(|message| message.offset()))),
        "timestamp" => Arc::new(TimestampMicrosecondArray::from_iter_values(
            all.map(|message| message.timestamp().0.saturating_mul(1000)),
        )),
        "timestampType" => Arc::new(Int32Array::from_iter_values(all.map(|message| message.timestamp().1))),
        "headers" => headers(all),
        other => {
            return Err(ArrowError::SchemaError(format!("a Kafka record has no column '{other}'")));
        }
    })
}

fn binary<'a>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone) -> ArrayRef {
    let bytes = values.clone().flatten().map(<[u8]>::len).sum();
    let mut builder = BinaryBuilder::with_capacity(values.len(), bytes);
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

/// Null, not empty, where a record has no headers, as in Spark.
fn headers<'a>(messages: impl Iterator<Item = Message<'a>>) -> ArrayRef {
    let entry = StructBuilder::new(
        header_fields(),
        vec![Box::new(StringBuilder::new()) as _, Box::new(BinaryBuilder::new()) as _],
    );
    let mut list = ListBuilder::new(entry);
    for message in messages {
        let entries = list.values();
        let any = message.headers(|name, value| {
            if let Some(names) = entries.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            if let Some(values) = entries.field_builder::<BinaryBuilder>(1) {
                values.append_option(value);
            }
            entries.append(true);
        });
        list.append(any);
    }
    Arc::new(list.finish())
}
