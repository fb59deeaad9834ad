//! Listeners and the query manager, on a scripted source.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use epochflow::{
    DataStreamWriter, ErrorKind, QueryProgressEvent, StreamDataFrame, StreamSession, StreamingQueryListener,
    Trigger,
};
use parking_lot::Mutex;

use crate::support::listening::Listening;
use crate::support::recording::Recording;
use crate::support::scripted::Script;
use crate::support::{eventually, in_time};

const OFTEN: Trigger = Trigger::Continuous(Duration::from_millis(10));

struct Fixture {
    session: StreamSession,
    script: Script,
    sink: Recording,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self {
            session: StreamSession::new().unwrap(),
            script: Script::new(1),
            sink: Recording::default(),
        };
        fixture.session.register_source(Arc::new(fixture.script.clone()));
        fixture.session.register_sink(Arc::new(fixture.sink.clone()));
        fixture
    }

    fn writer(&self, trigger: Trigger) -> DataStreamWriter {
        let events = self.session.read_stream().format("scripted").load().unwrap();
        events.write_stream().format("recording").trigger(trigger)
    }

    fn listen(&self) -> Arc<Listening> {
        let listening = Listening::new();
        self.session.streams().add_listener(Arc::clone(&listening) as _).unwrap();
        listening
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_order_under_every_trigger() {
    for trigger in [OFTEN, Trigger::ProcessingTime(Duration::ZERO)] {
        let fixture = Fixture::new();
        let listening = fixture.listen();
        let query = fixture.writer(trigger).query_name("q").start().await.unwrap();
        fixture.script.push(0, "a");
        in_time("the record", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
        eventually("the end is heard", async || (listening.count("terminated") == 1).then_some(())).await;
        let heard = listening.heard();
        let names: Vec<&str> = heard.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["started", "progress", "terminated"], "{trigger}");
        let (id, run_id) = (query.id().to_string(), query.run_id().to_string());
        assert_eq!((&heard[0].1["id"], &heard[0].1["runId"]), (&id.clone().into(), &run_id.into()));
        assert_eq!(heard[0].1["name"], "q");
        assert_eq!(heard[1].1["progress"]["numInputRows"], 1);
        assert_eq!((&heard[2].1["id"], heard[2].1.get("exception")), (&id.into(), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_heard_with_its_message_and_kind() {
    let fixture = Fixture::new();
    let listening = fixture.listen();
    fixture.sink.fail_on("bad");
    let query = fixture.writer(OFTEN).start().await.unwrap();
    fixture.script.push(0, "bad");
    in_time("the failure", query.await_termination()).await.unwrap_err();
    eventually("the end is heard", async || (listening.count("terminated") == 1).then_some(())).await;
    let (_, terminated) = listening.heard().pop().unwrap();
    assert!(terminated["exception"].as_str().unwrap().contains("refuses the row 'bad'"), "{terminated}");
    assert_eq!(terminated["errorClassOnException"], "Data");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_query_says_so_at_most_once_an_interval() {
    for trigger in [OFTEN, Trigger::ProcessingTime(Duration::from_millis(5))] {
        let fixture = Fixture::new();
        let listening = fixture.listen();
        let start = |interval: &str| {
            fixture.writer(trigger).option("noDataProgressEventInterval", interval.to_owned()).start()
        };
        let seldom = start("1h").await.unwrap();
        let often = start("20 milliseconds").await.unwrap();
        eventually("idle is heard twice", async || (listening.count("idle") >= 2).then_some(())).await;
        let (id, heard) = (often.id().to_string(), listening.heard());
        let idle: Vec<_> = heard.iter().filter(|(name, _)| *name == "idle").collect();
        assert!(idle.iter().all(|(_, event)| event["id"] == *id), "the other one's hour is not over");
        assert_eq!(listening.count("progress"), 0, "{trigger}");
        in_time("the stop", often.stop()).await.unwrap();
        in_time("the stop", seldom.stop()).await.unwrap();
    }
    let error = Fixture::new().writer(OFTEN).option("noDataProgressEventInterval", "soon").start().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("noDataProgressEventInterval"), "{error}");
}

/// Waits at each progress until the test lets it go on, or panics.
struct Bad {
    gate: Mutex<Receiver<()>>,
    panics: bool,
}

impl StreamingQueryListener for Bad {
    fn on_query_progress(&self, _event: &QueryProgressEvent) {
        assert!(!self.panics, "on purpose");
        let _ = self.gate.lock().recv();
    }
}

fn bad(panics: bool) -> (Sender<()>, Arc<Bad>) {
    let (open, gate) = channel();
    (open, Arc::new(Bad { gate: Mutex::new(gate), panics }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_panicking_listener_hurts_nobody() {
    let fixture = Fixture::new();
    let (open, slow) = bad(false);
    let (_, panicking) = bad(true);
    fixture.session.streams().add_listener(slow).unwrap();
    fixture.session.streams().add_listener(panicking).unwrap();
    let listening = fixture.listen();
    let query = fixture.writer(OFTEN).start().await.unwrap();
    for number in 0..3 {
        fixture.script.push(0, number.to_string());
        in_time("the record", query.process_all_available()).await.unwrap();
    }
    in_time("the stop", query.stop()).await.unwrap();
    eventually("the end is heard", async || (listening.count("terminated") == 1).then_some(())).await;
    assert_eq!(listening.count("progress"), query.recent_progress().len());
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_listener_hears_nothing_more() {
    let fixture = Fixture::new();
    let streams = fixture.session.streams();
    let (stays, goes) = (fixture.listen(), fixture.listen());
    assert_eq!(streams.list_listeners().len(), 2);
    let listener: Arc<dyn StreamingQueryListener> = Arc::clone(&goes) as _;
    assert!(streams.remove_listener(&listener));
    assert!(!streams.remove_listener(&listener));
    let query = fixture.writer(OFTEN).start().await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    eventually("the end is heard", async || (stays.count("terminated") == 1).then_some(())).await;
    assert!(goes.heard().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ids_are_unique_among_active_queries() {
    let fixture = Fixture::new();
    let streams = fixture.session.streams();
    let start = |name: &str| {
        let writer = fixture.writer(OFTEN).option("checkpointLocation", "memory://unique-id");
        writer.query_name(name).start()
    };
    let query = start("first").await.unwrap();
    assert_eq!(streams.active().len(), 1);
    assert_eq!(streams.get(query.id()).unwrap().run_id(), query.run_id());
    assert!(streams.get(query.run_id()).is_none());
    let error = start("first").await.unwrap_err();
    assert!(error.to_string().contains("'first' is active"), "{error}");
    let error = start("second").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains(&query.id().to_string()), "{error}");
    in_time("the stop", query.stop()).await.unwrap();
    assert!(streams.get(query.id()).is_none() && streams.active().is_empty());
    // What failed to start has given its name back.
    let again = start("second").await.unwrap();
    assert_eq!(again.id(), query.id());
    assert_ne!(again.run_id(), query.run_id());
    in_time("the stop", again.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_any_query_can_be_awaited_and_forgotten() {
    let fixture = Fixture::new();
    let streams = fixture.session.streams();
    let soon = Duration::from_millis(20);
    assert!(!streams.await_any_termination_for(soon).await.unwrap(), "none has ended");
    let (one, other) =
        (fixture.writer(OFTEN).start().await.unwrap(), fixture.writer(OFTEN).start().await.unwrap());
    in_time("the stop", one.stop()).await.unwrap();
    in_time("an end", streams.await_any_termination()).await.unwrap();
    assert!(streams.await_any_termination_for(soon).await.unwrap(), "it is remembered");
    streams.reset_terminated();
    assert!(!streams.await_any_termination_for(soon).await.unwrap());
    fixture.sink.fail_on("bad");
    fixture.script.push(0, "bad");
    let error = in_time("a failure", streams.await_any_termination()).await.unwrap_err();
    assert!(error.to_string().contains("refuses the row 'bad'"), "{error}");
    assert!(!other.is_active());
}
