//! What a Parquet sink has committed, as a table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::TableType;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::{TableSchema, TableSchemaBuilder};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use uuid::Uuid;

use super::log::SinkLog;
use super::partitions::values_in;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::store::StoreUrl;

/// The rows of committed epochs, as of each scan. Partition columns are text and come last.
#[derive(Debug)]
pub(crate) struct CommittedRows {
    log: SinkLog,
    schema: TableSchema,
    /// Under which the store is known to DataFusion, whatever else it knows.
    store: StoreUrl,
}

/// Opens the folder that the sink with these options writes to; `None` if nothing is committed there.
///
/// # Errors
/// The folder cannot be read, or its log is damaged.
pub(crate) async fn committed_rows(
    session: &dyn Session,
    options: &Options,
) -> Result<Option<CommittedRows>> {
    let log = SinkLog::new(super::folder(options)?);
    let files = log.committed().await?;
    let Some(newest) = files.last() else {
        return Ok(None);
    };
    let path = inside(&log, &newest.path)?;
    let object = log.files().file(&path, newest.size, newest.modification_time)?;
    let store = log.files().object_store();
    let file_schema = ParquetFormat::default().infer_schema(session, store, &[object]).await?;
    let partitions =
        values_in(&path).into_iter().map(|(name, _)| Arc::new(Field::new(name, DataType::Utf8, true)));
    let schema = TableSchemaBuilder::new(Arc::new(Schema::new(file_schema.fields().clone())))
        .with_table_partition_cols(partitions.collect::<Vec<_>>())
        .build();
    let store = StoreUrl::parse(format!("parquet-sink://{}", Uuid::new_v4()))?;
    Ok(Some(CommittedRows { log, schema, store }))
}

fn inside(log: &SinkLog, url: &str) -> Result<String> {
    log.files().path_of(url).ok_or_else(|| {
        Error::new(
            ErrorKind::Environment,
            format!(
                "the log of {} names {url}, which is not in that folder: a folder cannot be moved, since Spark's log holds \
                 whole paths",
                log.files().location()
            ),
        )
    })
}

impl CommittedRows {
    async fn files(&self) -> Result<FileGroup> {
        let columns = self.schema.table_partition_cols();
        let mut files = Vec::new();
        for file in self.log.committed().await? {
            let path = inside(&self.log, &file.path)?;
            let found = values_in(&path);
            let value = |column: &Arc<Field>| {
                let value =
                    found.iter().find(|(name, _)| name == column.name()).and_then(|(_, value)| value.clone());
                ScalarValue::Utf8(value)
            };
            let object = self.log.files().file(&path, file.size, file.modification_time)?;
            files.push(
                PartitionedFile::new_from_meta(object)
                    .with_partition_values(columns.iter().map(value).collect()),
            );
        }
        Ok(FileGroup::new(files))
    }
}

#[async_trait]
impl TableProvider for CommittedRows {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let files = self.files().await.map_err(DataFusionError::from)?;
        let store = Arc::clone(self.log.files().object_store());
        state.runtime_env().register_object_store(self.store.as_ref(), store);
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let config = FileScanConfigBuilder::new(self.store.clone(), source)
            .with_file_group(files)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
