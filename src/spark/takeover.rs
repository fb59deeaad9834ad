//! What Spark makes of a checkpoint that it takes over.

use super::{Refusal, SparkTrigger, refuse};
use crate::checkpoint::{Found, LogFacts};
use crate::query::Trigger;

/// Why Spark should not go on from a checkpoint as it stands; what docs/checkpoint.md says under "Handing over".
pub fn takeover_warnings(facts: &LogFacts, trigger: SparkTrigger) -> Vec<String> {
    let committed = facts.commits.last();
    let planned = facts.offsets.last().filter(|last| Some(*last) > committed);
    let remedy = "first let epochflow commit an epoch and stop it";
    if let SparkTrigger::Like(Trigger::Continuous(_)) = trigger {
        let warning = |epoch| {
            format!(
                "epoch {epoch} is logged and not committed; Spark's continuous engine may lose its records: {remedy}"
            )
        };
        return planned.map(warning).into_iter().collect();
    }
    let newest = facts.offsets.last().and_then(|newest| facts.entries.get(newest));
    match newest {
        Some(Found::Whole(entry)) if entry.metadata.is_none() => vec![format!(
            "the newest entry is of Spark's continuous engine; Spark fails on it with a NullPointerException under other triggers: {remedy}"
        )],
        _ => Vec::new(),
    }
}

/// The location as Hadoop names it.
pub(super) fn location(location: &str) -> Result<String, Refusal> {
    let Some((scheme, rest)) = location.split_once("://") else {
        let Ok(path) = std::path::absolute(location) else {
            return refuse(format!("the checkpoint '{location}' is no path"), "give a path or URL");
        };
        return Ok(format!("file://{}", path.display()));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "s3" | "s3a" => Ok(format!("s3a://{rest}")),
        "file" | "gs" | "abfs" | "abfss" => Ok(location.to_owned()),
        _ => refuse(
            format!("Spark may not find the checkpoint '{location}'"),
            "give a path or a URL with file, s3, gs or abfss, or leave --checkpoint out and give it to the program",
        ),
    }
}
