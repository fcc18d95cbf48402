//! `curves.svg`: loss, learning rate, gradient norm and tokens a second over the steps.
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, DrawingArea, DrawingBackend, IntoDrawingArea, LineSeries, RGBColor,
    SVGBackend, WHITE,
};

use crate::metrics::{METRICS, SPEED, StepSpeed, read_lines};
use crate::{Result, StepMetrics, TrainError};

/// The file in a stage's folder.
const CURVES: &str = "curves.svg";
/// Pixels.
const SIZE: (u32, u32) = (1000, 640);
/// Most points of a curve; more are drawn as means of their neighbours.
const MOST_POINTS: usize = 1000;
const BLUE: RGBColor = RGBColor(31, 119, 180);

type Points = Vec<(f64, f64)>;

/// Draws what the lines of metrics in a stage's folder hold; nothing where there are none.
pub(crate) fn draw(folder: &Path, title: &str) -> Result<()> {
    let metrics: Vec<StepMetrics> = read_lines(&folder.join(METRICS))?;
    let speeds: Vec<StepSpeed> = read_lines(&folder.join(SPEED))?;
    if metrics.is_empty() {
        return Ok(());
    }
    let of = |value: fn(&StepMetrics) -> f64| -> Points {
        thinned(metrics.iter().map(|line| (line.step as f64, value(line))).collect())
    };
    let speed = speeds.iter().map(|line| (line.step as f64, line.tokens_per_second)).collect();
    let panels = [
        ("loss", of(|line| line.loss)),
        ("learning rate", of(|line| line.learning_rate)),
        ("gradient norm, before clipping", of(|line| line.grad_norm)),
        ("tokens per second", thinned(speed)),
    ];
    let path = folder.join(CURVES);
    let svg = picture(title, &panels).map_err(|reason| TrainError::file(&path, reason))?;
    // Whole or as it was, but not synced to the disk: it can be drawn again.
    let temporary = folder.join(".writing-curves.svg");
    std::fs::write(&temporary, svg)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|error| TrainError::file(&path, error))
}

fn picture(title: &str, panels: &[(&str, Points); 4]) -> std::result::Result<String, String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| error.to_string())?;
        let root = root.titled(title, ("sans-serif", 20)).map_err(|error| error.to_string())?;
        for (area, (name, points)) in root.split_evenly((2, 2)).iter().zip(panels) {
            panel(area, name, points).map_err(|error| error.to_string())?;
        }
        root.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    name: &str,
    points: &Points,
) -> std::result::Result<(), String> {
    let text = |error: plotters::drawing::DrawingAreaErrorKind<B::ErrorType>| error.to_string();
    let x = range(points.iter().map(|point| point.0), 0.0);
    let y = range(points.iter().map(|point| point.1), 0.05);
    let mut chart = ChartBuilder::on(area)
        .caption(name, ("sans-serif", 16))
        .margin(12)
        .margin_right(24)
        .x_label_area_size(34)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)
        .map_err(text)?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(RGBColor(225, 225, 225))
        .axis_style(BLACK)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| number(*value))
        .x_desc("step")
        .label_style(("sans-serif", 12))
        .draw()
        .map_err(text)?;
    chart.draw_series(LineSeries::new(points.iter().copied(), &BLUE)).map_err(text)?;
    Ok(())
}

/// From the least to the most, with this share of the span on both sides.
fn range(values: impl Iterator<Item = f64>, margin: f64) -> Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    if least > most {
        return 0.0..1.0;
    }
    let span = most - least;
    // One value needs some room, however large it is.
    let room = if span > 0.0 { span * margin } else { (least.abs() * 0.1).max(1e-12) };
    least - room..most + room
}

/// A short label.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".into()
    } else if (0.01..1e5).contains(&size) {
        let digits = if size < 1.0 {
            3
        } else if size < 100.0 {
            2
        } else {
            0
        };
        format!("{value:.digits$}")
    } else {
        format!("{value:.1e}")
    }
}

/// At most [`MOST_POINTS`] points; what is not finite is left out.
fn thinned(points: Points) -> Points {
    let points: Points = points.into_iter().filter(|(_, value)| value.is_finite()).collect();
    let size = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let count = part.len() as f64;
        let sum = part.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(size).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_curves_are_drawn_as_means() {
        let points: Points = (0..2500).map(|step| (f64::from(step), f64::from(step))).collect();
        let drawn = thinned(points);
        assert_eq!(drawn.len(), 834);
        assert_eq!(drawn[0], (1.0, 1.0));
        assert_eq!(thinned(vec![(1.0, f64::NAN), (2.0, 3.0)]), [(2.0, 3.0)]);
    }

    #[test]
    fn one_value_has_a_range_and_none_too() {
        assert_eq!(range([].into_iter(), 0.1), 0.0..1.0);
        let one = range([3e-5].into_iter(), 0.1);
        assert!(one.start < 3e-5 && one.end > 3e-5);
        assert_eq!(range([0.0, 10.0].into_iter(), 0.1), -1.0..11.0);
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(
            [0.0, 3e-5, 0.25, 12.5, 300.0, 2e6].map(number),
            ["0", "3.0e-5", "0.250", "12.50", "300", "2.0e6"]
        );
    }
}
