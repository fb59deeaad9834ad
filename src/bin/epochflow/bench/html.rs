//! The report: one HTML file with all its charts and styles inside, for a light and for a dark screen.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::drain::Drain;
use super::outcome::{Run, Slice, quantile_ms};
use super::plot::{Axes, COLOURS, Line, chart};
use super::stats::Group;
use super::tables::{self, Table};
use super::{Result, Settings, json};

/// The whole report.
pub(super) fn report(settings: &Settings, runs: &[Run], drains: &[Drain]) -> Result<String> {
    let mut body = String::new();
    for (case, of_case) in tables::cases(runs) {
        let title = format!("{}, {} records/s", case.query.id.to_uppercase(), case.rate);
        writeln!(body, "<section><h2>{}</h2>", escape(&title))?;
        writeln!(body, "<pre>{}</pre>", escape(case.query.select.trim()))?;
        let groups = Group::all(&of_case);
        body += &legend(groups.iter().map(|group| group.subject));
        body += &charts(&groups)?;
        writeln!(body, "<p class=note>Lines over time show the first repeat.</p>")?;
        tables::latency(&of_case).iter().for_each(|table| body += &html_table(table));
        body += "</section>\n";
    }
    let mut queries: Vec<&str> = drains.iter().map(|drain| drain.query.id).collect();
    queries.dedup();
    for query in queries {
        let of_query: Vec<&Drain> = drains.iter().filter(|drain| drain.query.id == query).collect();
        writeln!(body, "<section><h2>{}, drain</h2>", escape(&query.to_uppercase()))?;
        body += &bars(&Group::all(&of_query));
        body += &html_table(&tables::drain(&of_query));
        body += "</section>\n";
    }
    Ok(format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <title>epochflow bench</title><style>{}{}</style></head><body><main>\n\
         <h1>epochflow bench</h1>\n{}{body}</main></body></html>\n",
        include_str!("report.css"),
        colours(),
        settings_list(settings),
    ))
}

/// What a line over time shows of a slice.
type Figure = fn(&Slice) -> f64;

fn charts(groups: &[Group<'_, Run>]) -> Result<String> {
    let over_time = |widths: &[(u32, Figure)]| {
        let mut lines = Vec::new();
        for (colour, group) in groups.iter().enumerate() {
            // The first repeat stands for all.
            let Some(run) = group.runs.first() else { continue };
            for (width, value) in widths {
                let points = run.timeline.iter().map(|slice| (slice.second, value(slice))).collect();
                lines.push(Line { colour, width: *width, points });
            }
        }
        lines
    };
    let memory = |(colour, group): (usize, &Group<'_, Run>)| {
        let points = group.runs.first().map(|run| run.memory.points.clone()).unwrap_or_default();
        Line { colour, width: 2, points }
    };
    let seconds = |second: &f64| format!("{second:.0}");
    let time = |y, log_y| Axes { x: "seconds", y, x_label: &seconds, log_y };
    // Whole nines only.
    let percentile = |x: &f64| match (x - x.round()).abs() < 1e-9 {
        true => format!("{} %", 100.0 - 100.0 / 10_f64.powf(x.round())),
        false => String::new(),
    };
    let curves = groups.iter().enumerate().map(|(colour, group)| Line {
        colour,
        width: 2,
        points: percentiles(&group.runs),
    });
    let figures = [
        (
            "Latency by percentile, over all repeats",
            chart(
                &Axes { x: "records that were at least as fast", y: "ms", x_label: &percentile, log_y: true },
                &curves.collect::<Vec<_>>(),
            )?,
        ),
        (
            "Latency over time: p50 (thick) and p99 (thin)",
            chart(&time("ms", true), &over_time(&[(3, |slice| slice.p50_ms), (1, |slice| slice.p99_ms)]))?,
        ),
        (
            "Throughput over time",
            chart(&time("records/s", false), &over_time(&[(2, |slice| slice.records_per_second)]))?,
        ),
        (
            "Memory over time, warm-up included",
            chart(&time("MiB", false), &groups.iter().enumerate().map(memory).collect::<Vec<_>>())?,
        ),
    ];
    let mut html = String::new();
    for (caption, svg) in figures {
        if let Some(svg) = svg {
            writeln!(html, "<figure>{svg}<figcaption>{}</figcaption></figure>", escape(caption))?;
        }
    }
    Ok(format!("<div class=charts>{html}</div>\n"))
}

/// Latency at each percentile that the records can tell; x counts the nines: 1 is 90 %, 2 is 99 %.
fn percentiles(runs: &[&Run]) -> Vec<(f64, f64)> {
    let mut all: Histogram<u64> = match runs.first() {
        Some(run) => run.latency.clone(),
        None => return Vec::new(),
    };
    // They have the same precision and grow by themselves.
    let merged = runs[1..].iter().try_for_each(|run| all.add(&run.latency));
    if merged.is_err() || all.is_empty() {
        return Vec::new();
    }
    const STEPS: f64 = 20.0;
    let nines = (all.len() as f64).log10().min(5.0);
    let steps = (nines * STEPS) as usize;
    (0..=steps)
        .map(|step| step as f64 / STEPS)
        .map(|x| (x, quantile_ms(&all, 1.0 - 10_f64.powf(-x))))
        .collect()
}

fn legend<'a>(subjects: impl Iterator<Item = &'a str>) -> String {
    let entry =
        |(index, subject)| format!("<li><i class=c{}></i>{}</li>", index % COLOURS.len(), escape(subject));
    format!("<ul class=legend>{}</ul>\n", subjects.enumerate().map(entry).collect::<String>())
}

fn bars(groups: &[Group<'_, Drain>]) -> String {
    let rate =
        |group: &Group<'_, Drain>| group.median(|drain| Some(drain.records_per_second)).unwrap_or_default();
    let highest = groups.iter().map(rate).fold(1.0, f64::max);
    let bar = |(index, group)| {
        let share = 100.0 * rate(group) / highest;
        format!(
            "<div class=bar><span>{}</span><i class=c{} style=\"width:{share:.1}%\"></i></div>\n",
            escape(group.subject),
            index % COLOURS.len(),
        )
    };
    format!("<div class=bars>{}</div>", groups.iter().enumerate().map(bar).collect::<String>())
}

fn html_table(table: &Table) -> String {
    let class = |column| if table.is_text(column) { " class=text" } else { "" };
    let cells = |tag: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        cells
            .enumerate()
            .map(|(column, cell)| format!("<{tag}{}>{}</{tag}>", class(column), escape(cell)))
            .collect()
    };
    let rows: String = table
        .rows
        .iter()
        .map(|row| format!("<tr>{}</tr>\n", cells("td", &mut row.iter().map(String::as_str))))
        .collect();
    format!(
        "<div class=scroll><table><caption>{}</caption><thead><tr>{}</tr></thead><tbody>\n{rows}</tbody></table></div>\n",
        escape(&table.title),
        cells("th", &mut table.head.iter().copied()),
    )
}

fn settings_list(settings: &Settings) -> String {
    let values = json::settings(settings);
    let entry = |(name, value): (&String, &serde_json::Value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(&value))
    };
    let entries: String = values.as_object().into_iter().flatten().map(entry).collect();
    format!("<details><summary>Settings and machine</summary><dl>{entries}</dl></details>\n")
}

/// What ties the charts' colours to the style sheet's.
fn colours() -> String {
    let mut css = String::new();
    for (index, colour) in COLOURS.iter().enumerate() {
        let name = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
        let _always_fits = writeln!(
            css,
            "[stroke=\"{name}\"]{{stroke:var(--c{index})}} .c{index}{{background:var(--c{index})}}"
        );
    }
    css
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
