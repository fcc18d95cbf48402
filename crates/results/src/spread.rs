//! A mean with its spread.
use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// Mean and sample standard deviation of several values, such as the scores of several seeds.
///
/// It prints as `22.1 ± 0.4`, with one digit after the point unless the format says otherwise.
///
/// ```
/// use results::Spread;
///
/// let scores = Spread::of([60.0, 62.0, 64.0]);
/// assert_eq!(scores, Spread { mean: 62.0, sd: Some(2.0) });
/// assert_eq!(scores.to_string(), "62.0 ± 2.0");
/// assert_eq!(Spread::of([60.0]).to_string(), "60.0");
/// assert_eq!(format!("{:.2}", Spread::of([21.0, 23.0])), "22.00 ± 1.41");
/// assert_eq!(format!("{:+}", Spread::of([21.0, 23.0])), "+22.0 ± 1.4");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Spread {
    /// The plain mean; 0 without values.
    pub mean: f64,
    /// Standard deviation with n − 1 in the denominator, where there are two values or more.
    pub sd: Option<f64>,
}

impl Spread {
    /// The spread of `values`, summed in their order.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let count = values.len() as f64;
        // `Iterator::sum` for f64 starts at -0.0; without values the mean is 0.
        let mean = if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / count };
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, sd: (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()) }
    }

    /// What it prints as with `decimals` digits after the point.
    pub fn text(&self, decimals: usize) -> String {
        format!("{self:.decimals$}")
    }
}

impl From<f64> for Spread {
    fn from(mean: f64) -> Self {
        Self { mean, sd: None }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        match f.sign_plus() {
            true => write!(f, "{:+.digits$}", self.mean)?,
            false => write!(f, "{:.digits$}", self.mean)?,
        }
        match self.sd {
            Some(sd) => write!(f, " ± {sd:.digits$}"),
            None => Ok(()),
        }
    }
}

/// F1 and exact match over several seeds, in percent. It prints as both with ` / ` between them,
/// with digits as those of [`Spread`].
///
/// ```
/// use results::ScoreSpread;
///
/// let scores = ScoreSpread::of([(60.0, 50.0), (64.0, 52.0)]);
/// assert_eq!((scores.f1, scores.em), (62.0, 51.0));
/// assert_eq!(scores.to_string(), "62.0 ± 2.8 / 51.0 ± 1.4");
/// assert_eq!(ScoreSpread::of([(60.0, 50.0)]).f1_sd, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ScoreSpread {
    /// Mean F1.
    pub f1: f64,
    /// Mean exact match.
    pub em: f64,
    /// Sample standard deviation of F1, where there are two seeds or more.
    pub f1_sd: Option<f64>,
    /// Sample standard deviation of exact match, where there are two seeds or more.
    pub em_sd: Option<f64>,
}

impl ScoreSpread {
    /// The spread of each seed's (F1, exact match).
    pub fn of(seeds: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (f1, em): (Vec<f64>, Vec<f64>) = seeds.into_iter().unzip();
        let (f1, em) = (Spread::of(f1), Spread::of(em));
        Self { f1: f1.mean, em: em.mean, f1_sd: f1.sd, em_sd: em.sd }
    }

    /// F1 alone.
    pub fn f1(&self) -> Spread {
        Spread { mean: self.f1, sd: self.f1_sd }
    }

    /// Exact match alone.
    pub fn em(&self) -> Spread {
        Spread { mean: self.em, sd: self.em_sd }
    }
}

impl Display for ScoreSpread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.f1().fmt(f)?;
        f.write_str(" / ")?;
        self.em().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_spread_is_that_of_a_sample() {
        assert_eq!(Spread::of([1.0, 3.0]), Spread { mean: 2.0, sd: Some(2f64.sqrt()) });
        assert_eq!(Spread::of([5.0]), Spread { mean: 5.0, sd: None });
        assert_eq!(Spread::of([]), Spread::default());
    }

    #[test]
    fn text_and_json() {
        let spread = Spread::of([1.0, 3.0]);
        assert_eq!(format!("{spread:.2}, {spread:.0}"), "2.00 ± 1.41, 2 ± 1");
        assert_eq!(serde_json::to_string(&Spread::of([5.0])).unwrap(), r#"{"mean":5.0,"sd":null}"#);
    }
}
