//! Options: a line that says whose they are, then a `name=value` a line.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use epochflow::{Delivery, LatencySlo, Options, Provenance, RestartPolicy, Trigger, parse_duration};

use epochflow::seams::{query_options, sink, source};

/// `data` as options of sources, sinks and queries, and as the values that have a syntax of their own.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (whose, rest) = text.split_once('\n').unwrap_or((text, ""));
    match whose.split_once(' ').unwrap_or((whose, "")) {
        ("source", format) => drop(source(format, &pairs(rest)).map(|source| source.description())),
        ("sink", format) => drop(sink(format, &pairs(rest), &schema()).map(|sink| sink.description())),
        ("query", _) => drop(query_options(&pairs(rest))),
        _ => values(text),
    }
}

fn pairs(text: &str) -> Options {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

fn schema() -> Arc<Schema> {
    let fields = [
        ("topic", DataType::Utf8),
        ("key", DataType::Binary),
        ("value", DataType::Utf8View),
        ("partition", DataType::Int32),
        ("day", DataType::Date32),
    ];
    Arc::new(Schema::new(fields.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec()))
}

/// What is read is the same once shown and read again.
fn values(text: &str) {
    if let Ok(trigger) = text.parse::<Trigger>() {
        assert_eq!(trigger.to_string().parse::<Trigger>().unwrap(), trigger);
    }
    if let Ok(policy) = text.parse::<RestartPolicy>() {
        assert_eq!(policy.to_string().parse::<RestartPolicy>().unwrap(), policy);
    }
    if let Ok(slo) = text.parse::<LatencySlo>() {
        assert_eq!(slo.to_string().parse::<LatencySlo>().unwrap(), slo);
    }
    if let Ok(delivery) = text.parse::<Delivery>() {
        assert_eq!(delivery.to_string().parse::<Delivery>().unwrap(), delivery);
    }
    if let Ok(provenance) = text.parse::<Provenance>() {
        assert_eq!(provenance.to_string().parse::<Provenance>().unwrap(), provenance);
    }
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format!("{}ms", duration.as_millis())).unwrap(), duration);
    }
}
