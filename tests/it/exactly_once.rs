//! Exactly-once into Kafka, on a real broker: what is committed when, and what a start makes of a crash.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use epochflow::checkpoint::OffsetEntry;
use epochflow::testing::{Fault, FaultyStore, Operation};
use epochflow::{
    CommitMessage, Delivery, EpochId, ErrorKind, Options, Result, Sink, SinkOwner, SinkProvider, SinkWriter,
    StreamDataFrame, StreamSession, StreamingQuery, Trigger,
};

use crate::support::kafka::{Receiver, Record, Sender, brokers, ends, group_offsets, topic};
use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::scripted_query::{checkpoint_in, in_memory};
use crate::support::{PATIENCE, eventually, in_time};

const OFTEN: Trigger = Trigger::Continuous(Duration::from_millis(20));
const NEVER: Trigger = Trigger::Continuous(Duration::from_secs(3600));
const BATCHES: Trigger = Trigger::ProcessingTime(Duration::ZERO);

async fn commits(store: &FaultyStore) -> Vec<u64> {
    checkpoint_in(store).facts().await.unwrap().commits.into_iter().map(|epoch| epoch.0).collect()
}

/// A query from one source into a Kafka topic.
struct Pipeline<'a> {
    select: &'a str,
    sink: &'a str,
    store: &'a FaultyStore,
    trigger: Trigger,
    options: &'a [(&'a str, &'a str)],
}

impl Pipeline<'_> {
    /// Its session is the caller's: dropping both ends the query as a crash does.
    async fn start(&self, session: &StreamSession) -> Result<StreamingQuery> {
        let writer = session.sql(self.select).await?.write_stream().format("kafka");
        let writer = writer.option("kafka.bootstrap.servers", brokers()).option("topic", self.sink);
        let options = self.options.iter();
        let writer = options.fold(writer, |writer, (name, value)| writer.option(*name, *value));
        let writer = writer.delivery(Delivery::ExactlyOnce).trigger(self.trigger);
        in_time("the start", writer.checkpoint(checkpoint_in(self.store)).start()).await
    }
}

/// A session whose table `events` is a topic.
fn reading(source: &str) -> StreamSession {
    let session = StreamSession::new().unwrap();
    let reader = session.read_stream().format("kafka").option("kafka.bootstrap.servers", brokers());
    let events = reader.option("subscribe", source).option("startingOffsets", "earliest").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    session
}

fn scripted(script: &Script) -> StreamSession {
    let session = StreamSession::new().unwrap();
    session.register_source(Arc::new(script.clone()));
    let events = session.read_stream().format("scripted").load().unwrap();
    session.context().register_table("events", events.into_view()).unwrap();
    session
}

fn send(topic: &str, values: std::ops::Range<u32>) {
    let sender = Sender::new(&brokers());
    values.for_each(|value| sender.send(topic, &Record::value(0, value.to_string())));
    sender.flush();
}

async fn seen(topic: &str) -> Vec<u32> {
    let topic = topic.to_owned();
    let records = tokio::task::spawn_blocking(move || Receiver::committed(&topic)).await.unwrap();
    let number = |record: Record| String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap();
    records.into_iter().map(number).collect()
}

/// What a reader that does not care for commits sees by now.
async fn written(topic: &str) -> i64 {
    let topic = topic.to_owned();
    tokio::task::spawn_blocking(move || ends(&topic)[&0]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_at_once_and_committed_with_their_epoch_whose_offsets_the_group_holds() {
    for trigger in [NEVER, BATCHES] {
        let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
        let store = in_memory();
        let select = "SELECT value FROM events";
        let pipeline = Pipeline { select, sink: &sink, store: &store, trigger, options: &[] };
        let query = pipeline.start(&reading(&source)).await.unwrap();
        send(&source, 0..20);
        eventually("the rows are written", async || (written(&sink).await >= 20).then_some(())).await;
        if trigger == NEVER {
            assert_eq!(seen(&sink).await, [0u32; 0], "the epoch is not over");
        }
        in_time("the stop", query.stop()).await.unwrap();
        assert_eq!(seen(&sink).await, (0..20).collect::<Vec<_>>());
        let last = *commits(&store).await.last().unwrap();
        let group = format!("epochflow-{}", query.id());
        assert_eq!(group_offsets(&group, &source)[&0], (20, format!("epoch {last}")), "{trigger}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_query_and_one_that_passes_nothing_open_no_transaction() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let store = in_memory();
    let select = "SELECT value FROM events WHERE CAST(value AS STRING) = 'none'";
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger: OFTEN, options: &[] };
    let session = reading(&source);
    let query = pipeline.start(&session).await.unwrap();
    send(&source, 0..5);
    in_time("the records", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    let before = commits(&store).await;
    assert!(!before.is_empty(), "the checkpoint keeps the place");
    assert_eq!(written(&sink).await, 0, "a transaction's end would take up an offset");
    let query = pipeline.start(&session).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(commits(&store).await, before, "nothing is read again");
}

/// The sink has committed epoch 1, and the process dies before `commits/1` is there.
async fn dies_between_the_commits(trigger: Trigger, scripts: bool) {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let (store, script) = (in_memory(), Script::new(1));
    let push = |values: std::ops::Range<u32>| {
        if scripts {
            values.for_each(|value| script.push(0, value.to_string()));
        } else {
            send(&source, values);
        }
    };
    let session = || if scripts { scripted(&script) } else { reading(&source) };
    let select = if scripts { "SELECT text AS value FROM events" } else { "SELECT value FROM events" };
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger, options: &[] };
    let first = session();
    let query = pipeline.start(&first).await.unwrap();
    push(0..10);
    in_time("epochs that are whole", query.process_all_available()).await.unwrap();
    store.meet(Operation::Put, "commits/", Fault::Hang);
    push(10..20);
    let hanging = commits(&store).await.len() as u64;
    eventually("a reader of committed records sees more than the checkpoint has", async || {
        (seen(&sink).await.len() > 10).then_some(())
    })
    .await;
    drop((query, first));
    assert_eq!(commits(&store).await.len() as u64, hanging);
    store.heal();
    let again = session();
    let query = pipeline.start(&again).await.unwrap();
    assert!(commits(&store).await.contains(&hanging), "the start asks the sink and writes what was missing");
    push(20..30);
    in_time("the rest", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(seen(&sink).await, (0..30).collect::<Vec<_>>(), "{trigger}, scripted: {scripts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_sinks_commit_and_the_checkpoints_repeats_nothing() {
    dies_between_the_commits(OFTEN, false).await;
    dies_between_the_commits(BATCHES, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_on_the_sinks_cluster_is_no_exception() {
    dies_between_the_commits(OFTEN, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_sinks_commit_shows_nothing_of_the_epoch() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let store = in_memory();
    let select = "SELECT value FROM events";
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger: OFTEN, options: &[] };
    let first = reading(&source);
    let query = pipeline.start(&first).await.unwrap();
    send(&source, 0..10);
    in_time("epochs that are whole", query.process_all_available()).await.unwrap();
    let before = written(&sink).await;
    // The sink commits only behind this write.
    store.meet(Operation::Put, "offsets/", Fault::Hang);
    send(&source, 10..20);
    eventually("rows are written", async || (written(&sink).await > before).then_some(())).await;
    drop((query, first));
    assert_eq!(seen(&sink).await, (0..10).collect::<Vec<_>>());
    store.heal();
    let session = reading(&source);
    let query = pipeline.start(&session).await.unwrap();
    in_time("the rest", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(seen(&sink).await, (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_fences_the_first_which_ends_and_does_not_come_back() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let store = in_memory();
    let select = "SELECT value FROM events";
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger: NEVER, options: &[] };
    let (first, second) = (reading(&source), reading(&source));
    let zombie = pipeline.start(&first).await.unwrap();
    send(&source, 0..10);
    eventually("the first one writes", async || (written(&sink).await >= 10).then_some(())).await;
    let heir = pipeline.start(&second).await.unwrap();
    let mut sent = 10;
    let error = eventually("the zombie ends", async || {
        send(&source, sent..sent + 1);
        sent += 1;
        zombie.exception()
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert_eq!(zombie.status().restarts, 0);
    in_time("the heir's stop", heir.stop()).await.unwrap();
    let rest = Pipeline { trigger: Trigger::AvailableNow, ..pipeline };
    let query = rest.start(&reading(&source)).await.unwrap();
    in_time("the rest", query.await_termination()).await.unwrap();
    assert_eq!(seen(&sink).await, (0..sent).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_broker_has_given_up_is_written_again() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let store = in_memory();
    let options = [("kafka.transaction.timeout.ms", "1000"), ("kafka.message.timeout.ms", "1000")];
    let select = "SELECT value FROM events";
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger: NEVER, options: &options };
    let session = reading(&source);
    let query = pipeline.start(&session).await.unwrap();
    send(&source, 0..1);
    // The broker looks every 10 s; its abort takes up an offset of its own.
    eventually("the broker aborts it", async || (written(&sink).await >= 2).then_some(())).await;
    let mut sent = 1;
    eventually("the query is restarted", async || {
        send(&source, sent..sent + 1);
        sent += 1;
        (query.status().restarts > 0).then_some(())
    })
    .await;
    let cause = query.status().last_restart_cause.unwrap();
    assert!(cause.contains("kafka.transaction.timeout.ms"), "{cause}");
    let again = i64::from(sent) + 2;
    eventually("all are written again", async || (written(&sink).await >= again).then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(seen(&sink).await, (0..sent).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_older_than_the_sink_is_refused() {
    let (source, sink) = (topic("in", 1).await, topic("out", 1).await);
    let store = in_memory();
    let select = "SELECT value FROM events";
    let pipeline = Pipeline { select, sink: &sink, store: &store, trigger: BATCHES, options: &[] };
    let session = reading(&source);
    for round in 0..3 {
        let query = pipeline.start(&session).await.unwrap();
        send(&source, round * 5..round * 5 + 5);
        in_time("the records", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
    }
    let rewound = checkpoint_in(&store);
    let inventory = rewound.inventory().await.unwrap();
    let edit = epochflow::checkpoint::rewind(&inventory, epochflow::checkpoint::RewindTo::Epoch(EpochId(0)));
    rewound.apply(&edit.unwrap()).await.unwrap();
    let error = pipeline.start(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Checkpoint, "{error}");
    assert!(error.to_string().contains("rewound"), "{error}");
    assert_eq!(seen(&sink).await, (0..15).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_table_has_each_row_once_across_a_restart_in_the_middle_of_a_commit() {
    let (store, script) = (in_memory(), Script::new(1));
    let session = scripted(&script);
    let rows = session.sql("SELECT text FROM events").await.unwrap();
    let writer = rows.write_stream().format("memory").query_name("kept").trigger(OFTEN);
    let query = in_time("the start", writer.checkpoint(checkpoint_in(&store)).start()).await.unwrap();
    store.meet(Operation::Put, "commits/", Fault::Hang);
    script.push(0, "a");
    let count = async || session.sql("SELECT * FROM kept").await.unwrap().count().await.unwrap();
    eventually("the table has the row", async || (count().await == 1).then_some(())).await;
    script.fail(epochflow::Error::new(ErrorKind::Transient, "the source failed"));
    script.push(0, "b");
    eventually("the query restarts", async || (query.status().restarts == 1).then_some(())).await;
    script.push(0, "c");
    store.heal();
    in_time("the rest", query.process_all_available()).await.unwrap();
    assert_eq!(count().await, 3);
    tokio::time::timeout(PATIENCE, query.stop()).await.unwrap().unwrap();
}

/// A sink that, like Kafka, can be asked for its last epoch only by who knows the sources' partitions. The instance that is
/// taken over from logs and commits its first epoch, of two records, in the last moment.
#[derive(Clone, Debug)]
struct LastMoment {
    rows: Recording,
    store: FaultyStore,
}

impl SinkProvider for LastMoment {
    fn format(&self) -> &'static str {
        "last-moment"
    }

    fn sink(&self, _options: &Options, _schema: &SchemaRef) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Sink for LastMoment {
    fn description(&self) -> String {
        "LastMoment".into()
    }

    fn delivery(&self) -> Delivery {
        Delivery::ExactlyOnce
    }

    async fn open(&self) -> Result<()> {
        Ok(())
    }

    async fn take_over(&self, owner: &SinkOwner) -> Result<Option<EpochId>> {
        let end = OffsetEntry { metadata: None, offsets: vec![Some("{\"0\":2}".to_owned())] };
        checkpoint_in(&self.store).put_offsets(EpochId::FIRST, &end).await?;
        let knows_partitions = owner.sources.iter().any(|source| !source.end.is_empty());
        Ok(knows_partitions.then_some(EpochId::FIRST))
    }

    fn writer(&self, pipeline: usize, epoch: EpochId) -> Result<Box<dyn SinkWriter>> {
        self.rows.writer(pipeline, epoch)
    }

    async fn commit(&self, epoch: EpochId, messages: Vec<CommitMessage>) -> Result<()> {
        self.rows.commit(epoch, messages).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_epoch_of_an_instance_that_is_just_being_taken_over_from_is_not_repeated() {
    for trigger in [OFTEN, BATCHES] {
        let (store, script) = (in_memory(), Script::new(1));
        let sink = LastMoment { rows: Recording::default(), store: store.clone() };
        ["a", "b", "c"].into_iter().for_each(|text| script.push(0, text));
        let session = scripted(&script);
        session.register_sink(Arc::new(sink.clone()));
        let rows = session.sql("SELECT text FROM events").await.unwrap();
        let writer = rows.write_stream().format("last-moment").trigger(trigger);
        let query = in_time("the start", writer.checkpoint(checkpoint_in(&store)).start()).await.unwrap();
        in_time("the rest", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
        assert_eq!(sink.rows.written(), ["c"], "{trigger:?}");
        assert_eq!(commits(&store).await, [0, 1], "{trigger:?}");
    }
}
