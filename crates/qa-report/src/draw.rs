//! The figures of a report.
use mlqa_eval::Interval;

use crate::Report;
use crate::collect::ReportData;
use crate::evidence::{Difference, METRICS, RunMean};
use crate::heat::{HeatCell, HeatMap};
use crate::report_tables::{CLASSES, boundary_shares};
use crate::svg::{Anchor, Style, Svg, clip, colour, label, relative_position, text_width, ticks};
use crate::text::thousands;

/// Width of figures that fit on a phone's screen.
const PHONE_WIDTH: f64 = 346.0;
/// Width and height of a cell of a heat map.
const CELL: (f64, f64) = (62.0, 40.0);
const MUTED_TEXT: Style = Style::of(12.0, Anchor::Start).muted();
const HEAT_COLOUR: &str = "#0969da";

/// Returns the opacity of a score's colour. The maximum is 0.6, so that text on the colour is
/// readable.
fn score_opacity(score: f64, (low, high): (f64, f64)) -> f64 {
    if high > low { 0.05 + 0.55 * ((score - low) / (high - low)).clamp(0.0, 1.0) } else { 0.3 }
}

/// Draws a heat map with the means of its rows and columns.
pub(crate) fn heat_map(map: &HeatMap) -> Svg {
    let label_width = map.rows.iter().map(|row| text_width(row, 13.0)).fold(46.0, f64::max);
    let left = 24.0 + label_width.min(130.0);
    let (top, gap) = (78.0, 8.0);
    let (column_count, mean_count) = (map.columns.len() as f64, map.row_means.len() as f64);
    let end = (left + column_count * CELL.0, top + map.rows.len() as f64 * CELL.1);
    let width = end.0 + mean_count.max(1.0).mul_add(CELL.0, gap) + 8.0;
    let bottom_height = if map.column_means.is_some() { gap + CELL.1 } else { 0.0 };
    let (low, high) = map.range;
    let questions = map
        .questions()
        .map_or_else(String::new, |count| format!("; {} questions in each cell", thousands(count)));
    let legend = format!("percent, {low:.1} pale to {high:.1} strong{questions}");
    let width =
        width.max(text_width(&legend, 12.0) + 16.0).max(text_width(&map.title, 15.0) + 16.0);
    let mut svg = Svg::new(&map.name, &map.title, width, end.1 + bottom_height + 30.0);
    let header_style = Style::of(13.0, Anchor::Middle).muted();
    svg.text(8.0, top - 10.0, MUTED_TEXT, &format!("{} ↓", map.row_title));
    svg.text(8.0, top - 28.0, MUTED_TEXT, &format!("{} →", map.column_title));
    for (at, column) in map.columns.iter().enumerate() {
        svg.text(left + (at as f64 + 0.5) * CELL.0, top - 10.0, header_style, column);
    }
    for (at, (name, _)) in map.row_means.iter().enumerate() {
        svg.text(end.0 + gap + (at as f64 + 0.5) * CELL.0, top - 10.0, header_style, name);
    }
    for (at, (name, cells)) in map.rows.iter().zip(&map.cells).enumerate() {
        let y = top + at as f64 * CELL.1;
        let name = clip(name, 13.0, left - 14.0);
        svg.text(8.0, y + CELL.1 / 2.0 + 4.5, Style::of(13.0, Anchor::Start), &name);
        for (column, cell) in cells.iter().enumerate() {
            heat_cell(&mut svg, map, (left + column as f64 * CELL.0, y), cell.as_ref());
        }
        for (column, (_, means)) in map.row_means.iter().enumerate() {
            let x = end.0 + gap + column as f64 * CELL.0;
            mean_cell(&mut svg, (x, y), means[at]);
        }
    }
    if let Some(means) = &map.column_means {
        let y = end.1 + gap;
        svg.text(8.0, y + CELL.1 / 2.0 + 4.5, Style::of(13.0, Anchor::Start).muted(), "mean");
        for (at, mean) in means.iter().enumerate() {
            mean_cell(&mut svg, (left + at as f64 * CELL.0, y), *mean);
        }
        mean_cell(&mut svg, (end.0 + gap, y), map.mean);
    }
    svg.text(8.0, end.1 + bottom_height + 20.0, MUTED_TEXT, &legend);
    svg
}

fn heat_cell(svg: &mut Svg, map: &HeatMap, (x, y): (f64, f64), cell: Option<&HeatCell>) {
    let rect = [x + 1.0, y + 1.0, CELL.0 - 2.0, CELL.1 - 2.0];
    let middle = x + CELL.0 / 2.0;
    let Some(cell) = cell else {
        svg.frame(rect, true);
        svg.text(middle, y + 24.5, Style::of(13.0, Anchor::Middle).muted(), "–");
        return;
    };
    svg.rect(rect, HEAT_COLOUR, score_opacity(cell.score, map.range), &cell.tip);
    if cell.same_language {
        svg.frame(rect, false);
    }
    let subtitle = match cell.half_width {
        Some(half) => format!("± {half:.2}"),
        None if map.questions().is_none() && cell.questions > 0 => {
            format!("n {}", thousands(cell.questions))
        }
        None => String::new(),
    };
    let score_style = Style { bold: cell.same_language, ..Style::of(14.0, Anchor::Middle) };
    let score_offset = if subtitle.is_empty() { 24.5 } else { 19.0 };
    svg.text(middle, y + score_offset, score_style, &format!("{:.2}", cell.score));
    if !subtitle.is_empty() {
        svg.text(middle, y + 32.5, Style::of(10.0, Anchor::Middle).muted(), &subtitle);
    }
}

fn mean_cell(svg: &mut Svg, (x, y): (f64, f64), mean: Option<f64>) {
    let text = mean.map_or_else(|| "–".to_owned(), |mean| format!("{mean:.2}"));
    svg.rect([x + 1.0, y + 1.0, CELL.0 - 2.0, CELL.1 - 2.0], "currentColor", 0.06, "");
    svg.text(x + CELL.0 / 2.0, y + 24.5, Style::of(14.0, Anchor::Middle), &text);
}

/// One line of a forest plot: a value with its interval.
struct ForestLine {
    name: String,
    value: f64,
    interval: Option<Interval>,
    run: usize,
    hollow: bool,
    bold: bool,
    tip: String,
}

/// Draws a forest plot that fits on a phone's screen. Each line of the plot has a text with its
/// name and values. The point and its interval are drawn below this text.
fn forest_plot(name: &str, title: &str, axis: &str, lines: &[ForestLine], signed: bool) -> Svg {
    let (row_height, left, top) = (40.0, 22.0, 40.0);
    let plot_width = PHONE_WIDTH - 2.0 * left;
    let ends = || {
        lines.iter().flat_map(|line| match line.interval {
            Some(Interval { low, high, .. }) => [low, high],
            None => [line.value; 2],
        })
    };
    let zero = if signed { 0.0 } else { f64::INFINITY };
    let low = ends().fold(zero, f64::min);
    let high = ends().fold(if signed { 0.0 } else { f64::NEG_INFINITY }, f64::max);
    let ticks = ticks(low, high);
    let at = |value: f64| left + plot_width * relative_position(&ticks, value);
    let bottom = top + lines.len() as f64 * row_height;
    let mut svg = Svg::new(name, title, PHONE_WIDTH, bottom + 48.0);
    for &tick in &ticks {
        svg.text(at(tick), bottom + 16.0, Style::of(12.0, Anchor::Middle).muted(), &label(tick));
    }
    svg.text(left + plot_width / 2.0, bottom + 36.0, Style::of(11.0, Anchor::Middle).muted(), axis);
    for (row, line) in lines.iter().enumerate() {
        let text_y = top + row as f64 * row_height + 13.0;
        let y = text_y + 13.0;
        let style = |anchor| Style { bold: line.bold, ..Style::of(13.0, anchor) };
        let text = |value: f64| if signed { format!("{value:+.2}") } else { format!("{value:.2}") };
        for &tick in &ticks {
            let opacity = if signed && tick == 0.0 { 0.7 } else { 0.15 };
            svg.line((at(tick), y - 8.0), (at(tick), y + 10.0), "currentColor", 1.0, opacity);
        }
        let mut value_text = text(line.value);
        if let Some(Interval { low, high, .. }) = line.interval {
            // The interval's line has a gap at a hollow mark, so that the line does not cross the
            // mark.
            let gap = if line.hollow { 5.0 } else { 0.0 };
            let (start, middle, end) = (at(low), at(line.value), at(high));
            svg.line((start, y), ((middle - gap).max(start), y), colour(line.run), 2.0, 1.0);
            svg.line(((middle + gap).min(end), y), (end, y), colour(line.run), 2.0, 1.0);
            value_text.push_str(&format!("  [{}, {}]", text(low), text(high)));
        }
        svg.mark((at(line.value), y), line.run, line.hollow, &line.tip);
        let value_text = value_text.replace('-', "−");
        let max_width = plot_width + left - text_width(&value_text, 13.0);
        svg.text(8.0, text_y, style(Anchor::Start), &clip(&line.name, 13.0, max_width));
        svg.text(left + plot_width + 14.0, text_y, style(Anchor::End), &value_text);
    }
    svg
}

/// Draws the means and intervals of all runs on each set; returns no figures for a single run.
pub(crate) fn run_means(report: &Report) -> Vec<Svg> {
    let all = &report.all;
    let metric_figure = |set: &str, metric: usize, metric_name: &str| {
        let line = |mean: &RunMean| {
            let name = all.name(mean.run).to_owned();
            let score = mean.scores[metric];
            let tip = format!("{name}: {:.2}", score.mean);
            let (value, interval, run) = (score.mean, score.interval, mean.run);
            ForestLine { name, value, interval, run, hollow: false, bold: false, tip }
        };
        let set_means = report.means.iter().filter(|mean| mean.set == set);
        let lines: Vec<ForestLine> = set_means.map(line).collect();
        let name = format!("means-{}{}", metric_name.to_lowercase(), suffix(set));
        let title = format!("{}{metric_name}, mean over languages", prefix(set));
        let axis = format!("percent, with {:.0} % interval", 100.0 * report.resampling.level);
        forest_plot(&name, &title, &axis, &lines, false)
    };
    let mut drawings = Vec::new();
    for set in all.sets().into_iter().filter(|_| all.names.len() > 1) {
        let metrics = METRICS.iter().enumerate();
        drawings.extend(metrics.map(|(metric, name)| metric_figure(set, metric, name)));
    }
    drawings
}

/// Draws the differences between each run and the first run, by set and pair.
pub(crate) fn differences(report: &Report) -> Vec<Svg> {
    let all = &report.all;
    let mut drawings = Vec::new();
    for set in all.sets() {
        for run in 1..all.names.len() {
            let is_selected =
                |difference: &&Difference| difference.set == set && difference.run == run;
            let selected: Vec<&Difference> =
                report.differences.iter().filter(is_selected).collect();
            if !selected.is_empty() {
                let metrics = 0..METRICS.len();
                drawings
                    .extend(metrics.map(|metric| difference(report, set, run, metric, &selected)));
            }
        }
    }
    drawings
}

fn difference(
    report: &Report,
    set: &str,
    run: usize,
    metric: usize,
    differences: &[&Difference],
) -> Svg {
    let all = &report.all;
    let level = report.resampling.level;
    let metric_name = METRICS[metric];
    let line = |item: &&Difference| {
        let value = item.test.difference.mean;
        ForestLine {
            name: item.pair.clone().unwrap_or_else(|| "mean".into()),
            value,
            interval: Some(item.test.difference),
            run,
            hollow: item.p_holm >= 1.0 - level,
            bold: item.pair.is_none(),
            tip: format!("{value:+.2}, p (Holm) {:.4}", item.p_holm),
        }
    };
    let lines: Vec<ForestLine> =
        differences.iter().filter(|item| item.metric == metric).map(line).collect();
    let run_name = crate::text::file_name(all.name(run));
    let name = format!("difference-{}-{run_name}-{run}{}", metric_name.to_lowercase(), suffix(set));
    let start = format!("{}{metric_name}, ", prefix(set));
    let end = format!(" − {}", clip(all.name(0), 15.0, 110.0));
    let max_width = PHONE_WIDTH - 16.0 - text_width(&start, 15.0) - text_width(&end, 15.0);
    let title = format!("{start}{}{end}", clip(all.name(run), 15.0, max_width));
    let axis =
        format!("points, {:.0} % interval; filled: p (Holm) < {:.2}", 100.0 * level, 1.0 - level);
    forest_plot(&name, &title, &axis, &lines, true)
}

fn prefix(set: &str) -> String {
    if set.is_empty() { String::new() } else { format!("{set}: ") }
}

fn suffix(set: &str) -> String {
    if set.is_empty() { String::new() } else { format!("-{}", crate::text::file_name(set)) }
}

/// Draws the shares of the boundary classes of each run. The figure fits on a phone's screen.
pub(crate) fn boundaries(all: &ReportData) -> Option<Svg> {
    let runs = boundary_shares(all);
    if runs.is_empty() {
        return None;
    }
    let (row_height, left, top) = (46.0, 8.0, 80.0);
    let plot_width = PHONE_WIDTH - 2.0 * left;
    let colours = ["#009e73", "#3b8ec9", "#8cc9f0", "#f0c33c", "#d55e00", "#8c8c8c"];
    let bottom = top + runs.len() as f64 * row_height;
    let mut svg = Svg::new("boundaries", "Boundaries of the answers", PHONE_WIDTH, bottom + 26.0);
    for (at, (class, colour)) in CLASSES.iter().zip(colours).enumerate() {
        let (x, y) = (left + (at % 3) as f64 * plot_width / 3.0, 40.0 + (at / 3) as f64 * 18.0);
        svg.rect([x, y, 11.0, 11.0], colour, 0.85, "");
        svg.text(x + 15.0, y + 10.0, Style::of(12.0, Anchor::Start), class);
    }
    for (row, (name, values)) in runs.iter().enumerate() {
        let y = top + row as f64 * row_height;
        svg.text(left, y + 13.0, Style::of(13.0, Anchor::Start), &clip(name, 13.0, plot_width));
        let mut x = left;
        for ((class, value), colour) in CLASSES.iter().zip(values).zip(colours) {
            let width = plot_width * value / 100.0;
            if width > 0.05 {
                let tip = format!("{name}: {class} {value:.1} %");
                svg.rect([x, y + 18.0, (width - 1.0).max(0.3), 24.0], colour, 0.7, &tip);
            }
            if width > 34.0 {
                let style = Style::of(12.0, Anchor::Middle);
                svg.text(x + width / 2.0, y + 34.0, style, &format!("{value:.1}"));
            }
            x += width;
        }
    }
    svg.text(left, bottom + 16.0, MUTED_TEXT, "percent of the questions");
    Some(svg)
}
