//! What the fuzz targets begin with, and what they have found, goes through them with each normal build.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty());
    for input in inputs {
        let bytes = std::fs::read(&input).unwrap();
        let ended = std::panic::catch_unwind(|| run(&bytes));
        assert!(ended.is_ok(), "{} fails in the target {target}", input.display());
    }
}

#[test]
fn files_of_checkpoints() {
    replay("checkpoint", targets::checkpoint::run);
}

#[test]
fn offsets() {
    replay("offsets", targets::offsets::run);
}

#[test]
fn options() {
    replay("options", targets::options::run);
}

#[test]
fn records() {
    replay("payload", targets::payload::run);
}

#[test]
fn pipelines() {
    replay("sql", targets::sql::run);
}
