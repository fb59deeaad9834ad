//! Arrow columns filled from JSON, value by value, with no tree in between.
//!
//! A value that does not fit its column is null, as in Spark; so is a field that is not there.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, MapArray,
    NullBufferBuilder, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decimals;

/// A column that is being built. Leaves are built in the widest type of their kind and cast in the end.
pub(super) enum Column {
    Boolean(BooleanBuilder),
    Integer(Int64Builder),
    Float(Float64Builder),
    /// Text as it is, other values as their JSON; also what is cast from text, such as dates.
    Text(StringBuilder),
    List {
        offsets: Vec<i32>,
        nulls: NullBufferBuilder,
        elements: Box<Column>,
    },
    Map {
        offsets: Vec<i32>,
        nulls: NullBufferBuilder,
        keys: StringBuilder,
        values: Box<Column>,
    },
    Struct {
        names: Vec<String>,
        columns: Vec<Column>,
        nulls: NullBufferBuilder,
    },
}

impl Column {
    /// For values of `data_type`, which `schema.rs` has made.
    pub(super) fn new(data_type: &DataType) -> Self {
        let nulls = NullBufferBuilder::new(0);
        match data_type {
            DataType::Boolean => Column::Boolean(BooleanBuilder::new()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
                Column::Integer(Int64Builder::new())
            }
            DataType::Float32 | DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::List(element) => {
                let elements = Box::new(Column::new(element.data_type()));
                Column::List { offsets: vec![0], nulls, elements }
            }
            DataType::Map(entries, _) => {
                let values = Box::new(Column::new(map_value(entries).data_type()));
                Column::Map { offsets: vec![0], nulls, keys: StringBuilder::new(), values }
            }
            DataType::Struct(fields) => Column::Struct {
                names: fields.iter().map(|field| field.name().clone()).collect(),
                columns: fields.iter().map(|field| Column::new(field.data_type())).collect(),
                nulls,
            },
            _ => Column::Text(StringBuilder::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Column::Boolean(builder) => builder.len(),
            Column::Integer(builder) => builder.len(),
            Column::Float(builder) => builder.len(),
            Column::Text(builder) => builder.len(),
            Column::List { nulls, .. } | Column::Map { nulls, .. } | Column::Struct { nulls, .. } => {
                nulls.len()
            }
        }
    }

    pub(super) fn append_null(&mut self) {
        match self {
            Column::Boolean(builder) => builder.append_null(),
            Column::Integer(builder) => builder.append_null(),
            Column::Float(builder) => builder.append_null(),
            Column::Text(builder) => builder.append_null(),
            Column::List { offsets, nulls, elements } => {
                offsets.push(offset(elements.len()));
                nulls.append_null();
            }
            Column::Map { offsets, nulls, values, .. } => {
                offsets.push(offset(values.len()));
                nulls.append_null();
            }
            Column::Struct { columns, nulls, .. } => {
                columns.iter_mut().for_each(Column::append_null);
                nulls.append_null();
            }
        }
    }

    /// A row that is there and has nothing in it: a struct of nulls; for other types null.
    pub(super) fn append_empty(&mut self) {
        match self {
            Column::Struct { columns, nulls, .. } => {
                columns.iter_mut().for_each(Column::append_null);
                nulls.append_non_null();
            }
            other => other.append_null(),
        }
    }

    /// Brings a column that JSON broke off in to `len` rows, the last of them null.
    pub(super) fn complete(&mut self, len: usize) {
        if self.len() >= len {
            return;
        }
        match self {
            Column::Struct { columns, nulls, .. } => {
                columns.iter_mut().for_each(|column| column.complete(len));
                nulls.append_null();
            }
            Column::Map { keys, values, .. } => {
                values.complete(keys.len());
                self.append_null();
            }
            Column::List { elements, .. } => {
                elements.settle();
                self.append_null();
            }
            leaf => leaf.append_null(),
        }
    }

    /// Brings the fields of a struct to one length where JSON broke off between two of them.
    fn settle(&mut self) {
        match self {
            Column::Struct { columns, nulls, .. } => {
                columns.iter_mut().for_each(Column::settle);
                let longest = columns.iter().map(Column::len).max().unwrap_or_default();
                if longest > nulls.len() {
                    self.complete(longest);
                }
            }
            Column::List { elements, .. } => elements.settle(),
            Column::Map { keys, values, .. } => values.complete(keys.len()),
            _ => {}
        }
    }

    /// The column in its own type; what does not fit is null.
    pub(super) fn finish(self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let leaf: ArrayRef = match (self, data_type) {
            (Column::List { offsets, mut nulls, elements }, DataType::List(element)) => {
                let values = elements.finish(element.data_type())?;
                let offsets = OffsetBuffer::new(offsets.into());
                return Ok(Arc::new(ListArray::try_new(
                    Arc::clone(element),
                    offsets,
                    values,
                    nulls.finish(),
                )?));
            }
            (Column::Map { offsets, mut nulls, mut keys, values }, DataType::Map(entries, is_sorted)) => {
                let values = values.finish(map_value(entries).data_type())?;
                let fields = struct_fields(entries);
                let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), values];
                let both = StructArray::try_new(fields, columns, None)?;
                let offsets = OffsetBuffer::new(offsets.into());
                let map = MapArray::try_new(Arc::clone(entries), offsets, both, nulls.finish(), *is_sorted)?;
                return Ok(Arc::new(map));
            }
            (Column::Struct { columns, mut nulls, .. }, DataType::Struct(fields)) => {
                let len = nulls.len();
                let columns =
                    columns.into_iter().zip(fields).map(|(column, field)| column.finish(field.data_type()));
                let columns = columns.collect::<Result<Vec<_>, _>>()?;
                let nulls = nulls.finish();
                return Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, len)?));
            }
            (Column::Boolean(mut builder), _) => Arc::new(builder.finish()),
            (Column::Integer(mut builder), _) => Arc::new(builder.finish()),
            (Column::Float(mut builder), _) => Arc::new(builder.finish()),
            (Column::Text(mut builder), DataType::Decimal128(precision, scale)) => {
                return decimals::parse(&builder.finish(), *precision, *scale);
            }
            (Column::Text(mut builder), _) => Arc::new(builder.finish()),
            _ => return Err(ArrowError::JsonError(format!("a column of JSON is not a {data_type}"))),
        };
        cast_with_options(&leaf, data_type, &CastOptions { safe: true, ..CastOptions::default() })
    }
}

/// Lists of a batch hold far fewer elements than 2^31.
fn offset(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

fn struct_fields(entries: &FieldRef) -> Fields {
    match entries.data_type() {
        DataType::Struct(fields) => fields.clone(),
        _ => Fields::empty(),
    }
}

fn map_value(entries: &FieldRef) -> FieldRef {
    struct_fields(entries).get(1).cloned().unwrap_or_else(|| Arc::clone(entries))
}

/// Appends exactly one row.
impl<'de> DeserializeSeed<'de> for &mut Column {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Column::Text(builder) = self else {
            return deserializer.deserialize_any(Value(self));
        };
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            Some(text) if !text.contains('\\') => builder.append_value(text),
            Some(_) => {
                builder.append_value(serde_json::from_str::<String>(json).map_err(serde::de::Error::custom)?)
            }
            None if json == "null" => builder.append_null(),
            None => builder.append_value(json),
        }
        Ok(())
    }
}

struct Value<'a>(&'a mut Column);

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.append_null();
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        match self.0 {
            Column::Boolean(builder) => builder.append_value(value),
            other => other.append_null(),
        }
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        match self.0 {
            Column::Integer(builder) => builder.append_value(value),
            Column::Float(builder) => builder.append_value(value as f64),
            other => other.append_null(),
        }
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        match self.0 {
            Column::Integer(builder) => builder.append_option(i64::try_from(value).ok()),
            Column::Float(builder) => builder.append_value(value as f64),
            other => other.append_null(),
        }
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        match self.0 {
            Column::Float(builder) => builder.append_value(value),
            other => other.append_null(),
        }
        Ok(())
    }

    fn visit_str<E>(self, _value: &str) -> Result<(), E> {
        self.0.append_null();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Column::List { offsets, nulls, elements } = self.0 else {
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
            self.0.append_null();
            return Ok(());
        };
        while sequence.next_element_seed(&mut **elements)?.is_some() {}
        offsets.push(offset(elements.len()));
        nulls.append_non_null();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self.0 {
            Column::Struct { names, columns, nulls } => {
                let row = nulls.len();
                let (mut next, mut filled) = (0, 0);
                while let Some(field) = map.next_key_seed(FieldOf { names, next })? {
                    next = field.map_or(next, |field| field + 1);
                    // Of a field that is there twice the first holds.
                    match field.and_then(|field| columns.get_mut(field)).filter(|column| column.len() == row)
                    {
                        Some(column) => {
                            map.next_value_seed(column)?;
                            filled += 1;
                        }
                        None => map.next_value::<IgnoredAny>().map(|_| ())?,
                    }
                }
                if filled < columns.len() {
                    columns.iter_mut().for_each(|column| column.complete(row + 1));
                }
                nulls.append_non_null();
            }
            Column::Map { offsets, nulls, keys, values } => {
                while let Some(key) = map.next_key::<String>()? {
                    keys.append_value(key);
                    map.next_value_seed(&mut **values)?;
                }
                offsets.push(offset(values.len()));
                nulls.append_non_null();
            }
            other => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                other.append_null();
            }
        }
        Ok(())
    }
}

/// Which of the fields a key names.
pub(super) struct FieldOf<'a> {
    pub(super) names: &'a [String],
    /// The field behind the one before: most writers keep the schema's order.
    pub(super) next: usize,
}

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldOf<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        if self.names.get(self.next).is_some_and(|name| name == key) {
            return Ok(Some(self.next));
        }
        Ok(self.names.iter().position(|name| name == key))
    }
}
