//! Calls of async functions that neither hold records back nor run without bound.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::async_scalar_function::AsyncFuncExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::async_func::AsyncFuncExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};

use crate::error::Error;

/// Calls of one function that a pipeline has under way at a time.
const MAX_CALLS: usize = 16;

/// Puts an [`AsyncCallsExec`] in place of each `AsyncFuncExec`.
#[derive(Debug)]
pub(super) struct PromptAsyncCalls;

impl PhysicalOptimizerRule for PromptAsyncCalls {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let replaced = plan.transform_up(|node| match node.downcast_ref::<AsyncFuncExec>() {
            Some(calls) => {
                Ok(Transformed::yes(Arc::new(AsyncCallsExec::new(calls.clone())) as Arc<dyn ExecutionPlan>))
            }
            None => Ok(Transformed::no(node)),
        });
        replaced.map(|transformed| transformed.data)
    }

    fn name(&self) -> &'static str {
        "prompt_async_calls"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Adds a column for each async function to each batch as it comes.
///
/// DataFusion's own operator collects rows until a batch is full, and calls the parts of a batch one after the other.
/// Here the parts, of the size that the function wants, are called side by side. The next batch waits for this one: rows
/// keep their order, and what was handed in is out when more is asked for.
#[derive(Debug)]
pub(crate) struct AsyncCallsExec {
    calls: AsyncFuncExec,
}

impl AsyncCallsExec {
    fn new(calls: AsyncFuncExec) -> Self {
        Self { calls }
    }
}

impl DisplayAs for AsyncCallsExec {
    fn fmt_as(&self, t: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncCallsExec: ")?;
        self.calls.fmt_as(t, f)
    }
}

impl ExecutionPlan for AsyncCallsExec {
    fn name(&self) -> &'static str {
        "AsyncCallsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.calls.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.calls.children()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> DataFusionResult<TreeNodeRecursion>,
    ) -> DataFusionResult<TreeNodeRecursion> {
        self.calls.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let [input] = <[_; 1]>::try_from(children)
            .map_err(|_| DataFusionError::from(Error::internal("async calls have one input")))?;
        Ok(Arc::new(Self::new(AsyncFuncExec::try_new(expressions(&self.calls), input)?)))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> DataFusionResult<SendableRecordBatchStream> {
        Ok(Box::pin(AsyncCallsStream {
            config: Arc::clone(context.session_config().options()),
            input: self.calls.input().execute(partition, context)?,
            calls: expressions(&self.calls).into(),
            schema: self.schema(),
            under_way: None,
        }))
    }
}

#[expect(deprecated, reason = "there is no other way to the functions of a planned operator")]
fn expressions(calls: &AsyncFuncExec) -> Vec<Arc<AsyncFuncExpr>> {
    calls.async_exprs().to_vec()
}

struct AsyncCallsStream {
    input: SendableRecordBatchStream,
    calls: Arc<[Arc<AsyncFuncExpr>]>,
    config: Arc<ConfigOptions>,
    schema: arrow::datatypes::SchemaRef,
    under_way: Option<BoxFuture<'static, DataFusionResult<RecordBatch>>>,
}

impl Stream for AsyncCallsStream {
    type Item = DataFusionResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(under_way) = &mut self.under_way {
                let called = ready!(under_way.poll_unpin(cx));
                self.under_way = None;
                return Poll::Ready(Some(called));
            }
            match ready!(self.input.as_mut().poll_next(cx)) {
                Some(Ok(batch)) => {
                    let (calls, schema) = (Arc::clone(&self.calls), Arc::clone(&self.schema));
                    let config = Arc::clone(&self.config);
                    self.under_way = Some(
                        async move {
                            let mut columns = batch.columns().to_vec();
                            for call in calls.iter() {
                                columns.push(column(call, &batch, &config).await?);
                            }
                            Ok(RecordBatch::try_new(schema, columns)?)
                        }
                        .boxed(),
                    );
                }
                other => return Poll::Ready(other),
            }
        }
    }
}

impl RecordBatchStream for AsyncCallsStream {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The function's value for each row of `batch`.
async fn column(
    call: &AsyncFuncExpr,
    batch: &RecordBatch,
    config: &Arc<ConfigOptions>,
) -> DataFusionResult<ArrayRef> {
    let rows = batch.num_rows();
    let size = call.ideal_batch_size()?.unwrap_or(rows).max(1);
    let parts = (0..rows).step_by(size).map(|from| batch.slice(from, size.min(rows - from)));
    let called = futures::stream::iter(parts.map(|part| async move {
        let values = call.invoke_with_args(&part, Arc::clone(config)).await?.into_array(part.num_rows())?;
        // A function may answer with one value for all rows.
        if values.len() == 1 && part.num_rows() > 1 {
            return ScalarValue::try_from_array(&values, 0)?.to_array_of_size(part.num_rows());
        }
        Ok(values)
    }));
    let columns: Vec<ArrayRef> = called.buffered(MAX_CALLS).try_collect().await?;
    match columns.as_slice() {
        [one] => Ok(Arc::clone(one)),
        many => Ok(concat(&many.iter().map(AsRef::as_ref).collect::<Vec<&dyn Array>>())?),
    }
}
