//! Holds a statement's plan against what SQL text may reach.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{CreateExternalTable, DdlStatement, LogicalPlan, Statement};

use super::catalog::options_of;
use super::query_options::CHECKPOINT_LOCATION;
use super::sql::PARQUET_SINK;
use super::{SessionCore, StreamSession};
use crate::access::{Access, Reach};
use crate::error::{Error, Result};
use crate::kafka::reach as kafka;
use crate::options::Options;
use crate::store::reach as store;

/// Endings of DataFusion's settings that are places.
const PLACES: &[&str] = &["location", "directory", "path", "url"];

/// Refuses a statement that reaches what the session does not allow. Looks where paths lead, and reads no file.
///
/// # Errors
/// The statement names a place that is not allowed, or a setting that is not taken from SQL text.
pub(super) async fn check(session: &StreamSession, plan: &LogicalPlan) -> Result<()> {
    let access = &session.core.access;
    if access.is_unlimited() {
        return Ok(());
    }
    let mut reached = Vec::new();
    plan.apply_with_subqueries(|node| {
        collect(&session.core, node, &mut reached)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    if reached.is_empty() {
        return Ok(());
    }
    // A folder may hold many files.
    let access = access.clone();
    let check = move || reached.iter().try_for_each(|place| place.check(&access));
    tokio::task::spawn_blocking(check)
        .await
        .map_err(|error| Error::internal("looking where a path leads failed").with_source(error))?
}

/// What a statement names, and how it is taken.
#[derive(Debug)]
struct Named {
    what: String,
    place: Place,
}

/// As [`Reach`], on its own.
#[derive(Debug)]
enum Place {
    File(String),
    Path(String),
    Url(String),
    Brokers(String),
    Never(&'static str),
}

impl Named {
    fn new(what: impl Into<String>, reach: Reach<'_>) -> Self {
        let place = match reach {
            Reach::File(text) => Place::File(text.to_owned()),
            Reach::Path(text) => Place::Path(text.to_owned()),
            Reach::Url(text) => Place::Url(text.to_owned()),
            Reach::Brokers(text) => Place::Brokers(text.to_owned()),
            Reach::Never(reason) => Place::Never(reason),
        };
        Self { what: what.into(), place }
    }

    fn option(name: &str, reach: Reach<'_>) -> Self {
        Self::new(format!("option '{name}'"), reach)
    }

    fn check(&self, access: &Access) -> Result<()> {
        let reach = match &self.place {
            Place::File(text) => Reach::File(text),
            Place::Path(text) => Reach::Path(text),
            Place::Url(text) => Reach::Url(text),
            Place::Brokers(text) => Reach::Brokers(text),
            Place::Never(reason) => Reach::Never(reason),
        };
        access.check(&self.what, reach)
    }
}

fn collect(core: &SessionCore, node: &LogicalPlan, reached: &mut Vec<Named>) -> Result<()> {
    match node {
        LogicalPlan::Ddl(DdlStatement::CreateExternalTable(create)) => table(core, create, reached)?,
        LogicalPlan::Copy(copy) => {
            reached.push(Named::new("COPY TO", Reach::File(&copy.output_url)));
            let options = copy.options.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            reached
                .extend(store::reach(&options).into_iter().map(|(name, reach)| Named::option(name, reach)));
        }
        LogicalPlan::Statement(Statement::SetVariable(set)) => {
            let name = set.variable.to_ascii_lowercase();
            let of_datafusion = name.starts_with("datafusion.");
            if of_datafusion && !set.value.is_empty() && PLACES.iter().any(|place| name.ends_with(place)) {
                reached.push(Named::new(format!("SET {name}"), Reach::File(&set.value)));
            }
        }
        _ => {}
    }
    Ok(())
}

fn table(core: &SessionCore, create: &CreateExternalTable, reached: &mut Vec<Named>) -> Result<()> {
    let options = options_of(create);
    for (name, reach) in kafka::reach(&options)? {
        reached.push(Named::option(&name, reach));
    }
    if let Some(location) = options.get(CHECKPOINT_LOCATION) {
        reached.push(Named::option(CHECKPOINT_LOCATION, Reach::File(location)));
    }
    let format = create.file_type.to_ascii_lowercase();
    if format == "kafka" {
        for location in &create.locations {
            let brokers = location.strip_prefix("kafka://").and_then(|rest| rest.split('/').next());
            // Another form is refused when the table is made.
            reached.extend(brokers.map(|brokers| Named::new("LOCATION", Reach::Brokers(brokers))));
        }
    } else if is_of_files(core, &create.file_type) {
        files(create, &options, reached);
    }
    Ok(())
}

/// Formats of streams that are not files take their LOCATION as they like: what a program's own formats do with it, the
/// program decides.
fn is_of_files(core: &SessionCore, format: &str) -> bool {
    format == PARQUET_SINK
        || format.eq_ignore_ascii_case("parquet")
        || (core.source(format).is_err() && core.sink(format).is_err())
}

fn files(create: &CreateExternalTable, options: &Options, reached: &mut Vec<Named>) {
    let asks = |(name, _): (&str, &str)| name.eq_ignore_ascii_case("unbounded");
    let is_unbounded = create.unbounded || options.iter().any(asks);
    for location in &create.locations {
        reached.push(Named::new("LOCATION", Reach::File(location)));
        if is_unbounded {
            reached.push(Named::new("LOCATION", Reach::Path(location)));
        }
    }
    reached.extend(options.get("path").map(|path| Named::option("path", Reach::File(path))));
    reached.extend(store::reach(options).into_iter().map(|(name, reach)| Named::option(name, reach)));
}
