//! A query from a scripted source into a recording sink.

use std::sync::Arc;
use std::time::Duration;

use epochflow::checkpoint::{Checkpoint, CheckpointStore};
use epochflow::testing::FaultyStore;
use epochflow::{DataStreamWriter, StreamDataFrame, StreamSession, Trigger};
use object_store::memory::InMemory;

use super::recording::Recording;
use super::scripted::Script;

pub(crate) const OFTEN: Trigger = Trigger::Continuous(Duration::from_millis(10));

pub(crate) fn in_memory() -> FaultyStore {
    FaultyStore::new(Arc::new(InMemory::new()))
}

pub(crate) fn checkpoint_in(store: &FaultyStore) -> Checkpoint {
    Checkpoint::from_store(CheckpointStore::from_object_store(Arc::new(store.clone()), "checkpoint".into()))
}

/// All rows as they are; ready to be told where its checkpoint is, and to be started.
pub(crate) async fn copy(script: &Script, sink: &Recording, trigger: Trigger) -> DataStreamWriter {
    query("SELECT text FROM events", script, sink, trigger).await.1
}

/// The same for any SQL over `events`, with the session.
pub(crate) async fn query(
    sql: &str,
    script: &Script,
    sink: &Recording,
    trigger: Trigger,
) -> (StreamSession, DataStreamWriter) {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    session.register_sink(Arc::new(sink.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    let writer = session.sql(sql).await.unwrap().write_stream().format("recording").trigger(trigger);
    (session, writer)
}
