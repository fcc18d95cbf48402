//! A mean with its spread.
use serde::{Deserialize, Serialize};

/// Mean and sample standard deviation of several values, such as the scores of several seeds.
///
/// ```
/// use mlqa_eval::Spread;
///
/// let scores = Spread::of([60.0, 62.0, 64.0]);
/// assert_eq!(scores, Spread { mean: 62.0, sd: Some(2.0) });
/// assert_eq!(scores.text(1), "62.0 ± 2.0");
/// assert_eq!(Spread::of([60.0]).text(1), "60.0");
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

    /// The mean with `decimals` digits after the point and, where there is one, ` ± ` and the
    /// standard deviation.
    pub fn text(&self, decimals: usize) -> String {
        match self.sd {
            Some(sd) => format!("{:.decimals$} ± {sd:.decimals$}", self.mean),
            None => format!("{:.decimals$}", self.mean),
        }
    }
}

/// F1 and exact match over several seeds, in percent.
///
/// ```
/// use mlqa_eval::ScoreSpread;
///
/// let scores = ScoreSpread::of([(60.0, 50.0), (64.0, 52.0)]);
/// assert_eq!((scores.f1, scores.em), (62.0, 51.0));
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
        assert_eq!((spread.text(2), spread.text(0)), ("2.00 ± 1.41".into(), "2 ± 1".into()));
        assert_eq!(serde_json::to_string(&Spread::of([5.0])).unwrap(), r#"{"mean":5.0,"sd":null}"#);
    }
}
