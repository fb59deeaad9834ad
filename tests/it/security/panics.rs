//! A function that panics ends its query, not the process.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{ColumnarValue, Volatility, create_udf};
use epochflow::{ErrorKind, StreamSession, Trigger};

use crate::support::in_time;
use crate::support::scripted::Script;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_panics_is_an_error_when_planned_and_when_run() {
    let session = StreamSession::new().unwrap();
    let script = Script::new(1);
    session.register_source(Arc::new(script.clone()));
    let panics = |_: &[ColumnarValue]| -> datafusion::error::Result<ColumnarValue> { panic!("out of order") };
    let function = |volatility, name| {
        create_udf(name, vec![DataType::Utf8], DataType::Utf8, volatility, Arc::new(panics))
    };
    session.context().register_udf(function(Volatility::Immutable, "broken"));
    session.context().register_udf(function(Volatility::Volatile, "broken_at_work"));
    script.push(0, "a");
    let pipeline = |expression: &str| {
        format!(
            "CREATE EXTERNAL TABLE IF NOT EXISTS events STORED AS SCRIPTED LOCATION '-';
             CREATE EXTERNAL TABLE IF NOT EXISTS sink STORED AS NOOP LOCATION '-';
             INSERT INTO sink SELECT {expression} AS value FROM events"
        )
    };
    // The planner calls it, since its argument is a constant.
    let error = session.pipeline(&pipeline("broken('x')")).await.unwrap().explain().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.to_string().contains("planning the query panicked: out of order"), "{error}");
    let error = session.sql("CREATE TABLE t AS SELECT broken('x')").await.unwrap_err();
    assert!(error.to_string().contains("out of order"), "{error}");
    // The process, and the session, go on.
    let query = session.pipeline(&pipeline("broken_at_work(text)")).await.unwrap();
    let query = query.trigger(Trigger::AvailableNow).restart(epochflow::RestartPolicy::Never);
    let query = in_time("the start", query.start()).await.unwrap();
    let error = in_time("the end", query.await_termination()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}
