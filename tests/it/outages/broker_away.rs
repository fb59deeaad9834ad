//! The broker goes and comes back.

use std::time::Duration;

use super::flow::{BOTH, Flow, Setting};
use crate::support::broker::OwnBroker;

const AWAY: Duration = Duration::from_secs(30);

/// What the log may say while no broker is there.
fn is_true_while_the_broker_is_away(line: &str) -> bool {
    const TRUE: &[&str] = &[
        "Connection refused",
        "brokers are down",
        "Disconnected",
        "Broker transport failure",
        // Of a broker that has just started.
        "Coordinator load in progress",
        "trying again in",
        "did not end in 4s",
    ];
    TRUE.iter().any(|part| line.contains(part))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_for_half_a_minute_costs_nothing_and_a_stop_meanwhile_says_only_what_is_true()
{
    let broker = OwnBroker::start("", &[]);
    let address = broker.address("bootstrap");
    let mut flows = Vec::new();
    for trigger in ["continuous:100ms", "processing-time:100ms"] {
        for delivery in BOTH {
            flows.push(Flow::start(Setting::new(&address, delivery, trigger)).await);
        }
    }
    let mut last = Vec::new();
    for delivery in BOTH {
        last.push(Flow::start(Setting::new(&address, delivery, "continuous:100ms")).await);
    }
    for flow in flows.iter_mut().chain(&mut last) {
        flow.goes_on("before").await;
    }
    broker.kill();
    tokio::time::sleep(AWAY).await;
    // Two are stopped while nobody answers.
    for flow in last {
        flow.engine.signal("-TERM");
        let ended = flow.engine.ended().await;
        assert!(ended.status.success(), "{}", ended.stderr);
        let untrue: Vec<_> =
            ended.stderr.lines().filter(|line| !is_true_while_the_broker_is_away(line)).collect();
        assert!(untrue.is_empty(), "{untrue:#?}");
    }
    let broker = tokio::task::spawn_blocking(move || {
        broker.start_again();
        broker
    });
    let broker = broker.await.unwrap();
    for flow in flows {
        let told = flow.goes_on_and_ends().await;
        assert_eq!(told.restarts(), 0, "an outage shorter than kafka.message.timeout.ms: {}", told.log);
    }
    drop(broker);
}
