//! `epochflow checkpoint show`.

use std::collections::BTreeMap;

use clap::Args;
use epochflow::checkpoint::{Checkpoint, Found, LogFacts};
use epochflow::{KafkaSourceProvider, Offset, Options, Result, SourceProvider};
use serde_json::{Value, json};

use super::checkpoint::no_checkpoint;
use super::{StoreArgs, name_and_value};

/// Options of `checkpoint show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Path or URL.
    location: String,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Kafka's bootstrap servers: shows too how many records each Kafka source is behind.
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// Option of the Kafka source for that, such as kafka.security.protocol=SSL; may be repeated.
    #[arg(long = "source-option", value_name = "NAME=VALUE", value_parser = name_and_value, requires = "brokers")]
    source_options: Vec<(String, String)>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints what a checkpoint holds. Changes nothing.
#[expect(clippy::print_stdout, reason = "this is the command's result")]
pub(super) async fn show(args: ShowArgs) -> Result<()> {
    let checkpoint = Checkpoint::open(&args.location, &args.store.options)?;
    let Some(id) = checkpoint.read_query_id().await? else {
        return Err(no_checkpoint(&args.location));
    };
    let facts = checkpoint.facts().await?;
    let committed = facts.commits.last();
    let lines = lines(&facts)?;
    let lag = match &args.brokers {
        Some(brokers) => lag_of_all(brokers, &args.source_options, &lines).await?,
        None => Vec::new(),
    };
    let author = match facts.entries.last_key_value() {
        Some((epoch, Found::Whole(entry))) => Some(checkpoint.author(*epoch, entry).await?.to_string()),
        _ => None,
    };
    let uncommitted: Vec<u64> = facts.uncommitted().into_iter().map(|epoch| epoch.0).collect();
    let offsets: Vec<Value> = lines.iter().map(|line| embedded(line.as_deref())).collect();
    let warnings = facts.handover_warnings();
    if args.json {
        let mut shown = json!({
            "id": id.to_string(),
            "location": checkpoint.location(),
            "lastCommittedEpoch": committed.map(|epoch| epoch.0),
            "lastLoggedEpoch": facts.offsets.last().map(|epoch| epoch.0),
            "uncommittedEpochs": uncommitted,
            "writtenBy": author,
            "offsets": offsets,
            "warnings": warnings,
        });
        if args.brokers.is_some() {
            shown["lag"] = lag.into_iter().map(|lag| lag.map_or(Value::Null, |lag| json!(lag))).collect();
        }
        println!("{shown:#}");
        return Ok(());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    println!("checkpoint            {}", checkpoint.location());
    println!("query id              {id}");
    println!("last committed epoch  {}", or_none(committed.map(ToString::to_string)));
    println!("last logged epoch     {}", or_none(facts.offsets.last().map(ToString::to_string)));
    println!("written by            {}", or_none(author));
    for (source, offsets) in offsets.iter().enumerate() {
        println!("next of source {source}      {offsets}");
    }
    for (source, lag) in lag.iter().enumerate() {
        match lag {
            Some(lag) => {
                let total: Offset = lag.values().flat_map(BTreeMap::values).sum();
                println!("lag of source {source}       {total} records: {}", json!(lag));
            }
            None => println!("lag of source {source}       not known: not a Kafka source"),
        }
    }
    if !uncommitted.is_empty() {
        println!("not committed         {uncommitted:?}: run again or read again at the next start");
    }
    warnings.iter().for_each(|warning| println!("warning: {warning}"));
    Ok(())
}

/// Each source's line of the last committed epoch.
fn lines(facts: &LogFacts) -> Result<Vec<Option<String>>> {
    match facts.commits.last().and_then(|epoch| facts.entries.get(epoch)) {
        Some(Found::Whole(entry)) => Ok(entry.offsets.clone()),
        Some(Found::Torn(error) | Found::Unreadable(error)) => Err(error.clone()),
        None => Ok(Vec::new()),
    }
}

/// Offsets that are JSON as JSON, others as text.
fn embedded(line: Option<&str>) -> Value {
    line.map_or(Value::Null, |line| serde_json::from_str(line).unwrap_or_else(|_| line.into()))
}

/// Records that are to be read, or offsets, by topic and partition.
type Lag = BTreeMap<String, BTreeMap<i32, Offset>>;

/// `None` for a source that is not Kafka's.
async fn lag_of_all(
    brokers: &str,
    options: &[(String, String)],
    lines: &[Option<String>],
) -> Result<Vec<Option<Lag>>> {
    let mut all = Vec::with_capacity(lines.len());
    for line in lines {
        all.push(match line {
            Some(line) => lag(brokers, options, line).await?,
            None => None,
        });
    }
    Ok(all)
}

async fn lag(brokers: &str, options: &[(String, String)], line: &str) -> Result<Option<Lag>> {
    let Ok(offsets) = serde_json::from_str::<Lag>(line) else {
        return Ok(None);
    };
    let topics: Vec<&str> = offsets.keys().map(String::as_str).collect();
    let mut all: Options = options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    all.set("kafka.bootstrap.servers", brokers);
    all.set("subscribe", topics.join(","));
    let source = KafkaSourceProvider.source(&all)?;
    let ends = source.latest_offsets().await?;
    let mut lag = Lag::new();
    for (partition, next) in source.decode_offsets(line)? {
        // A partition that is gone has nothing to be read.
        let end = ends.get(&partition).copied().unwrap_or(next);
        let of_topic = lag.entry(partition.topic.to_string()).or_default();
        of_topic.insert(partition.number, (end - next).max(0));
    }
    Ok(Some(lag))
}
