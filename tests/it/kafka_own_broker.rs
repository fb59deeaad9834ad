//! What takes a broker with settings of its own: logins over TLS, connections that it closes, compaction.

use std::process::Command;
use std::time::Duration;

use arrow::datatypes::DataType;
use datafusion::prelude::{cast, col};
use epochflow::{ErrorKind, StreamDataFrame, StreamSession, Trigger};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::support::broker::OwnBroker;
use crate::support::copy::Copy;
use crate::support::kafka::{Record, Sender, unique};
use crate::support::{eventually, in_time};

const CREATE_TOPICS: &str = "auto.create.topics.enable=true";
const PASSWORD: &str = "alice-secret";

fn jaas(module: &str, password: &str) -> String {
    format!(r#"org.apache.kafka.common.security.{module} required username="alice" password="{password}";"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_over_tls_in_the_words_of_the_java_client() {
    let broker = OwnBroker::start(CREATE_TOPICS, &["--sasl"]);
    Sender::new(&broker.address("bootstrap")).send_all("in", ["a", "b"]);
    let (secured, ca) = (broker.address("bootstrap-sasl"), broker.file("ca.pem"));
    let (scram, plain) = (jaas("scram.ScramLoginModule", PASSWORD), jaas("plain.PlainLoginModule", PASSWORD));
    let with = |mechanism: &str, jaas: &str| {
        let options = [
            ("kafka.security.protocol", "SASL_SSL"),
            ("kafka.sasl.mechanism", mechanism),
            ("kafka.sasl.jaas.config", jaas),
            ("kafka.ssl.truststore.type", "PEM"),
            ("kafka.ssl.truststore.location", ca.as_str()),
        ];
        Copy::values(&secured, "in", &options)
    };

    for (mechanism, jaas) in [("SCRAM-SHA-512", &scram), ("PLAIN", &plain)] {
        let copy = with(mechanism, jaas);
        let query = copy.catch_up().await.unwrap();
        assert_eq!(copy.written(), ["a", "b"]);
        assert!(!format!("{query:?} {:?}", query.last_progress()).contains(PASSWORD));
    }

    // The command of the refusal makes a file that works.
    let refused = with("SCRAM-SHA-512", &scram)
        .with("kafka.ssl.truststore.type", "JKS")
        .with("kafka.ssl.truststore.location", &broker.file("ca.jks"));
    let error = refused.start(Trigger::Once).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let message = error.to_string();
    let start = message.find("keytool").unwrap();
    let command = message[start..].split_once(';').unwrap().0;
    let command = command.replace(" > ", " -storepass changeit > ");
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("sh").args(["-c", &command]).current_dir(&folder).status().unwrap().success());
    let converted = folder.path().join("ca.pem");
    let copy =
        with("SCRAM-SHA-512", &scram).with("kafka.ssl.truststore.location", converted.to_str().unwrap());
    copy.catch_up().await.unwrap();

    // The sink logs in with the same words.
    let write = async |jaas: &str| {
        let session = StreamSession::new().unwrap();
        let rows = session.read_stream().format("rate-micro-batch").option("rowsPerBatch", 2).load().unwrap();
        let rows = rows.select(vec![cast(col("value"), DataType::Utf8).alias("value")]).unwrap();
        let writer = rows.write_stream().format("kafka").option("topic", "out").trigger(Trigger::Once);
        let location = format!("memory://{}", unique("secured"));
        let writer = [
            ("kafka.bootstrap.servers", secured.as_str()),
            ("kafka.security.protocol", "SASL_SSL"),
            ("kafka.sasl.mechanism", "SCRAM-SHA-512"),
            ("kafka.sasl.jaas.config", jaas),
            ("kafka.ssl.ca.location", ca.as_str()),
            ("checkpointLocation", location.as_str()),
        ]
        .into_iter()
        .fold(writer, |writer, (name, value)| writer.option(name, value));
        in_time("the end", writer.start().await?.await_termination()).await
    };
    write(&scram).await.unwrap();
    let copy = with("PLAIN", &plain).with("subscribe", "out");
    copy.catch_up().await.unwrap();
    assert_eq!(copy.written(), ["0", "1"]);
    let error = write(&jaas("scram.ScramLoginModule", "not-alices-secret")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Environment);
    let told = format!("{error} {error:?}");
    assert!(told.contains("login") && !told.contains("alices-secret"), "{told}");

    // A wrong password, a certificate that is not there and the wrong protocol end the start, and nothing is written.
    let wrong = jaas("scram.ScramLoginModule", "not-alices-secret");
    let wrong_protocol = with("SCRAM-SHA-512", &scram)
        .with("kafka.security.protocol", "SSL")
        .with("fetchOffset.numRetries", "0");
    let other_ca = with("SCRAM-SHA-512", &scram).with("kafka.ssl.truststore.location", "/no/such/file");
    for (copy, kind, hint) in [
        (with("SCRAM-SHA-512", &wrong), ErrorKind::Environment, "login"),
        // To the client this looks like a broker that is not up yet.
        (wrong_protocol, ErrorKind::Transient, "kafka.bootstrap.servers"),
        (other_ca, ErrorKind::Usage, "ssl.ca.location"),
    ] {
        let error = copy.start(Trigger::Continuous(Duration::from_secs(1))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let told = format!("{error} {error:?}");
        assert!(told.contains(hint) && !told.contains("alices-secret"), "{told}");
        assert_eq!(copy.checkpoint().read_query_id().await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_show_nowhere() {
    let session = StreamSession::new().unwrap();
    let secret = "hunter2";
    let login = jaas("scram.ScramLoginModule", secret);
    let settings = [
        ("kafka.bootstrap.servers", "127.0.0.1:1"),
        ("kafka.security.protocol", "SASL_SSL"),
        ("kafka.sasl.mechanism", "SCRAM-SHA-512"),
        ("kafka.sasl.jaas.config", login.as_str()),
        ("kafka.ssl.keystore.key", "-----BEGIN PRIVATE KEY-----hunter2"),
        ("kafka.ssl.key.password", secret),
    ];
    let mut reader = session.read_stream().format("kafka").option("subscribe", "in");
    for (name, value) in settings {
        reader = reader.option(name, value);
    }
    let mut told = format!("{reader:?}");
    let rows = reader.load().unwrap();
    told += &format!("{:?}", rows.logical_plan());
    let write = || {
        let mut writer = rows.clone().write_stream().format("kafka").option("topic", "out");
        for (name, value) in settings {
            writer = writer.option(name, value);
        }
        writer
    };
    told += &format!("{:?}", write());
    told += &match write().explain().await {
        Ok(plan) => plan,
        Err(error) => format!("{error} {error:?}"),
    };
    told += &format!("{:?}", session.context().state().config());
    assert!(told.contains("subscribe"), "{told}");
    assert!(!told.contains(secret), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_source_outlives_the_connections_that_its_broker_closes() {
    let broker = OwnBroker::start(&format!("{CREATE_TOPICS}\nconnections.max.idle.ms=1000"), &[]);
    let address = broker.address("bootstrap");
    Sender::new(&address).send_all("in", ["a"]);
    for trigger in
        [Trigger::Continuous(Duration::from_millis(100)), Trigger::ProcessingTime(Duration::from_secs(4))]
    {
        // Fetches that stay at the broker longer than a connection may be idle.
        let copy = Copy::values(&address, "in", &[("kafka.fetch.wait.max.ms", "5000")]);
        let query = copy.start(trigger).await.unwrap();
        eventually("the first record", async || copy.sink.has("a").then_some(())).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
        Sender::new(&address).send_all("in", ["b"]);
        eventually("a record after a long pause", async || copy.sink.has("b").then_some(())).await;
        assert_eq!(query.exception().map(|error| error.to_string()), None);
        in_time("the stop", query.stop()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_read_to_its_end() {
    let broker = OwnBroker::start("log.cleaner.backoff.ms=100", &[]);
    let address = broker.address("bootstrap");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &address).create().unwrap();
    let topic = NewTopic::new("in", 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact")
        .set("segment.ms", "100")
        .set("min.cleanable.dirty.ratio", "0.001")
        .set("max.compaction.lag.ms", "100");
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    let sender = Sender::new(&address);
    let send = |key: &str, value: &str| {
        sender.send("in", &Record { key: Some(key.into()), ..Record::value(0, value) });
        sender.flush();
    };
    (0..50).for_each(|number| send("k", &number.to_string()));
    let read = eventually("the old values are compacted away", async || {
        // A record in a new segment lets the one before be cleaned.
        send("other", "o");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let copy = Copy::values(&address, "in", &[]);
        let query = copy.catch_up().await.unwrap();
        let end = query.last_progress().unwrap().sources[0].end_offset.clone();
        (copy.sink.written().iter().filter(|value| *value != "o").count() == 1).then_some((copy, end))
    })
    .await;
    assert!(read.0.sink.has("49"));
    let end: serde_json::Value = serde_json::from_str(&read.1).unwrap();
    assert!(end["in"]["0"].as_i64().unwrap() > 50, "{end}");
}
