//! What a running query measures of itself: latencies, how they stand to an objective, and metrics for whoever collects them.
//!
//! `clock.rs` measures on the hot path, `histogram.rs` holds what was measured and `epoch.rs` brings it together, `slo.rs` judges
//! it, `metrics.rs` hands it to the `metrics` crate, and `query.rs` does all this for a query. No port is opened here.

mod clock;
mod epoch;
mod histogram;
mod metrics;
mod query;
mod slo;

pub use self::clock::{AckClock, Unacked};
pub(crate) use self::clock::{Acked, EpochAcks, HandOver, PipelineClock, TaskLatencies};
pub(crate) use self::epoch::EpochLatencies;
pub use self::epoch::LatencyProgress;
pub use self::histogram::LatencySummary;
pub(crate) use self::query::{EpochFacts, QueryTelemetry};
pub use self::slo::{LatencySlo, SloReport};
