//! Data loss by the rules: what is a loss ends the query, or is passed over with `failOnDataLoss` = false, whether the
//! query runs meanwhile or not.

use std::time::Duration;

use epochflow::{ErrorKind, Trigger};

use crate::support::copy::Copy;
use crate::support::kafka::{
    Record, Sender, brokers, create, delete, delete_records_before, grow, topic, unique,
};
use crate::support::{eventually, in_time};

const TRIGGERS: [Trigger; 2] =
    [Trigger::Continuous(Duration::from_millis(50)), Trigger::ProcessingTime(Duration::ZERO)];

/// Whether a start at the checkpoint is a loss, and what is read where that may be.
async fn assert_loss(copy: &Copy, read: &[&str]) {
    for trigger in TRIGGERS {
        let error = copy.start(trigger).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        assert!(error.to_string().contains("failOnDataLoss"), "{error}");
    }
    let before = copy.written().len();
    let query = copy.with("failOnDataLoss", "false").start(TRIGGERS[0]).await.unwrap();
    in_time("what is left", query.process_all_available()).await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
    assert_eq!(copy.sink.written()[before..], *read);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_aged_out_before_they_were_read() {
    let topic = topic("in", 1).await;
    let (sender, copy) = (Sender::new(&brokers()), Copy::values(&brokers(), &topic, &[]));
    sender.send_all(&topic, ["a"]);
    copy.catch_up().await.unwrap();
    sender.send_all(&topic, ["b", "c"]);
    delete_records_before(&topic, 0, 2).await;
    assert_loss(&copy, &["c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_partition_that_does_not_begin_at_zero() {
    let topic = topic("in", 1).await;
    let copy = Copy::values(&brokers(), &topic, &[]);
    Sender::new(&brokers()).send_all(&topic, ["a"]);
    copy.catch_up().await.unwrap();
    grow(&topic, 2).await;
    let sender = Sender::new(&brokers());
    ["b", "c"].iter().for_each(|value| sender.send(&topic, &Record::value(1, *value)));
    sender.flush();
    delete_records_before(&topic, 1, 1).await;
    assert_loss(&copy, &["c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_anew_and_is_shorter() {
    let topic = topic("in", 1).await;
    let copy = Copy::values(&brokers(), &topic, &[]);
    Sender::new(&brokers()).send_all(&topic, ["a", "b", "c"]);
    copy.catch_up().await.unwrap();
    delete(&topic).await;
    create(&topic, 1).await;
    Sender::new(&brokers()).send_all(&topic, ["new"]);
    assert_loss(&copy, &["new"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_gone_among_others() {
    let (stays, goes) = (topic("in", 1).await, topic("in", 1).await);
    let copy = Copy::values(&brokers(), &format!("{stays},{goes}"), &[]);
    let sender = Sender::new(&brokers());
    sender.send_all(&stays, ["a"]);
    sender.send_all(&goes, ["b"]);
    copy.catch_up().await.unwrap();
    delete(&goes).await;
    sender.send_all(&stays, ["c"]);
    assert_loss(&copy, &["c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_never_was_is_no_loss_but_a_mistake() {
    let topic = topic("in", 1).await;
    let copy = Copy::values(&brokers(), &topic, &[]);
    Sender::new(&brokers()).send_all(&topic, ["a"]);
    copy.catch_up().await.unwrap();
    let mistaken = copy.with("subscribe", &format!("{topic},no-such-topic"));
    let error = mistaken.start(Trigger::Once).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    assert!(error.to_string().contains("no-such-topic"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_made_anew_under_a_running_query() {
    for trigger in TRIGGERS {
        for may_lose in [false, true] {
            let topic = topic("in", 1).await;
            let fail = if may_lose { "false" } else { "true" };
            let copy = Copy::values(&brokers(), &topic, &[("failOnDataLoss", fail)]);
            Sender::new(&brokers()).send_all(&topic, ["a", "b", "c"]);
            let query = copy.start(trigger).await.unwrap();
            in_time("the first records", query.process_all_available()).await.unwrap();
            delete(&topic).await;
            create(&topic, 1).await;
            Sender::new(&brokers()).send_all(&topic, ["new"]);
            if may_lose {
                eventually("the new topic is read", async || {
                    assert!(query.is_active(), "{trigger}: {:?}", query.exception());
                    copy.sink.has("new").then_some(())
                })
                .await;
                in_time("the stop", query.stop()).await.unwrap();
                assert_eq!(copy.written(), ["a", "b", "c", "new"], "{trigger}");
            } else {
                let error = in_time("the end", query.await_termination()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DataLoss, "{trigger}: {error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_goes_under_a_running_query() {
    for trigger in TRIGGERS {
        for may_lose in [false, true] {
            let prefix = unique("family");
            let (stays, goes) = (format!("{prefix}-stays"), format!("{prefix}-goes"));
            create(&stays, 1).await;
            create(&goes, 1).await;
            let (fail, pattern) = (if may_lose { "false" } else { "true" }, format!("{prefix}.*"));
            let options = [
                ("subscribePattern", pattern.as_str()),
                ("startingOffsets", "earliest"),
                ("failOnDataLoss", fail),
            ];
            let copy = Copy::new(&brokers(), "CAST(value AS STRING)", &options);
            let sender = Sender::new(&brokers());
            sender.send_all(&stays, ["a"]);
            sender.send_all(&goes, ["b"]);
            let query = copy.start(trigger).await.unwrap();
            in_time("the first records", query.process_all_available()).await.unwrap();
            delete(&goes).await;
            if may_lose {
                sender.send_all(&stays, ["c"]);
                eventually("the other topic is read on", async || {
                    assert!(query.is_active(), "{trigger}: {:?}", query.exception());
                    copy.sink.has("c").then_some(())
                })
                .await;
                in_time("the stop", query.stop()).await.unwrap();
            } else {
                let error = in_time("the end", query.await_termination()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DataLoss, "{trigger}: {error}");
            }
        }
    }
}
