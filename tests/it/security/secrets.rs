//! Secrets in every place that takes one, and all that is said of a pipeline that cannot run: none of it holds any.

use std::fmt::Write as _;

use epochflow::{KafkaSourceProvider, Options, SourceProvider, StreamDataFrame, StreamSession};
use futures::{StreamExt, stream};

use crate::support::engine::{Engine, pipeline};

/// Begins every secret; what comes after it says which one leaked.
pub(super) const SECRET: &str = "hunter2";

/// All that was said, and by whom.
#[derive(Default)]
pub(super) struct Told(String);

impl Told {
    pub(super) fn add(&mut self, who: &str, what: &str) {
        writeln!(self.0, "== {who}\n{what}").unwrap();
    }

    pub(super) fn holds(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// Fails with the lines that hold a secret.
    pub(super) fn check(&self) {
        let mut who = "";
        let mut leaks = Vec::new();
        for line in self.0.lines() {
            if let Some(name) = line.strip_prefix("== ") {
                who = name;
            } else if let Some(at) = line.find(SECRET) {
                let from = line[..at].char_indices().rev().nth(200).map_or(0, |(from, _)| from);
                leaks.push(format!("{who}: {}", &line[from..]));
            }
        }
        leaks.truncate(20);
        assert!(leaks.is_empty(), "secrets are shown:\n{}", leaks.join("\n"));
    }
}

/// Options of a Kafka table that hold a secret each, right ones and wrong ones. `@` stands for a secret of their own.
const KAFKA: &[&str] = &[
    "'kafka.security.protocol' 'SASL_SSL', 'kafka.sasl.mechanism' 'PLAIN', 'kafka.sasl.username' 'me', 'kafka.sasl.password' '@'",
    "'kafka.security.protocol' 'SASL_SSL', 'kafka.sasl.mechanism' 'SCRAM-SHA-512', 'kafka.sasl.jaas.config' \
     'org.apache.kafka.common.security.scram.ScramLoginModule required username=\"me\" password=\"@\";'",
    "'kafka.sasl.jaas.config' 'ScramLoginModule required username=\"me\" password=\"@'",
    "'kafka.sasl.jaas.config' 'com.me.Module required password=@;'",
    "'kafka.sasl.mechanism' 'SCRAM-SHA-512', 'kafka.security.protocol' 'SASL_SSL', 'kafka.sasl.password' '@'",
    "'kafka.security.protocol' 'SSL', 'kafka.ssl.key.pem' '@', 'kafka.ssl.key.password' '@'",
    "'kafka.security.protocol' 'SSL', 'kafka.ssl.key.pem' '-----BEGIN PRIVATE KEY-----\n@\n-----END PRIVATE KEY-----'",
    "'kafka.security.protocol' 'SSL', 'kafka.ssl.keystore.key' '@', 'kafka.ssl.keystore.password' '@'",
    "'kafka.ssl.truststore.password' '@'",
    "'kafka.security.protocol' 'SASL_SSL', 'kafka.sasl.mechanism' 'OAUTHBEARER', 'kafka.sasl.oauthbearer.method' 'oidc', \
     'kafka.sasl.oauthbearer.client.id' 'me', 'kafka.sasl.oauthbearer.client.secret' '@', \
     'kafka.sasl.oauthbearer.token.endpoint.url' 'https://127.0.0.1:1/token'",
    "'kafka.security.protocol' 'SASL_SSL', 'kafka.sasl.mechanism' 'OAUTHBEARER', 'kafka.sasl.oauthbearer.method' 'oidc', \
     'kafka.sasl.oauthbearer.client.id' 'me', 'kafka.sasl.oauthbearer.client.secret' '@', \
     'kafka.sasl.oauthbearer.token.endpoint.url' 'https://me:@@127.0.0.1:1/token?sig=@'",
    "'kafka.security.protocol' 'SASL_PLAINTEXT', 'kafka.sasl.mechanism' 'OAUTHBEARER', \
     'kafka.enable.sasl.oauthbearer.unsecure.jwt' 'true', 'kafka.sasl.oauthbearer.config' 'principal=@ bad=@'",
    "'kafka.sasl.oauthbearer.method' 'default', 'kafka.sasl.oauthbearer.assertion.private.key.passphrase' '@'",
    "'kafka.sasl.oauthbearer.assertion.private.key.pem' '@'",
    "'kafka.bootstrap.servers' 'me:@@127.0.0.1:1'",
    "'kafka.basic.auth.user.info' 'me:@'",
    "'basic.auth.user.info' 'me:@'",
    "'kafka.confluent.cloud.api.secret' '@'",
    "'cloud.api.secret' '@'",
    "'checkpointLocation' 's3://me:@@bucket/checkpoint'",
    "'checkpointLocation' 'https://host/checkpoint?sig=@'",
    // Errors of the parser around a secret.
    "'kafka.sasl.password' @",
    "'kafka.sasl.password' 'it's @'",
    "'kafka.sasl.password', '@'",
    "'kafka.sasl.password' '@",
    "'kafka.sasl.password' \"@\"",
    "'kafka.sasl.password' '@' 'subscribe' 'in'",
    "'kafka.sasl.password' '@', 'kafka.sasl.password' '@x'",
];

const LOCATIONS: &[(&str, &str)] = &[
    ("KAFKA", "kafka://me:@@127.0.0.1:1/in"),
    ("KAFKA", "https://me:@@127.0.0.1:1/in"),
    ("KAFKA", "kafka://127.0.0.1:1/in/more?sig=@"),
    ("PARQUET", "s3://me:@@bucket/x"),
    ("PARQUET", "https://bucket.s3.eu-west-1.amazonaws.com/x?X-Amz-Signature=@"),
    ("CSV", "https://me:@@host/x.csv"),
    ("CSV", "https://host/x.csv?sig=@"),
    ("CSV", "https://[/x?@"),
];

/// Each of them as source, as sink and for dead letters, with a secret that says where it was planted.
fn pipelines() -> Vec<String> {
    let mut pipelines = Vec::new();
    let mut add = |sql: String| {
        // A login's `@` comes after the secret's.
        let secret = format!("{SECRET}-{}", pipelines.len());
        pipelines.push(
            sql.replace("@@", &format!("{secret}{}", '\u{1}')).replace('@', &secret).replace('\u{1}', "@"),
        );
    };
    let kafka = |name: &str, location: &str, options: &str| {
        format!(
            "CREATE EXTERNAL TABLE {name} STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/{location}' OPTIONS \
             ('fetchOffset.numRetries' '0', 'kafka.debug' 'all'{options});\n"
        )
    };
    let insert = "INSERT INTO copies SELECT value FROM events;";
    for options in KAFKA {
        let options = format!(", {options}");
        add(kafka("events", "in", &options) + &kafka("copies", "out", "") + insert);
        add(kafka("events", "in", "") + &kafka("copies", "out", &options) + insert);
        let letters = "CREATE EXTERNAL TABLE copies STORED AS CONSOLE LOCATION '-' OPTIONS ('badRecords' 'dead-letter', \
             'deadLetterTopic' 'bad', 'kafka.bootstrap.servers' '127.0.0.1:1'";
        add(format!("{}{letters}{options});\n{insert}", kafka("events", "in", "")));
    }
    for (format, location) in LOCATIONS {
        let table =
            |name: &str| format!("CREATE EXTERNAL TABLE {name} STORED AS {format} LOCATION '{location}';\n");
        add(table("events") + &kafka("copies", "out", "") + insert);
        add(kafka("events", "in", "") + &table("copies") + insert);
    }
    for statement in
        ["CREATE ROLE me PASSWORD '@'", "CREATE SECRET (TYPE s3, SECRET '@')", "COPY x TO 's3://b/?token=@'"]
    {
        add(format!("{statement};\n{insert}"));
    }
    pipelines
}

#[tokio::test(flavor = "multi_thread")]
async fn no_refusal_plan_or_program_holds_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pipelines = pipelines();
    let outputs = stream::iter(pipelines.iter().enumerate())
        .map(async |(number, sql)| {
            let dir = folder.join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            let path = pipeline(&dir, sql);
            let (path, checkpoint) = (path.to_str().unwrap(), dir.join("checkpoint"));
            let mut told = Vec::new();
            // What is allowed comes before all that could be said of it, so that both are looked at.
            for allow in [
                &[][..],
                &["--allow", "https://127.0.0.1:1", "--allow", "s3://bucket", "--allow", "https://host"],
            ] {
                let run = ["run", path, "--checkpoint", checkpoint.to_str().unwrap(), "--trigger", "once"];
                for args in [
                    &["explain", path][..],
                    &["export-spark", path],
                    &[&run[..], &["--restart", "never"]].concat(),
                ] {
                    let args = [args, allow].concat();
                    let engine = Engine::start_in(&[("RUST_LOG", "trace".to_owned())], &args);
                    let ended = engine.ended().await;
                    told.push((format!("{} of\n{sql}", args[0]), ended.stdout + &ended.stderr));
                }
            }
            told
        })
        .buffer_unordered(4)
        .concat()
        .await;
    let mut told = Told::default();
    for (who, what) in outputs {
        // The pipeline itself is no output.
        told.add(&who.replace(SECRET, "…").replace('\n', " "), &what);
    }
    for certain in ["librdkafka", "os.environ[\"KAFKA_SASL_PASSWORD\"]", "SourceExec", "--allow"] {
        assert!(told.holds(certain), "nothing of what was started has said {certain}");
    }
    told.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_debug_output_holds_a_secret() {
    let options = |names: &[&str]| -> Options {
        let planted = names.iter().enumerate().map(|(number, name)| (*name, format!("{SECRET}-{number}")));
        planted
            .chain([("subscribe", "in".to_owned()), ("kafka.bootstrap.servers", "127.0.0.1:1".to_owned())])
            .collect()
    };
    let good = options(&[
        "kafka.sasl.password",
        "kafka.ssl.key.password",
        "kafka.ssl.key.pem",
        "kafka.ssl.keystore.password",
        "kafka.sasl.oauthbearer.config",
    ]);
    let mut of_stores = options(&[
        "kafka.sasl.jaas.config",
        "kafka.sasl.oauthbearer.client.secret",
        "kafka.sasl.oauthbearer.assertion.private.key.passphrase",
        "kafka.sasl.oauthbearer.assertion.private.key.pem",
        "kafka.confluent.cloud.api.secret",
        "aws_secret_access_key",
        "aws_session_token",
        "azure_storage_account_key",
        "azure_storage_sas_key",
        "google_service_account_key",
        "aws_sse_customer_key_base64",
        "basic.auth.user.info",
        "schema.registry.bearer.auth.token",
    ]);
    of_stores.set("endpoint", format!("https://me:{SECRET}@host/x?sig={SECRET}"));
    let mut told = Told::default();
    told.add("options", &format!("{good:?} {of_stores:?}"));
    told.add("a source", &format!("{:?}", KafkaSourceProvider.source(&good).unwrap()));

    let session = StreamSession::new().unwrap();
    let mut reader = session.read_stream().format("kafka");
    for (name, value) in good.iter() {
        reader = reader.option(name, value);
    }
    told.add("a reader", &format!("{reader:?}"));
    let rows = reader.load().unwrap();
    told.add("a plan", &format!("{:?} {}", rows.logical_plan(), rows.logical_plan().display_indent_schema()));
    let mut writer = rows.write_stream().format("kafka").option("topic", "out");
    for (name, value) in good.iter().chain(of_stores.iter()) {
        writer = writer.option(name, value);
    }
    writer = writer.store_option("aws_secret_access_key", SECRET);
    told.add("a writer", &format!("{writer:?}"));
    told.add("a session", &format!("{session:?} {:?}", session.context().state().config()));
    told.add(
        "a builder",
        &format!("{:?}", StreamSession::builder().allow_location(format!("s3://me:{SECRET}@b"))),
    );
    let error = StreamSession::builder().allow_location(format!("s3://me:{SECRET}@b/x?{SECRET}")).build();
    told.add("a builder's error", &format!("{:?}", error.unwrap_err()));

    let create = format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/in' OPTIONS ('kafka.sasl.password' '{SECRET}')"
    );
    session.sql(&create).await.unwrap();
    for explain in ["EXPLAIN", "EXPLAIN VERBOSE", "EXPLAIN FORMAT TREE"] {
        let plan = session.sql(&format!("{explain} SELECT * FROM events")).await.unwrap();
        told.add(explain, &format!("{:?}", plan.clone().collect().await));
        told.add(explain, &format!("{:?}", plan.logical_plan()));
    }
    let create = session.sql(&format!("EXPLAIN VERBOSE {}", create.replace("events", "others"))).await;
    if let Ok(plan) = create {
        told.add("EXPLAIN CREATE", &format!("{:?}", plan.clone().collect().await));
    }
    assert!(told.holds("KafkaSource") && told.holds("subscribe"));
    told.check();
}
