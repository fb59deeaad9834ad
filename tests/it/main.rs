//! The integration tests: one binary, one module a promise. Those that need a real broker find it in
//! `EPOCHFLOW_TEST_KAFKA`; `tests/run` starts one and sets it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod support;

mod api;
mod checkpoint_files;
mod checkpoint_tools;
mod cli;
mod continuous;
mod crash;
mod errors;
mod kafka_records;
mod latency;
mod micro_batch;
mod rooms;
mod spark_export;
mod sql_support;
