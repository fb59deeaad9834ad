//! A table of ways from SQL text to files, servers and programs, each of which is refused.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use epochflow::{Error, ErrorKind, StreamSession};

use super::ended;
use crate::support::in_time;

/// What the forbidden file holds, where every kind of reader would show it: in a heading, a value and a column's name.
const CONTENT: &str = "topmost_secret";

/// A pipeline's folder, and beside it what the pipeline may not reach. `@` in SQL stands for the folder of both.
struct Place {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for dir in ["pipeline/linked", "pipeline/deep/er", "pipeline-secret"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let secret = root.join("pipeline-secret/secret.csv");
        std::fs::write(&secret, format!("{CONTENT}\n{CONTENT}\n")).unwrap();
        std::fs::write(
            root.join("pipeline-secret/secret.json"),
            format!("{{\"{CONTENT}\":\"{CONTENT}\"}}\n"),
        )
        .unwrap();
        std::fs::write(root.join("pipeline/parts.csv"), "id,colour\n1,red\n").unwrap();
        symlink(&secret, root.join("pipeline/link.csv")).unwrap();
        symlink(root.join("pipeline-secret"), root.join("pipeline/linked/folder")).unwrap();
        symlink(root.join("pipeline/deep/er"), root.join("pipeline/jump")).unwrap();
        Self { folder, root }
    }

    fn root(&self) -> &str {
        self.root.to_str().unwrap()
    }

    fn pipeline(&self, first: &str) -> PathBuf {
        let sql = format!(
            "{first};
             CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/in';
             CREATE EXTERNAL TABLE sink STORED AS NOOP LOCATION '-';
             INSERT INTO sink SELECT value FROM events"
        );
        let path = self.root.join("pipeline/pipeline.sql");
        std::fs::write(&path, sql.replace('@', self.root())).unwrap();
        path
    }

    /// All files, to see that none was written.
    fn files(&self) -> Vec<PathBuf> {
        fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() { collect(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        collect(self.folder.path(), &mut files);
        files.retain(|file| !file.ends_with("pipeline.sql"));
        files.sort();
        files
    }
}

fn table(format: &str, location: &str) -> String {
    format!("CREATE EXTERNAL TABLE t STORED AS {format} LOCATION '{location}'")
}

fn kafka(options: &str) -> String {
    format!("CREATE EXTERNAL TABLE t STORED AS KAFKA LOCATION 'kafka://127.0.0.1:1/in' OPTIONS ({options})")
}

/// Statements, and words of the refusal.
fn attacks() -> Vec<(String, &'static str)> {
    let mut attacks = Vec::new();
    for format in ["CSV", "JSON", "PARQUET", "ARROW"] {
        attacks.push((table(format, "@/pipeline-secret/secret.csv"), "--allow"));
        attacks.push((table(format, "@/pipeline-secret/"), "--allow"));
    }
    for location in [
        "file://@/pipeline-secret/secret.csv",
        "file:@/pipeline-secret/secret.csv",
        "FILE://localhost@/pipeline-secret/secret.csv",
        "@/pipeline/../pipeline-secret/secret.csv",
        "@/pipeline/jump/../../pipeline-secret/secret.csv",
        "file://@/pipeline/%2e%2e/pipeline-secret/secret.csv",
        "@/pipeline*/secret.csv",
        "@/*/secret.csv",
        "@/[p]ipeline-secret/*.csv",
        "/etc/passwd",
        "/proc/self/environ",
        "s3://bucket/secret.csv",
        "https://169.254.169.254/latest/meta-data",
    ] {
        attacks.push((table("CSV", location), "--allow"));
    }
    for location in [
        "file://host@/pipeline-secret/secret.csv",
        "file://@/pipeline/..%2fpipeline-secret/secret.csv",
        "fi\tle://@/pipeline-secret/secret.csv",
        " @/pipeline-secret/secret.csv",
    ] {
        attacks.push((table("CSV", location), "cannot be allowed"));
    }
    for location in ["@/pipeline/link.csv", "@/pipeline/linked/", "@/pipeline/linked/folder/secret.csv"] {
        attacks.push((table("CSV", location), "--allow"));
    }
    attacks.push((table("CSV", "@/pipeline/linked/").replace("linked/", "*.csv"), "link.csv leads out"));
    let unbounded = table("CSV", "@/pipeline-secret/secret.csv");
    attacks.push((unbounded.replace("EXTERNAL", "UNBOUNDED EXTERNAL"), "--allow"));
    attacks.push((format!("{unbounded} OPTIONS ('unbounded' 'true')"), "--allow"));
    let several = "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION ('@/pipeline/parts.csv', '@/pipeline-secret/secret.csv')";
    attacks.push((several.to_owned(), "--allow"));
    // A sink, its path, its store, and the checkpoint.
    for options in [
        "'path' '@/pipeline-secret/out'",
        "'checkpointLocation' '@/pipeline-secret/checkpoint'",
        "'endpoint' 'http://127.0.0.1:1'",
        "'google_service_account' '@/pipeline-secret/secret.json'",
        "'aws_web_identity_token_file' '@/pipeline-secret/secret.csv'",
        "'proxy_url' 'http://127.0.0.1:1'",
    ] {
        attacks.push((format!("{} OPTIONS ({options})", table("PARQUET", "@/pipeline/out")), "--allow"));
    }
    let cli = format!("{} OPTIONS ('azure_use_azure_cli' 'true')", table("PARQUET", "@/pipeline/out"));
    attacks.push((cli, "runs a program"));
    attacks.push((kafka("'checkpointLocation' '@/pipeline-secret/checkpoint'"), "--allow"));
    attacks.push(("SET datafusion.runtime.temp_directory = '@/pipeline-secret'".to_owned(), "--allow"));
    // Files and servers of a Kafka client, also for dead letters beside another sink.
    for name in [
        "ssl.ca.location",
        "https.ca.location",
        "ssl.crl.location",
        "ssl.key.location",
        "ssl.certificate.location",
        "ssl.keystore.location",
        "ssl.truststore.location",
        "sasl.kerberos.keytab",
        "sasl.oauthbearer.assertion.file",
        "sasl.oauthbearer.assertion.private.key.file",
        "sasl.oauthbearer.assertion.jwt.template.file",
        "offset.store.path",
    ] {
        let option = format!("'kafka.{name}' '@/pipeline-secret/secret.csv'");
        attacks.push((kafka(&option), "--allow"));
        attacks.push((format!("{} OPTIONS ({option})", table("CONSOLE", "-")), "--allow"));
    }
    attacks.push((kafka("'KAFKA.SSL.CA.LOCATION' '@/pipeline-secret/secret.csv'"), "--allow"));
    attacks.push((kafka("'kafka.sasl.oauthbearer.token.endpoint.url' 'http://127.0.0.1:1/t'"), "--allow"));
    attacks.push((
        kafka("'kafka.sasl.oauthbearer.metadata.authentication.type' 'azure_imds'"),
        "--allow http://169.254",
    ));
    for (name, words) in [
        ("plugin.library.paths", "loads code"),
        ("ssl.engine.location", "loads code"),
        ("ssl.engine.id", "loads code"),
        ("ssl.providers", "loads code"),
        ("sasl.kerberos.kinit.cmd", "runs a program"),
        ("ut_handle_ProduceResponse", "CONFIGURATION.md"),
        ("test.mock.num.brokers", "CONFIGURATION.md"),
        ("open_cb", "CONFIGURATION.md"),
    ] {
        attacks.push((kafka(&format!("'kafka.{name}' '@/pipeline-secret/secret.csv'")), words));
    }
    attacks
}

fn check(attack: &str, words: &str, told: &str, problems: &mut Vec<String>) {
    if !told.contains(words) {
        problems.push(format!("{attack}\n  does not say '{words}': {told}"));
    }
    if told.contains(CONTENT) || told.contains("root:") {
        problems.push(format!("{attack}\n  shows what the file holds: {told}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_reaches_only_what_lies_beside_it() {
    let place = Place::new();
    let before = place.files();
    let mut problems = Vec::new();
    for (attack, words) in attacks() {
        let session = StreamSession::builder().allow_location(place.root.join("pipeline").display());
        let session = session.build().unwrap();
        let path = place.pipeline(&attack);
        let sql = std::fs::read_to_string(path).unwrap();
        let refused = in_time(&attack, session.pipeline(&sql)).await;
        let error =
            refused.err().unwrap_or_else(|| Error::new(ErrorKind::Internal, "it was taken".to_owned()));
        check(&attack, words, &format!("{error} {error:?}"), &mut problems);
        if error.kind() != ErrorKind::Usage {
            problems.push(format!("{attack}\n  {:?}: {error}", error.kind()));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert_eq!(place.files(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_refuses_in_one_line_and_allows_what_it_is_told_to() {
    let place = Place::new();
    let secret = format!("{}/pipeline-secret", place.root());
    let csv = table("CSV", "@/pipeline-secret/secret.csv");
    let ca = kafka("'kafka.ssl.ca.location' '@/pipeline-secret/ca.pem'");
    let plugin = kafka("'kafka.plugin.library.paths' '@/pipeline-secret/x.so'");
    for (attack, words) in [(&csv, "--allow"), (&ca, "--allow"), (&plugin, "loads code")] {
        let path = place.pipeline(attack);
        let path = path.to_str().unwrap();
        let checkpoint = place.root.join("checkpoint");
        let run = ["run", path, "--checkpoint", checkpoint.to_str().unwrap(), "--trigger", "once"];
        for args in [&["explain", path][..], &["export-spark", path], &run] {
            let ended = ended(args).await;
            let mut problems = Vec::new();
            check(attack, words, &ended.stderr, &mut problems);
            check(attack, "", &ended.stdout, &mut problems);
            assert!(problems.is_empty(), "{args:?}: {}", problems.join("\n"));
            assert_eq!(ended.status.code(), Some(2), "{args:?}: {}", ended.stderr);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        }
        assert!(!checkpoint.exists());
    }
    // What lies beside the pipeline needs no leave, and the rest what the message says.
    let path = place.pipeline(&table("CSV", "@/pipeline/parts.csv"));
    let beside = ended(&["explain", path.to_str().unwrap()]).await;
    assert!(beside.status.success(), "{}", beside.stderr);
    for attack in [&csv, &ca] {
        let path = place.pipeline(attack);
        let allowed = ended(&["explain", path.to_str().unwrap(), "--allow", &secret]).await;
        assert!(allowed.status.success(), "{attack}: {}", allowed.stderr);
    }
    // The next names begin with the same letters.
    let path = place.pipeline(&csv);
    let allowed = ended(&["explain", path.to_str().unwrap(), "--allow", &secret[..secret.len() - 3]]).await;
    assert_eq!(allowed.status.code(), Some(2), "{}", allowed.stderr);
    // Brokers are free until one is named.
    let path = place.pipeline("SET epochflow.static_reload = '5m'");
    for (allow, status) in [("kafka://127.0.0.1:1", 0), ("kafka://127.0.0.1:2", 2)] {
        let ended = ended(&["explain", path.to_str().unwrap(), "--allow", allow]).await;
        assert_eq!(ended.status.code(), Some(status), "{allow}: {}", ended.stderr);
    }
}

/// Statements that a pipeline may not hold, but `session.sql` runs.
#[tokio::test(flavor = "multi_thread")]
async fn single_statements_are_limited_too_and_what_the_program_registers_is_not() {
    let place = Place::new();
    let before = place.files();
    let session = StreamSession::new().unwrap();
    let mut problems = Vec::new();
    for attack in [
        "COPY (SELECT 1 AS a) TO '@/pipeline-secret/out.csv' STORED AS CSV",
        "COPY (SELECT 1 AS a) TO 'file://@/pipeline/out.csv' STORED AS CSV",
        "COPY (SELECT 1 AS a) TO 's3://bucket/out.csv' STORED AS CSV",
        "EXPLAIN ANALYZE COPY (SELECT 1 AS a) TO '@/pipeline/out.csv' STORED AS CSV",
        "PREPARE p AS COPY (SELECT 1 AS a) TO '@/pipeline/out.csv' STORED AS CSV",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '@/pipeline/parts.csv'",
        "SET datafusion.runtime.temp_directory = '@/pipeline'",
        "SET datafusion.catalog.location = '@/pipeline'",
        "SELECT * FROM '@/pipeline-secret/secret.csv'",
        "SELECT * FROM read_csv('@/pipeline-secret/secret.csv')",
        "SELECT * FROM parquet_metadata('@/pipeline-secret/secret.csv')",
        "SELECT @@home",
        "LOAD DATA LOCAL INPATH '@/pipeline-secret/secret.csv' INTO TABLE t",
        "CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE C AS '@/pipeline-secret/x.so'",
    ] {
        match session.sql(&attack.replace('@', place.root())).await {
            Ok(rows) => match rows.collect().await {
                Ok(rows) => problems.push(format!("{attack} was taken: {rows:?}")),
                Err(error) => check(attack, "", &error.to_string(), &mut problems),
            },
            Err(error) => check(attack, "", &error.to_string(), &mut problems),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert_eq!(place.files(), before, "nothing was written");

    let secret = place.root.join("pipeline-secret/secret.csv");
    let read = || session.sql("SELECT * FROM registered");
    session
        .context()
        .register_csv("registered", secret.to_str().unwrap(), datafusion::prelude::CsvReadOptions::new())
        .await
        .unwrap();
    assert_eq!(read().await.unwrap().count().await.unwrap(), 1);
    let lifted = StreamSession::builder().allow_all_locations().build().unwrap();
    let create = table("CSV", secret.to_str().unwrap());
    lifted.sql(&create).await.unwrap();
    assert_eq!(lifted.sql("SELECT * FROM t").await.unwrap().count().await.unwrap(), 1);
    let copy = format!("COPY (SELECT 1 AS a) TO '{}/out.csv' STORED AS CSV", place.root());
    lifted.sql(&copy).await.unwrap().collect().await.unwrap();
}
