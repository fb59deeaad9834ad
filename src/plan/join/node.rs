//! Finds the joins of a plan that have a static side, and plans them as [`StaticJoinExec`].

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, JoinType};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{
    Expr, Extension, InvariantLevel, Join, LogicalPlan, UserDefinedLogicalNode,
    physical_planning_context::PhysicalPlanningContext,
};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{ExtensionPlanner, PhysicalPlanner};

use super::Kind;
use super::exec::{JoinSpec, StaticJoinExec};
use super::side::StaticSide;
use crate::error::Result;
use crate::plan::support::reads_stream;

/// What a join does for each row of the stream; `None` where it would have to know all of them first.
pub(crate) fn supported_kind(join: &Join, stream_is_left: bool) -> Option<Kind> {
    match (join.join_type, stream_is_left) {
        (JoinType::Inner, _) => Some(Kind::Inner),
        (JoinType::Left, true) | (JoinType::Right, false) => Some(Kind::Outer),
        (JoinType::LeftSemi, true) | (JoinType::RightSemi, false) => Some(Kind::Semi),
        (JoinType::LeftAnti, true) if join.null_aware => Some(Kind::NotIn),
        (JoinType::LeftAnti, true) | (JoinType::RightAnti, false) => Some(Kind::Anti),
        (JoinType::LeftMark, true) | (JoinType::RightMark, false) => Some(Kind::Mark),
        _ => None,
    }
}

/// Puts a [`StaticJoin`] in place of each join of a stream with a static side.
///
/// # Errors
/// A join that the optimiser made and that cannot run on a stream.
pub(crate) fn replace_joins(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_down(|node| {
        if !reads_stream(&node)? {
            return Ok(Transformed::new(node, false, TreeNodeRecursion::Jump));
        }
        match node {
            LogicalPlan::Join(join) => {
                crate::plan::support::check_join(&join)?;
                let stream_is_left = reads_stream(&join.left)?;
                let join = StaticJoin { join, stream_is_left };
                Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(join) })))
            }
            other => Ok(Transformed::no(other)),
        }
    })?;
    Ok(replaced.data)
}

/// A join of which only the stream is an input: the static side is planned and run on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Hash)]
struct StaticJoin {
    join: Join,
    stream_is_left: bool,
}

impl StaticJoin {
    fn sides(&self) -> (&LogicalPlan, &LogicalPlan) {
        let (left, right) = (self.join.left.as_ref(), self.join.right.as_ref());
        if self.stream_is_left { (left, right) } else { (right, left) }
    }
}

impl UserDefinedLogicalNode for StaticJoin {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn name(&self) -> &'static str {
        "StaticJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![self.sides().0]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.join.schema
    }

    fn check_invariants(&self, _check: InvariantLevel) -> DataFusionResult<()> {
        Ok(())
    }

    /// The plan is optimised by now, and part of the expressions are over the static side: nothing is to be rewritten.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on: Vec<String> = self.join.on.iter().map(|(l, r)| format!("{l} = {r}")).collect();
        write!(f, "StaticJoin: {}, on=[{}]", self.join.join_type, on.join(", "))?;
        self.join.filter.iter().try_for_each(|filter| write!(f, ", filter={filter}"))?;
        write!(f, ", static side: {}", self.sides().1.display())
    }

    fn with_exprs_and_inputs(
        &self,
        _exprs: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Arc<dyn UserDefinedLogicalNode>> {
        let mut node = self.clone();
        for input in inputs {
            let side = if node.stream_is_left { &mut node.join.left } else { &mut node.join.right };
            *side = Arc::new(input);
        }
        Ok(Arc::new(node))
    }

    fn dyn_hash(&self, mut state: &mut dyn Hasher) {
        self.hash(&mut state);
    }

    fn dyn_eq(&self, other: &dyn UserDefinedLogicalNode) -> bool {
        other.as_any().downcast_ref::<Self>().is_some_and(|other| self == other)
    }

    fn dyn_ord(&self, other: &dyn UserDefinedLogicalNode) -> Option<Ordering> {
        other.as_any().downcast_ref::<Self>().and_then(|other| self.partial_cmp(other))
    }
}

/// Plans [`StaticJoin`]s for the queries of one session.
pub(crate) struct StaticJoinPlanner {
    state: Arc<SessionState>,
}

impl StaticJoinPlanner {
    pub(crate) fn new(state: &SessionState) -> Self {
        Self { state: Arc::new(state.clone()) }
    }
}

#[async_trait]
impl ExtensionPlanner for StaticJoinPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> DataFusionResult<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [stream]) = (node.as_any().downcast_ref::<StaticJoin>(), physical_inputs) else {
            return Ok(None);
        };
        let join = &node.join;
        let kind = supported_kind(join, node.stream_is_left).ok_or_else(|| {
            DataFusionError::Plan(format!("a {} join has no plan on a stream", join.join_type))
        })?;
        let (left, right): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
        let (stream_keys, static_keys) = if node.stream_is_left { (left, right) } else { (right, left) };
        let (stream_plan, static_plan) = node.sides();
        let physical = |expressions: &[Expr], input: &LogicalPlan| {
            let physical = |expr: &Expr| planner.create_physical_expr(expr, input.schema(), session, context);
            expressions.iter().map(physical).collect::<DataFusionResult<Vec<_>>>()
        };
        let pairs = join.left.schema().join(join.right.schema())?;
        let filter = join.filter.as_ref();
        let filter = filter.map(|filter| planner.create_physical_expr(filter, &pairs, session, context));
        let side = StaticSide::new(
            static_plan.clone(),
            Arc::clone(&self.state),
            physical(&static_keys, static_plan)?,
            join.null_equality,
        );
        let spec = JoinSpec {
            kind,
            stream_is_left: node.stream_is_left,
            stream_keys: physical(&stream_keys, stream_plan)?,
            filter: filter.transpose()?,
            pairs: Arc::clone(pairs.inner()),
            schema: Arc::clone(join.schema.inner()),
        };
        Ok(Some(Arc::new(StaticJoinExec::new(Arc::clone(stream), Arc::new(spec), Arc::new(side)))))
    }
}
