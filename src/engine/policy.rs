//! What differs between triggers, as a value that the coordinator consults.

use std::time::Duration;

use crate::query::Trigger;
use crate::sink::Delivery;

/// One durable or visible step in the life of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every partition reads up to the epoch's end, and the sink has taken what came of it.
    Run,
    /// The sink makes the epoch visible.
    CommitSink,
    /// `offsets/N` holds the epoch's end.
    LogOffsets,
    /// `commits/N` says that the epoch is done.
    LogCommit,
}

/// When an epoch's end is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// Before its data is read, from the ends of the sources.
    Planned,
    /// When the tick comes, from wherever each partition then is.
    AtTick,
}

/// When a query ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Stopped,
    OneEpoch,
    CaughtUp,
}

/// What a running query does when its checkpoint cannot be written and something around it must be mended: no space, no
/// permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreErrors {
    /// It tries again until it can.
    Wait,
    /// It fails.
    Stop,
}

/// [`Policy::max_uncommitted`] where the user says nothing.
pub(crate) const MAX_UNCOMMITTED: Duration = Duration::from_secs(60);

/// How epochs live under a trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) bounds: Bounds,
    pub(crate) order: [Step; 4],
    pub(crate) until: Until,
    /// Epochs whose end is decided and that are not committed. At the bound the running epoch grows instead.
    pub(crate) max_in_flight: usize,
    /// When nothing was committed for so long, sources are held back until something is: it bounds what a crash
    /// would repeat.
    pub(crate) max_uncommitted: Duration,
}

/// The policy of a trigger and a delivery.
pub(crate) fn policy(trigger: Trigger, delivery: Delivery) -> Policy {
    let continuous = matches!(trigger, Trigger::Continuous(_));
    let exactly_once = delivery == Delivery::ExactlyOnce;
    Policy {
        bounds: if continuous { Bounds::AtTick } else { Bounds::Planned },
        order: match (continuous, exactly_once) {
            (false, _) => [Step::LogOffsets, Step::Run, Step::CommitSink, Step::LogCommit],
            (true, false) => [Step::Run, Step::CommitSink, Step::LogOffsets, Step::LogCommit],
            // What the sink may have committed must have an end that is known.
            (true, true) => [Step::Run, Step::LogOffsets, Step::CommitSink, Step::LogCommit],
        },
        until: match trigger {
            Trigger::Continuous(_) | Trigger::ProcessingTime(_) => Until::Stopped,
            Trigger::AvailableNow => Until::CaughtUp,
            Trigger::Once => Until::OneEpoch,
        },
        // One epoch is being committed and one is written: a sink needs two transactions, never three.
        max_in_flight: if continuous && !exactly_once { 4 } else { 1 },
        max_uncommitted: MAX_UNCOMMITTED,
    }
}
