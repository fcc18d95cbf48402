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
    /// The mean over seeds for each test item; `value` is the mean over items. All translations of
    /// a text are one item. All models of a run have the items in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<f64>,
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

    /// Returns the mean with its interval.
    pub fn mean_interval(&self) -> MeanInterval {
        MeanInterval { mean: self.value, half_width: self.half_width }
    }

    /// Reads numbers, one JSON object per line; blank lines are skipped.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] naming the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Self>> {
        let path = path.as_ref();
        let mut lines = Lines::open(path)?;
        let mut numbers = Vec::new();
        while lines.advance()? {
            if lines.bytes().trim_ascii().is_empty() {
                continue;
            }
            numbers.push(serde_json::from_slice(lines.bytes()).map_err(|error| {
                let reason = atomic_file::json::reason(&error);
                let message = format!("{reason}; expected {EXPECTED_LINE}");
                Error::Line { path: path.to_path_buf(), line: lines.number(), message }
            })?);
        }
        Ok(numbers)
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
