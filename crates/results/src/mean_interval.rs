//! Means with confidence intervals.
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// The mean of several values with Student's 95 % interval. Values can be the scores of several
/// seeds, or the differences of two methods run with the same seeds.
///
/// The display is `62.0 ± 5.0`, where the second number is half the interval's width. The default
/// precision is one decimal.
///
/// ```
/// use results::MeanInterval;
///
/// let scores = MeanInterval::of([60.0, 62.0, 64.0]);
/// assert_eq!(scores.to_string(), "62.0 ± 5.0");
/// assert_eq!(MeanInterval::of([60.0]).to_string(), "60.0");
/// assert_eq!(format!("{:.2}", MeanInterval::of([21.0, 23.0])), "22.00 ± 12.71");
/// assert_eq!(format!("{:+}", MeanInterval::of([21.0, 23.0])), "+22.0 ± 12.7");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct MeanInterval {
    /// The arithmetic mean; 0 without values.
    pub mean: f64,
    /// Half the width of the 95 % interval, t · sd / √n; `None` for fewer than two values.
    pub half_width: Option<f64>,
}

/// Legend of a table with intervals.
pub const INTERVAL_LEGEND: &str = "± is half of Student's 95 % interval over seeds";

/// 97.5 % quantiles of Student's t (two-sided 95 % interval) for 1 to 30 degrees of freedom.
const STUDENT_QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Returns the 97.5 % quantile of Student's t (two-sided 95 % interval) for any number of degrees
/// of freedom. Above 30 degrees, it uses the first terms of the Cornish-Fisher expansion around the
/// quantile of the normal distribution (Cornish and Fisher 1938), which is correct to three
/// decimals.
fn student_quantile(degrees: usize) -> f64 {
    let table_value = degrees.checked_sub(1).and_then(|index| STUDENT_QUANTILES.get(index));
    table_value.copied().unwrap_or_else(|| {
        let (z, degrees) = (1.959_964f64, degrees as f64);
        z + (z.powi(3) + z) / (4.0 * degrees)
            + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * degrees * degrees)
    })
}

impl MeanInterval {
    /// Computes mean and interval of `values`, which are summed in order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len() as f64;
        // `Iterator::sum` for f64 starts at -0.0, so the mean of no values would be -0.0.
        let mean = if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / count };
        let half_width = (values.len() > 1).then(|| {
            let squared_deviations: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            student_quantile(values.len() - 1) * (squared_deviations / (count - 1.0) / count).sqrt()
        });
        Self { mean, half_width }
    }

    /// Returns the ends of the interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.half_width.map(|half| (self.mean - half, self.mean + half))
    }

    /// Formats mean and interval with `decimals` decimals.
    pub fn format(&self, decimals: usize) -> String {
        format!("{self:.decimals$}")
    }
}

impl From<f64> for MeanInterval {
    fn from(mean: f64) -> Self {
        Self { mean, half_width: None }
    }
}

impl Display for MeanInterval {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(1);
        match f.sign_plus() {
            true => write!(f, "{:+.decimals$}", self.mean)?,
            false => write!(f, "{:.decimals$}", self.mean)?,
        }
        match self.half_width {
            Some(half) => write!(f, " ± {half:.decimals$}"),
            None => Ok(()),
        }
    }
}

/// Mean F1 and exact match over several seeds, in percent. F1 and exact match are displayed like
/// [`MeanInterval`], joined by ` / `.
///
/// ```
/// use results::ScoreMeans;
///
/// let scores = ScoreMeans::of([(60.0, 50.0), (64.0, 52.0)]);
/// assert_eq!((scores.f1, scores.em), (62.0, 51.0));
/// assert_eq!(scores.to_string(), "62.0 ± 25.4 / 51.0 ± 12.7");
/// assert_eq!(ScoreMeans::of([(60.0, 50.0)]).f1_half_width, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ScoreMeans {
    /// Mean F1.
    pub f1: f64,
    /// Mean exact match.
    pub em: f64,
    /// Half the width of the 95 % interval of F1; `None` for fewer than two seeds.
    pub f1_half_width: Option<f64>,
    /// Half the width of the 95 % interval of exact match; `None` for fewer than two seeds.
    pub em_half_width: Option<f64>,
}

impl ScoreMeans {
    /// Computes means and intervals from each seed's (F1, exact match).
    pub fn of(seeds: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (f1, em): (Vec<f64>, Vec<f64>) = seeds.into_iter().unzip();
        let (f1, em) = (MeanInterval::of(f1), MeanInterval::of(em));
        Self {
            f1: f1.mean,
            em: em.mean,
            f1_half_width: f1.half_width,
            em_half_width: em.half_width,
        }
    }

    /// Returns the mean of F1 with its interval.
    pub fn f1(&self) -> MeanInterval {
        MeanInterval { mean: self.f1, half_width: self.f1_half_width }
    }

    /// Returns the mean of exact match with its interval.
    pub fn em(&self) -> MeanInterval {
        MeanInterval { mean: self.em, half_width: self.em_half_width }
    }
}

impl Display for ScoreMeans {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.f1().fmt(f)?;
        f.write_str(" / ")?;
        self.em().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{MeanInterval, student_quantile};

    #[test]
    fn intervals_use_students_t() {
        // The values 1 and 3 have mean 2, sd √2 and half width 12.706 · √2 / √2.
        let interval = MeanInterval::of([1.0, 3.0]);
        assert!((interval.half_width.unwrap() - 12.706).abs() < 1e-12);
        assert_eq!(interval.interval(), Some((2.0 - interval.half_width.unwrap(), 2.0 + 12.706)));
        // The values 1, 3 and 2 have mean 2 and sd 1.
        assert!(
            (MeanInterval::of([1.0, 3.0, 2.0]).half_width.unwrap() - 4.303 / 3f64.sqrt()).abs()
                < 1e-12
        );
        assert_eq!(MeanInterval::of([5.0]), MeanInterval { mean: 5.0, half_width: None });
        assert_eq!(MeanInterval::of([]), MeanInterval::default());
        // Published quantiles for 31, 60 and 120 degrees of freedom.
        for (degrees, quantile) in [(31, 2.040), (60, 2.000), (120, 1.980)] {
            assert!((student_quantile(degrees) - quantile).abs() < 6e-4, "{degrees}");
        }
    }

    #[test]
    fn mean_intervals_are_formatted_as_text_and_json() {
        let interval = MeanInterval::of([1.0, 3.0]);
        assert_eq!(format!("{interval:.2}, {interval:.0}"), "2.00 ± 12.71, 2 ± 13");
        let json = serde_json::to_string(&MeanInterval::of([5.0])).unwrap();
        assert_eq!(json, r#"{"mean":5.0,"half_width":null}"#);
    }
}
