//! The wall clock jumps under the running process, by an hour in either direction.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::flow::{BOTH, Flow, Setting, Told};
use crate::support::eventually;
use crate::support::kafka::brokers;

const HOUR: i64 = 3600;
const EPOCH: Duration = Duration::from_millis(200);

/// The library that shifts the clock of whoever preloads it.
fn shim(folder: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/outages/clock.c");
    let library = folder.join("clock.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .output();
    let compiled = compiled.unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    library
}

/// What the query measures must make sense whatever the clock says.
fn check_figures(told: &Told, ran: Duration) {
    for progress in &told.progress {
        for stage in ["fetchToHandOver", "operators", "produceToAck", "endToEnd"] {
            let latency = &progress["latency"][stage];
            let (p50, max) = (latency["p50"].as_f64(), latency["max"].as_f64());
            let (Some(p50), Some(max)) = (p50, max) else { continue };
            // By a clock that is ahead, records are old; no stage of our own knows that clock.
            let ahead = if stage == "endToEnd" { HOUR as f64 * 1000.0 } else { 0.0 };
            // Figures are exact to 1 %.
            let most = (ahead + ran.as_millis() as f64) * 1.02;
            assert!(0.0 < p50 && p50 <= max && max <= most, "{stage} beyond {most}: {latency}");
        }
        for rate in ["inputRowsPerSecond", "processedRowsPerSecond"] {
            assert!(progress[rate].as_f64().is_none_or(|rate| rate.is_finite() && rate >= 0.0), "{progress}");
        }
        for (phase, millis) in progress["durationMs"].as_object().unwrap() {
            assert!(u128::from(millis.as_u64().unwrap()) <= ran.as_millis(), "{phase}: {progress}");
        }
    }
    let epochs = u32::try_from(told.progress.len()).unwrap();
    assert!(EPOCH * epochs <= ran + EPOCH * 5, "{epochs} epochs in {ran:?} are more than their pace");
    assert_eq!(told.restarts(), 0, "{}", told.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wall_clock_that_jumps_an_hour_changes_neither_pace_nor_rows_nor_figures() {
    let folder = tempfile::tempdir().unwrap();
    let (library, shift) = (shim(folder.path()), folder.path().join("shift"));
    std::fs::write(&shift, 0i64.to_ne_bytes()).unwrap();
    // In place, since processes have the file in their memory.
    let file = OpenOptions::new().write(true).open(&shift).unwrap();
    let jump = |seconds: i64| file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    let environment = vec![
        ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
        ("EPOCHFLOW_TEST_CLOCK", shift.to_str().unwrap().to_owned()),
    ];
    let (began, mut flows) = (Instant::now(), Vec::new());
    for delivery in BOTH {
        for trigger in ["continuous:200ms", "processing-time:200ms"] {
            let setting = Setting::new(&brokers(), delivery, trigger);
            flows.push(Flow::start(Setting { environment: environment.clone(), ..setting }).await);
        }
    }
    for seconds in [HOUR, -HOUR, 0] {
        for flow in &mut flows {
            flow.goes_on("before the jump").await;
        }
        let before: Vec<_> = flows.iter().map(Flow::hour).collect();
        jump(seconds);
        for (flow, before) in flows.iter().zip(before) {
            eventually("an epoch begins by the new clock", async || (flow.hour() != before).then_some(()))
                .await;
        }
    }
    for flow in flows {
        let told = flow.goes_on_and_ends().await;
        check_figures(&told, began.elapsed());
    }
}
