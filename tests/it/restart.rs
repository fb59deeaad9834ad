//! A query that fails goes on from its last commit, as far as its policy and the failure allow.

use std::sync::Arc;
use std::time::Duration;

use epochflow::{Error, ErrorKind, RestartPolicy, StreamingQuery, Trigger};

use crate::support::listening::Listening;
use crate::support::recording::{Happened, Recording};
use crate::support::scripted::Script;
use crate::support::scripted_query::{OFTEN, copy, query};
use crate::support::{eventually, in_time};

struct Running {
    script: Script,
    sink: Recording,
    query: StreamingQuery,
}

async fn start(trigger: Trigger, restart: RestartPolicy) -> Running {
    let (script, sink) = (Script::new(1), Recording::default());
    let writer = copy(&script, &sink, trigger).await.restart(restart);
    let query = in_time("the start", writer.start()).await.unwrap();
    Running { script, sink, query }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, format!("a failure of the kind {kind:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_is_read_on_from_the_last_commit() {
    for trigger in [OFTEN, Trigger::ProcessingTime(Duration::ZERO)] {
        let Running { script, sink, query } = start(trigger, RestartPolicy::default()).await;
        script.push(0, "a");
        in_time("a", query.process_all_available()).await.unwrap();
        script.fail(failure(ErrorKind::Transient));
        script.fail(failure(ErrorKind::Internal));
        script.push(0, "b");
        in_time("b, across two restarts", query.process_all_available()).await.unwrap();
        assert_eq!(sink.written(), ["a", "b"], "{trigger}");
        let commits = sink.commits();
        assert_eq!(commits, (0..commits.len() as u64).collect::<Vec<_>>(), "{trigger}: each epoch once");
        let status = query.status();
        assert_eq!(status.restarts, 2, "{trigger}");
        assert!(status.last_restart_cause.unwrap().ends_with("a failure of the kind Internal"));
        in_time("the stop", query.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_and_listeners_tell_each_restart_and_its_cause() {
    for trigger in [OFTEN, Trigger::ProcessingTime(Duration::ZERO)] {
        let (script, sink) = (Script::new(1), Recording::default());
        let (session, writer) = query("SELECT text FROM events", &script, &sink, trigger).await;
        let listening = Listening::new();
        session.streams().add_listener(Arc::clone(&listening) as _).unwrap();
        let query = in_time("the start", writer.start()).await.unwrap();
        script.push(0, "a");
        in_time("a", query.process_all_available()).await.unwrap();
        let progress = query.last_progress().unwrap();
        assert!(progress.restarts.is_none() && !progress.json().contains("restarts"), "{}", progress.json());

        script.fail(failure(ErrorKind::Transient));
        script.fail(failure(ErrorKind::Internal));
        script.push(0, "b");
        in_time("b", query.process_all_available()).await.unwrap();
        in_time("the stop", query.stop()).await.unwrap();
        let progress = query.last_progress().unwrap();
        let restarts = progress.restarts.clone().unwrap();
        assert_eq!((restarts.count, restarts.last_error_class.as_str()), (2, "Internal"), "{trigger}");
        assert_eq!(Some(&restarts.last_cause), query.status().last_restart_cause.as_ref());
        assert!(restarts.last_timestamp <= query.last_progress().unwrap().timestamp || trigger == OFTEN);

        eventually("the end is heard", async || (listening.count("terminated") == 1).then_some(())).await;
        let heard = listening.heard();
        let restarted: Vec<_> = heard.iter().filter(|(name, _)| *name == "restarted").collect();
        assert_eq!(restarted.len(), 2, "{heard:?}");
        for ((_, event), (count, kind)) in restarted.into_iter().zip([(1, "Transient"), (2, "Internal")]) {
            assert_eq!((&event["restarts"], &event["errorClassOnException"]), (&count.into(), &kind.into()));
            assert!(event["exception"].as_str().unwrap().ends_with(&format!("the kind {kind}")), "{event}");
            assert_eq!(event["runId"], query.run_id().to_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_fails_is_opened_anew_and_gets_what_was_not_committed_again() {
    let Running { script, sink, query } = start(OFTEN, RestartPolicy::default()).await;
    script.push(0, "a");
    in_time("a", query.process_all_available()).await.unwrap();
    sink.fail_commit(failure(ErrorKind::Transient));
    // An outage that goes on while the query is opened anew is waited out, and is no further restart.
    sink.fail_open(failure(ErrorKind::Transient));
    sink.fail_open(failure(ErrorKind::Transient));
    script.push(0, "b");
    in_time("b", query.process_all_available()).await.unwrap();
    assert_eq!(sink.written(), ["a", "b", "b"]);
    assert_eq!(sink.log().last(), Some(&Happened::Committed(1)), "the epoch that failed is run again");
    assert_eq!(query.status().restarts, 1);
    in_time("the stop", query.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restart_cannot_mend_ends_the_query_with_the_reason() {
    for kind in [ErrorKind::DataLoss, ErrorKind::Environment, ErrorKind::Fenced, ErrorKind::Data] {
        let Running { script, query, .. } = start(OFTEN, RestartPolicy::default()).await;
        script.fail(failure(kind));
        script.push(0, "a");
        let error = in_time("the end", query.await_termination()).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(error.to_string().contains("a failure of the kind"), "{error}");
        assert_eq!(query.status().restarts, 0, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_obeyed() {
    let twice = RestartPolicy::OnFailure { max: 2, window: Duration::from_secs(3600) };
    for (policy, restarts, said) in [
        (RestartPolicy::Never, 0, "a failure of the kind Transient"),
        (twice, 2, "gave up after 2 restarts in 3600s"),
    ] {
        let Running { script, query, .. } = start(OFTEN, policy).await;
        (0..5).for_each(|_| script.fail(failure(ErrorKind::Transient)));
        script.push(0, "a");
        let error = in_time("the end", query.await_termination()).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(query.status().restarts, restarts, "{policy}");
        let error = in_time("the answer", query.process_all_available()).await.unwrap_err();
        assert!(error.to_string().contains(said), "the failure is told to whoever asks later: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_restart_waits_works_at_once() {
    let Running { script, sink, query } = start(OFTEN, RestartPolicy::default()).await;
    (0..100).for_each(|_| sink.fail_open(failure(ErrorKind::Transient)));
    script.fail(failure(ErrorKind::Transient));
    script.push(0, "a");
    let is_restarting = |query: &StreamingQuery| query.status().message.starts_with("Restarting after");
    eventually("it restarts", async || is_restarting(&query).then_some(())).await;
    in_time("the stop", query.stop()).await.unwrap();
    assert!(!query.is_active() && sink.written().is_empty());
}
