//! A row shows as soon as its record is there. Figures are for the benches; here later records must not be needed.

use std::time::{Duration, Instant};

use epochflow::{StreamSession, Trigger};

use crate::support::kafka::{Receiver, Record, Sender, brokers, topic};
use crate::support::{PATIENCE, in_time};

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_passes_one_in_fifty_shows_each_match_at_once() {
    let (brokers, source, sink) = (brokers(), topic("in", 1).await, topic("out", 1).await);
    let session = StreamSession::new().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/{source}' OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE matches STORED AS KAFKA LOCATION 'kafka://{brokers}/{sink}';
         INSERT INTO matches SELECT value FROM events WHERE CAST(value AS STRING) LIKE 'match%'"
    );
    let folder = tempfile::tempdir().unwrap();
    let query = session.pipeline(&sql).await.unwrap();
    let query = query
        .option("checkpointLocation", folder.path().display())
        .trigger(Trigger::Continuous(Duration::from_secs(1)))
        .start();
    let query = in_time("the start", query).await.unwrap();

    let seen = tokio::task::spawn_blocking(move || {
        let (sender, receiver) = (Sender::new(&brokers), Receiver::new(&brokers, &sink));
        let started = Instant::now();
        for number in 0..500u32 {
            std::thread::park_timeout((Duration::from_millis(10) * number).saturating_sub(started.elapsed()));
            let text = if number % 50 == 49 { format!("match {number}") } else { format!("other {number}") };
            sender.send(&source, &Record::value(0, text.clone()));
            if text.starts_with("match") {
                // Nothing more is sent before the match has arrived: it cannot have waited for another record.
                let arrived = receiver.next(PATIENCE).and_then(|record| record.value);
                assert_eq!(arrived.as_deref(), Some(text.as_bytes()));
            }
        }
    });
    seen.await.unwrap();
    in_time("the stop", query.stop()).await.unwrap();
}
