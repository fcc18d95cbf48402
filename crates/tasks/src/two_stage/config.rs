//! Options of the second stage.
use objectives::{AnswerContrastConfig, HardLearningConfig, MAX_TEMPERATURE, TopKConfig};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Options of the candidates Z.
///
/// # Example
/// ```
/// use tasks::two_stage::MiningConfig;
///
/// let config: MiningConfig = toml::from_str("max_answer_len = 16").unwrap();
/// assert_eq!((config.count, config.max_answer_len), (20, 16));
/// assert!(MiningConfig { count: 0, ..config }.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningConfig {
    /// Number of candidates |Z|, including the gold span.
    pub count: usize,
    /// Maximum candidate length in tokens.
    pub max_answer_len: usize,
    /// Whether to drop candidates with the gold span's tokens at another position. The paper
    /// compares by position, so the default is false.
    pub drop_duplicate_text: bool,
}

impl Default for MiningConfig {
    fn default() -> Self {
        Self { count: 20, max_answer_len: 30, drop_duplicate_text: false }
    }
}

/// Enabled losses of the second stage.
///
/// Interpretation of the ablations (Table 7): without hard learning, the span loss (Eq. 3) replaces
/// L_hard, because L_con does not train the span head. Without contrast, the remaining loss has
/// weight 1. Without both, only the span loss remains.
///
/// # Example
/// ```
/// use tasks::two_stage::BoundaryTerms;
///
/// let terms: BoundaryTerms = toml::from_str("hard_learning = false").unwrap();
/// assert!(!terms.hard_learning && terms.answer_contrast);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryTerms {
    /// L_hard (Eq. 5) over the candidates.
    pub hard_learning: bool,
    /// L_con (Eq. 8) over the model's current answers.
    pub answer_contrast: bool,
}

impl Default for BoundaryTerms {
    fn default() -> Self {
        Self { hard_learning: true, answer_contrast: true }
    }
}

/// Options of [`BoundaryTask`](super::BoundaryTask).
///
/// # Example
/// ```
/// use tasks::two_stage::BoundaryConfig;
///
/// let config: BoundaryConfig = toml::from_str("[contrast]\ntemperature = 0.1").unwrap();
/// assert_eq!((config.alpha, config.contrast.temperature), (0.5, 0.1));
/// let error = BoundaryConfig { alpha: 1.5, ..config }.validate().unwrap_err();
/// assert_eq!(error.to_string(), "boundary.alpha = 1.5: must be from 0 to 1");
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoundaryConfig {
    /// α of Eq. 9, the weight of the contrastive loss; the weight of hard learning is 1 − α.
    pub alpha: f64,
    /// Fraction of the steps with hard learning only, followed by the contrastive loss with the
    /// span loss (Eq. 3). If absent, hard learning and the contrastive loss are used together in
    /// every step, as in Eq. 9.
    pub hard_fraction: Option<f64>,
    /// Peak learning rate of the learned weights; if absent, the learning rate of the stage is
    /// used. At 3e-5 the weights hardly change.
    pub weights_learning_rate: Option<f64>,
    /// Number of steps over which `hard_em` gradually replaces maximum marginal likelihood (MML);
    /// if absent, `hard_em` is used from the first step.
    pub anneal_steps: Option<u64>,
    /// Whether the negatives exclude answers that have the same tokens as the gold span, but
    /// another position.
    pub drop_duplicate_text: bool,
    /// Weighting of the candidates, and λ, the weight of an additional loss on the gold span. This
    /// loss is part of the hard-learning loss, so its weight includes the factor 1 − α.
    pub hard: HardLearningConfig,
    /// Temperature and negatives of the contrastive loss.
    pub contrast: AnswerContrastConfig,
    /// A, the model's current answers, from which the negatives are selected: 50 answers by
    /// default.
    pub answers: TopKConfig,
}

impl Default for BoundaryConfig {
    fn default() -> Self {
        Self {
            alpha: 0.5,
            hard_fraction: None,
            weights_learning_rate: None,
            anneal_steps: None,
            drop_duplicate_text: false,
            hard: HardLearningConfig::default(),
            contrast: AnswerContrastConfig::default(),
            answers: TopKConfig { k: 50, ..Default::default() },
        }
    }
}

impl MiningConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        for (key, value) in [("count", self.count), ("max_answer_len", self.max_answer_len)] {
            require(&format!("candidates.{key}"), value, value > 0, "1 or more")?;
        }
        Ok(())
    }
}

impl BoundaryConfig {
    /// Validates values that the losses would otherwise reject only during training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        let is_nonnegative = |value: f64| value.is_finite() && value >= 0.0;
        let is_fraction = |value: f64| (0.0..=1.0).contains(&value);
        require("boundary.alpha", self.alpha, is_fraction(self.alpha), "from 0 to 1")?;
        if let Some(value) = self.hard_fraction {
            require("boundary.hard_fraction", value, is_fraction(value), "from 0 to 1")?;
        }
        if let Some(rate) = self.weights_learning_rate {
            let (key, is_rate) = ("boundary.weights_learning_rate", (0.0..=1000.0).contains(&rate));
            require(key, rate, is_rate, "from 0 to 1000")?;
        }
        let weight = self.hard.gold_loss_weight;
        require("boundary.hard.gold_loss_weight", weight, is_nonnegative(weight), "0 or more")?;
        let temperature = self.contrast.temperature;
        let is_valid = temperature > 0.0 && temperature <= MAX_TEMPERATURE;
        let rule = format!("above 0 and at most {MAX_TEMPERATURE}");
        require("boundary.contrast.temperature", temperature, is_valid, &rule)?;
        require("boundary.answers.k", self.answers.k, self.answers.k > 0, "1 or more")
    }
}

fn require(key: &str, value: impl ToString, is_valid: bool, rule: &str) -> Result<()> {
    match is_valid {
        true => Ok(()),
        false => Err(Error::config(key, value, rule)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_are_reported_with_their_key() {
        let error_of = |config: BoundaryConfig| config.validate().unwrap_err().to_string();
        let with_alpha = |alpha| BoundaryConfig { alpha, ..Default::default() };
        assert!(error_of(with_alpha(1.5)).contains("boundary.alpha = 1.5"));
        assert!(error_of(with_alpha(f64::NAN)).contains("boundary.alpha"));
        let mut zero_temperature = with_alpha(0.5);
        zero_temperature.contrast.temperature = 0.0;
        assert!(error_of(zero_temperature).contains("boundary.contrast.temperature = 0"));
        let mut large_temperature = with_alpha(0.5);
        large_temperature.contrast.temperature = 1e30;
        assert!(error_of(large_temperature).ends_with("must be above 0 and at most 1000"));
        let large_rate = BoundaryConfig { weights_learning_rate: Some(1e30), ..Default::default() };
        assert!(error_of(large_rate).contains("boundary.weights_learning_rate"));
        let no_candidates = MiningConfig { count: 0, ..Default::default() };
        assert!(no_candidates.validate().unwrap_err().to_string().contains("candidates.count"));
    }
}
