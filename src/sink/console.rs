//! The console sink: prints each epoch's rows as Spark's does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use async_trait::async_trait;

use super::{CollectingWriter, CommitMessage, Sink, SinkProvider, SinkWriter, collected};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{Options, invalid};

/// Makes the console sink; options `numRows` (20) and `truncate` (true, false, or a width).
#[derive(Debug)]
pub(crate) struct ConsoleSinkProvider;

#[derive(Debug)]
struct ConsoleSink {
    schema: SchemaRef,
    rows: usize,
    /// Widest cell in characters; `None` shows cells whole.
    width: Option<usize>,
}

impl SinkProvider for ConsoleSinkProvider {
    fn format(&self) -> &'static str {
        "console"
    }

    fn sink(&self, options: &Options, schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        options.check_known("the console sink", &["numRows", "truncate"], &[])?;
        let width = match options.get("truncate") {
            None => Some(20),
            Some(text) if text.eq_ignore_ascii_case("true") => Some(20),
            Some(text) if text.eq_ignore_ascii_case("false") => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| invalid("truncate", text, "true, false or a number of characters"))?,
            ),
        };
        let rows = options.parse("numRows", "a number of rows")?.unwrap_or(20);
        Ok(Arc::new(ConsoleSink {
            schema: Arc::clone(schema),
            rows,
            width: width.filter(|width| *width > 0),
        }))
    }

    fn allows_temporary_checkpoint(&self) -> bool {
        true
    }
}

#[async_trait]
impl Sink for ConsoleSink {
    fn description(&self) -> String {
        format!("ConsoleTable[numRows={}, truncate={}]", self.rows, self.width.is_some())
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    fn writer(&self, _pipeline: usize, _epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(CollectingWriter::default()))
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        let text = self.render(epoch, &collected(messages))?;
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|e| Error::new(ErrorKind::Environment, "cannot write to standard output").with_source(e))
    }
}

impl ConsoleSink {
    fn render(&self, epoch: EpochId, batches: &[RecordBatch]) -> Result<String> {
        let header: Vec<String> =
            self.schema.fields().iter().map(|field| self.cut(field.name().clone())).collect();
        let total: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let mut cells: Vec<Vec<String>> = Vec::new();
        for batch in batches {
            let wanted = batch.num_rows().min(self.rows - cells.len());
            let options = FormatOptions::new()
                .with_null("NULL")
                .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
                .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f"));
            let columns = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options).map(|format| (column, format)))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| Error::new(ErrorKind::Data, "cannot print a column").with_source(e))?;
            for row in 0..wanted {
                cells.push(
                    columns.iter().map(|(column, format)| self.cut(cell(column, format, row))).collect(),
                );
            }
        }
        let widths: Vec<usize> = (0..header.len())
            .map(|column| {
                let longest = cells
                    .iter()
                    .chain([&header])
                    .filter_map(|row| row.get(column))
                    .map(|c| c.chars().count());
                longest.max().unwrap_or(0).max(3)
            })
            .collect();
        let mut text = format!("{0}\nBatch: {epoch}\n{0}\n", "-".repeat(43));
        let line: String =
            widths.iter().map(|width| format!("+{}", "-".repeat(*width))).chain(["+\n".into()]).collect();
        text.push_str(&line);
        for (number, row) in [&header].into_iter().chain(&cells).enumerate() {
            for (cell, width) in row.iter().zip(&widths) {
                // Spark pads cut cells on the left, whole ones on the right.
                let _ = if self.width.is_some() {
                    write!(text, "|{cell:>width$}")
                } else {
                    write!(text, "|{cell:<width$}")
                };
            }
            text.push_str("|\n");
            if number == 0 {
                text.push_str(&line);
            }
        }
        text.push_str(&line);
        if total > self.rows {
            let _ = writeln!(
                text,
                "only showing top {} {}",
                self.rows,
                if self.rows == 1 { "row" } else { "rows" }
            );
        }
        text.push('\n');
        Ok(text)
    }

    fn cut(&self, cell: String) -> String {
        let cell = escaped(cell);
        match self.width {
            Some(width) if cell.chars().count() > width && width < 4 => cell.chars().take(width).collect(),
            Some(width) if cell.chars().count() > width => {
                cell.chars().take(width - 3).chain("...".chars()).collect()
            }
            _ => cell,
        }
    }
}

/// A cell stays on its line.
fn escaped(cell: String) -> String {
    if !cell.contains(|c: char| c.is_ascii_control()) {
        return cell;
    }
    let mut text = String::with_capacity(cell.len() + 2);
    for c in cell.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\x0c' => text.push_str("\\f"),
            '\x08' => text.push_str("\\b"),
            '\x0b' => text.push_str("\\v"),
            '\x07' => text.push_str("\\a"),
            c => text.push(c),
        }
    }
    text
}

/// Binary cells as Spark shows them, `[61 62]`; the rest as Arrow does.
fn cell(column: &Arc<dyn Array>, format: &ArrayFormatter<'_>, row: usize) -> String {
    if matches!(column.data_type(), DataType::Binary) && column.is_valid(row) {
        use arrow::array::AsArray;
        let bytes: Vec<String> =
            column.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02X}")).collect();
        return format!("[{}]", bytes.join(" "));
    }
    format.value(row).to_string()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};

    use super::*;

    fn render(options: &[(&str, &str)]) -> String {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
            ("text", Arc::new(StringArray::from(vec!["a", "twenty-one characters", "a\nb\t"]))),
            ("raw", Arc::new(BinaryArray::from(vec![&b"ab"[..], b"", b"\xff"]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let schema = batch.schema();
        let width = options.iter().find(|(name, _)| *name == "truncate").is_none();
        let rows =
            options.iter().find(|(name, _)| *name == "numRows").map_or(20, |(_, rows)| rows.parse().unwrap());
        ConsoleSink { schema, rows, width: width.then_some(20) }.render(EpochId(7), &[batch]).unwrap()
    }

    #[test]
    fn sparks_layout() {
        let expected = "\
-------------------------------------------
Batch: 7
-------------------------------------------
+----+--------------------+-------+
|  id|                text|    raw|
+----+--------------------+-------+
|   1|                   a|[61 62]|
|NULL|twenty-one charac...|     []|
|   3|              a\\nb\\t|   [FF]|
+----+--------------------+-------+

";
        assert_eq!(render(&[]), expected);
    }

    #[test]
    fn whole_cells_and_fewer_rows() {
        let text = render(&[("truncate", "false"), ("numRows", "2")]);
        assert!(text.contains("|twenty-one characters|"), "{text}");
        assert!(text.ends_with("only showing top 2 rows\n\n"), "{text}");
    }
}
