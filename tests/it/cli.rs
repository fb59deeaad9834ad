//! The command line: the contract that scripts rely on.

use epochflow::EmbeddedBroker;

use crate::support::engine::{Ended, Engine, pipeline};
use crate::support::kafka::{Record, Sender};

fn copy(brokers: &str) -> String {
    format!(
        "CREATE EXTERNAL TABLE events STORED AS KAFKA LOCATION 'kafka://{brokers}/in'
           OPTIONS ('startingOffsets' 'earliest', 'kafka.fetch.wait.max.ms' '1');
         CREATE EXTERNAL TABLE copies STORED AS KAFKA LOCATION 'kafka://{brokers}/out';
         INSERT INTO copies SELECT key, value FROM events WHERE value IS NOT NULL;"
    )
}

async fn ended(args: &[&str]) -> Ended {
    Engine::start(args).ended().await
}

#[tokio::test]
async fn demo_shows_itself_and_ends() {
    let ended = ended(&["demo", "--seconds", "2"]).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout.contains("records/s"), "{}", ended.stdout);
    assert!(ended.stdout.contains("epochs committed"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn demo_ends_cleanly_at_ctrl_c() {
    let mut engine = Engine::start(&["demo", "--seconds", "0"]);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(engine.is_running());
    engine.signal("-INT");
    let ended = engine.ended().await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(ended.stdout.contains("epochs committed"), "{}", ended.stdout);
}

#[tokio::test]
async fn explain_needs_no_broker_and_shows_the_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), &copy("127.0.0.1:1"));
    let ended = ended(&["explain", path.to_str().unwrap(), "--trigger", "available-now"]).await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("SourceExec: KafkaV2[Subscribe[in]], projection=[key, value]"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("trigger available-now"), "{}", ended.stdout);
}

#[tokio::test]
async fn run_prints_sparks_progress_as_json_and_show_tells_what_the_checkpoint_holds() {
    let broker = EmbeddedBroker::start(&[("in", 2), ("out", 1)]).unwrap();
    let sender = Sender::new(broker.bootstrap_servers());
    for number in 0..10 {
        sender.send("in", &Record::value(number % 2, format!("{number}")));
    }
    sender.flush();
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), &copy(broker.bootstrap_servers()));
    let checkpoint = folder.path().join("a checkpoint");
    let checkpoint = checkpoint.to_str().unwrap();
    let run = ended(&[
        "run",
        path.to_str().unwrap(),
        "--checkpoint",
        checkpoint,
        "--trigger",
        "available-now",
        "--name",
        "copy",
        "--progress",
        "json",
    ])
    .await;
    assert!(run.status.success(), "{}", run.stderr);
    let progress: Vec<serde_json::Value> =
        run.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let rows: u64 = progress.iter().map(|progress| progress["numInputRows"].as_u64().unwrap()).sum();
    assert_eq!(rows, 10);
    assert_eq!(progress[0]["name"], "copy");
    assert_eq!(progress.last().unwrap()["sources"][0]["endOffset"]["in"]["1"], 5);

    let shown = ended(&["checkpoint", "show", checkpoint]).await;
    assert!(shown.stdout.contains("last committed epoch  0"), "{}", shown.stdout);
    let shown = ended(&["checkpoint", "show", checkpoint, "--json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["lastCommittedEpoch"], 0);
    assert_eq!(shown["offsets"][0]["in"]["0"], 5);
    assert_eq!(shown["id"], progress[0]["id"]);
}

#[tokio::test]
async fn a_missed_latency_objective_is_warned_of_once() {
    let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
    let sender = Sender::new(broker.bootstrap_servers());
    // Written long ago, in batches of their own.
    for _ in 0..3 {
        sender.send("in", &Record { timestamp: Some(1_000_000_000_000), ..Record::value(0, "a") });
    }
    sender.flush();
    let folder = tempfile::tempdir().unwrap();
    let sql =
        copy(broker.bootstrap_servers()).replace("'earliest'", "'earliest', 'maxOffsetsPerTrigger' '1'");
    let path = pipeline(folder.path(), &sql);
    let run = |slo: &'static str| {
        let checkpoint = format!("memory://{slo}");
        let path = path.to_str().unwrap().to_owned();
        async move {
            let args = ["run", &path, "--checkpoint", &checkpoint, "--trigger", "available-now"];
            ended(&[&args[..], &["--latency-slo", slo]].concat()).await
        }
    };
    let missed = run("1s@p99").await;
    assert!(missed.status.success(), "{}", missed.stderr);
    assert_eq!(missed.stderr.matches("misses its latencySlo 1000ms@p99").count(), 1, "{}", missed.stderr);
    let wrong = run("fast").await;
    assert_eq!(wrong.status.code(), Some(2), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("5ms@p99"), "{}", wrong.stderr);
}

#[tokio::test]
async fn sigterm_commits_the_running_epoch_and_exits_with_0() {
    let broker = EmbeddedBroker::start(&[("in", 1), ("out", 1)]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), &copy(broker.bootstrap_servers()));
    let checkpoint = folder.path().join("checkpoint");
    // An epoch of an hour: only the stop ends it.
    let engine = Engine::run(&path, &checkpoint, "continuous:1h");
    let sender = Sender::new(broker.bootstrap_servers());
    sender.send("in", &Record::value(0, "a"));
    sender.flush();
    let receiver = crate::support::kafka::Receiver::new(broker.bootstrap_servers(), "out");
    tokio::task::spawn_blocking(move || receiver.take(1)).await.unwrap();
    engine.stop().await;
    let committed = std::fs::read_to_string(checkpoint.join("offsets/0")).unwrap();
    assert!(committed.ends_with(r#"{"in":{"0":1}}"#), "{committed}");
    assert!(checkpoint.join("commits/0").exists());
}

#[tokio::test]
async fn a_wrong_command_exits_with_2_and_a_failed_query_with_1_and_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, sql: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, sql).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file("good.sql", &copy("127.0.0.1:1"));
    let count = file(
        "count.sql",
        &copy("127.0.0.1:1").replace("key, value FROM events", "count(*) AS value FROM events"),
    );
    let noop =
        file("noop.sql", &copy("127.0.0.1:1").replace("copies STORED AS KAFKA", "copies STORED AS NOOP"));
    let no_acks =
        file("no_acks.sql", &copy("127.0.0.1:1").replace("/out'", "/out' OPTIONS ('kafka.acks' '1')"));
    let broken = file("broken.sql", "SELEC 1");
    let typo = file("typo.sql", &copy("127.0.0.1:1").replace("startingOffsets", "startingOfsets"));
    let two = file("two.sql", &format!("{0}{0}", "INSERT INTO copies SELECT 1 AS value FROM events;"));
    let checkpoint = folder.path().join("checkpoint");
    let checkpoint = checkpoint.to_str().unwrap();
    for (args, status, hint) in [
        (vec![], 2, "Usage"),
        (vec!["fly"], 2, "fly"),
        (vec!["run", &good], 2, "--checkpoint"),
        (vec!["run", &good, "--checkpoint", checkpoint, "--trigger", "hourly"], 2, "available-now or once"),
        (vec!["run", "/no/such.sql", "--checkpoint", checkpoint, "--trigger", "once"], 2, "/no/such.sql"),
        (vec!["run", &typo, "--checkpoint", checkpoint, "--trigger", "once"], 2, "startingofsets"),
        (
            vec!["run", &good, "--checkpoint", checkpoint, "--trigger", "once", "--delivery", "twice"],
            2,
            "at-least-once or exactly-once",
        ),
        (
            vec!["run", &noop, "--checkpoint", checkpoint, "--trigger", "once", "--delivery", "exactly-once"],
            2,
            "delivery",
        ),
        (
            vec![
                "run",
                &no_acks,
                "--checkpoint",
                checkpoint,
                "--trigger",
                "once",
                "--delivery",
                "exactly-once",
            ],
            2,
            "kafka.acks",
        ),
        (
            vec!["run", &good, "--checkpoint", checkpoint, "--trigger", "once", "--restart", "always"],
            2,
            "on-failure:MAX/WINDOW",
        ),
        (vec!["run", &count, "--checkpoint", checkpoint, "--trigger", "once"], 1, "aggregation"),
        (vec!["run", &broken, "--checkpoint", checkpoint, "--trigger", "once"], 1, "SELEC"),
        (vec!["run", &two, "--checkpoint", checkpoint, "--trigger", "once"], 1, "copies"),
        (vec!["run", &good, "--checkpoint", checkpoint, "--trigger", "once"], 1, "127.0.0.1:1"),
        (vec!["explain", &count], 1, "aggregation"),
        (vec!["checkpoint", "show", checkpoint], 1, "no checkpoint"),
    ] {
        let ended = ended(&args).await;
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{args:?}: {}", ended.stderr);
        if status == 1 {
            let message: Vec<_> =
                ended.stderr.lines().filter(|line| line.starts_with("epochflow: ")).collect();
            assert_eq!(message.len(), 1, "{args:?}: {}", ended.stderr);
        }
    }
    assert!(!std::path::Path::new(checkpoint).join("commits").exists(), "nothing was written");
}

#[tokio::test]
async fn an_interrupt_while_the_broker_does_not_answer_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = pipeline(folder.path(), &copy("127.0.0.1:1"));
    let engine = Engine::run(&path, &folder.path().join("checkpoint"), "continuous:1s");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    engine.signal("-INT");
    let asked = std::time::Instant::now();
    let ended = engine.ended().await;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(5),
        "it waited for the broker: {:?}",
        asked.elapsed()
    );
}
