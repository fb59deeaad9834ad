//! A continuous query engine: SQL over Kafka, about a millisecond from record in to record out.
//!
//! A query is a projection and selection over streams, planned by DataFusion. Under a **continuous** trigger every
//! partition is read, transformed and written without pause, and progress is recorded as epochs; under a
//! **micro-batch** trigger the same query runs batch by batch. Both keep their place in one checkpoint, in the format of
//! Apache Spark's Structured Streaming, so either can take over where the other stopped.
//!
//! ```text
//! Kafka partition ──► source ──► operators ──► sink ──► Kafka partition      one pipeline for each source partition
//!                        │                       │ acks
//!                 cut of positions ──► epoch coordinator ──► offsets/N, commits/N on the object store
//! ```
//!
//! A reader who follows one record opens the rooms in this order: `session` (the front door), `source`, `plan`, `sink`,
//! `engine` (epochs), `checkpoint` (logs), `query` (what the user holds). `ARCHITECTURE.md` says more.

mod access;
pub mod checkpoint;
mod engine;
mod epoch;
mod error;
mod functions;
mod kafka;
mod options;
mod plan;
mod provenance;
mod query;
#[doc(hidden)]
pub mod seams;
mod secrets;
mod session;
mod sink;
mod source;
mod spark;
mod store;
mod telemetry;
pub mod testing;

pub use crate::epoch::{EpochId, Offset, Partition, SourceOffsets, SourceRange};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::kafka::mock::EmbeddedBroker;
pub use crate::options::{Options, parse_duration};
pub use crate::provenance::{LastOrigins, Origin, Provenance};
pub use crate::query::{
    QueryIdleEvent, QueryProgressEvent, QueryRestartedEvent, QueryStartedEvent, QueryTerminatedEvent,
    RestartPolicy, RestartProgress, SinkProgress, SourceProgress, StreamingQuery, StreamingQueryListener,
    StreamingQueryProgress, StreamingQueryStatus, Trigger,
};
pub use crate::session::{
    DataStreamReader, DataStreamWriter, StreamDataFrame, StreamSession, StreamSessionBuilder,
    StreamingQueryManager,
};
pub use crate::sink::foreach::ForeachWriter;
pub use crate::sink::{CommitMessage, Delivery, OwnedSource, Sink, SinkOwner, SinkProvider, SinkWriter};
pub use crate::source::kafka::KafkaSourceProvider;
pub use crate::source::memory::MemoryStream;
pub use crate::source::{
    MinRecords, PartitionReader, ReadMode, ReadRequest, RecordTimes, Source, SourceProvider,
};
pub use crate::spark::{SparkDifference, SparkExport, SparkTrigger};
pub use crate::telemetry::{AckClock, LatencyProgress, LatencySlo, LatencySummary, SloReport, Unacked};
