//! Options of decoding.
use serde::{Deserialize, Serialize};

use crate::{Compatible, Error, Window};

/// Options of [`decode`](crate::decode()). The defaults are taken from the scripts on which the
/// reproduced papers build.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Number of starts and ends considered per window, and of answers retained per question.
    pub n_best: usize,
    /// Maximum answer length in tokens.
    pub max_answer_length: usize,
    /// Null threshold. The answer is "" if the null score (start plus end logit of `<s>`, the
    /// minimum over windows) exceeds the best span's score by more than this value. There is no
    /// threshold by default, because every question of MLQA and XQuAD has an answer.
    pub allow_null: Option<f32>,
    /// Compatibility mode. The windows must have been created with the same mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatible: Option<Compatible>,
    /// How answers from different windows are compared.
    #[serde(skip_serializing_if = "WindowScore::is_default")]
    pub window_score: WindowScore,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            n_best: 20,
            max_answer_length: 30,
            allow_null: None,
            compatible: None,
            window_score: WindowScore::default(),
        }
    }
}

/// How answers from different windows of a question are compared. Within a window, answers are
/// always ordered by `start_logit + end_logit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowScore {
    /// By the sum of the two logits, as `run_qa` of transformers does. Suitable for models trained
    /// with shared normalisation over windows.
    #[default]
    Raw,
    /// By log-probabilities: each window has a softmax over its context and `<s>`, as in the
    /// question-answering pipeline of transformers.
    Softmax,
    /// By the margin over "no answer": the sum of the two logits minus the sum of the logits of
    /// `<s>` in the same window.
    Margin,
}

impl WindowScore {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the value that is subtracted from the logits of a window; 0 if no logit is finite.
    pub(super) fn baseline(self, logits: &[f32], window: &Window) -> f32 {
        let null = logits[0];
        let baseline = match self {
            Self::Raw => 0.0,
            Self::Margin => f64::from(null),
            Self::Softmax => {
                let context = &logits[window.context_start..window.context_end];
                let all = || [null].into_iter().chain(context.iter().copied());
                let highest = f64::from(all().fold(f32::NEG_INFINITY, f32::max));
                let total: f64 = all().map(|logit| (f64::from(logit) - highest).exp()).sum();
                highest + total.ln()
            }
        };
        if baseline.is_finite() { baseline as f32 } else { 0.0 }
    }
}

impl DecodeConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the key with the invalid value.
    ///
    /// ```
    /// use mlqa_eval::DecodeConfig;
    ///
    /// assert!(DecodeConfig::default().validate().is_ok());
    /// assert!(DecodeConfig { n_best: 0, ..DecodeConfig::default() }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        for (key, value) in [("n_best", self.n_best), ("max_answer_length", self.max_answer_length)]
        {
            if value == 0 {
                return Err(Error::config(key, value, "at least 1"));
            }
        }
        if self.allow_null.is_some_and(f32::is_nan) {
            return Err(Error::config("allow_null", f32::NAN, "a number"));
        }
        if self.compatible.is_some() && self.window_score != WindowScore::Raw {
            let rule = "raw if decoding.compatible is set";
            return Err(Error::config("window_score", format!("{:?}", self.window_score), rule));
        }
        Ok(())
    }
}
