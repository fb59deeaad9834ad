//! Every run's figures, for programs.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::Settings;
use super::drain::Drain;
use super::outcome::{Memory, Output, Run, quantile_ms};

/// What was measured and on what.
pub(super) fn settings(settings: &Settings) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let argv: Vec<String> = std::env::args().collect();
    json!({
        "epochflow": env!("CARGO_PKG_VERSION"),
        "optimized": !cfg!(debug_assertions),
        "command": argv.join(" "),
        "seconds": settings.seconds,
        "warmUpSeconds": settings.warm_up,
        "repeat": settings.repeat,
        "partitions": settings.partitions,
        "trigger": settings.trigger.to_string(),
        "delivery": settings.delivery.map(|delivery| delivery.to_string()),
        "storeDelayMs": settings.store_delay.as_millis() as u64,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

pub(super) fn run(run: &Run) -> Value {
    json!({
        "query": run.case.query.id,
        "rate": run.case.rate,
        "subject": run.subject,
        "repeat": run.repeat,
        "valid": run.is_valid(),
        "latencyMs": quantiles(&run.latency),
        "epochs": run.epoch_ends.as_ref().map(|ends| ends.epochs),
        "insideEpochEndsMs": run.epoch_ends.as_ref().map(|ends| quantiles(&ends.inside)),
        "outsideEpochEndsMs": run.epoch_ends.as_ref().map(|ends| quantiles(&ends.outside)),
        "publishDelayUs": { "p50": run.delay.p50_us, "p99": run.delay.p99_us, "max": run.delay.max_us },
        "recordsPerSecond": run.records_per_second,
        "cpuSecondsPerMillion": run.cpu_seconds_per_million,
        "peakRssMib": run.usage.map(|usage| usage.peak_rss_mib),
        "rssMib": memory(&run.memory),
        "output": output(&run.output),
    })
}

fn memory(memory: &Memory) -> Value {
    json!({
        "firstQuarter": memory.quarters().map(|quarters| quarters.0),
        "lastQuarter": memory.quarters().map(|quarters| quarters.1),
        "overSeconds": memory.points,
    })
}

pub(super) fn drain(drain: &Drain) -> Value {
    json!({
        "query": drain.query.id,
        "subject": drain.subject,
        "repeat": drain.repeat,
        "recordsPerSecond": drain.records_per_second,
        "cpuSecondsPerMillion": drain.cpu_seconds_per_million,
        "peakRssMib": drain.usage.peak_rss_mib,
        "output": output(&drain.output),
    })
}

fn output(output: &Output) -> Value {
    json!({
        "expected": output.expected.count,
        "received": output.received.count,
        "lost": output.lost(),
        "duplicates": output.duplicates,
        "sameAsBatch": output.received == output.expected,
        "problem": output.problem(),
    })
}

fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({
        "n": histogram.len(),
        "p50": quantile_ms(histogram, 0.5),
        "p90": quantile_ms(histogram, 0.9),
        "p99": quantile_ms(histogram, 0.99),
        "p999": quantile_ms(histogram, 0.999),
        "max": histogram.max() as f64 / 1e3,
    })
}
