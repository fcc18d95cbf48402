//! The difference of two methods that were run with the same seeds.
use serde::{Deserialize, Serialize};

use crate::Spread;

/// Two-sided 97.5 % points of Student's t by degrees of freedom, from 1 to 30.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The mean difference of two methods, paired by seed, with Student's 95 % interval.
///
/// ```
/// use results::PairedDifference;
///
/// // Three seeds: the method, the control.
/// let gain = PairedDifference::of([(62.0, 60.0), (64.0, 61.0), (63.0, 62.0)]);
/// assert_eq!((gain.mean, gain.sd), (2.0, Some(1.0)));
/// assert_eq!(gain.text(2), "+2.00 ± 1.00 over seeds, 95 % interval -0.48 to +4.48");
/// // One seed says nothing about the spread.
/// assert_eq!(PairedDifference::of([(62.0, 60.0)]).text(2), "+2.00");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct PairedDifference {
    /// The mean of the differences; 0 without pairs.
    pub mean: f64,
    /// Their sample standard deviation, where there are two pairs or more.
    pub sd: Option<f64>,
    /// Half the width of the interval, where there are 2 to 31 pairs.
    pub half_width: Option<f64>,
}

impl PairedDifference {
    /// The difference of `(value, control)` pairs, one for each seed.
    pub fn of(pairs: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let differences: Vec<f64> = pairs.into_iter().map(|(value, base)| value - base).collect();
        let count = differences.len();
        let Spread { mean, sd } = Spread::of(differences);
        let student = count.checked_sub(2).and_then(|index| STUDENT.get(index));
        let half_width = sd.zip(student).map(|(sd, student)| student * sd / (count as f64).sqrt());
        Self { mean, sd, half_width }
    }

    /// The ends of the interval.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.half_width.map(|half| (self.mean - half, self.mean + half))
    }

    /// The mean with its sign and `decimals` digits after the point; spread and interval where they
    /// are known.
    pub fn text(&self, decimals: usize) -> String {
        let mean = format!("{:+.decimals$}", self.mean);
        match self.sd.zip(self.interval()) {
            Some((sd, (low, high))) => format!(
                "{mean} ± {sd:.decimals$} over seeds, 95 % interval {low:+.decimals$} to \
                 {high:+.decimals$}"
            ),
            None => mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // By hand: differences 1 and 3, mean 2, sd √2, half 12.706 · √2 / √2.
        let two = PairedDifference::of([(1.0, 0.0), (3.0, 0.0)]);
        assert_eq!((two.mean, two.sd), (2.0, Some(2f64.sqrt())));
        assert!((two.half_width.unwrap() - 12.706).abs() < 1e-12);
        assert_eq!(two.interval(), Some((2.0 - 12.706, 2.0 + 12.706)));
        let many = |count| PairedDifference::of((0..count).map(|k| (f64::from(k), 0.0)));
        assert!(many(31).half_width.is_some());
        assert!(many(32).half_width.is_none() && many(32).sd.is_some());
    }

    #[test]
    fn few_pairs_have_no_spread() {
        assert_eq!(PairedDifference::of([]), PairedDifference::default());
        let one = PairedDifference::of([(2.0, 3.0)]);
        assert_eq!((one.mean, one.sd, one.half_width), (-1.0, None, None));
        assert_eq!(one.text(1), "-1.0");
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(json, r#"{"mean":-1.0,"sd":null,"half_width":null}"#);
    }
}
