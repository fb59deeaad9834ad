//! Bad input of every kind: each gives one clear message, as early as it can be known, and nothing is written.

mod cases;
mod command_line;

use std::path::Path;
use std::time::Duration;

use epochflow::{EmbeddedBroker, Error, ErrorKind, StreamSession, Trigger};
use futures::{StreamExt, stream};

use crate::support::in_time;
use crate::support::kafka::{Receiver, Record, Sender, brokers, topic};

/// Starts a pipeline that must not start; `@` in the SQL stands for the broker.
async fn refused(sql: &str, broker: &str, checkpoint: &Path, trigger: Trigger) -> Error {
    let sql = sql.replace('@', broker);
    let start = async {
        // What is allowed comes before all that is tested here.
        let session = StreamSession::builder().allow_location("/").build()?;
        let writer = session.pipeline(&sql).await?;
        let query =
            writer.option("checkpointLocation", checkpoint.display()).trigger(trigger).start().await?;
        query.stop().await?;
        Ok(())
    };
    let started: Result<(), Error> = in_time(&sql, Box::pin(start)).await;
    started.err().unwrap_or_else(|| Error::new(ErrorKind::Internal, "it has started"))
}

/// What the message must be, beside the words that it must hold.
fn check_message(case: &str, error: &Error, kind: ErrorKind, words: &[&str], problems: &mut Vec<String>) {
    let message = error.to_string();
    let missing: Vec<_> = words.iter().filter(|word| !message.contains(**word)).collect();
    if error.kind() != kind || !missing.is_empty() {
        problems
            .push(format!("{case}\n  {:?} instead of {kind:?}, lacks {missing:?}: {message}", error.kind()));
    }
    // The words of libraries that the user has not written.
    for foreign in ["External error", "Internal error", "backtrace", "KafkaError", "panicked", "hunter2"] {
        if message.contains(foreign) {
            problems.push(format!("{case}\n  says '{foreign}': {message}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_that_cannot_run_is_refused_before_it_starts_and_writes_nothing() {
    let broker = EmbeddedBroker::start(&[("in", 2), ("out", 1)]).unwrap();
    let cases: Vec<_> = cases::pipelines().collect();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    check_refused(cases, broker.bootstrap_servers()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_or_topic_that_is_not_there_is_found_before_the_start() {
    let (input, output) = (topic("errors-in", 2).await, topic("errors-out", 1).await);
    check_refused(cases::surroundings(&input, &output), &brokers()).await;
}

async fn check_refused(cases: Vec<(String, ErrorKind, &[&str])>, broker: &str) {
    let folder = tempfile::tempdir().unwrap();
    let problems = stream::iter(cases.into_iter().enumerate())
        .map(async |(number, (sql, kind, words))| {
            let checkpoint = folder.path().join(number.to_string());
            let mut problems = Vec::new();
            for trigger in [Trigger::Once, Trigger::Continuous(Duration::from_secs(1))] {
                let error = refused(&sql, broker, &checkpoint, trigger).await;
                check_message(&sql, &error, kind, words, &mut problems);
            }
            if checkpoint.exists() {
                problems.push(format!("{sql}\n  has left a checkpoint"));
            }
            problems
        })
        .buffer_unordered(16)
        .concat()
        .await;
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_cannot_be_used_is_refused_with_its_location() {
    let broker = EmbeddedBroker::start(&[("in", 2), ("out", 1)]).unwrap();
    let mut problems = Vec::new();
    for (location, kind, words) in cases::LOCATIONS {
        let error =
            refused(&cases::copy(), broker.bootstrap_servers(), Path::new(location), Trigger::Once).await;
        check_message(location, &error, *kind, words, &mut problems);
    }
    for (files, kind, words) in cases::DAMAGED {
        let folder = tempfile::tempdir().unwrap();
        for (file, content) in *files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let before = tree(folder.path());
        let error = refused(&cases::copy(), broker.bootstrap_servers(), folder.path(), Trigger::Once).await;
        check_message(&format!("{files:?}"), &error, *kind, words, &mut problems);
        if tree(folder.path()) != before {
            problems.push(format!("{files:?}\n  has become {:?}", tree(folder.path())));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Files and their content, without the lock that a start takes.
fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(&path));
        } else if !path.file_name().unwrap().to_str().unwrap().contains("lock") {
            files.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

/// A record that cannot be processed ends the query with a message; what came before is committed, what comes after is
/// read once the query is mended.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_payload_ends_the_query_and_loses_nothing() {
    for (expression, mended, words) in cases::PAYLOADS {
        let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
        let brokers = broker.bootstrap_servers();
        let folder = tempfile::tempdir().unwrap();
        let sender = Sender::new(brokers);
        let run = async |expression: &str| {
            let session = StreamSession::new().unwrap();
            let sql = cases::pipeline(
                "'startingOffsets' 'earliest'",
                "",
                &format!("SELECT {expression} AS value FROM events"),
            );
            let writer = session.pipeline(&sql.replace('@', brokers)).await.unwrap();
            let query =
                writer.option("checkpointLocation", folder.path().display()).trigger(Trigger::AvailableNow);
            let query = in_time(expression, query.start()).await.unwrap();
            in_time(expression, query.await_termination()).await
        };
        sender.send("in", &Record::value(0, "12"));
        sender.flush();
        run(expression).await.unwrap();
        for value in [&b"1\xff2x"[..], b"7"] {
            sender.send("in", &Record::value(0, value));
        }
        sender.flush();
        let error = run(expression).await.expect_err(expression);
        let mut problems = Vec::new();
        check_message(expression, &error, ErrorKind::Data, words, &mut problems);
        assert!(problems.is_empty(), "{}", problems.join("\n"));
        assert!(!folder.path().join("commits/1").exists(), "{expression}");
        run(mended).await.unwrap();
        let receiver = Receiver::new(brokers, "out");
        let rows = tokio::task::spawn_blocking(move || receiver.take(3)).await.unwrap();
        let last = rows.last().unwrap().value.clone();
        assert_eq!(last.as_deref(), Some(&b"7"[..]), "{expression}: {rows:?}");
    }
}

#[test]
fn texts_that_are_no_triggers_or_time_spans() {
    let mut problems = Vec::new();
    for (text, words) in cases::TRIGGERS {
        let error = text.parse::<Trigger>().expect_err(text);
        check_message(text, &error, ErrorKind::Usage, words, &mut problems);
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
