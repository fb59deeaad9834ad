//! `epochflow checkpoint`.

use epochflow::checkpoint::{Checkpoint, Found};
use epochflow::{EpochId, Error, ErrorKind, Result};
use serde_json::{Value, json};

/// Prints what a checkpoint holds. Changes nothing.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
pub(super) async fn show(location: &str, options: &[(String, String)], as_json: bool) -> Result<()> {
    let checkpoint = Checkpoint::open(location, options)?;
    let Some(id) = checkpoint.read_query_id().await? else {
        return Err(Error::new(
            ErrorKind::Checkpoint,
            format!("there is no checkpoint at {location}: it has no file 'metadata'"),
        ));
    };
    let facts = checkpoint.facts().await?;
    let committed = facts.commits.last().copied();
    let latest = facts.offsets.last().copied();
    let planned: Vec<u64> = facts
        .offsets
        .iter()
        .filter(|epoch| committed.is_none_or(|c| **epoch > c))
        .map(|epoch| epoch.0)
        .collect();
    let offsets = match committed.and_then(|epoch| facts.entries.get(&epoch)) {
        Some(Found::Whole(entry)) => entry.offsets.iter().map(|line| embedded(line.as_deref())).collect(),
        Some(Found::Torn(error) | Found::Unreadable(error)) => return Err(error.clone()),
        None => Vec::new(),
    };
    if as_json {
        let shown = json!({
            "id": id.to_string(),
            "location": checkpoint.location(),
            "lastCommittedEpoch": committed.map(|epoch| epoch.0),
            "lastLoggedEpoch": latest.map(|epoch| epoch.0),
            "uncommittedEpochs": planned,
            "offsets": offsets,
        });
        println!("{shown:#}");
        return Ok(());
    }
    let number = |epoch: Option<EpochId>| epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
    println!("checkpoint            {}", checkpoint.location());
    println!("query id              {id}");
    println!("last committed epoch  {}", number(committed));
    println!("last logged epoch     {}", number(latest));
    for (source, offsets) in offsets.iter().enumerate() {
        println!("next of source {source}      {offsets}");
    }
    if !planned.is_empty() {
        println!("not committed         {planned:?}: run again or read again at the next start");
    }
    Ok(())
}

/// Offsets that are JSON as JSON, others as text.
fn embedded(line: Option<&str>) -> Value {
    line.map_or(Value::Null, |line| serde_json::from_str(line).unwrap_or_else(|_| line.into()))
}
