//! The origin of each row, as headers of its record.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};

use crate::epoch::Offset;
use crate::error::{Error, ErrorKind, Result};
use crate::provenance::{HEADERS, OFFSET, PARTITION, SOURCE, TOPIC};

/// Positions of the columns that carry the origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct OriginColumns([usize; 4]);

impl OriginColumns {
    pub(super) fn find(schema: &SchemaRef) -> Result<Self> {
        let index = |name: &str| {
            let missing = || Error::internal(format!("the rows do not carry their origin: no column {name}"));
            schema.column_with_name(name).map(|(index, _)| index).ok_or_else(missing)
        };
        Ok(Self([index(SOURCE)?, index(TOPIC)?, index(PARTITION)?, index(OFFSET)?]))
    }

    /// Access to the origins of a batch's rows.
    pub(super) fn rows(&self, batch: &RecordBatch) -> Result<Origins> {
        let column = |index: usize, to: &DataType| -> Result<ArrayRef> {
            cast(batch.column(index), to).map_err(|e| {
                Error::new(ErrorKind::Data, "a column of the rows' origin does not fit").with_source(e)
            })
        };
        let [source, topic, partition, offset] = self.0;
        Ok(Origins {
            source: column(source, &DataType::Utf8)?,
            topic: column(topic, &DataType::Utf8)?,
            partition: column(partition, &DataType::Utf8)?,
            offset: column(offset, &DataType::Int64)?,
        })
    }
}

/// The origins of a batch's rows.
pub(super) struct Origins {
    source: ArrayRef,
    topic: ArrayRef,
    partition: ArrayRef,
    offset: ArrayRef,
}

impl Origins {
    pub(super) fn offset(&self, row: usize) -> Offset {
        self.offset.as_primitive::<Int64Type>().value(row)
    }

    /// Calls `send` with the headers of a row, which is number `of_record` of its record.
    pub(super) fn with_headers<T>(
        &self,
        row: usize,
        of_record: u64,
        send: impl FnOnce([(&'static str, Option<&[u8]>); 5]) -> T,
    ) -> T {
        let text = |column: &ArrayRef| column.as_string::<i32>().value(row).to_owned();
        let values = [
            text(&self.source),
            text(&self.topic),
            text(&self.partition),
            self.offset(row).to_string(),
            of_record.to_string(),
        ];
        let mut headers = HEADERS.map(|name| (name, None));
        for (header, value) in headers.iter_mut().zip(&values) {
            header.1 = Some(value.as_bytes());
        }
        send(headers)
    }
}

/// Numbers the rows of each record. A record's rows leave a pipeline one after the other, and in the same order each time
/// that it is read.
#[derive(Debug, Default)]
pub(super) struct RowNumbers {
    /// Offset of the record whose row was written last, and that row's number.
    last: Option<(Offset, u64)>,
}

impl RowNumbers {
    /// The number of the next row, which comes from the record at `offset`.
    pub(super) fn next(&self, offset: Offset) -> u64 {
        self.last.filter(|(last, _)| *last == offset).map_or(0, |(_, row)| row + 1)
    }

    /// That row is written.
    pub(super) fn written(&mut self, offset: Offset) {
        self.last = Some((offset, self.next(offset)));
    }
}
