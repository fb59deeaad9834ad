//! Whose functions a session has: DataFusion's, or Spark's where both have one of the name.

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::execution::registry::FunctionRegistry;
use datafusion::prelude::SessionContext;
use datafusion_spark::function::string::substring::SparkSubstring;
use datafusion_spark::planner::SparkFunctionPlanner;

use super::settings::{Settings, SqlDialect};
use crate::error::{Error, Result};
use crate::functions;
use crate::plan::now;

/// The functions that every session has beyond DataFusion's.
///
/// # Errors
/// None is known.
pub(super) fn register(context: &SessionContext) -> Result<()> {
    datafusion_functions_json::register_all(&mut context.clone())?;
    register_own(&mut *context.state_ref().write())?;
    apply(context)
}

fn register_own(registry: &mut dyn FunctionRegistry) -> Result<()> {
    for function in functions::json() {
        registry.register_udf(function)?;
    }
    Ok(())
}

/// Sees to it that the functions are those that `epochflow.sql_dialect` asks for.
///
/// # Errors
/// There is no dialect of that name, or it was given up too late.
pub(super) fn apply(context: &SessionContext) -> Result<()> {
    let config = context.copied_config();
    let wanted = Settings::of(&config).dialect()?;
    let state = context.state_ref();
    let mut state = state.write();
    let substring = state.scalar_functions().get("substring");
    let is_spark = substring.is_some_and(|function| function.inner().is::<SparkSubstring>());
    match (wanted, is_spark) {
        (SqlDialect::Spark, false) => {
            let mut builder = SessionStateBuilder::new_from_existing(state.clone());
            // The first that knows an expression plans it: EXTRACT and SUBSTRING have a syntax of their own.
            builder.expr_planners().get_or_insert_default().insert(0, Arc::new(SparkFunctionPlanner));
            *state = builder.build();
            datafusion_spark::register_all(&mut *state)?;
            // These hold in every dialect.
            register_own(&mut *state)?;
            for function in now::functions(config.options()) {
                state.register_udf(function)?;
            }
            Ok(())
        }
        (SqlDialect::DataFusion, true) => Err(Error::usage(
            "a session keeps the functions of the dialect spark; make another session for the dialect datafusion",
        )),
        _ => Ok(()),
    }
}
