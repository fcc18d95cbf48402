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
