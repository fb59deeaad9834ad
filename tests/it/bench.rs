//! `epochflow bench` on a real broker: what comes out is what DataFusion gives as a batch, for every query.

use std::path::Path;

use serde_json::Value;

use crate::support::engine::Engine;
use crate::support::kafka::brokers;

/// Runs the bench; its report.
async fn bench(args: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let (json, html) = (folder.path().join("report.json"), folder.path().join("report.html"));
    let brokers = brokers();
    let files = ["--json", json.to_str().unwrap(), "--html", html.to_str().unwrap()];
    let ended =
        Engine::start(&[&["bench", "--brokers", &brokers, "--repeat", "1"], &files[..], args].concat());
    let ended = ended.ended().await;
    assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
    let html = std::fs::read_to_string(html).unwrap();
    let from_outside = ["<script", "<link", "src=", "url("].iter().any(|part| html.contains(part));
    assert!(html.ends_with("</html>\n") && !from_outside, "the report needs nothing from outside");
    serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap()
}

async fn each_gives_what_a_batch_gives(queries: &[&str]) {
    for query in queries {
        let args = ["--queries", query, "--subjects", "epochflow", "--partitions", "2"];
        let report =
            bench(&[&args[..], &["--rates", "2000", "--seconds", "1", "--warm-up", "0"]].concat()).await;
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1);
        let output = &runs[0]["output"];
        assert_eq!(output["sameAsBatch"], true, "{query}: {output}");
        assert!(output["received"].as_u64() > Some(0), "{query}: {output}");
        assert_eq!(runs[0]["latencyMs"]["n"], output["received"], "{query}");
    }
}

#[tokio::test]
async fn queries_from_tpch_give_what_a_batch_gives() {
    each_gives_what_a_batch_gives(&["p0", "h1", "h6", "h12", "h13", "h19", "h22"]).await;
}

#[tokio::test]
async fn queries_from_nexmark_give_what_a_batch_gives() {
    each_gives_what_a_batch_gives(&["n0", "n1", "n2", "n14", "n21", "n22"]).await;
}

#[tokio::test]
async fn the_floors_and_a_slow_store_are_measured_beside_the_engine() {
    let subjects = ["hop", "relay", "epochflow", "slow-store", "micro-batch", "exactly-once"];
    let args = ["--queries", "h6", "--rates", "300", "--seconds", "2", "--warm-up", "1", "--trigger"];
    let report = bench(&[&args[..], &["continuous:100ms", "--subjects", &subjects.join(",")]].concat()).await;
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<_> = runs.iter().map(|run| run["subject"].as_str().unwrap()).collect();
    assert_eq!(names, subjects);
    for run in runs {
        assert_eq!(run["output"]["sameAsBatch"], true, "{run}");
    }
    assert_eq!(runs[0]["latencyMs"]["n"], 600, "the hop passes all records");
    let passing = &runs[1]["latencyMs"]["n"];
    assert!(passing.as_u64().is_some_and(|n| 0 < n && n < 100), "the relay passes what the query passes");
    assert_eq!(passing, &runs[2]["latencyMs"]["n"]);
    assert!(runs[2]["epochs"].as_u64() >= Some(2), "{}", runs[2]);
    assert!(runs[2]["peakRssMib"].as_f64() > Some(1.0), "{}", runs[2]);
}

#[tokio::test]
async fn a_join_with_a_static_table_gives_what_a_batch_gives() {
    each_gives_what_a_batch_gives(&["h14"]).await;
}

#[tokio::test]
async fn exactly_once_goes_with_a_slow_store_and_memory_is_shown_over_time() {
    let args =
        ["--queries", "p0", "--rates", "200", "--seconds", "2", "--warm-up", "1", "--subjects", "slow-store"];
    let more = ["--trigger", "continuous:100ms", "--delivery", "exactly-once"];
    let report = bench(&[&args[..], &more[..]].concat()).await;
    assert_eq!(report["settings"]["delivery"], "exactly-once");
    let run = &report["runs"][0];
    assert_eq!(
        (&run["subject"], &run["output"]["sameAsBatch"]),
        (&"slow-store".into(), &true.into()),
        "{run}"
    );
    let memory = &run["rssMib"];
    assert!(memory["overSeconds"].as_array().is_some_and(|points| points.len() >= 4), "{memory}");
    for quarter in ["firstQuarter", "lastQuarter"] {
        assert!(memory[quarter].as_f64() > Some(1.0), "{memory}");
    }
}

/// A subject that lets only the first record pass, and probes.
fn lossy(folder: &Path) -> String {
    let only = folder.join("only");
    std::fs::write(&only, [1]).unwrap();
    format!(
        "lossy={} bench relay --brokers {{brokers}} --from {{from}} --to {{to}} --partitions {{partitions}} \
         --to-partitions 1 --linger-ms 0 --only {}",
        env!("CARGO_BIN_EXE_epochflow"),
        only.display()
    )
}

#[tokio::test]
async fn the_rate_that_a_subject_sustains_is_found() {
    let folder = tempfile::tempdir().unwrap();
    // A run of more records than one is not kept up with.
    let lossy = lossy(folder.path());
    let args =
        ["--sustainable", "--rates", "1", "--seconds", "1", "--warm-up", "0", "--subjects", "epochflow"];
    let report = bench(&[&args[..], &["--rates-up-to", "4", "--subject-command", &lossy]].concat()).await;
    let found = |subject: &str| {
        let runs = report["runs"].as_array().unwrap();
        let found = runs.iter().find(|run| run["subject"] == subject && run["sustainedRate"].is_u64());
        found.unwrap()["sustainedRate"].as_u64().unwrap()
    };
    assert_eq!((found("epochflow"), found("lossy")), (4, 1));
}

#[tokio::test]
async fn an_idle_query_and_starting_and_stopping_are_measured() {
    let report = bench(&["--idle", "1"]).await;
    let idle = &report["runs"][0];
    assert!(idle["coreShare"].as_f64().is_some_and(|share| (0.0..2.0).contains(&share)), "{idle}");

    let report = bench(&["--start", "2", "--queries", "h6", "--delivery", "exactly-once"]).await;
    let start = &report["runs"][0];
    assert_eq!((&start["epochs"], &start["times"]), (&100.into(), &2.into()), "{start}");
    for part in ["startSeconds", "stopSeconds"] {
        assert!(start[part]["median"].as_f64() > Some(0.0), "{start}");
        assert!(start[part]["max"].as_f64() >= start[part]["median"].as_f64(), "{start}");
    }
}

#[tokio::test]
async fn a_drain_checks_its_output_and_takes_other_engines() {
    let engine = env!("CARGO_BIN_EXE_epochflow");
    // A command line such as another engine's: here it is our own relay under another name.
    let other = format!(
        "other={engine} bench relay --brokers {{brokers}} --from {{from}} --to {{to}} --partitions {{partitions}} \
         --to-partitions 1 --linger-ms {{linger_ms}}"
    );
    let report = bench(&["--drain", "3000", "--subject-command", &other]).await;
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<_> = runs.iter().map(|run| run["subject"].as_str().unwrap()).collect();
    assert_eq!(names, ["relay", "epochflow", "other"]);
    for run in runs {
        assert_eq!(run["output"]["sameAsBatch"], true, "{run}");
        assert!(run["recordsPerSecond"].as_f64() > Some(0.0), "{run}");
    }
}

#[tokio::test]
async fn an_engine_that_loses_records_fails_the_bench() {
    let brokers = brokers();
    let folder = tempfile::tempdir().unwrap();
    let lossy = lossy(folder.path());
    let args = ["bench", "--brokers", &brokers, "--rates", "50", "--seconds", "1", "--warm-up", "0"];
    let more = ["--repeat", "1", "--subjects", "hop", "--subject-command", &lossy];
    let ended = Engine::start(&[&args[..], &more[..]].concat()).ended().await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("lossy: 1 records came out instead of 50"), "{}", ended.stderr);
}

#[tokio::test]
async fn wrong_usage_is_refused() {
    for (args, hint) in [
        (vec!["bench"], "--brokers"),
        (vec!["bench", "--brokers", "127.0.0.1:1", "--queries", "h99"], "there is no query 'h99'"),
        (vec!["bench", "--brokers", "127.0.0.1:1", "--subjects", "spark"], "there is no subject 'spark'"),
        (vec!["bench", "--brokers", "127.0.0.1:1", "--subject-command", "x=cat {brokers} {from}"], "{to}"),
    ] {
        let ended = Engine::start(&args).ended().await;
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{args:?}: {}", ended.stderr);
    }
}
