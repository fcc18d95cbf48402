//! Options of the masking policies. The defaults are the values of the papers.
use serde::{Deserialize, Serialize};

use super::MaskingError;
use super::error::check_share;

/// Replacement of a selected token, drawn independently per token.
///
/// Selected tokens that are neither masked nor replaced by a random token stay unchanged.
///
/// BERT (Devlin et al. 2019, §3.1): 80 % `<mask>`, 10 % a random token, 10 % unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Corruption {
    /// Share of the selected tokens that are replaced by the mask token.
    pub mask: f64,
    /// Share of the selected tokens that are replaced by a random token, drawn uniformly from the
    /// vocabulary without special tokens; the original token may be drawn.
    pub random: f64,
}

impl Default for Corruption {
    fn default() -> Self {
        Self { mask: 0.8, random: 0.1 }
    }
}

impl Corruption {
    pub(super) fn check(&self) -> Result<(), MaskingError> {
        check_share("corruption.mask", self.mask)?;
        check_share("corruption.random", self.random)?;
        let value = self.mask + self.random;
        if value > 1.0 + 1e-9 {
            let rule = "at most 1; the remaining tokens stay unchanged";
            return Err(MaskingError::Domain { option: "corruption.mask + random", value, rule });
        }
        Ok(())
    }
}

/// Rule for the number of tokens selected per example.
///
/// `p` is the probability and `m` the number of tokens that are not special.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSelection {
    /// `p · m` tokens, rounded up or down at random so that the mean is exact, as in fairseq, which
    /// was used to train XLM-R.
    #[default]
    Count,
    /// Each token is selected independently with probability `p`, as in the collator of Hugging
    /// Face transformers.
    Independent,
}

/// Options of [`mlm_masking`](super::mlm_masking); the defaults are those of XLM-R.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlmMaskingConfig {
    /// Expected share of tokens that carry loss, from 0 to 1.
    pub probability: f64,
    /// Selection of tokens.
    pub selection: TokenSelection,
    /// Replacement of the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for MlmMaskingConfig {
    fn default() -> Self {
        Self {
            probability: 0.15,
            selection: TokenSelection::Count,
            corruption: Corruption::default(),
            seed: 42,
        }
    }
}

/// Replacement of a masked mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanMask {
    /// One mask token for each token of the mention; the length does not change.
    #[default]
    PerToken,
    /// One mask token for the whole mention; the sequence becomes shorter.
    Single,
}

impl MlmMaskingConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] for the first option out of range.
    ///
    /// ```
    /// use objectives::masking::MlmMaskingConfig;
    ///
    /// let config = MlmMaskingConfig { probability: -1.0, ..Default::default() };
    /// let error = config.validate().unwrap_err().to_string();
    /// assert_eq!(error, "probability = -1: must be from 0 to 1");
    /// ```
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        self.corruption.check()
    }
}

/// Unit of selection and prediction in [`entity_prediction_masking`].
///
/// [`entity_prediction_masking`]: super::entity_prediction_masking
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionUnit {
    /// All tokens of a mention (WEP).
    Mention,
    /// A single token of a mention (PEP).
    #[default]
    Token,
}

/// Treatment of candidates that are neither masked nor replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unchanged {
    /// All unchanged candidates are predicted, as in the released code.
    #[default]
    Predicted,
    /// Half of the unchanged candidates are predicted. In the paper's text on PEP_MS, 80 % of the
    /// candidates are masked, and 10 % are unchanged and predicted.
    Half,
    /// No unchanged candidate is predicted (PEP_M).
    Ignored,
}

/// Options of [`entity_prediction_masking`](super::entity_prediction_masking).
///
/// The default is PEP_MS (EntityCS, Whitehouse et al. 2022).
///
/// | paper | options that differ from the default |
/// |---|---|
/// | WEP | `unit`: [`PredictionUnit::Mention`] |
/// | PEP_MRS | `corruption.random`: 0.1 |
/// | PEP_MS | – |
/// | PEP_M | `unchanged`: [`Unchanged::Ignored`] |
/// | …+MLM | `probability`: 0.5; `rest`: 15 % of the other tokens, drawn independently |
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntityPredictionConfig {
    /// Unit of selection and prediction.
    pub unit: PredictionUnit,
    /// Probability that a unit is a candidate, from 0 to 1.
    pub probability: f64,
    /// Replacement of a candidate, with one draw for all its tokens.
    pub corruption: Corruption,
    /// Whether unchanged candidates carry loss.
    pub unchanged: Unchanged,
    /// Masking of the tokens outside mentions with [`mlm_masking`](super::mlm_masking).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<MlmMaskingConfig>,
    /// Seed of all draws except those of `rest`.
    pub seed: u64,
}

impl Default for EntityPredictionConfig {
    fn default() -> Self {
        Self {
            unit: PredictionUnit::Token,
            probability: 1.0,
            corruption: Corruption { mask: 0.8, random: 0.0 },
            unchanged: Unchanged::Predicted,
            rest: None,
            seed: 42,
        }
    }
}

impl EntityPredictionConfig {
    /// Validates every value except those of `rest`, which [`MlmMaskingConfig::validate`] checks.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] for the first option out of range.
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        self.corruption.check()
    }
}

/// Options of [`phrase_masking`](super::phrase_masking).
///
/// The defaults are those of LAKM (Yuan et al. 2020, §3.2).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhraseMaskingConfig {
    /// Minimum share of tokens that carry loss, from 0 to 1. If the phrases contain fewer tokens,
    /// randomly selected other tokens are masked as well.
    pub probability: f64,
    /// Maximum share of tokens in masked phrases, from 0 to 1. `None` masks all phrases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// Replacement of the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl PhraseMaskingConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] for the first option out of range.
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        self.cap.map_or(Ok(()), |cap| check_share("cap", cap))?;
        self.corruption.check()
    }
}

impl Default for PhraseMaskingConfig {
    fn default() -> Self {
        Self { probability: 0.15, cap: None, corruption: Corruption::default(), seed: 42 }
    }
}

/// Options of [`ngram_masking`](super::ngram_masking).
///
/// This is "Random N-gram Masking" of Yuan et al. 2020, Table 8.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NgramMaskingConfig {
    /// Share of tokens that carry loss, from 0 to 1.
    pub probability: f64,
    /// Maximum span length in tokens, at least 1; lengths are drawn uniformly from 1 to this value.
    pub max_tokens: usize,
    /// Replacement of the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl NgramMaskingConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] for the first option out of range.
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        if self.max_tokens == 0 {
            let rule = "at least 1";
            return Err(MaskingError::Domain { option: "max_tokens", value: 0.0, rule });
        }
        self.corruption.check()
    }
}

impl Default for NgramMaskingConfig {
    fn default() -> Self {
        Self { probability: 0.15, max_tokens: 4, corruption: Corruption::default(), seed: 42 }
    }
}
