//! Connections are cut, delayed, or stay open and carry nothing.

use std::time::Duration;

use super::flow::{BOTH, Flow, Setting, go_on};
use crate::support::broker::ProxiedBroker;
use crate::support::proxy::Weather;

/// A connection that carries nothing is given up soon, not after a minute.
const IMPATIENT: &str = ", 'kafka.socket.timeout.ms' '8000'";

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_delayed_or_half_open_lose_nothing() {
    let broker = ProxiedBroker::start();
    let mut flows = Vec::new();
    for delivery in BOTH {
        for trigger in ["continuous:100ms", "processing-time:100ms"] {
            let setting = Setting::new(&broker.proxied(), delivery, trigger);
            let setting = Setting { direct: broker.direct(), options: IMPATIENT, ..setting };
            flows.push(Flow::start(setting).await);
        }
    }
    for _ in 0..3 {
        broker.proxy.cut();
        go_on(&mut flows, "over new connections").await;
    }
    broker.proxy.set(Weather::Slow(Duration::from_millis(30)));
    go_on(&mut flows, "over slow connections").await;
    // Nothing comes through for longer than requests wait; what was under way arrives late.
    broker.proxy.set(Weather::Still);
    tokio::time::sleep(Duration::from_secs(10)).await;
    broker.proxy.set(Weather::Fair);
    go_on(&mut flows, "after a calm").await;
    // These connections never carry anything again, and nobody says so.
    broker.proxy.freeze();
    go_on(&mut flows, "beside half-open connections").await;
    for flow in flows {
        flow.end().await;
    }
}
