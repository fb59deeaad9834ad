//! The checkpoint's store is slow, then away, then back.

use std::time::Duration;

use super::flow::{BOTH, Flow, Setting, go_on};
use crate::support::eventually;
use crate::support::kafka::{brokers, ends};
use crate::support::proxy::{Proxy, Weather};
use crate::support::s3::Bucket;

#[tokio::test(flavor = "multi_thread")]
async fn an_s3_server_that_is_slow_and_then_away_is_waited_for_while_records_flow() {
    let bucket = Bucket::new();
    let proxy = Proxy::start(bucket.address()).unwrap();
    let mut flows = Vec::new();
    for delivery in BOTH {
        for trigger in ["continuous:100ms", "processing-time:100ms"] {
            let setting = Setting::new(&brokers(), delivery, trigger);
            flows.push(
                Flow::start(Setting {
                    environment: bucket.environment_at(proxy.address()).to_vec(),
                    checkpoint: Some(bucket.path(&format!("{delivery}/{}", &trigger[..4]))),
                    ..setting
                })
                .await,
            );
        }
    }
    go_on(&mut flows, "before").await;
    proxy.set(Weather::Slow(Duration::from_millis(300)));
    go_on(&mut flows, "with a slow store").await;
    for weather in [Weather::Still, Weather::Away] {
        proxy.set(weather);
        // Records pass a store that does not answer; under the continuous trigger, as no batch is being waited for.
        for flow in flows.iter().filter(|flow| flow.is_continuous()) {
            let before = ends(&flow.sink)[&0];
            eventually("records flow", async || (ends(&flow.sink)[&0] > before + 40).then_some(())).await;
        }
        proxy.set(Weather::Fair);
        // What hung is tried anew at once, and not when its time is over.
        proxy.cut();
        go_on(&mut flows, "with the store back").await;
    }
    for flow in flows {
        let told = flow.end().await;
        assert_eq!(told.restarts(), 0, "{}", told.log);
    }
}
