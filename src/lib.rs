//! epochflow
mod epoch;
mod error;
