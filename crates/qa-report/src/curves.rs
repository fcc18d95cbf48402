//! Training curves: the loss of all runs over the steps of a stage.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::ReportRun;
use crate::collect::ReportData;
use crate::svg::{Anchor, Style, Svg, colour, label, relative_position, text_width, ticks};

/// Maximum number of points of a line; longer series are averaged over adjacent points.
const MAX_POINTS: usize = 400;

/// Steps and losses.
type Points = Vec<(f64, f64)>;

/// The losses of a stage: a line for each run and seed.
pub(crate) struct Curve {
    pub stage: String,
    /// Each line has the index of its run, and the (step, loss) points of one seed.
    pub lines: Vec<(usize, Points)>,
}

/// Reads the curves of all runs, grouped by stage and sorted by stage name.
pub(crate) fn read(runs: &[ReportRun]) -> Result<Vec<Curve>, mlqa_eval::Error> {
    let mut stages: BTreeMap<&str, Vec<(usize, Points)>> = BTreeMap::new();
    for (run_index, run) in runs.iter().enumerate() {
        for file in &run.run_files.curves {
            let points = read_losses(&file.path)?;
            if !points.is_empty() {
                stages.entry(&file.stage).or_default().push((run_index, points));
            }
        }
    }
    let curve = |(stage, lines): (&str, _)| Curve { stage: stage.to_owned(), lines };
    Ok(stages.into_iter().map(curve).collect())
}

/// Reads the finite losses of a file, up to the first incomplete line.
fn read_losses(path: &Path) -> Result<Points, mlqa_eval::Error> {
    #[derive(Deserialize)]
    struct MetricsLine {
        step: u64,
        loss: Option<f64>,
    }
    let text = atomic_file::read_to_string(path)?;
    let mut points = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match serde_json::from_str::<MetricsLine>(line) {
            // The loss of a step that overflowed is null.
            Ok(MetricsLine { step, loss }) => points.extend(loss.map(|loss| (step as f64, loss))),
            // The last line of a run that is being trained can be incomplete.
            Err(error) if error.is_eof() => break,
            Err(error) => {
                let message = format!("line {}: {error}; expected step and loss", number + 1);
                return Err(mlqa_eval::Error::Content { path: path.to_path_buf(), message });
            }
        }
    }
    Ok(average_points(&points))
}

fn average_points(points: &[(f64, f64)]) -> Points {
    let mean = |chunk: &[(f64, f64)]| {
        let sum = chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / chunk.len() as f64, sum.1 / chunk.len() as f64)
    };
    points.chunks(points.len().div_ceil(MAX_POINTS).max(1)).map(mean).collect()
}

/// Draws the losses of a stage.
pub(crate) fn draw(curve: &Curve, all: &ReportData) -> Svg {
    let [left, top, width, height] = [46.0, 40.0, 290.0, 190.0];
    let points = || curve.lines.iter().flat_map(|(_, points)| points);
    let range = |value: fn(&(f64, f64)) -> f64| {
        let grow = |(low, high): (f64, f64), point| (low.min(value(point)), high.max(value(point)));
        points().fold((f64::INFINITY, f64::NEG_INFINITY), grow)
    };
    let (steps, losses) = (range(|point| point.0), range(|point| point.1));
    let (steps, losses) = (ticks(0.0, steps.1), ticks(losses.0.min(0.0), losses.1));
    let x = |step: f64| left + width * relative_position(&steps, step);
    let y = |loss: f64| top + height * (1.0 - relative_position(&losses, loss));
    let mut legend_runs: Vec<(usize, &str)> =
        curve.lines.iter().map(|(run, _)| (*run, all.name(*run))).collect();
    legend_runs.dedup();
    let rows: f64 =
        legend_runs.iter().map(|(_, name)| 26.0 + text_width(name, 12.0)).sum::<f64>() / width;
    let title = format!("Loss, {}", curve.stage);
    let name = format!("loss-{}", crate::text::file_name(&curve.stage));
    let bottom = top + height;
    let mut svg = Svg::new(name, &title, left + width + 14.0, bottom + 66.0 + 18.0 * rows.floor());
    let centred = Style::of(12.0, Anchor::Middle).muted();
    for &tick in &losses {
        svg.tick_line((left, y(tick)), width, tick);
    }
    for &tick in &steps {
        svg.line((x(tick), bottom), (x(tick), bottom + 4.0), "currentColor", 1.0, 0.4);
        svg.text(x(tick), bottom + 18.0, centred, &label(tick));
    }
    svg.text(left + width / 2.0, bottom + 36.0, centred, "step");
    for (run, points) in &curve.lines {
        let line: Points = points.iter().map(|point| (x(point.0), y(point.1))).collect();
        svg.path(&line, colour(*run));
        if let Some(last) = points.last() {
            let tip = format!("{}: loss {:.4} at step {:.0}", all.name(*run), last.1, last.0);
            svg.mark((x(last.0), y(last.1)), *run, false, &tip);
        }
    }
    svg.legend((left, bottom + 58.0), legend_runs);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_end_at_a_truncated_line_and_long_curves_are_averaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let lines = "{\"step\": 1, \"loss\": 2.5, \"tokens\": 9}\n{\"step\": 2, \"loss\": null}\n\
                     {\"step\": 3, \"loss\": 1.5}\n{\"step\": 4, \"lo";
        std::fs::write(&path, lines).unwrap();
        assert_eq!(read_losses(&path).unwrap(), [(1.0, 2.5), (3.0, 1.5)]);
        let points: Points = (0..1000).map(|at| (f64::from(at), 2.0)).collect();
        let averaged = average_points(&points);
        assert_eq!((averaged.len(), averaged[0]), (334, (1.0, 2.0)));
    }
}
