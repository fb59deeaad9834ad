//! The figures as tables, for the terminal and for the report alike.

use super::Case;
use super::drain::Drain;
use super::outcome::{Run, quantile_ms};
use super::stats::Group;

/// A table: names and notes are text, all else are numbers.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Quantiles with their names.
pub(super) const QUANTILES: &[(&str, f64)] = &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// The cases in the order in which they ran.
pub(super) fn cases(runs: &[Run]) -> Vec<(Case, Vec<&Run>)> {
    let mut cases: Vec<(Case, Vec<&Run>)> = Vec::new();
    for run in runs {
        match cases.iter_mut().find(|(case, _)| *case == run.case) {
            Some((_, of_case)) => of_case.push(run),
            None => cases.push((run.case, vec![run])),
        }
    }
    cases
}

/// What a case's runs gave: latency, what the engine adds to the relay, and what it costs.
pub(super) fn latency(runs: &[&Run]) -> Vec<Table> {
    let groups = Group::all(runs);
    let of =
        |title: &str, head: &[&'static str], row: &dyn Fn(&Group<'_, Run>) -> Option<Vec<String>>| Table {
            title: title.to_owned(),
            head: [&["subject"], head].concat(),
            rows: groups
                .iter()
                .filter_map(|group| Some([vec![group.subject.to_owned()], row(group)?].concat()))
                .collect(),
        };
    let tables = [
        of(
            "latency, ms (median of the repeats; max: the worst)",
            &["n", "p50", "p90", "p99", "p99.9", "max"],
            &|group| {
                let mut cells = vec![group.runs.iter().map(|run| run.latency.len()).sum::<u64>().to_string()];
                cells.extend(
                    QUANTILES
                        .iter()
                        .map(|(_, quantile)| cell(group.median(|run| Some(run.latency_ms(*quantile))), 2)),
                );
                cells.push(cell(group.runs.iter().map(|run| run.latency_ms(1.0)).reduce(f64::max), 1));
                Some(cells)
            },
        ),
        of(
            "over the relay of the same repeat: added ms, then ratio",
            &["+p50", "+p90", "+p99", "+p99.9", "×p50", "×p90", "×p99", "×p99.9"],
            &|group| {
                let over = |compare: fn(f64, f64) -> f64| {
                    QUANTILES
                        .iter()
                        .map(|(_, quantile)| {
                            cell(group.over_relay(|run| run.latency_ms(*quantile), compare), 2)
                        })
                        .collect::<Vec<_>>()
                };
                group.over_relay(|_| 0.0, |_, _| 0.0)?;
                Some([over(|own, relay| own - relay), over(|own, relay| own / relay)].concat())
            },
        ),
        of(
            "p99.9 near the ends of epochs and away from them, ms",
            &["epochs", "n inside", "inside", "outside"],
            &|group| {
                let ends = || group.runs.iter().filter_map(|run| run.epoch_ends.as_ref());
                let epochs = ends().map(|ends| ends.epochs).reduce(|a, b| a + b)?;
                let inside: u64 = ends().map(|ends| ends.inside.len()).sum();
                let of = |inside: bool| {
                    let quantile = |run: &Run| {
                        let ends = run.epoch_ends.as_ref()?;
                        let histogram = if inside { &ends.inside } else { &ends.outside };
                        (!histogram.is_empty()).then(|| quantile_ms(histogram, 0.999))
                    };
                    cell(group.median(quantile), 2)
                };
                Some(vec![epochs.to_string(), inside.to_string(), of(true), of(false)])
            },
        ),
        of(
            "cost, and whether it can be trusted",
            &[
                "records/s out",
                "CPU s per million",
                "peak MiB",
                "MiB, 1st quarter",
                "last",
                "lost",
                "twice",
                "late p99 ms",
                "output",
                "notes",
            ],
            &|group| {
                let sum = |value: fn(&Run) -> u64| group.runs.iter().map(|run| value(run)).sum::<u64>();
                let late = group.runs.iter().map(|run| run.delay.p99_us as f64 / 1e3).reduce(f64::max);
                Some(vec![
                    cell(group.median(|run| Some(run.records_per_second)), 0),
                    cell(group.median(|run| run.cpu_seconds_per_million), 1),
                    cell(group.median(|run| run.usage.map(|usage| usage.peak_rss_mib)), 0),
                    cell(group.median(|run| run.memory.quarters().map(|quarters| quarters.0)), 1),
                    cell(group.median(|run| run.memory.quarters().map(|quarters| quarters.1)), 1),
                    sum(|run| run.output.lost()).to_string(),
                    sum(|run| run.output.duplicates).to_string(),
                    cell(late, 2),
                    output(group.runs.iter().map(|run| &run.output)),
                    notes(group),
                ])
            },
        ),
    ];
    tables.into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// What the drains of one query gave.
pub(super) fn drain(drains: &[&Drain]) -> Table {
    let row = |group: &Group<'_, Drain>| {
        vec![
            group.subject.to_owned(),
            cell(group.median(|drain| Some(drain.records_per_second / 1e3)), 0),
            cell(group.over_relay(|drain| drain.records_per_second, |own, relay| own / relay), 2),
            cell(group.median(|drain| Some(drain.cpu_seconds_per_million)), 2),
            cell(group.median(|drain| Some(drain.usage.peak_rss_mib)), 0),
            output(group.runs.iter().map(|drain| &drain.output)),
        ]
    };
    Table {
        title: "thousand records/s, from the first record out to the last".into(),
        head: vec!["subject", "k records/s", "×relay", "CPU s per million", "peak MiB", "output"],
        rows: Group::all(drains).iter().map(row).collect(),
    }
}

fn output<'a>(mut outputs: impl Iterator<Item = &'a super::outcome::Output> + Clone) -> String {
    let wrong = outputs.clone().filter(|output| output.problem().is_some()).count();
    match wrong {
        0 if outputs.all(|output| output.comparable || output.received == output.expected) => {
            "as batch".into()
        }
        0 => "count as batch".into(),
        wrong => format!("wrong in {wrong}"),
    }
}

fn notes(group: &Group<'_, Run>) -> String {
    match group.invalid {
        0 => String::new(),
        invalid if invalid == group.runs.len() => "INVALID: late generator".into(),
        invalid => format!("{invalid} left out: late generator"),
    }
}

fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl Table {
    /// Prints it to stdout: names and notes to the left, numbers to the right.
    pub(super) fn print(&self) {
        println!("\n{}", self.title);
        let head: Vec<String> = self.head.iter().map(|name| (*name).to_owned()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&head).chain(&self.rows).collect();
        let width =
            |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        for row in all {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ if self.is_text(column) => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    /// Whether a column holds text, not numbers.
    pub(super) fn is_text(&self, column: usize) -> bool {
        column == 0 || matches!(self.head[column], "output" | "notes")
    }
}
