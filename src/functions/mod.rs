//! SQL functions beyond DataFusion's: Spark's for JSON, in every session.
//!
//! `schema.rs` reads Spark's notation of types, `columns.rs` fills Arrow columns from JSON, `decimals.rs` knows their
//! decimals; the other files are one function each.

mod columns;
mod decimals;
mod from_json;
mod get_json_object;
mod schema;
mod to_json;

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

/// `from_json`, `to_json` and `get_json_object`.
pub(crate) fn json() -> [Arc<ScalarUDF>; 3] {
    [
        Arc::new(from_json::FromJson::new().into()),
        Arc::new(to_json::ToJson::new().into()),
        Arc::new(get_json_object::GetJsonObject::new().into()),
    ]
}
