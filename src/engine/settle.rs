//! Brings a checkpoint in step with a sink that remembers its epochs.

use super::QuerySpec;
use crate::checkpoint::{CommitEntry, Found, LogFacts, OffsetEntry};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};

/// The checkpoint's facts, after an epoch that the sink has and whose commit a crash has kept from being logged is logged as
/// committed: its rows are not to come again.
///
/// # Errors
/// The sink has epochs that the checkpoint does not know.
pub(super) async fn settled_facts(spec: &QuerySpec) -> Result<LogFacts> {
    let log = &spec.checkpoint;
    let facts = log.facts().await?;
    let Some(last) = spec.sink.last_committed().await? else {
        return Ok(facts);
    };
    match missing_commit(&facts, last).map_err(|error| error.context(spec.sink.description()))? {
        None => Ok(facts),
        Some(entry) => {
            tracing::info!("epoch {last} is in the sink already; it is not run again");
            log.put_commit(last, &entry).await?;
            log.facts().await
        }
    }
}

/// The commit to log, where the sink is one epoch ahead.
fn missing_commit(facts: &LogFacts, last: EpochId) -> Result<Option<CommitEntry>> {
    let next = facts.commits.last().map_or(EpochId::FIRST, |committed| committed.next());
    if last < next {
        return Ok(None);
    }
    match facts.entries.get(&next) {
        Some(Found::Whole(end)) if last == next => Ok(Some(commit_of(end))),
        _ => Err(Error::new(
            ErrorKind::Checkpoint,
            format!(
                "it has epoch {last}, and the checkpoint {} goes on with epoch {next}: they do not belong together; use the \
                 checkpoint that the sink was written with, or a new sink for a new checkpoint",
                facts.location
            ),
        )),
    }
}

fn commit_of(end: &OffsetEntry) -> CommitEntry {
    CommitEntry {
        next_batch_watermark_ms: end.metadata.as_ref().map_or(0, |metadata| metadata.batch_watermark_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(offsets: &[u64], commits: &[u64]) -> LogFacts {
        let ids = |ids: &[u64]| ids.iter().copied().map(EpochId).collect();
        let entry = OffsetEntry { metadata: None, offsets: vec![Some("{}".into())] };
        let entries = offsets.iter().map(|id| (EpochId(*id), Found::Whole(entry.clone()))).collect();
        LogFacts { offsets: ids(offsets), commits: ids(commits), entries, ..LogFacts::default() }
    }

    #[test]
    fn only_the_epoch_whose_commit_is_missing_is_made_up_for() {
        for (offsets, commits, last, is_missing) in [
            (&[0, 1][..], &[0, 1][..], 1, false),
            (&[0, 1], &[0, 1], 0, false),
            (&[0, 1], &[0], 1, true),
            (&[0], &[], 0, true),
        ] {
            let commit = missing_commit(&facts(offsets, commits), EpochId(last)).unwrap();
            assert_eq!(commit.is_some(), is_missing, "{offsets:?} {commits:?} {last}");
        }
    }

    #[test]
    fn a_sink_of_another_checkpoint_is_refused() {
        for (offsets, commits, last) in [(&[][..], &[][..], 0), (&[0], &[0], 1), (&[0, 1], &[0], 2)] {
            let error = missing_commit(&facts(offsets, commits), EpochId(last)).unwrap_err();
            assert!(error.to_string().contains("do not belong together"), "{error}");
        }
    }
}
