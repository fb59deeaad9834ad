//! The sink's topic refuses records: those too large for it, and all while it has too few replicas in sync.

use std::time::Duration;

use epochflow::{Delivery, Error, ErrorKind, StreamSession, Trigger};

use super::flow::{BOTH, Flow, Setting};
use crate::support::cluster::Cluster;
use crate::support::in_time;
use crate::support::kafka::{Receiver, Sender, brokers, create_at, set_at, topic, unique};

const LIMIT: usize = 20_000;
const RECORDS: usize = 300;
const LARGE: usize = 77;

fn value(number: usize) -> Vec<u8> {
    format!("{number} ").repeat(if number == LARGE { LIMIT } else { 250 }).into_bytes()
}

/// Copies more records than fit into a request, one of them too large, into a topic that takes little; with the topic.
async fn copied(source: &str, delivery: Delivery, options: &str) -> (String, Result<(), Error>) {
    let (sink, brokers) = (unique("small"), brokers());
    create_at(&brokers, &sink, (1, 1), &[("max.message.bytes", &LIMIT.to_string())]).await;
    let session = StreamSession::new().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}'
           OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE out STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}' OPTIONS ({options});
         INSERT INTO out SELECT value FROM events"
    );
    let writer = session.pipeline(&sql).await.unwrap().delivery(delivery).trigger(Trigger::AvailableNow);
    let writer = writer.option("checkpointLocation", format!("memory://{}", unique("checkpoint")));
    let query = in_time("the start", writer.start()).await.unwrap();
    let ended = in_time("the end", query.await_termination()).await;
    assert_eq!(query.status().restarts, 0, "no restart mends a record: {:?}", query.status());
    (sink, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_its_topic_ends_the_query_and_costs_only_itself_where_that_is_wanted() {
    let (source, letters) = (topic("in", 1).await, topic("letters", 1).await);
    Sender::new(&brokers()).send_all(&source, (0..RECORDS).map(value));
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let (sink, ended) = copied(&source, delivery, "'kafka.linger.ms' '50'").await;
        let (error, told) = (ended.as_ref().unwrap_err(), ended.as_ref().unwrap_err().to_string());
        assert_eq!(error.kind(), ErrorKind::Data, "{told}");
        assert!(told.starts_with(&format!("{source}-0, offset {LARGE}: ")), "{told}");
        for part in [&sink, "60000 bytes", "20000 bytes", "raise max.message.bytes", "badRecords"] {
            assert!(told.contains(part), "no '{part}' in: {told}");
        }

        let dead = format!("'badRecords' 'dead-letter', 'deadLetterTopic' '{letters}'");
        for policy in ["'badRecords' 'skip'", dead.as_str()] {
            // So that records are sent together: what is sent together must fit, too.
            let (sink, ended) = copied(&source, delivery, &format!("{policy}, 'kafka.linger.ms' '50'")).await;
            ended.unwrap();
            let written =
                Receiver::committed_at(&brokers(), &sink).into_iter().map(|record| record.value.unwrap());
            assert!(written.eq((0..RECORDS).filter(|number| *number != LARGE).map(value)), "{policy}");
        }
        let letter = Receiver::new(&brokers(), &letters).take(1).remove(0);
        assert_eq!(letter.value, Some(value(LARGE)), "the record as it came");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_enough_replicas_in_sync_is_waited_for() {
    let cluster = Cluster::alone().await;
    let mut flows = Vec::new();
    for delivery in BOTH {
        // One is patient; the other gives up on its records, and restarts.
        for options in ["", ", 'kafka.message.timeout.ms' '5000'"] {
            let setting = Setting::new(&cluster.address, delivery, "continuous:100ms");
            flows.push(Flow::start(Setting { options, replicas: 3, ..setting }).await);
        }
    }
    for flow in &mut flows {
        flow.goes_on("before").await;
        set_at(&cluster.address, &flow.sink, "min.insync.replicas", "3").await;
    }
    let broker = cluster.leader(&flows[0].sink, 0).unwrap();
    cluster.kill(broker, &flows[0].sink, 0).await;
    for flow in &mut flows {
        flow.stands_still().await;
    }
    // Longer than the impatient ones wait for an ack.
    tokio::time::sleep(Duration::from_secs(8)).await;
    cluster.start_again(broker).await;
    for flow in flows {
        flow.goes_on_and_ends().await;
    }
}
