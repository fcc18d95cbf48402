//! Options of XLM-K's tasks and losses.
use std::collections::BTreeSet;

use kg_triples::Language;
use objectives::masking::{MlmMaskingConfig, SpanMask};
use objectives::{ContrastConfig, QueueConfig};
use serde::{Deserialize, Serialize};
use torch_ext::to_i64;
use transfer_eval::retrieval::Similarity;
use xlmr_model::KnowledgeConfig;

use crate::pooling::Pooling;
use crate::{Error, Result};

/// Weights of the losses in Eq. 6, at most 1 million; 0 disables a loss.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossWeights {
    /// Masked language modelling on the passages.
    pub mlm: f64,
    /// Masked entity prediction.
    pub mep: f64,
    /// Object entailment.
    pub oe: f64,
    /// Masked language modelling on the descriptions, which replaces the knowledge tasks in an
    /// ablation.
    pub description_mlm: f64,
}

impl Default for LossWeights {
    fn default() -> Self {
        Self { mlm: 1.0, mep: 1.0, oe: 1.0, description_mlm: 0.0 }
    }
}

impl LossWeights {
    /// Rejects weights that are out of range or disable all losses.
    ///
    /// # Errors
    /// [`Error::Config`] naming a weight that is not from 0 to 1 million, or `weights` if all are
    /// 0.
    ///
    /// # Example
    /// ```
    /// use tasks::knowledge::LossWeights;
    ///
    /// let only_mep = LossWeights { mlm: 0.0, oe: 0.0, ..LossWeights::default() };
    /// assert!(only_mep.validate().is_ok());
    /// assert!(LossWeights { mep: 0.0, ..only_mep }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<()> {
        let Self { mlm, mep, oe, description_mlm } = *self;
        let weights =
            [("mlm", mlm), ("mep", mep), ("oe", oe), ("description_mlm", description_mlm)];
        // Gradients are clipped, so a larger weight is probably a mistake.
        let is_in_range = |weight: f64| (0.0..=1e6).contains(&weight);
        if let Some((name, weight)) = weights.iter().find(|(_, weight)| !is_in_range(*weight)) {
            return Err(Error::config(format!("weights.{name}"), weight, "from 0 to 1 million"));
        }
        if weights.iter().all(|(_, weight)| *weight == 0.0) {
            return Err(Error::config("weights", "0 for all losses", "above 0 for at least one"));
        }
        Ok(())
    }
}

/// Use of the relation in object entailment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectEntailment {
    /// Subject and relation are contrasted with the object (Eq. 3 to 5).
    #[default]
    Contrastive,
    /// The relation is classified from both descriptions: the ablation "w/o contrastive loss" of
    /// Table 4.
    Classification,
}

/// Masking of the mention in a passage of masked entity prediction.
///
/// The masked tokens are not predicted: masked language modelling uses separate passages.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MentionMasking {
    /// Replacement of the mention.
    pub span_mask: SpanMask,
}

/// Options of the losses.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeLossConfig {
    /// Masking for masked language modelling on passages and descriptions.
    pub masking: MlmMaskingConfig,
    /// Masking of mentions.
    pub mention: MentionMasking,
    /// Pooling of descriptions, subjects and objects.
    pub pooling: Pooling,
    /// Whether the heads of mentions and descriptions have separate batch-norm statistics per
    /// language ([`batch_norm_domains`](xlmr_model::KnowledgeConfig::batch_norm_domains)). Separate
    /// statistics remove differences between languages from the normalised vectors.
    pub norm_by_language: bool,
    /// Scope of the contrast between mentions.
    pub contrast_within: ContrastWithin,
    /// Contrastive loss between mentions and descriptions.
    pub mep: ContrastConfig,
    /// Contrastive loss between subjects, combined with relations, and objects.
    pub oe: ContrastConfig,
    /// Options of the queues.
    pub queue: QueueConfig,
}

impl KnowledgeLossConfig {
    /// Validates values that the losses would otherwise reject only during training.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    ///
    /// ```
    /// use tasks::knowledge::KnowledgeLossConfig;
    ///
    /// let mut losses = KnowledgeLossConfig::default();
    /// losses.oe.loss.temperature = 1e30;
    /// let error = losses.validate().unwrap_err().to_string();
    /// assert!(error.starts_with("losses.oe.loss.temperature = 1"));
    ///
    /// let mut losses = KnowledgeLossConfig::default();
    /// losses.queue.size = 1_000_000_000_000;
    /// let error = losses.validate().unwrap_err().to_string();
    /// assert!(error.starts_with("losses.queue.size = 1000000000000"));
    ///
    /// let mut losses = KnowledgeLossConfig::default();
    /// losses.masking.corruption.mask = f64::INFINITY;
    /// let error = losses.validate().unwrap_err().to_string();
    /// assert_eq!(error, "losses.masking.corruption.mask = inf: must be from 0 to 1");
    /// ```
    pub fn validate(&self) -> Result<()> {
        for (contrast, config) in [("mep", &self.mep), ("oe", &self.oe)] {
            let section = format!("losses.{contrast}.loss");
            config.loss.validate().map_err(|error| Error::from_loss(&section, error))?;
        }
        let masking = self.masking.validate();
        masking.map_err(|error| Error::from_masking("losses.masking", error))?;
        let size = self.queue.size;
        if !(1..=100_000_000).contains(&size) {
            return Err(Error::config("losses.queue.size", size, "from 1 to 100 million"));
        }
        Ok(())
    }
}

/// Scope of the contrast: mentions whose descriptions are negatives of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastWithin {
    /// All mentions, as in the paper.
    #[default]
    All,
    /// Mentions of one language; each language has its own queue. A model then cannot use the
    /// language of a mention to identify the correct candidate. With `All` it can, because some
    /// descriptions never occur with mentions of some languages.
    MentionLanguage,
}

/// Options of XLM-K's training. The defaults are the paper's values, if stated.
///
/// # Example
/// ```
/// use tasks::knowledge::{KnowledgeTaskConfig, ObjectEntailment};
///
/// let toml = "object_entailment = 'classification'\nweights = { mep = 0.0 }";
/// let config: KnowledgeTaskConfig = toml::from_str(toml)?;
/// assert_eq!((config.weights.mep, config.weights.oe), (0.0, 1.0));
/// assert_eq!(config.object_entailment, ObjectEntailment::Classification);
/// assert!(toml::from_str::<KnowledgeTaskConfig>("weights = { moe = 1.0 }").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeTaskConfig {
    /// Weights of the losses.
    pub weights: LossWeights,
    /// Use of the relation in object entailment.
    pub object_entailment: ObjectEntailment,
    /// Options of the losses.
    pub losses: KnowledgeLossConfig,
}

impl KnowledgeTaskConfig {
    /// Returns `heads` with one batch-norm domain per language, if
    /// [`norm_by_language`](KnowledgeLossConfig::norm_by_language) is set.
    ///
    /// # Example
    /// ```
    /// use std::collections::BTreeSet;
    ///
    /// use tasks::knowledge::KnowledgeTaskConfig;
    /// use xlmr_model::KnowledgeConfig;
    ///
    /// let mut config = KnowledgeTaskConfig::default();
    /// let (heads, languages) = (KnowledgeConfig::default(), BTreeSet::new());
    /// assert_eq!(config.heads(&heads, &languages).batch_norm_domains, None);
    /// config.losses.norm_by_language = true;
    /// assert_eq!(config.heads(&heads, &languages).batch_norm_domains, Some(0));
    /// ```
    pub fn heads(
        &self,
        heads: &KnowledgeConfig,
        languages: &BTreeSet<Language>,
    ) -> KnowledgeConfig {
        let count = || to_i64(languages.len());
        let batch_norm_domains = self.losses.norm_by_language.then(count);
        KnowledgeConfig { batch_norm_domains, ..heads.clone() }
    }

    /// Returns the representation of mentions and descriptions for ranking.
    ///
    /// # Example
    /// ```
    /// use tasks::knowledge::{KnowledgeTaskConfig, LossWeights, Representation};
    /// use transfer_eval::retrieval::Similarity;
    ///
    /// let defaults = KnowledgeTaskConfig::default();
    /// assert_eq!(defaults.mention_representation(), Representation::Projected(Similarity::Dot));
    /// let weights = LossWeights { mep: 0.0, ..LossWeights::default() };
    /// let without_mep = KnowledgeTaskConfig { weights, ..defaults };
    /// assert_eq!(without_mep.mention_representation(), Representation::Encoder);
    /// ```
    pub fn mention_representation(&self) -> Representation {
        representation(self.weights.mep != 0.0, &self.losses.mep)
    }

    /// Returns the representation of subjects and objects for ranking. The vectors are projected
    /// only if object entailment has a weight above 0 and a contrastive loss, because
    /// classification does not train the projection heads.
    pub fn object_representation(&self) -> Representation {
        let is_contrastive = self.object_entailment == ObjectEntailment::Contrastive;
        representation(self.weights.oe != 0.0 && is_contrastive, &self.losses.oe)
    }
}

fn representation(is_trained: bool, contrast: &ContrastConfig) -> Representation {
    match (is_trained, contrast.loss.l2_norm) {
        (false, _) => Representation::Encoder,
        (true, true) => Representation::Projected(Similarity::Cosine),
        (true, false) => Representation::Projected(Similarity::Dot),
    }
}

/// Representation of queries and candidates for ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Representation {
    /// Vectors projected by the heads, compared by cosine or dot product, as in the loss.
    Projected(Similarity),
    /// The encoder's hidden states, compared by cosine, for models without trained heads.
    Encoder,
}

impl Representation {
    /// Returns the similarity function.
    pub fn similarity(self) -> Similarity {
        match self {
            Self::Projected(similarity) => similarity,
            Self::Encoder => Similarity::Cosine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrained_heads_are_not_used_for_ranking() {
        let mut config = KnowledgeTaskConfig::default();
        config.losses.mep.loss.l2_norm = true;
        config.losses.oe.loss.l2_norm = false;
        assert_eq!(config.mention_representation(), Representation::Projected(Similarity::Cosine));
        assert_eq!(config.object_representation(), Representation::Projected(Similarity::Dot));
        config.object_entailment = ObjectEntailment::Classification;
        assert_eq!(config.object_representation(), Representation::Encoder);
        config.weights.mep = 0.0;
        assert_eq!(config.mention_representation().similarity(), Similarity::Cosine);
    }

    #[test]
    fn weights_must_be_finite_and_not_all_0() {
        let zero_weights = LossWeights { mlm: 0.0, mep: 0.0, oe: 0.0, description_mlm: 0.0 };
        let error = zero_weights.validate().unwrap_err().to_string();
        assert_eq!(error, "weights = 0 for all losses: must be above 0 for at least one");
        let nan_weight = LossWeights { oe: f64::NAN, ..zero_weights };
        let error = nan_weight.validate().unwrap_err().to_string();
        assert_eq!(error, "weights.oe = NaN: must be from 0 to 1 million");
        assert!(LossWeights { mep: 1e30, ..LossWeights::default() }.validate().is_err());
    }
}
