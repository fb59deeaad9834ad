//! The Prometheus endpoint of the real binary.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::{Receiver, Record, Sender, brokers, topic};

/// A sample's name with its labels, and its value.
type Samples = BTreeMap<String, f64>;

fn scrape(address: &str) -> Option<Samples> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let samples = body.lines().filter(|line| line.starts_with("epochflow_"));
    Some(samples.map(|line| parsed(line).unwrap_or_else(|| panic!("not a sample: {line}"))).collect())
}

/// `name{label="value",…} value`.
fn parsed(line: &str) -> Option<(String, f64)> {
    let (name, value) = line.rsplit_once(' ')?;
    if let Some((_, labels)) = name.split_once('{') {
        let labels = labels.strip_suffix('}')?;
        for label in labels.split("\",") {
            label.split_once("=\"")?;
        }
    }
    Some((name.to_owned(), value.parse().ok()?))
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_serves_what_a_running_query_does() {
    let (from, to) = (topic("metrics-in", 2).await, topic("metrics-out", 1).await);
    let brokers = brokers();
    let folder = tempfile::tempdir().unwrap();
    let sql = format!(
        "CREATE EXTERNAL TABLE a STORED AS KAFKA LOCATION 'kafka://{brokers}/{from}' OPTIONS ('startingOffsets' 'earliest');
         CREATE EXTERNAL TABLE b STORED AS KAFKA LOCATION 'kafka://{brokers}/{to}';
         INSERT INTO b SELECT key, value FROM a"
    );
    let (path, checkpoint, address) =
        (pipeline(folder.path(), &sql), folder.path().join("checkpoint"), free_address());
    let engine = Engine::start(&[
        "run",
        path.to_str().unwrap(),
        "--checkpoint",
        checkpoint.to_str().unwrap(),
        "--trigger",
        "continuous:100ms",
        "--progress",
        "none",
        "--name",
        "copy",
        "--metrics-addr",
        &address,
        "--latency-slo",
        "60s@p99",
    ]);
    let sender = Sender::new(&brokers);
    for number in 0..30 {
        sender.send(&from, &Record::value(number % 2, number.to_string()));
    }
    sender.flush();
    let receiver = Receiver::new(&brokers, &to);
    tokio::task::spawn_blocking(move || receiver.take(30)).await.unwrap();
    let lag = |partition: u32| {
        format!(r#"epochflow_lag_records{{query="copy",topic="{from}",partition="{partition}"}}"#)
    };
    let samples = eventually("all rows are counted and lag is known", async || {
        let samples = scrape(&address)?;
        let all = samples.get(r#"epochflow_rows_written_total{query="copy"}"#) == Some(&30.0);
        (all && samples.contains_key(&lag(0)) && samples.contains_key(&lag(1))).then_some(samples)
    })
    .await;
    let of = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:#?}"));
    assert_eq!(of(r#"epochflow_rows_read_total{query="copy"}"#), 30.0);
    assert_eq!(of(r#"epochflow_query_active{query="copy"}"#), 1.0);
    assert_eq!(of(r#"epochflow_restarts_total{query="copy"}"#), 0.0);
    for cause in ["Transient", "Internal"] {
        let name = format!(r#"epochflow_restarts_by_cause_total{{query="copy",cause="{cause}"}}"#);
        assert_eq!(of(&name), 0.0);
    }
    assert_eq!((of(&lag(0)), of(&lag(1))), (0.0, 0.0));
    let epochs = of(r#"epochflow_epochs_total{query="copy"}"#);
    assert!(epochs >= 1.0);
    assert!((1.0..=30.0).contains(&of(r#"epochflow_batches_total{query="copy"}"#)));
    for duration in ["epoch", "commit"] {
        let name = format!("epochflow_{duration}_duration_seconds");
        assert_eq!(of(&format!(r#"{name}_count{{query="copy"}}"#)), epochs);
        assert_eq!(of(&format!(r#"{name}_bucket{{query="copy",le="+Inf"}}"#)), epochs);
    }
    for stage in ["fetch_to_hand_over", "operators", "produce_to_ack", "end_to_end"] {
        let labels = format!(r#"query="copy",stage="{stage}""#);
        assert_eq!(of(&format!("epochflow_latency_seconds_count{{{labels}}}")), 30.0);
        assert_eq!(of(&format!(r#"epochflow_latency_seconds_bucket{{{labels},le="+Inf"}}"#)), 30.0);
        assert!(of(&format!(r#"epochflow_latency_seconds_bucket{{{labels},le="0.001"}}"#)) <= 30.0);
        let p50 = of(&format!(r#"epochflow_latency_quantile_seconds{{{labels},quantile="0.5"}}"#));
        let max = of(&format!(r#"epochflow_latency_quantile_seconds{{{labels},quantile="1"}}"#));
        assert!(0.0 < p50 && p50 <= max, "{stage}: {p50} {max}");
    }
    assert_eq!(of(r#"epochflow_slo_rows_total{query="copy"}"#), 30.0);
    for window in ["epoch", "5m", "1h"] {
        assert!(of(&format!(r#"epochflow_slo_burn_rate{{query="copy",window="{window}"}}"#)) >= 0.0);
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_or_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), "SELECT 1");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (address, status) in [(taken.as_str(), 1), ("9464", 2), ("127.0.0.1:port", 2)] {
        let path = path.to_str().unwrap();
        let args =
            ["run", path, "--checkpoint", "memory://x", "--trigger", "once", "--metrics-addr", address];
        let ended = Engine::start(&args).ended().await;
        assert_eq!(ended.status.code(), Some(status), "{address}: {}", ended.stderr);
        assert!(ended.stderr.contains(address), "{}", ended.stderr);
    }
}
