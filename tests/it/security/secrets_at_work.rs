//! Secrets of queries that run, or try to: logs, progress, metrics, checkpoint and tools hold none.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use super::secrets::{SECRET, Told};
use crate::support::broker::OwnBroker;
use crate::support::engine::{Engine, pipeline};
use crate::support::eventually;
use crate::support::kafka::Sender;
use crate::support::s3::Bucket;

/// The password of alice at the tests' broker.
const PASSWORD: &str = "alice-secret";

fn traced() -> [(&'static str, String); 1] {
    [("RUST_LOG", "trace".to_owned())]
}

fn files(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &files(&path);
        } else {
            text += &String::from_utf8_lossy(&std::fs::read(path).unwrap());
        }
    }
    text
}

fn scraped(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.contains("epochflow_").then_some(answer)
}

/// A pipeline with a login for source, sink and dead letters.
fn sql(address: &str, ca: &str, mechanism: &str, login: &str, sink: &str) -> String {
    let client = format!(
        "'kafka.bootstrap.servers' '{address}', 'kafka.debug' 'all', 'kafka.security.protocol' 'SASL_SSL', \
         'kafka.sasl.mechanism' '{mechanism}', {login}, 'kafka.ssl.ca.location' '{ca}'"
    );
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{address}/in' OPTIONS ('startingOffsets' 'earliest', {client});
         CREATE EXTERNAL TABLE out STORED AS {sink} LOCATION 'kafka://{address}/out' OPTIONS ({client}, \
           'badRecords' 'dead-letter', 'deadLetterTopic' 'bad');
         INSERT INTO out SELECT CAST(CAST(CAST(value AS STRING) AS INT) AS STRING) AS value FROM events"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_at_work_shows_no_login() {
    let broker = OwnBroker::start("auto.create.topics.enable=true", &["--sasl"]);
    let plain_address = broker.address("bootstrap");
    let (address, ca) = (broker.address("bootstrap-sasl"), broker.file("ca.pem"));
    let sender = Sender::new(&plain_address);
    sender.send_all("in", ["1", "no number", "2"]);
    // So that these topics are there.
    ["out", "bad"].into_iter().for_each(|topic| sender.send_all(topic, ["first"]));
    let mut told = Told::default();
    let user = |password: &str| format!("'kafka.sasl.username' 'alice', 'kafka.sasl.password' '{password}'");
    let jaas = |password: &str| {
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        format!("'kafka.sasl.jaas.config' '{module} required username=\"alice\" password=\"{password}\";'")
    };
    let wrong = format!("{SECRET}-wrong");
    for (mechanism, login, sink, succeeds) in [
        ("PLAIN", user(PASSWORD), "KAFKA", true),
        ("SCRAM-SHA-512", jaas(PASSWORD), "CONSOLE", true),
        ("PLAIN", user(&wrong), "KAFKA", false),
        ("SCRAM-SHA-512", jaas(&wrong), "CONSOLE", false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = pipeline(folder.path(), &sql(&address, &ca, mechanism, &login, sink));
        let checkpoint = folder.path().join("checkpoint");
        let (path, place) = (path.to_str().unwrap(), checkpoint.to_str().unwrap());
        let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let args = [
            "run",
            path,
            "--checkpoint",
            place,
            "--trigger",
            "continuous:100ms",
            "--progress",
            "json",
            "--allow",
            &ca,
            "--metrics-addr",
            &metrics,
        ];
        let mut engine = Engine::start_in(&traced(), &args);
        let ended = if succeeds {
            eventually("an epoch is committed", async || {
                let is_running = engine.is_running();
                assert!(is_running, "{}", engine.stderr().lines().last().unwrap_or_default());
                checkpoint.join("commits/0").exists().then_some(())
            })
            .await;
            let scraped = eventually("metrics are served", async || scraped(&metrics)).await;
            told.add("metrics", &scraped);
            engine.signal("-TERM");
            engine.ended().await
        } else {
            engine.ended().await
        };
        assert_eq!(ended.status.success(), succeeds, "{}", ended.stderr.lines().last().unwrap_or_default());
        told.add("stdout", &ended.stdout.replace(PASSWORD, SECRET));
        told.add("logs", &ended.stderr.replace(PASSWORD, SECRET));
        if succeeds {
            told.add("the checkpoint", &files(&checkpoint).replace(PASSWORD, SECRET));
            for args in [&["checkpoint", "show", place][..], &["checkpoint", "show", place, "--json"]] {
                let shown = Engine::start_in(&traced(), args).ended().await;
                told.add("checkpoint show", &(shown.stdout + &shown.stderr).replace(PASSWORD, SECRET));
            }
        }
    }
    for certain in ["librdkafka", "numInputRows", "epochflow_", "last committed epoch", "login"] {
        assert!(told.holds(certain), "nothing of what was started has said {certain}");
    }
    told.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_at_work_shows_no_key() {
    let bucket = Bucket::new();
    let endpoint = bucket.environment()[0].1.clone();
    let host = endpoint.strip_prefix("http://").unwrap().to_owned();
    let with_login = format!("http://me:{SECRET}-login@{host}");
    let folder = tempfile::tempdir().unwrap();
    let rate = "CREATE EXTERNAL TABLE n STORED AS \"RATE-MICRO-BATCH\" LOCATION '-' OPTIONS ('rowsPerBatch' '3', 'numPartitions' '1');";
    let secrets = [
        ("aws_region", "us-east-1".to_owned()),
        ("aws_allow_http", "true".to_owned()),
        ("aws_access_key_id", format!("{SECRET}-id")),
        ("aws_secret_access_key", format!("{SECRET}-key")),
        ("aws_session_token", format!("{SECRET}-token")),
    ];
    let mut told = Told::default();
    for (number, (endpoint, succeeds)) in
        [(endpoint.as_str(), true), (with_login.as_str(), false), ("http://127.0.0.1:1", false)]
            .into_iter()
            .enumerate()
    {
        let options: Vec<String> =
            secrets.iter().map(|(name, value)| format!("'{name}' '{value}'")).collect();
        let rows = bucket.path(&format!("rows-{number}"));
        let sql = format!(
            "{rate}
             CREATE EXTERNAL TABLE out STORED AS PARQUET LOCATION '{rows}' OPTIONS ({});
             INSERT INTO out SELECT value FROM n",
            options.join(", ")
        );
        let path = pipeline(folder.path(), &sql);
        let checkpoint = bucket.path(&format!("checkpoint-{number}"));
        let mut args = vec![
            "run",
            path.to_str().unwrap(),
            "--checkpoint",
            &checkpoint,
            "--trigger",
            "once",
            "--allow",
            &rows,
        ];
        args.extend(["--progress", "json", "--restart", "never"]);
        let store: Vec<String> = secrets
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain([format!("aws_endpoint={endpoint}")])
            .collect();
        args.extend(store.iter().flat_map(|option| ["--store-option", option]));
        let environment = [traced()[0].clone(), ("AWS_ENDPOINT", endpoint.to_owned())];
        let ended = Engine::start_in(&environment, &args).ended().await;
        assert_eq!(
            ended.status.success(),
            succeeds,
            "{endpoint}: {}",
            ended.stderr.lines().last().unwrap_or_default()
        );
        told.add("stdout", &ended.stdout);
        told.add("logs", &ended.stderr);
        let mut args = vec!["checkpoint", "show", &checkpoint];
        args.extend(store.iter().flat_map(|option| ["--store-option", option]));
        let shown = Engine::start_in(&environment, &args).ended().await;
        assert_eq!(shown.status.success(), succeeds, "{}", shown.stderr);
        told.add("checkpoint show", &(shown.stdout + &shown.stderr));
    }
    for certain in ["TRACE", "numInputRows", "127.0.0.1"] {
        assert!(told.holds(certain), "nothing of what was started has said {certain}");
    }
    told.check();
}
