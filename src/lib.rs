//! epochflow
pub mod checkpoint;
mod epoch;
mod error;
