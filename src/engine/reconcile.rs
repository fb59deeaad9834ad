//! Exactly-once at a start: what the sink has committed, held against what the checkpoint says.
//!
//! Within an epoch the checkpoint gets `offsets/N`, then the sink commits, then the checkpoint gets `commits/N`. A crash in
//! between leaves the sink ahead by one epoch, whose end is known. An epoch without rows is not known to the sink at all.

use std::sync::Arc;

use super::QuerySpec;
use super::open::decoded;
use crate::checkpoint::{CommitEntry, Found, LogFacts, OffsetEntry};
use crate::epoch::EpochId;
use crate::error::{Error, ErrorKind, Result};
use crate::sink::{Delivery, OwnedSource, SinkOwner};
use crate::source::Source;

/// What the two say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The checkpoint has all that the sink has.
    Agreed,
    /// The sink has committed this epoch, and the crash came before the checkpoint had it.
    SinkIsAhead(EpochId),
    /// The checkpoint has commits, and the sink knows of none.
    SinkKnowsNothing,
}

/// What the checkpoint's logs hold, once they hold all that the sink has committed. Without exactly-once delivery the sink
/// is not asked.
///
/// # Errors
/// The sink has committed what this checkpoint cannot know.
pub(super) async fn reconciled(spec: &QuerySpec, sources: &[Arc<dyn Source>]) -> Result<LogFacts> {
    let log = &spec.checkpoint;
    let mut facts = log.facts().await?;
    if spec.sink.delivery() == Delivery::AtLeastOnce {
        return Ok(facts);
    }
    let last = loop {
        let last = spec.sink.take_over(&owner(spec, sources, &facts).await?).await?;
        // Only now can nobody else have committed since.
        let before = std::mem::replace(&mut facts, log.facts().await?);
        // A sink may keep the epoch beside partitions that it knows from the newest end. If that came meanwhile, by another
        // instance that has begun this query, it could not be asked for them.
        if newest_end(&before).is_some() || newest_end(&facts).is_none() {
            break last;
        }
    };
    match compare(&facts, last)? {
        Finding::Agreed => Ok(facts),
        Finding::SinkKnowsNothing => {
            tracing::warn!(
                "the sink has no record of an epoch of this query, whose checkpoint has commits: rows that an earlier run with at-least-once delivery has repeated stay; from here on each comes once"
            );
            Ok(facts)
        }
        Finding::SinkIsAhead(epoch) => {
            tracing::info!("the sink has committed epoch {epoch}, which the checkpoint did not know yet");
            let end = log.offsets(epoch).await?;
            let watermark =
                end.and_then(|end| end.metadata).map_or(0, |metadata| metadata.batch_watermark_ms);
            log.put_commit(epoch, &CommitEntry { next_batch_watermark_ms: watermark }).await?;
            log.facts().await
        }
    }
}

/// What to make of an error of writing `offsets/N`. Another instance may have written it with its last breath, and can commit
/// it no more: where the sink decides who may commit, a start anew finds out which of the two goes on.
pub(super) fn rival_entry(error: Error, delivery: Delivery) -> Error {
    if delivery == Delivery::ExactlyOnce && error.kind() == ErrorKind::Fenced {
        return Error::new(ErrorKind::Transient, error.to_string()).with_source(error);
    }
    error
}

async fn owner(spec: &QuerySpec, sources: &[Arc<dyn Source>], facts: &LogFacts) -> Result<SinkOwner> {
    let ends = match newest_end(facts) {
        Some(entry) => decoded(entry, sources)?,
        None => vec![Default::default(); sources.len()],
    };
    let mut owned = Vec::with_capacity(sources.len());
    for (source, end) in sources.iter().zip(ends) {
        owned.push(OwnedSource { cluster: source.cluster().await?, end });
    }
    Ok(SinkOwner { query: spec.checkpoint.query_id().await?, sources: owned })
}

fn newest_end(facts: &LogFacts) -> Option<&OffsetEntry> {
    facts.entries.values().rev().find_map(|found| match found {
        Found::Whole(entry) => Some(entry),
        Found::Torn(_) | Found::Unreadable(_) => None,
    })
}

pub(super) fn compare(facts: &LogFacts, sink: Option<EpochId>) -> Result<Finding> {
    let committed = facts.commits.last().copied();
    let Some(sink) = sink else {
        let is_new = committed.is_none();
        return Ok(if is_new { Finding::Agreed } else { Finding::SinkKnowsNothing });
    };
    if committed >= Some(sink) {
        return Ok(Finding::Agreed);
    }
    let is_next = sink == committed.map_or(EpochId::FIRST, EpochId::next);
    let has_end = matches!(facts.entries.get(&sink), Some(Found::Whole(_)));
    if is_next && has_end {
        return Ok(Finding::SinkIsAhead(sink));
    }
    let stands = committed.map_or("no epoch".to_owned(), |epoch| format!("epoch {epoch}"));
    Err(Error::new(
        ErrorKind::Checkpoint,
        format!(
            "the sink has committed epoch {sink} of this query, and the checkpoint {} has committed {stands}: it was rewound or is an older copy, and going on would repeat rows; use the newer checkpoint, or, to repeat them on purpose, run with at-least-once delivery until epoch {sink} is committed again",
            facts.location
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(offsets: &[u64], commits: &[u64], torn: Option<u64>) -> LogFacts {
        let whole = || Found::Whole(OffsetEntry { metadata: None, offsets: vec![Some("{}".to_owned())] });
        let mut facts = LogFacts { location: "memory://q".to_owned(), ..LogFacts::default() };
        for id in offsets.iter().copied().map(EpochId) {
            facts.offsets.insert(id);
            facts.entries.insert(id, whole());
        }
        if let Some(torn) = torn {
            let found = Found::Torn(Error::new(ErrorKind::Checkpoint, "half"));
            facts.entries.insert(EpochId(torn), found);
        }
        facts.commits.extend(commits.iter().copied().map(EpochId));
        facts
    }

    #[test]
    fn every_pair_of_sink_and_checkpoint_has_its_finding() {
        use Finding::{Agreed, SinkIsAhead, SinkKnowsNothing};
        let ahead = |epoch| Ok(SinkIsAhead(EpochId(epoch)));
        const REFUSED: Result<Finding, &str> = Err("was rewound or is an older copy");
        // State, offsets, commits, torn entry, last epoch of the sink.
        let rows = [
            ("new", vec![], vec![], None, None, Ok(Agreed)),
            ("crash before the first commit", vec![0], vec![], None, None, Ok(Agreed)),
            ("crash after the sink's first commit", vec![0], vec![], None, Some(0), ahead(0)),
            ("clean stop", vec![4, 5], vec![4, 5], None, Some(5), Ok(Agreed)),
            ("crash before the sink's commit", vec![4, 5, 6], vec![4, 5], None, Some(5), Ok(Agreed)),
            ("crash after the sink's commit", vec![4, 5, 6], vec![4, 5], None, Some(6), ahead(6)),
            ("the last epochs had no rows", vec![4, 5], vec![4, 5], None, Some(2), Ok(Agreed)),
            ("never a row, or at-least-once until now", vec![5], vec![5], None, None, Ok(SinkKnowsNothing)),
            ("the next one is torn", vec![5, 6], vec![5], Some(6), Some(5), Ok(Agreed)),
            ("the end of what was committed is torn", vec![5, 6], vec![5], Some(6), Some(6), REFUSED),
            ("the end of what was committed is missing", vec![5], vec![5], None, Some(6), REFUSED),
            ("rewound", vec![4, 5, 6, 7], vec![4, 5], None, Some(7), REFUSED),
            ("logs lost", vec![], vec![], None, Some(0), REFUSED),
        ];
        for (state, offsets, commits, torn, sink, expected) in rows {
            match (compare(&facts(&offsets, &commits, torn), sink.map(EpochId)), expected) {
                (Ok(finding), Ok(expected)) => assert_eq!(finding, expected, "{state}"),
                (Err(error), Err(part)) => {
                    assert_eq!(error.kind(), ErrorKind::Checkpoint, "{state}");
                    assert!(error.to_string().contains(part), "{state}: {error}");
                }
                (finding, expected) => panic!("{state}: {finding:?}, expected {expected:?}"),
            }
        }
    }
}
