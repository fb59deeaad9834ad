//! The arrows of ARCHITECTURE.md: which room may know which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may name. What is not here may be named by all: `epoch`, `error`, `options`, `provenance`,
/// `secrets`.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("access", &[]),
    ("store", &["access"]),
    ("checkpoint", &["store"]),
    ("functions", &[]),
    ("telemetry", &[]),
    ("kafka", &["access", "telemetry"]),
    ("testing", &[]),
    ("source", &["kafka"]),
    ("sink", &["kafka", "store", "telemetry"]),
    ("plan", &["source", "telemetry"]),
    ("query", &["telemetry"]),
    ("engine", &["plan", "source", "sink", "checkpoint", "query", "telemetry"]),
    ("spark", &["plan", "checkpoint", "query"]),
    (
        "session",
        &[
            "access",
            "engine",
            "functions",
            "kafka",
            "plan",
            "source",
            "sink",
            "checkpoint",
            "query",
            "spark",
            "store",
            "telemetry",
        ],
    ),
];
const COMMON: &[&str] = &["epoch", "error", "options", "provenance", "secrets"];
/// What tests beside the code may name in every room, with the store that it stands in for.
const TESTING: &str = "testing";
/// Files that may name these, beside the rooms in the second part.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("rdkafka::", &["kafka", "source/kafka", "sink/kafka", "bin/epochflow/demo.rs", "bin/epochflow/bench"]),
    ("object_store::", &["store", "testing", "bin/epochflow/bench/library.rs"]),
    ("metrics_exporter_prometheus::", &["bin"]),
    ("hdrhistogram::", &["telemetry", "bin"]),
];

pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

pub(crate) fn inside_src(path: &Path) -> &Path {
    path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap()
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "simulation")
        || path.file_stem().is_some_and(|stem| stem.to_str().unwrap().ends_with("tests"))
}

#[test]
fn rooms_know_only_the_rooms_below_them() {
    let rooms: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for (path, text) in sources() {
        let path = inside_src(&path);
        let room = path.components().next().unwrap().as_os_str().to_str().unwrap();
        let Some(allowed) = rooms.get(room) else { continue };
        seen.insert(room.to_owned());
        for part in text.split("crate::").skip(1) {
            let named: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_lower = named.chars().next().is_some_and(char::is_lowercase);
            let may = named == room
                || COMMON.contains(&named.as_str())
                || allowed.contains(&named.as_str())
                || (named == TESTING && is_test(path))
                || !is_lower;
            assert!(may, "{} names crate::{named}: see the rooms in ARCHITECTURE.md", path.display());
        }
    }
    assert_eq!(seen.len(), rooms.len(), "every room of the table exists");
}

#[test]
fn clients_of_services_stay_in_their_rooms() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !is_test(path)) {
        let path = inside_src(&path);
        for (name, places) in MAY_NAME {
            let named = text.contains(name) && !places.iter().any(|place| path.starts_with(place));
            assert!(!named, "{} names {name}: see the rooms in ARCHITECTURE.md", path.display());
        }
    }
}
