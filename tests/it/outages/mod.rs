//! Outages of a real broker, a real store and a real clock under the real binary, each with a count of every record.
//!
//! Other outages have their tests elsewhere: a topic that is deleted while the query runs in `kafka_loss.rs`
//! (`a_topic_that_goes_under_a_running_query`, `a_topic_that_is_made_anew_under_a_running_query`), partitions that are added
//! in `kafka_records.rs` and `kafka_stress.rs` (`topics_and_partitions_come_and_go_…`), stores that fail on purpose in
//! `store_faults.rs`.

mod backpressure;
mod broker_away;
mod clock;
mod cluster;
mod connections;
mod flow;
mod paused;
mod sink_refuses;
mod store_away;
