//! How DataFusion is set up for endless input.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionStateBuilder;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::prelude::SessionConfig;

use super::async_calls::PromptAsyncCalls;
use super::now;

/// Logical rules that would replace a source by an empty relation (`WHERE false`): the query would then have no stream
/// to make progress on.
const REMOVED_RULES: &[&str] = &["eliminate_filter", "propagate_empty_relation"];

/// Keeps one partition in, one partition out: with a single target partition no exchange is ever added.
pub(crate) fn streaming_config(config: SessionConfig) -> SessionConfig {
    let config = config
        .with_target_partitions(1)
        .with_round_robin_repartition(false)
        .with_repartition_joins(false)
        .with_repartition_aggregations(false)
        .with_repartition_windows(false)
        .with_repartition_sorts(false)
        .with_collect_statistics(false)
        .with_information_schema(true);
    config
        .set_bool("datafusion.optimizer.repartition_file_scans", false)
        // It would put `get_field(from_json(…), 'a')` in the place of each `row['a']`, and parse a record once for each field.
        .set_bool("datafusion.optimizer.enable_leaf_expression_pushdown", false)
        // A subquery for one value becomes a join with a static side, as any other.
        .set_bool("datafusion.optimizer.enable_physical_uncorrelated_scalar_subquery", false)
}

/// A session state with DataFusion's defaults, less and more what streams need.
pub(crate) fn streaming_state(builder: SessionStateBuilder) -> SessionStateBuilder {
    let state = builder.with_default_features().build();
    let rules = state
        .optimizers()
        .iter()
        .filter(|rule| !REMOVED_RULES.contains(&rule.name()))
        .map(Arc::clone)
        .collect();
    let mut builder = SessionStateBuilder::new_from_existing(state)
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rule(Arc::new(PromptAsyncCalls))
        .with_physical_optimizer_rule(Arc::new(PromptFilters));
    let clocks: Vec<_> = now::functions(builder.config().get_or_insert_default().options()).collect();
    builder.scalar_functions().get_or_insert_default().extend(clocks);
    builder
}

/// Makes every filter pass on what it has at once.
///
/// `FilterExec` collects rows until its batch size is reached, and on a pending input it keeps them: a filter that
/// passes few rows of an endless stream would show nothing for minutes (apache/datafusion#24353). With a batch size of
/// exactly 1 each filtered batch goes through whole and without a copy.
#[derive(Debug)]
struct PromptFilters;

impl PhysicalOptimizerRule for PromptFilters {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match node.downcast_ref::<FilterExec>() {
            Some(filter) => {
                Ok(Transformed::yes(Arc::new(filter.with_batch_size(1)?) as Arc<dyn ExecutionPlan>))
            }
            None => Ok(Transformed::no(node)),
        })
        .map(|transformed| transformed.data)
    }

    fn name(&self) -> &'static str {
        "prompt_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
