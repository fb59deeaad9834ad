//! Brokers of a cluster die, and others take over what they led.

use super::flow::{Flow, Setting};
use crate::support::cluster::Cluster;

fn setting(cluster: &Cluster, delivery: &'static str, trigger: &'static str) -> Setting {
    Setting { replicas: 3, ..Setting::new(&cluster.address, delivery, trigger) }
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_that_die_are_followed_to_their_successors() {
    let cluster = Cluster::alone().await;
    let mut flows = Vec::new();
    for trigger in ["continuous:100ms", "processing-time:100ms"] {
        flows.push(Flow::start(setting(&cluster, "at-least-once", trigger)).await);
    }
    for topic in [flows[0].source.clone(), flows[1].sink.clone()] {
        for flow in &mut flows {
            flow.goes_on("before").await;
        }
        let leader = cluster.leader(&topic, 0).unwrap();
        cluster.kill(leader, &topic, 0).await;
        for flow in &mut flows {
            flow.goes_on("with another leader").await;
        }
        cluster.start_again(leader).await;
    }
    for flow in flows {
        flow.goes_on_and_ends().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinators_of_the_transactions_and_of_the_group_that_die_are_found_again() {
    let cluster = Cluster::alone().await;
    let mut flow = Flow::start(setting(&cluster, "exactly-once", "continuous:100ms")).await;
    flow.goes_on("before").await;
    let metadata = std::fs::read_to_string(flow.checkpoint().join("metadata")).unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let group = format!("epochflow-{}", metadata["id"].as_str().unwrap());
    for (topic, id) in [
        ("__transaction_state", format!("{group}-0")),
        ("__transaction_state", format!("{group}-1")),
        ("__consumer_offsets", group),
    ] {
        let (coordinator, partition) = cluster.coordinator(topic, &id).await;
        cluster.kill(coordinator, topic, partition).await;
        flow.goes_on(&format!("with another coordinator of {id}")).await;
        cluster.start_again(coordinator).await;
    }
    flow.goes_on_and_ends().await;
}
