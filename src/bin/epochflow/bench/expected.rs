//! What must come out: the same query over the same rows by DataFusion, as a batch.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};
use epochflow::StreamSession;

use super::Result;
use super::query::Query;
use super::record::{self, Digest, PROBE};
use super::stream::{self, Stream};

/// Rows that are in memory at a time.
const CHUNK: usize = 50_000;

/// What a run of `records` records must give.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// All records as they are sent.
    pub(super) sent: Digest,
    /// Those that the query lets pass, as they are sent.
    pub(super) passing: Digest,
    /// The query's result.
    pub(super) result: Digest,
    /// By `seq`, whether the query lets it pass.
    pub(super) passes: Vec<bool>,
    /// The first row that the query lets pass.
    pub(super) probe: u64,
}

/// Runs the query over the first `records` rows of `stream`.
///
/// # Errors
/// The query fails, or no row passes.
pub(super) async fn compute(
    query: &Query,
    stream: Stream,
    plain_bytes: usize,
    records: u64,
) -> Result<Expected> {
    let folder = tempfile::tempdir()?;
    let context = batch_context().await?;
    if query.joins_part {
        context.sql(&part_table(folder.path())?).await?;
    }
    let mut rows = stream::rows(stream, plain_bytes);
    let mut expected = Expected::default();
    for first in (0..records).step_by(CHUNK) {
        let seqs = first..records.min(first + CHUNK as u64);
        let chunk: Vec<String> =
            seqs.zip(rows.by_ref()).map(|(seq, fields)| record::encode(seq as i64, 0, &fields)).collect();
        let result = batch(&context, query, &chunk).await?;
        expected.add(&chunk, &result)?;
    }
    let probe = expected.passes.iter().position(|passes| *passes).ok_or_else(|| {
        format!("{}: none of {records} records passes; take a longer run or a higher rate", query.id)
    })?;
    expected.probe = probe as u64;
    Ok(expected)
}

impl Expected {
    /// Takes in the next records and the query's result for them.
    fn add(&mut self, sent: &[String], result: &[Vec<u8>]) -> Result<()> {
        let first = self.passes.len();
        self.passes.resize(first + sent.len(), false);
        for row in result {
            let stamp = record::stamp(row).ok_or("the query drops seq or t0")?;
            self.result.add(&stamp);
            self.passes[stamp.seq as usize] = true;
        }
        for (record, passes) in sent.iter().zip(&self.passes[first..]) {
            let stamp = record::stamp(record.as_bytes()).ok_or("a stream's row hides seq or t0")?;
            self.sent.add(&stamp);
            if *passes {
                self.passing.add(&stamp);
            }
        }
        Ok(())
    }

    /// Writes for the relay which records to forward: a byte for each.
    pub(super) fn write_passes(&self, path: &Path) -> Result<()> {
        Ok(std::fs::write(path, self.passes.iter().map(|passes| u8::from(*passes)).collect::<Vec<_>>())?)
    }
}

/// Reads what [`Expected::write_passes`] wrote. Probes always pass.
pub(super) fn read_passes(path: &Path) -> Result<impl Fn(i64) -> bool> {
    let passes = std::fs::read(path)?;
    Ok(move |seq| seq == PROBE || passes.get(seq as usize) == Some(&1))
}

/// DataFusion as it comes, with a stream session's functions and none of its rules.
async fn batch_context() -> Result<SessionContext> {
    // As in streams: with it a record would be parsed once for each field.
    let config = SessionConfig::new().set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false);
    let mut context = SessionContext::new_with_config(config);
    datafusion_functions_json::register_all(&mut context)?;
    let streams = StreamSession::new()?;
    let functions = streams.context().state();
    for (name, function) in functions.scalar_functions() {
        if context.udf(name).is_err() {
            context.register_udf(function.as_ref().clone());
        }
    }
    Ok(context)
}

async fn batch(context: &SessionContext, query: &Query, records: &[String]) -> Result<Vec<Vec<u8>>> {
    let value: ArrayRef = Arc::new(BinaryArray::from_iter_values(records));
    let key: ArrayRef = Arc::new(BinaryArray::new_null(records.len()));
    let rows = RecordBatch::try_from_iter_with_nullable([("key", key, true), ("value", value, true)])?;
    context.deregister_table("events")?;
    context.register_batch("events", rows)?;
    let mut values = Vec::new();
    for result in context.sql(query.select).await?.collect().await? {
        let column = result.column_by_name("value").ok_or("the query has no column 'value'")?;
        let column = cast(column, &DataType::Binary)?;
        values.extend(column.as_binary::<i32>().iter().flatten().map(<[u8]>::to_vec));
    }
    Ok(values)
}

/// Writes the static table `part` into `folder`; the statement that creates it.
pub(super) fn part_table(folder: &Path) -> Result<String> {
    let path: PathBuf = folder.join("part.csv");
    let mut text = "p_partkey,p_type\n".to_owned();
    for part in stream::parts() {
        writeln!(text, "{},{}", part.p_partkey, part.p_type)?;
    }
    std::fs::write(&path, text)?;
    Ok(format!(
        "CREATE EXTERNAL TABLE part (p_partkey BIGINT, p_type STRING) STORED AS CSV LOCATION '{}' \
         OPTIONS ('format.has_header' 'true');\n",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::query;
    use super::*;

    async fn share(id: &str, records: u64) -> f64 {
        let query = query::parse(id).unwrap();
        let expected = compute(query, query.stream, 110, records).await.unwrap();
        assert_eq!(expected.sent.count, records);
        assert_eq!(expected.passing.count, expected.result.count);
        assert!(expected.passes[expected.probe as usize], "{id}");
        expected.result.count as f64 / records as f64
    }

    #[tokio::test]
    async fn each_query_passes_about_as_much_as_its_description_says() {
        for (id, range) in [
            ("p0", 1.0..=1.0),
            ("h1", 0.96..=1.0),
            ("h6", 0.01..=0.03),
            ("h12", 0.05..=0.5),
            ("h13", 0.95..=0.9999),
            ("h14", 1.0..=1.0),
            ("h19", 0.0005..=0.005),
            ("h22", 0.2..=0.36),
            ("n0", 1.0..=1.0),
            ("n1", 1.0..=1.0),
            ("n2", 0.001..=0.05),
            ("n14", 0.1..=0.9),
            ("n21", 0.8..=1.0),
            ("n22", 1.0..=1.0),
        ] {
            let share = share(id, 4_000).await;
            assert!(range.contains(&share), "{id}: {share}");
        }
    }

    #[tokio::test]
    async fn a_run_without_any_result_is_refused() {
        let query = query::parse("h19").unwrap();
        let error = compute(query, query.stream, 110, 1).await.unwrap_err().to_string();
        assert_eq!(error, "h19: none of 1 records passes; take a longer run or a higher rate");
    }
}
