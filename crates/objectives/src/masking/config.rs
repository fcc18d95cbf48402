//! The options of the policies; each `Default` holds the paper's values.
use serde::{Deserialize, Serialize};

use super::MaskingError;
use super::error::check_share;

/// What happens to a selected token, drawn independently for each; the rest stay unchanged.
///
/// BERT (Devlin et al. 2019, §3.1): 80 % `<mask>`, 10 % a random token, 10 % unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Corruption {
    /// Share that becomes the mask token.
    pub mask: f64,
    /// Share that becomes a random token, uniform over the vocabulary without special tokens; it
    /// may be the same again.
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
            let rule = "at most 1; the rest stays unchanged";
            return Err(MaskingError::Domain { option: "corruption.mask + random", value, rule });
        }
        Ok(())
    }
}

/// How many units (tokens or words) of an example are selected, with `p` the probability and `m`
/// the number of units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// `p · m` of them, rounded up or down at random so that the mean is exact; as fairseq, which
    /// trained XLM-R.
    #[default]
    Count,
    /// Each independently with probability `p`, so that the number varies; as the collator of
    /// Hugging Face transformers.
    Independent,
}

/// Options of [`mlm_masking`](super::mlm_masking); the defaults are XLM-R's.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlmMaskingConfig {
    /// Expected share of tokens (or words) that carry loss, from 0 to 1.
    pub probability: f64,
    /// How many are selected.
    pub selection: Selection,
    /// A word is selected with all its tokens or not at all; needs word ids.
    pub whole_words: bool,
    /// What happens to the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for MlmMaskingConfig {
    fn default() -> Self {
        Self {
            probability: 0.15,
            selection: Selection::Count,
            whole_words: false,
            corruption: Corruption::default(),
            seed: 42,
        }
    }
}

/// What replaces a masked mention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanMask {
    /// A mask token for each of its tokens; the length is kept.
    #[default]
    PerToken,
    /// One mask token for all of it; the sequence becomes shorter.
    Single,
}

/// Which mentions of an example are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MentionChoice {
    /// Every one.
    All,
    /// Some, drawn uniformly without replacement.
    Count {
        /// How many; all where there are no more.
        count: usize,
    },
}

/// Options of [`entity_masking`](super::entity_masking); the defaults are XLM-K's (Jiang et al.
/// 2022, §3.2).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntityMaskingConfig {
    /// Which mentions of the example are masked.
    pub mentions: MentionChoice,
    /// What replaces them.
    pub span_mask: SpanMask,
    /// The tokens of masked mentions are labels too. Under [`SpanMask::Single`] only those of
    /// mentions of one token.
    pub targets: bool,
    /// Ordinary masking of the tokens around the masked mentions.
    pub rest: Option<MlmMaskingConfig>,
    /// Seed of the choice of mentions.
    pub seed: u64,
}

impl MlmMaskingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] naming the first that is out of range.
    ///
    /// ```
    /// use objectives::masking::MlmMaskingConfig;
    ///
    /// let wrong = MlmMaskingConfig { probability: -1.0, ..Default::default() };
    /// let error = wrong.validate().unwrap_err().to_string();
    /// assert_eq!(error, "probability = -1: must be from 0 to 1");
    /// ```
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        self.corruption.check()
    }
}

impl Default for EntityMaskingConfig {
    fn default() -> Self {
        Self {
            mentions: MentionChoice::Count { count: 1 },
            span_mask: SpanMask::PerToken,
            targets: false,
            rest: None,
            seed: 42,
        }
    }
}

/// What is drawn and predicted together in [`entity_prediction_masking`].
///
/// [`entity_prediction_masking`]: super::entity_prediction_masking
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionUnit {
    /// A mention with all its tokens (WEP).
    Mention,
    /// A token of a mention (PEP).
    #[default]
    Token,
}

/// What becomes of candidates that are neither hidden nor replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unchanged {
    /// All are predicted; as the released code.
    #[default]
    Predicted,
    /// Half of them are; as the paper's text on PEP_MS, 80 % hidden and 10 % the same.
    Half,
    /// None is (PEP_M).
    Ignored,
}

/// Options of [`entity_prediction_masking`](super::entity_prediction_masking); the default is
/// PEP_MS (EntityCS, Whitehouse et al. 2022).
///
/// | paper | here |
/// |---|---|
/// | WEP | [`whole`](Self::whole) |
/// | PEP_MRS | [`partial_random`](Self::partial_random) |
/// | PEP_MS | [`partial_same`](Self::partial_same) |
/// | PEP_M | [`partial_mask`](Self::partial_mask) |
/// | …+MLM | [`with_mlm`](Self::with_mlm) of these |
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntityPredictionConfig {
    /// What is drawn and predicted together.
    pub unit: PredictionUnit,
    /// Of a unit to be a candidate, from 0 to 1.
    pub probability: f64,
    /// What happens to a candidate: one draw for all its tokens.
    pub corruption: Corruption,
    /// Whether those that the corruption leaves as they are carry loss.
    pub unchanged: Unchanged,
    /// Ordinary masking of the tokens outside mentions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rest: Option<MlmMaskingConfig>,
    /// Seed of all draws but those of `rest`.
    pub seed: u64,
}

impl Default for EntityPredictionConfig {
    fn default() -> Self {
        Self::partial_same()
    }
}

impl EntityPredictionConfig {
    /// Checks every value but those of `rest`, which [`MlmMaskingConfig::validate`] checks.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] naming the first that is out of range.
    pub fn validate(&self) -> Result<(), MaskingError> {
        check_share("probability", self.probability)?;
        self.corruption.check()
    }

    fn of(unit: PredictionUnit, random: f64, unchanged: Unchanged) -> Self {
        let corruption = Corruption { mask: 0.8, random };
        Self { unit, probability: 1.0, corruption, unchanged, rest: None, seed: 42 }
    }

    /// WEP: every mention, 80 % hidden, all predicted.
    pub fn whole() -> Self {
        Self::of(PredictionUnit::Mention, 0.0, Unchanged::Predicted)
    }

    /// PEP_MRS: every token of mentions, 80 % hidden, 10 % random, all predicted.
    pub fn partial_random() -> Self {
        Self::of(PredictionUnit::Token, 0.1, Unchanged::Predicted)
    }

    /// PEP_MS: every token of mentions, 80 % hidden, all predicted.
    pub fn partial_same() -> Self {
        Self::of(PredictionUnit::Token, 0.0, Unchanged::Predicted)
    }

    /// PEP_M: every token of mentions, 80 % hidden, these predicted.
    pub fn partial_mask() -> Self {
        Self::of(PredictionUnit::Token, 0.0, Unchanged::Ignored)
    }

    /// With masked language modelling around the mentions: half of the units are candidates, and
    /// 15 % of the other tokens, each by a draw of its own, as in the released code.
    #[must_use]
    pub fn with_mlm(self) -> Self {
        let rest = MlmMaskingConfig { selection: Selection::Independent, ..Default::default() };
        Self { probability: 0.5, rest: Some(rest), ..self }
    }
}

/// Options of [`phrase_masking`](super::phrase_masking); the defaults are those of LAKM (Yuan et
/// al. 2020, §3.2).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhraseMaskingConfig {
    /// Smallest share of tokens that carry loss, from 0 to 1; random tokens fill it up.
    pub probability: f64,
    /// Largest share of tokens that phrases take, from 0 to 1; `None` takes all phrases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<f64>,
    /// What happens to the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl PhraseMaskingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] naming the first that is out of range.
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

/// Options of [`ngram_masking`](super::ngram_masking), the "Random N-gram Masking" of Yuan et al.
/// 2020, Table 8.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NgramMaskingConfig {
    /// Share of tokens that carry loss, from 0 to 1.
    pub probability: f64,
    /// Longest span, in tokens, at least 1; lengths are drawn uniformly from 1 to this.
    pub max_tokens: usize,
    /// What happens to the selected tokens.
    pub corruption: Corruption,
    /// Seed of all draws.
    pub seed: u64,
}

impl NgramMaskingConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`MaskingError::Domain`] naming the first that is out of range.
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
