//! The planner calls functions on constants: one that panics is an error, not the end of the process.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use epochflow::{ErrorKind, StreamSession};

use crate::support::scripted::Script;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_panics_when_it_is_planned_is_an_error() {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(Script::new(1)));
    let panics = |_: &[ColumnarValue]| -> datafusion::error::Result<ColumnarValue> { panic!("out of order") };
    let broken =
        create_udf("broken", vec![DataType::Utf8], DataType::Utf8, Volatility::Immutable, Arc::new(panics));
    session.context().register_udf(broken);
    let pipeline = "CREATE EXTERNAL TABLE events STORED AS SCRIPTED LOCATION '-';
         CREATE EXTERNAL TABLE sink STORED AS NOOP LOCATION '-';
         INSERT INTO sink SELECT broken('x') AS value FROM events";
    // The planner calls it, since its argument is a constant.
    let error = session.pipeline(pipeline).await.unwrap().explain().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("planning the query has panicked"), "{error}");
    let error = session.sql("CREATE TABLE t AS SELECT broken('x')").await.unwrap_err();
    assert!(error.to_string().contains("out of order"), "{error}");
    // The session goes on.
    session.sql("SELECT 1").await.unwrap();
}
