//! The Prometheus endpoint of `--metrics-addr`.

use std::net::{SocketAddr, ToSocketAddrs};

use epochflow::{Error, ErrorKind, Result};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Upper bounds, in seconds, of the durations of epochs and commits.
const BUCKETS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0];

/// Serves metrics at `address` as long as the process lives. To be called before a query starts.
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".into()), &BUCKETS)
        .map(|builder| builder.with_http_listener(address));
    builder.and_then(PrometheusBuilder::install).map_err(|error: BuildError| {
        Error::new(
            ErrorKind::Environment,
            format!("cannot serve metrics at {address}: {error}; choose another address with --metrics-addr"),
        )
        .with_source(error)
    })
}

/// `HOST:PORT`.
pub(super) fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    let refuse = |why: &str| format!("{why}; write HOST:PORT, such as 127.0.0.1:9464");
    let mut addresses = text.to_socket_addrs().map_err(|error| refuse(&error.to_string()))?;
    addresses.next().ok_or_else(|| refuse("the host has no address"))
}
