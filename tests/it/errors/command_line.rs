//! The same from the command: exit status, one line, nothing written.

use super::cases::{copy, pipeline};
use crate::support::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn the_command_says_what_is_wrong_in_one_line_and_exits_with_its_status() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, sql: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, sql.replace('@', "127.0.0.1:1")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.sql", &copy());
    let option = file("option.sql", &pipeline("'failOnDataLoss' 'maybe'", "", "SELECT value FROM events"));
    let sorted = file("sorted.sql", &pipeline("", "", "SELECT value FROM events ORDER BY value"));
    let secret =
        file("secret.sql", &pipeline("'kafka.sasl.jaas.config' 'hunter2'", "", "SELECT value FROM events"));
    let empty = file("empty.sql", "");
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().unwrap();
    let at = ["--checkpoint", checkpoint, "--trigger", "once"];
    fn with<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        first.iter().chain(more).copied().collect()
    }
    for (args, status, words) in [
        (with(&["run", &option], &at), 2, &["failOnDataLoss", "'maybe'", "true or false"][..]),
        (with(&["run", &secret], &at), 2, &["kafka.sasl.jaas.config", "kafka.sasl.username"]),
        (with(&["run", &sorted], &at), 1, &["ORDER BY", "has no end"]),
        (with(&["run", &empty], &at), 1, &["no INSERT INTO"]),
        (
            with(&["run", &good, "--checkpoint", "ftp://host/x", "--trigger", "once"], &[]),
            2,
            &["ftp://host/x", "s3://"],
        ),
        (
            with(&["run", &good], &["--checkpoint", checkpoint, "--trigger", "continuous:0s"]),
            2,
            &["continuous", "1ms"],
        ),
        (with(&["run", &good, "--store-option", "region"], &at), 2, &["NAME=VALUE"]),
        (with(&["run", &good, "--store-option", "region=x"], &at), 2, &["region"]),
        (with(&["run", &good, "--progress", "loud"], &at), 2, &["plain, json, none"]),
        (with(&["run", &good, "--no-such-flag"], &at), 2, &["--no-such-flag"]),
        (with(&["run", "/no/such.sql"], &at), 2, &["/no/such.sql"]),
        (vec!["explain", &sorted], 1, &["ORDER BY"]),
        (vec!["explain", &option], 2, &["failOnDataLoss"]),
        (vec!["export-spark", &option], 2, &["failOnDataLoss"]),
        (vec!["export-spark", &sorted], 1, &["ORDER BY"]),
        (vec!["checkpoint", "show", "ftp://host/x"], 2, &["ftp://host/x"]),
        (vec!["checkpoint", "verify", checkpoint], 1, &["no checkpoint"]),
        (vec!["checkpoint", "rewind", checkpoint], 2, &["--to-epoch"]),
        (vec!["checkpoint", "rewind", checkpoint, "--to-epoch", "-1"], 2, &["-1"]),
        (
            vec!["checkpoint", "set-offsets", checkpoint, "--source", "0", "--offsets", "{}"],
            1,
            &["no checkpoint"],
        ),
        (vec!["demo", "--rate", "0"], 2, &["0"]),
    ] {
        let ended = Engine::start(&args).ended().await;
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {}", ended.stderr);
        for word in words {
            assert!(ended.stderr.contains(word), "{args:?} lacks '{word}': {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
        let own = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("epochflow: ") || line.starts_with("error: "));
        assert_eq!(own.count(), 1, "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    assert!(!std::path::Path::new(checkpoint).exists(), "nothing was written");
}
