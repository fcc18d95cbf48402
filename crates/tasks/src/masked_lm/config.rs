//! Options of masked language modelling on passages.
use objectives::MaskedLmConfig;
use objectives::masking::{
    EntityPredictionConfig, MlmMaskingConfig, NgramMaskingConfig, PhraseMaskingConfig,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Masking of a passage's tokens.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PassageMasking {
    /// Knowledge phrases, and random tokens if the phrases have too few tokens (LAKM).
    Phrases(PhraseMaskingConfig),
    /// Random spans (the ablation of the paper's Table 8).
    Ngrams(NgramMaskingConfig),
    /// Single tokens (plain masked language modelling on the same passages).
    Tokens(MlmMaskingConfig),
    /// Mentions of entities, complete or in part (EntityCS). Only the first of overlapping mentions
    /// is used.
    Mentions(EntityPredictionConfig),
}

impl Default for PassageMasking {
    fn default() -> Self {
        Self::Phrases(PhraseMaskingConfig::default())
    }
}

impl PassageMasking {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key below `masking`.
    ///
    /// ```
    /// use tasks::masked_lm::PassageMasking;
    ///
    /// let toml = "mentions = { rest = { probability = -1.0 } }";
    /// let masking: PassageMasking = toml::from_str(toml)?;
    /// let error = masking.validate().unwrap_err().to_string();
    /// assert_eq!(error, "masking.mentions.rest.probability = -1: must be from 0 to 1");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn validate(&self) -> Result<()> {
        let (policy, result) = match self {
            Self::Phrases(config) => ("phrases", config.validate()),
            Self::Ngrams(config) => ("ngrams", config.validate()),
            Self::Tokens(config) => ("tokens", config.validate()),
            Self::Mentions(config) => ("mentions", config.validate()),
        };
        result.map_err(|error| Error::from_masking(&format!("masking.{policy}"), error))?;
        match self {
            Self::Mentions(EntityPredictionConfig { rest: Some(rest), .. }) => {
                rest.validate().map_err(|error| Error::from_masking("masking.mentions.rest", error))
            }
            _ => Ok(()),
        }
    }
}

/// Masking of a run: the configured masking, or random n-grams (the ablation of Table 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseMasking {
    /// The configured masking.
    Phrases,
    /// Random n-grams.
    Ngrams,
}

impl PhraseMasking {
    /// Returns `config`, with `ngrams` as its masking for [`Ngrams`](Self::Ngrams).
    ///
    /// # Example
    /// ```
    /// use objectives::masking::NgramMaskingConfig;
    /// use tasks::masked_lm::{PassageMasking, PhraseMasking, PhraseTaskConfig};
    ///
    /// let (config, ngrams) = (PhraseTaskConfig::default(), NgramMaskingConfig::default());
    /// assert_eq!(PhraseMasking::Phrases.task_config(&config, &ngrams), config);
    /// let random_masking = PhraseMasking::Ngrams.task_config(&config, &ngrams);
    /// assert_eq!(random_masking.masking, PassageMasking::Ngrams(ngrams));
    /// ```
    pub fn task_config(
        self,
        config: &PhraseTaskConfig,
        ngrams: &NgramMaskingConfig,
    ) -> PhraseTaskConfig {
        let masking = match self {
            Self::Phrases => config.masking.clone(),
            Self::Ngrams => PassageMasking::Ngrams(ngrams.clone()),
        };
        PhraseTaskConfig { masking, ..config.clone() }
    }
}

/// Positions that contribute to the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LossPositions {
    /// Masked positions.
    #[default]
    Selected,
    /// Every non-special token of the passage.
    All,
}

/// Options of [`PhraseMaskingTask`](super::PhraseMaskingTask); the defaults are the paper's (§4.3).
///
/// Interpretation: Eq. 2 sums over all m tokens of a passage, with one index for the sum and
/// another for the probability. Masked language modelling predicts masked tokens, so by default
/// only the selected tokens contribute to the loss, and the loss is their mean. `positions` and
/// `loss.reduction` select the literal form of Eq. 2.
///
/// # Example
/// ```
/// use tasks::masked_lm::{LossPositions, PassageMasking, PhraseTaskConfig};
///
/// let toml = "positions = 'all'\nmasking = { ngrams = { max_tokens = 3 } }";
/// let config: PhraseTaskConfig = toml::from_str(toml)?;
/// assert_eq!(config.positions, LossPositions::All);
/// assert!(matches!(config.masking, PassageMasking::Ngrams(ngrams) if ngrams.max_tokens == 3));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhraseTaskConfig {
    /// Masking policy.
    pub masking: PassageMasking,
    /// Positions that contribute to the loss.
    pub positions: LossPositions,
    /// Options of the loss.
    pub loss: MaskedLmConfig,
    /// Segment id of all tokens: 0 as for single texts, or 1 for models trained with passages as
    /// segment 1.
    pub segment: u32,
}

impl Default for PhraseTaskConfig {
    fn default() -> Self {
        Self {
            masking: PassageMasking::default(),
            positions: LossPositions::Selected,
            loss: MaskedLmConfig::default(),
            segment: 0,
        }
    }
}
