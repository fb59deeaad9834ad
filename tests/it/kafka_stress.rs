//! Topics, partitions and records come and go under a running query. What happens is drawn from a fixed seed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use epochflow::{StreamingQuery, Trigger};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use crate::support::copy::Copy;
use crate::support::kafka::{
    Record, Sender, brokers, create, delete, delete_records_before, grow, topic, unique,
};
use crate::support::{eventually, in_time};

const CONTINUOUS: Trigger = Trigger::Continuous(Duration::from_millis(50));

/// Waits until the rows are written by a query that lives.
async fn until_written(copy: &Copy, query: &StreamingQuery, rows: &BTreeSet<String>) {
    eventually("the rows are written", async || {
        assert!(query.is_active(), "{:?}", query.exception());
        rows.is_subset(&copy.sink.written().into_iter().collect()).then_some(())
    })
    .await;
}

/// Records age out while the sink holds the query back, so many of them are gone before they are read.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_age_out_under_load_are_read_around_and_no_other_is_missed() {
    const BURST: i64 = 30;
    const ROUNDS: i64 = 3;
    let (brokers, mut random) = (brokers(), StdRng::seed_from_u64(7));
    let (topic, sender) = (topic("ages", 2).await, Sender::new(&brokers));
    let options = [
        ("subscribe", topic.as_str()),
        ("startingOffsets", "earliest"),
        ("failOnDataLoss", "false"),
        // Less than a burst is fetched ahead of the sink.
        ("kafka.queued.max.messages.kbytes", "64"),
        ("kafka.fetch.message.max.bytes", "32768"),
    ];
    let copy = Copy::new(&brokers, "split_part(CAST(value AS STRING), ' ', 1)", &options);
    let query = copy.start(CONTINUOUS).await.unwrap();
    let row = |partition: i32, offset: i64| format!("{partition}/{offset}");
    let rows = |partition: i32, offsets: Range<i64>| offsets.map(move |offset| row(partition, offset));
    let (padding, mut kept) = ("x".repeat(30_000), BTreeSet::new());
    for round in 0..ROUNDS {
        let held = copy.sink.hold().await;
        let burst = round * BURST..(round + 1) * BURST;
        for offset in burst.clone() {
            for partition in 0..2 {
                sender.send(&topic, &Record::value(partition, row(partition, offset) + " " + &padding));
            }
            // A few at a time, since what is sent together is fetched together.
            if offset % 5 == 0 {
                sender.flush();
            }
        }
        sender.flush();
        let (aged, first) = (random.random_range(0..2), random.random_range(burst.start + 15..burst.end));
        delete_records_before(&topic, aged, first).await;
        kept.extend(rows(aged, first..burst.end).chain(rows(1 - aged, burst)));
        drop(held);
        until_written(&copy, &query, &kept).await;
    }
    in_time("the stop", query.stop()).await.unwrap();
    let mut written = copy.sink.written();
    assert!(written.len() < 2 * (BURST * ROUNDS) as usize, "nothing was gone before it was read");
    let count = written.len();
    written.sort();
    written.dedup();
    assert_eq!(written.len(), count, "no record is read twice");
}

enum Step {
    Add,
    Delete,
    Grow,
}

/// One query's topics by number of partitions, and all that was sent to topics, also to those that are gone.
struct Topics {
    prefix: String,
    made: u32,
    partitions: BTreeMap<String, usize>,
    sent: BTreeSet<String>,
}

impl Topics {
    async fn add(&mut self, partitions: usize) {
        let name = format!("{}-{}", self.prefix, self.made);
        self.made += 1;
        create(&name, partitions as i32).await;
        self.partitions.insert(name, partitions);
    }

    /// The one that the query has read from its start: its rows come without a look for new partitions.
    fn oldest(&self) -> String {
        self.partitions.keys().next().unwrap().clone()
    }

    fn any_but_the_oldest(&self, random: &mut StdRng) -> String {
        let names: Vec<&String> = self.partitions.keys().skip(1).collect();
        (*names.choose(random).unwrap()).clone()
    }

    /// A row to each partition of each topic.
    fn send(&mut self) {
        // Made anew, since it must learn of new partitions.
        let sender = Sender::new(&brokers());
        for (topic, partitions) in &self.partitions {
            for partition in 0..*partitions {
                let row = format!("{topic}/{partition} {}", self.sent.len());
                sender.send(topic, &Record::value(partition as i32, row.as_str()));
                self.sent.insert(row);
            }
        }
        sender.flush();
    }
}

async fn come_and_go(trigger: Trigger, seed: u64) {
    let (brokers, mut random, prefix) = (brokers(), StdRng::seed_from_u64(seed), unique("comes-and-goes"));
    let pattern = format!("{prefix}-.*");
    let mut topics = Topics { prefix, made: 0, partitions: BTreeMap::new(), sent: BTreeSet::new() };
    topics.add(1).await;
    topics.add(2).await;
    topics.add(1).await;
    let options = [
        ("subscribePattern", pattern.as_str()),
        ("startingOffsets", "earliest"),
        ("failOnDataLoss", "false"),
    ];
    let copy = Copy::new(&brokers, "CAST(value AS STRING)", &options);
    let query = copy.start(trigger).await.unwrap();
    let mut steps = [Step::Add, Step::Delete, Step::Grow, Step::Add, Step::Grow];
    steps.shuffle(&mut random);
    for step in steps {
        topics.send();
        match step {
            Step::Add => topics.add(random.random_range(1..=3)).await,
            Step::Delete => {
                let name = topics.oldest();
                // What goes with a topic unread is lost by right.
                let of_topic = |row: &&String| row.starts_with(&format!("{name}/"));
                let rows = topics.sent.iter().filter(of_topic).cloned().collect();
                until_written(&copy, &query, &rows).await;
                delete(&name).await;
                topics.partitions.remove(&name);
            }
            Step::Grow => {
                let name = topics.any_but_the_oldest(&mut random);
                let partitions = topics.partitions[&name] + 1;
                grow(&name, partitions).await;
                topics.partitions.insert(name, partitions);
            }
        }
    }
    topics.send();
    until_written(&copy, &query, &topics.sent).await;
    in_time("the stop", query.stop()).await.unwrap();
    assert!(copy.written().into_iter().eq(topics.sent), "each record is read once");
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_partitions_come_and_go_under_the_continuous_trigger() {
    come_and_go(CONTINUOUS, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_and_partitions_come_and_go_between_micro_batches() {
    come_and_go(Trigger::ProcessingTime(Duration::ZERO), 2).await;
}
