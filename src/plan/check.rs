//! Looks at the physical plan before it runs: nothing in it may withhold, mix or end rows.

use std::sync::Arc;

use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, displayable};

use super::async_calls::AsyncCallsExec;
use super::join::StaticJoinExec;
use super::table::SourceExec;
use crate::error::{Error, Result};

/// Every node passes rows on as they come.
///
/// # Errors
/// A node that may hold rows back or bring partitions together.
pub(crate) fn check_nodes(plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
    let passes = plan.is::<SourceExec>()
        || plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<UnnestExec>()
        || plan.is::<UnionExec>()
        || plan.is::<StaticJoinExec>()
        || plan.is::<AsyncCallsExec>()
        || plan.is::<CooperativeExec>();
    if !passes {
        return Err(refuse(plan, &format!("{} may hold rows back or mix partitions", plan.name())));
    }
    plan.children().into_iter().try_for_each(check_nodes)
}

/// As many partitions come out as the sources have.
///
/// # Errors
/// The plan has another number.
pub(crate) fn check_partitions(plan: &Arc<dyn ExecutionPlan>, expected: usize) -> Result<()> {
    let found = plan.output_partitioning().partition_count();
    if found == expected {
        return Ok(());
    }
    Err(refuse(plan, &format!("the sources have {expected} partitions and the plan gives {found}")))
}

fn refuse(plan: &Arc<dyn ExecutionPlan>, why: &str) -> Error {
    Error::query(format!(
        "the query cannot run as one pipeline for each source partition: {why}\n{}",
        displayable(plan.as_ref()).indent(false)
    ))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion::physical_plan::repartition::RepartitionExec;
    use datafusion::physical_plan::{Partitioning, empty::EmptyExec};

    use super::*;

    fn three_partitions() -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true)]));
        Arc::new(EmptyExec::new(schema).with_partitions(3))
    }

    #[test]
    fn exchanges_are_refused_with_the_plan() {
        let coalesced: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(three_partitions()));
        let partitioning = Partitioning::RoundRobinBatch(2);
        let repartition = RepartitionExec::try_new(three_partitions(), partitioning).unwrap();
        for (plan, name) in
            [(coalesced, "CoalescePartitionsExec"), (Arc::new(repartition) as _, "RepartitionExec")]
        {
            let error = check_nodes(&plan).unwrap_err().to_string();
            assert!(
                error.contains(&format!("{name} may hold rows back")) && error.contains("EmptyExec"),
                "{error}"
            );
        }
    }

    #[test]
    fn as_many_partitions_must_come_out_as_went_in() {
        assert!(check_partitions(&three_partitions(), 3).is_ok());
        let error = check_partitions(&three_partitions(), 4).unwrap_err().to_string();
        assert!(error.contains("have 4 partitions and the plan gives 3"), "{error}");
    }
}
