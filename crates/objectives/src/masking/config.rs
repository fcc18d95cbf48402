//! The options of the policies; each `Default` holds the paper's values.
use serde::{Deserialize, Serialize};

use super::MaskingError;
use super::error::expect_share;

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
        expect_share("corruption.mask", self.mask)?;
        expect_share("corruption.random", self.random)?;
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

impl Default for NgramMaskingConfig {
    fn default() -> Self {
        Self { probability: 0.15, max_tokens: 4, corruption: Corruption::default(), seed: 42 }
    }
}
