//! What an arm trains on, and how its losses are computed.
use objectives::masking::{EntityMaskingConfig, MlmMaskingConfig};
use objectives::{ContrastConfig, QueueConfig};
use serde::{Deserialize, Serialize};

/// Weights of the losses in the sum; 0 leaves one out.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// Masked language modelling on the passages.
    pub mlm: f64,
    /// Masked entity prediction.
    pub mep: f64,
    /// Object entailment.
    pub oe: f64,
    /// Masked language modelling on the descriptions: what takes the knowledge tasks' place in the ablation without them.
    pub description_mlm: f64,
    /// Object entailment reads the relation off both descriptions instead of contrasting them.
    pub oe_classifies: bool,
    /// Mention and description, subject and object are in different languages.
    pub multilingual: bool,
}

impl Default for Parts {
    fn default() -> Self {
        let (mlm, mep, oe) = (1.0, 1.0, 1.0);
        Self { mlm, mep, oe, description_mlm: 0.0, oe_classifies: false, multilingual: true }
    }
}

/// How the losses are computed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Which tokens of passages and descriptions are predicted.
    pub masking: MlmMaskingConfig,
    /// How mentions are masked.
    pub mention: EntityMaskingConfig,
    /// What stands for a description, a subject or an object.
    pub pooling: Pooling,
    /// The heads of mentions and descriptions keep batch-norm statistics of each language by itself
    /// ([`batch_norm_domains`](xlmr_model::KnowledgeConfig::batch_norm_domains)), so that what is common to a language does not tell its rows from
    /// those of others.
    pub norm_by_language: bool,
    /// Which mentions are contrasted with each other.
    pub contrast_within: ContrastWithin,
    /// Contrast of mentions with descriptions.
    pub mep: ContrastConfig,
    /// Contrast of subjects and relations with objects.
    pub oe: ContrastConfig,
    /// The queue of each contrast.
    pub queue: QueueConfig,
}

/// The mentions whose descriptions are each other's wrong candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContrastWithin {
    /// All of them, as in the paper.
    #[default]
    All,
    /// Those of one language; each language has a queue of its own. Then the language of a mention says nothing about which
    /// candidate is right. Otherwise it does: some descriptions are trained with mentions of that language and others never.
    MentionLanguage,
}

/// The state that stands for a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// That of `<s>`, as in the paper.
    #[default]
    First,
    /// The mean of all tokens' states: for an encoder whose `<s>` was never trained to say anything.
    Mean,
}

/// One arm of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskConfig {
    /// The sum.
    pub parts: Parts,
    /// Its terms.
    pub losses: LossConfig,
    /// Rows that have a graph at once; a larger batch is cut and its gradients equal the whole batch's.
    pub micro_batch: usize,
    /// Rows of a step. The examples left over at the end of an epoch are not trained: a contrast over fewer rows would be
    /// another loss.
    pub batch_size: usize,
}
