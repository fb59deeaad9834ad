//! Line charts as SVG. Colours are names that the report's style sheet gives their light and dark values.

use plotters::prelude::*;

use super::Result;

/// What the chart is drawn in; the style sheet knows these by their text.
const INK: RGBColor = RGBColor(0x01, 0x01, 0x01);
const GRID: RGBColor = RGBColor(0x02, 0x02, 0x02);
/// Of the first subject, the second and so on.
pub(super) const COLOURS: &[RGBColor] = &[
    RGBColor(0x10, 0x00, 0x01),
    RGBColor(0x10, 0x00, 0x02),
    RGBColor(0x10, 0x00, 0x03),
    RGBColor(0x10, 0x00, 0x04),
    RGBColor(0x10, 0x00, 0x05),
    RGBColor(0x10, 0x00, 0x06),
    RGBColor(0x10, 0x00, 0x07),
    RGBColor(0x10, 0x00, 0x08),
];

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    /// An index into [`COLOURS`].
    pub(super) colour: usize,
    /// In px.
    pub(super) width: u32,
    pub(super) points: Vec<(f64, f64)>,
}

/// What a chart's axes mean.
pub(super) struct Axes<'a> {
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// How a position on the x axis is written.
    pub(super) x_label: &'a dyn Fn(&f64) -> String,
    /// Whether y is logarithmic; it begins at 0 otherwise.
    pub(super) log_y: bool,
}

const SIZE: (u32, u32) = (720, 300);

/// Draws `lines`; `None` if there is nothing to draw.
pub(super) fn chart(axes: &Axes<'_>, lines: &[Line]) -> Result<Option<String>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let bound = |of: fn(&(f64, f64)) -> f64, pick: fn(f64, f64) -> f64| points().map(of).reduce(pick);
    let bounds = (
        bound(|p| p.0, f64::min),
        bound(|p| p.0, f64::max),
        bound(|p| p.1, f64::min),
        bound(|p| p.1, f64::max),
    );
    let (Some(left), Some(right), Some(low), Some(high)) = bounds else { return Ok(None) };
    let right = if right > left { right } else { left + 1.0 };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut builder = ChartBuilder::on(&area);
        builder.margin(12).x_label_area_size(44).y_label_area_size(64);
        let text = ("sans-serif", 15).into_font().color(&INK);
        // The two kinds of axis are of different types, and all else is the same.
        macro_rules! draw {
            ($range:expr) => {{
                let mut chart = builder.build_cartesian_2d(left..right, $range)?;
                chart
                    .configure_mesh()
                    .x_desc(axes.x)
                    .y_desc(axes.y)
                    .axis_style(INK)
                    .bold_line_style(GRID)
                    .light_line_style(TRANSPARENT)
                    .label_style(text.clone())
                    .axis_desc_style(text)
                    .x_labels(8)
                    .x_label_formatter(axes.x_label)
                    .y_label_formatter(&|value| short(*value))
                    .draw()?;
                for line in lines {
                    let style = COLOURS[line.colour % COLOURS.len()].stroke_width(line.width);
                    chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
                }
            }};
        }
        if axes.log_y {
            draw!((low.max(0.01) * 0.8..high.max(0.02) * 1.2).log_scale());
        } else {
            draw!(0.0..high.max(1.0) * 1.1);
        }
        area.present()?;
    }
    Ok(Some(svg))
}

/// A number with as many digits as it needs.
fn short(value: f64) -> String {
    match value {
        value if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
