//! Measured numbers, comparable with published numbers.
use std::path::Path;

use atomic_file::Lines;
use serde::{Deserialize, Serialize};

use crate::{Error, MeanInterval, Result};

const EXPECTED_LINE: &str = "a number: {\"model\": \"ours\", \"setting\": \"NER\", \"language\": \"de\", \
                        \"metric\": \"f1\", \"value\": 72.9}";

/// A measured number. Its first five fields have the same meaning as in
/// [`Published`](crate::Published).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Name of the model or method.
    pub model: String,
    /// Data set, named as in the published table: `MLQA`, `NER`, `XNLI test`, `LAMA T-REx N-1`,
    /// `XEP`.
    pub setting: String,
    /// Language code; `avg` for the mean over languages.
    pub language: String,
    /// `f1`, `em`, `accuracy`, `p@1`.
    pub metric: String,
    /// The value in percent.
    pub value: f64,
    /// Half the width of the 95 % interval over seeds, if there are several seeds; see
    /// [`MeanInterval`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_width: Option<f64>,
    /// The value of each seed, in the order of the seeds; empty for a single seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<f64>,
    /// The mean over seeds for each test item; `value` is the mean over items, weighted by `weights`.
    /// All translations of a text are one item. All models of a run have the items in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<f64>,
    /// The weight of each item in `value`, such as an article's share of the questions; positive, with
    /// a mean of 1. Empty if all items have the same weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
}

impl Measured {
    /// Creates a number, which has an interval if `value` has one.
    ///
    /// ```
    /// use results::{Measured, MeanInterval};
    ///
    /// let number = Measured::new("ours", "NER", "de", "f1", MeanInterval::of([72.0, 74.0]));
    /// assert_eq!((number.value, number.mean_interval().format(1)), (73.0, "73.0 ± 12.7".to_owned()));
    /// assert_eq!(Measured::new("ours", "NER", "de", "f1", 72.9).half_width, None);
    /// ```
    pub fn new(
        model: &str,
        setting: &str,
        language: &str,
        metric: &str,
        value: impl Into<MeanInterval>,
    ) -> Self {
        let MeanInterval { mean, half_width } = value.into();
        Self {
            model: model.to_owned(),
            setting: setting.to_owned(),
            language: language.to_owned(),
            metric: metric.to_owned(),
            value: mean,
            half_width,
            seeds: Vec::new(),
            items: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// Creates a number with the mean and interval of the values of all seeds. Two or more values
    /// are also stored in `seeds`.
    pub fn of_seeds(
        model: &str,
        setting: &str,
        language: &str,
        metric: &str,
        seeds: impl IntoIterator<Item = f64>,
    ) -> Self {
        let seeds: Vec<f64> = seeds.into_iter().collect();
        let interval = MeanInterval::of(seeds.iter().copied());
        let number = Self::new(model, setting, language, metric, interval);
        if seeds.len() > 1 { Self { seeds, ..number } } else { number }
    }

    /// Returns the number with the scores of all items, each with its weight in `value`. Weights are
    /// divided by their mean and rounded to four decimals; equal weights are omitted.
    ///
    /// ```
    /// use results::Measured;
    ///
    /// let number = Measured::new("ours", "XQuAD", "avg", "em", 62.5);
    /// let number = number.with_items([(50.0, 30.0), (100.0, 10.0)]);
    /// assert_eq!((number.items, number.weights), (vec![50.0, 100.0], vec![1.5, 0.5]));
    /// let number = Measured::new("ours", "XQuAD", "avg", "em", 75.0);
    /// assert!(number.with_items([(50.0, 7.0), (100.0, 7.0)]).weights.is_empty());
    /// ```
    #[must_use]
    pub fn with_items(self, items: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (items, weights): (Vec<f64>, Vec<f64>) = items.into_iter().unzip();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let weights: Vec<f64> =
            weights.into_iter().map(|weight| (weight / mean * 1e4).round() / 1e4).collect();
        let is_equal = weights.iter().all(|weight| *weight == 1.0);
        Self { items, weights: if is_equal { Vec::new() } else { weights }, ..self }
    }

    /// Iterates over the items with their weights, which are 1 if all are equal.
    pub fn weighted_items(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let weights = self.weights.iter().copied().chain(std::iter::repeat(1.0));
        self.items.iter().copied().zip(weights)
    }

    /// Returns the mean with its interval.
    pub fn mean_interval(&self) -> MeanInterval {
        MeanInterval { mean: self.value, half_width: self.half_width }
    }

    /// Reads numbers, one JSON object per line; blank lines are skipped.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming the line, also for weights that are not positive or not
    /// as many as items.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let mut lines = Lines::open(path)?;
        let mut numbers = Vec::new();
        while lines.advance()? {
            if lines.bytes().trim_ascii().is_empty() {
                continue;
            }
            let line_error = |message: String| {
                let message = format!("{message}; expected {EXPECTED_LINE}");
                Error::Line { path: path.to_path_buf(), line: lines.number(), message }
            };
            let number: Self = serde_json::from_slice(lines.bytes())
                .map_err(|error| line_error(atomic_file::json::reason(&error)))?;
            number.check_weights().map_err(line_error)?;
            numbers.push(number);
        }
        Ok(numbers)
    }

    fn check_weights(&self) -> Result<(), String> {
        let (items, weights) = (self.items.len(), self.weights.len());
        if weights != 0 && weights != items {
            return Err(format!("{weights} `weights` for {items} `items`"));
        }
        match self.weights.iter().find(|weight| **weight <= 0.0) {
            Some(weight) => Err(format!("`weights` contains {weight}, which is not positive")),
            None => Ok(()),
        }
    }

    /// Writes numbers in the format of [`Measured::read`], atomically; missing folders are created.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(path: impl AsRef<Path>, numbers: &[Self]) -> Result<()> {
        let path = path.as_ref();
        let lines =
            numbers.iter().map(|number| Ok(atomic_file::json::to_string(path, number)? + "\n"));
        let text = lines.collect::<Result<String>>()?;
        atomic_file::create_folder_of(path)?;
        Ok(atomic_file::write(path, text)?)
    }
}
