//! The process stands still for so long that all its time-outs have passed.

use std::time::Duration;

use super::flow::{BOTH, Flow, Setting};
use crate::support::broker::OwnBroker;
use crate::support::eventually;
use crate::support::kafka::ends_at;

/// The broker closes idle connections after three seconds, and looks each half second for transactions to abort.
const BROKER: &str =
    "connections.max.idle.ms=3000\ntransaction.abort.timed.out.transaction.cleanup.interval.ms=500";
/// What stands for minutes: with these all of the client's and the broker's time-outs are over after [`PAUSE`].
const SHORT: &str = ", 'kafka.transaction.timeout.ms' '3000', 'kafka.message.timeout.ms' '3000', \
                     'kafka.socket.timeout.ms' '2000', 'kafka.request.timeout.ms' '2000'";
const PAUSE: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_paused_beyond_all_time_outs_goes_on_where_it_was() {
    let broker = OwnBroker::start(BROKER, &[]);
    let address = broker.address("bootstrap");
    let mut flows = Vec::new();
    for delivery in BOTH {
        for trigger in ["continuous:100ms", "processing-time:100ms"] {
            let setting = Setting::new(&address, delivery, trigger);
            flows.push(Flow::start(Setting { options: SHORT, ..setting }).await);
        }
    }
    for _ in 0..2 {
        for flow in &mut flows {
            flow.goes_on("before the pause").await;
        }
        for flow in &flows {
            flow.engine.signal("-STOP");
        }
        tokio::time::sleep(PAUSE).await;
        for flow in &flows {
            eventually("no transaction is left open", async || {
                let ends = |isolation| ends_at(&address, &flow.sink, isolation);
                (ends("read_committed") == ends("read_uncommitted")).then_some(())
            })
            .await;
        }
        for flow in &flows {
            flow.engine.signal("-CONT");
        }
    }
    for flow in flows {
        flow.goes_on_and_ends().await;
    }
}
