//! Tables for people, values for programs.

use serde_json::{Value, json};

use crate::drain::Drain;
use crate::latency::Run;
use crate::subject::{Subject, Usage};

/// What the two kinds of measurement have in common.
pub(crate) trait Measured {
    fn subject(&self) -> Subject;
    fn repeat(&self) -> usize;
    fn usage(&self) -> Option<Usage>;
}

impl Measured for Run {
    fn subject(&self) -> Subject {
        self.subject
    }
    fn repeat(&self) -> usize {
        self.repeat
    }
    fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

impl Measured for Drain {
    fn subject(&self) -> Subject {
        self.subject
    }
    fn repeat(&self) -> usize {
        self.repeat
    }
    fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

/// The repeats of one subject, among those of all subjects.
struct Group<'a, T> {
    subject: Subject,
    runs: Vec<&'a T>,
    all: &'a [T],
}

impl<'a, T: Measured> Group<'a, T> {
    /// One group a subject, in the order in which they ran.
    fn all(all: &'a [T]) -> impl Iterator<Item = Self> {
        let firsts =
            all.iter().enumerate().filter(|(i, run)| all[..*i].iter().all(|r| r.subject() != run.subject()));
        firsts.map(move |(_, first)| {
            let subject = first.subject();
            Self { subject, runs: all.iter().filter(|run| run.subject() == subject).collect(), all }
        })
    }

    fn median(&self, value: impl Fn(&T) -> f64) -> Option<f64> {
        median(self.runs.iter().map(|run| value(run)).collect())
    }

    /// The median of what each repeat has over its relay in the same repeat: only neighbours can be compared.
    fn ratio(&self, value: impl Fn(&T) -> f64) -> Option<f64> {
        let baseline = self.subject.baseline()?;
        let of = |run: &T| {
            let twin = self.all.iter().find(|r| r.subject() == baseline && r.repeat() == run.repeat())?;
            Some(value(run) / value(twin))
        };
        median(self.runs.iter().filter_map(|run| of(run)).collect())
    }

    fn peak_rss_mib(&self) -> Option<f64> {
        self.runs.iter().filter_map(|run| run.usage()).map(|usage| usage.peak_rss_mib).reduce(f64::max)
    }

    fn cpu_seconds(&self) -> Option<f64> {
        median(self.runs.iter().filter_map(|run| run.usage()).map(|usage| usage.cpu_seconds).collect())
    }
}

/// One table for one rate: medians over the repeats, except the worst latency and the highest memory.
pub(crate) fn print_latency(rate: u64, runs: &[Run]) {
    println!("\n{rate} records/s, milliseconds from intended send to received");
    let head = [
        "subject",
        "n",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p50/relay",
        "p99/relay",
        "lost",
        "RSS MiB",
        "CPU s",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for group in Group::all(runs) {
        let sum = |value: fn(&Run) -> u64| group.runs.iter().map(|run| value(run)).sum::<u64>();
        let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|q| move |run: &Run| quantile_ms(run, q));
        rows.push(vec![
            group.subject.name(),
            sum(|run| run.latency.len()).to_string(),
            cell(group.median(p50), 2),
            cell(group.median(p99), 2),
            cell(group.median(p999), 2),
            cell(group.runs.iter().map(|run| max(run)).reduce(f64::max), 2),
            cell(group.ratio(p50), 2),
            cell(group.ratio(p99), 2),
            sum(|run| run.lost).to_string(),
            cell(group.peak_rss_mib(), 0),
            cell(group.cpu_seconds(), 2),
            notes(&group),
        ]);
    }
    print_rows(&rows);
}

pub(crate) fn print_drain(drains: &[Drain]) {
    println!("\nthousand records/s, from a child's first output to its last");
    let head = ["subject", "k records/s", "/relay", "RSS MiB", "CPU s"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for group in Group::all(drains) {
        rows.push(vec![
            group.subject.name(),
            cell(group.median(|drain| drain.thousand_per_second), 0),
            cell(group.ratio(|drain| drain.thousand_per_second), 2),
            cell(group.peak_rss_mib(), 0),
            cell(group.cpu_seconds(), 2),
        ]);
    }
    print_rows(&rows);
}

pub(crate) fn run_json(run: &Run) -> Value {
    json!({
        "subject": run.subject.name(), "rate": run.rate, "repeat": run.repeat, "n": run.latency.len(),
        "p50Ms": quantile_ms(run, 0.5), "p99Ms": quantile_ms(run, 0.99), "p999Ms": quantile_ms(run, 0.999),
        "maxMs": quantile_ms(run, 1.0), "lost": run.lost, "duplicates": run.duplicates,
        "senderLateP99Us": run.lateness.value_at_quantile(0.99), "lateGenerator": run.late_generator(),
        "peakRssMib": run.usage.map(|usage| usage.peak_rss_mib), "cpuSeconds": run.usage.map(|usage| usage.cpu_seconds),
    })
}

pub(crate) fn drain_json(drain: &Drain) -> Value {
    json!({
        "subject": drain.subject.name(), "repeat": drain.repeat, "thousandPerSecond": drain.thousand_per_second,
        "peakRssMib": drain.usage.map(|usage| usage.peak_rss_mib), "cpuSeconds": drain.usage.map(|usage| usage.cpu_seconds),
    })
}

fn quantile_ms(run: &Run, quantile: f64) -> f64 {
    run.latency.value_at_quantile(quantile) as f64 / 1e3
}

/// How late the sender was, and what makes a run worthless.
fn notes(group: &Group<'_, Run>) -> String {
    let late_us = group.runs.iter().map(|run| run.lateness.value_at_quantile(0.99)).max().unwrap_or_default();
    let late = group.runs.iter().filter(|run| run.late_generator()).count();
    let duplicates: u64 = group.runs.iter().map(|run| run.duplicates).sum();
    let mut notes = format!("sender late p99 {:.2} ms", late_us as f64 / 1e3);
    if late > 0 {
        notes += &format!(", late-generator in {late} of {}", group.runs.len());
    }
    if duplicates > 0 {
        notes += &format!(", {duplicates} duplicates");
    }
    notes
}

/// The middle value; of an even number of values, the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
    Some(f64::midpoint(values[low], values[high]))
}

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

fn print_rows(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            // Names and notes to the left, numbers to the right.
            0 => format!("{cell:<width$}"),
            _ if cell.contains(' ') && width == widths[columns - 1] => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
