//! The rows of a static side, found by key.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{HashMap, NullEquality};

use crate::error::{Error, ErrorKind, Result};

/// One version of a static side.
#[derive(Debug)]
pub(super) struct Index {
    /// All rows, those of one key side by side.
    rows: RecordBatch,
    lookup: Lookup,
}

#[derive(Debug)]
enum Lookup {
    /// Without a key every row is a candidate.
    All,
    ByKey {
        converter: RowConverter,
        ranges: HashMap<Box<[u8]>, Range<u32>>,
        nulls: NullEquality,
        has_null: bool,
    },
}

impl Index {
    /// Indexes `rows` by `keys`, columns of as many rows.
    ///
    /// # Errors
    /// Keys of a type that cannot be compared; more rows than fit.
    pub(super) fn new(rows: RecordBatch, keys: &[ArrayRef], nulls: NullEquality) -> Result<Self> {
        let count = u32::try_from(rows.num_rows()).map_err(|_| {
            Error::new(
                ErrorKind::Environment,
                format!(
                    "the static side of a join has {} rows and at most {} fit; filter it",
                    rows.num_rows(),
                    u32::MAX
                ),
            )
        })?;
        if keys.is_empty() {
            return Ok(Self { rows, lookup: Lookup::All });
        }
        let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
        let converter = RowConverter::new(fields).map_err(unusable_key)?;
        let encoded = converter.convert_columns(keys).map_err(unusable_key)?;
        let valid = validity(keys);
        let is_key = |row: u32| {
            nulls == NullEquality::NullEqualsNull
                || valid.as_ref().is_none_or(|valid| valid.is_valid(row as usize))
        };
        let mut order: Vec<u32> = (0..count).filter(|row| is_key(*row)).collect();
        // Stable: rows of one key stay in the order they were read in.
        order.sort_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)));
        let mut ranges: HashMap<Box<[u8]>, Range<u32>> = HashMap::new();
        for (place, row) in (0u32..).zip(&order) {
            let key = encoded.row(*row as usize);
            match ranges.get_mut(key.as_ref()) {
                Some(range) => range.end = place + 1,
                None => {
                    ranges.insert(key.as_ref().into(), place..place + 1);
                }
            }
        }
        let has_null = valid.is_some_and(|valid| valid.null_count() > 0);
        let rows = take_record_batch(&rows, &UInt32Array::from(order)).map_err(unusable_key)?;
        Ok(Self { rows, lookup: Lookup::ByKey { converter, ranges, nulls, has_null } })
    }

    /// All rows that a candidate can name.
    pub(super) fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Whether some row has a null in its key.
    pub(super) fn has_null_key(&self) -> bool {
        matches!(self.lookup, Lookup::ByKey { has_null: true, .. })
    }

    /// Whether there is no row at all, not even one with a null in its key.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.num_rows() == 0 && !self.has_null_key()
    }

    /// Prepares to look up each of a batch's keys.
    ///
    /// # Errors
    /// Keys of other types than the static side has.
    pub(super) fn probe(&self, keys: &[ArrayRef]) -> Result<Probe<'_>> {
        let encoded = match &self.lookup {
            Lookup::All => None,
            Lookup::ByKey { converter, .. } => Some(converter.convert_columns(keys).map_err(unusable_key)?),
        };
        Ok(Probe { index: self, encoded, valid: validity(keys) })
    }
}

/// The keys of one batch of the stream.
pub(super) struct Probe<'a> {
    index: &'a Index,
    encoded: Option<Rows>,
    valid: Option<NullBuffer>,
}

impl Probe<'_> {
    /// The rows of the index whose key is that of `row`.
    pub(super) fn candidates(&self, row: usize) -> Range<u32> {
        let (Lookup::ByKey { ranges, nulls, .. }, Some(encoded)) = (&self.index.lookup, &self.encoded) else {
            // Checked to fit when the index was made.
            return 0..u32::try_from(self.index.rows.num_rows()).unwrap_or(u32::MAX);
        };
        if *nulls == NullEquality::NullEqualsNothing && self.is_null(row) {
            return 0..0;
        }
        ranges.get(encoded.row(row).as_ref()).cloned().unwrap_or(0..0)
    }

    /// Whether the key of `row` has a null.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.valid.as_ref().is_some_and(|valid| valid.is_null(row))
    }
}

/// Null where any of the keys is.
fn validity(keys: &[ArrayRef]) -> Option<NullBuffer> {
    keys.iter().fold(None, |valid, key| NullBuffer::union(valid.as_ref(), key.logical_nulls().as_ref()))
}

fn unusable_key(error: arrow::error::ArrowError) -> Error {
    Error::query(format!("a stream cannot be joined by this key: {error}; cast it to a plain type"))
        .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, StringArray};

    use super::*;

    fn index(keys: &[Option<i32>], nulls: NullEquality) -> Index {
        let key: ArrayRef = Arc::new(Int32Array::from(keys.to_vec()));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..keys.len()).map(|n| n.to_string())));
        let rows = RecordBatch::try_from_iter([("key", Arc::clone(&key)), ("name", names)]).unwrap();
        Index::new(rows, &[key], nulls).unwrap()
    }

    fn found(index: &Index, key: Option<i32>) -> Vec<String> {
        let keys: ArrayRef = Arc::new(Int32Array::from(vec![key]));
        let range = index.probe(&[keys]).unwrap().candidates(0);
        let names = index.rows().column(1);
        let names: &StringArray = arrow::array::AsArray::as_string(names);
        range.map(|row| names.value(row as usize).to_owned()).collect()
    }

    #[test]
    fn all_rows_of_a_key_in_their_order() {
        let index = index(&[Some(7), Some(3), Some(7), Some(9), Some(7)], NullEquality::NullEqualsNothing);
        assert_eq!(found(&index, Some(7)), ["0", "2", "4"]);
        assert_eq!(found(&index, Some(9)), ["3"]);
        assert!(found(&index, Some(8)).is_empty());
    }

    #[test]
    fn a_null_matches_only_where_nulls_are_equal() {
        let keys = [None, Some(1), None];
        let index_without = index(&keys, NullEquality::NullEqualsNothing);
        assert!(found(&index_without, None).is_empty() && index_without.has_null_key());
        assert_eq!(found(&index(&keys, NullEquality::NullEqualsNull), None), ["0", "2"]);
    }

    #[test]
    fn without_a_key_every_row_is_a_candidate() {
        let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
        let rows = RecordBatch::try_from_iter([("name", names)]).unwrap();
        let index = Index::new(rows, &[], NullEquality::NullEqualsNothing).unwrap();
        assert_eq!(index.probe(&[]).unwrap().candidates(5), 0..2);
    }
}
