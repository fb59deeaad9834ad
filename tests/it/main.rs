//! The integration tests: one binary, one module a promise. Those that need a real broker find it in
//! `EPOCHFLOW_TEST_KAFKA`, those that need an S3 server in `EPOCHFLOW_TEST_S3`; `tests/run` starts both and sets these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

mod api;
mod bad_records;
mod bench;
mod checkpoint_files;
mod checkpoint_show;
mod checkpoint_tools;
mod cli;
mod conformance;
mod continuous;
mod crash;
mod docs;
mod errors;
mod exactly_once;
mod exactly_once_crash;
mod foreach;
mod fuzz_corpus;
mod kafka_data;
mod kafka_loss;
mod kafka_options;
mod kafka_own_broker;
mod kafka_records;
mod kafka_sink;
mod kafka_stress;
mod latency;
mod listeners;
mod memory_source;
mod metrics;
mod micro_batch;
mod operations;
mod outages;
mod parquet_sink;
mod progress;
mod provenance;
mod rate;
mod restart;
mod rooms;
mod s3;
mod security;
mod spark_export;
mod sql_support;
mod start_up;
mod static_tables;
mod stops;
mod store_faults;
