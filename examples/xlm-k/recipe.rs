//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use experiment::{BaseModel, InputPath, RunConfig, ShardFiles, ShardPaths};
use serde::{Deserialize, Serialize};
use tasks::knowledge::{
    ContrastWithin, KnowledgeData, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights,
    ObjectEntailment, ProbeConfig,
};
use tasks::masked_lm::TextSource;
use trainer::{ShuffleConfig, TrainConfig};
use xlmr_model::{KnowledgeConfig, read_tokenizer};

/// All options that determine a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Maximum number of rows per forward and backward pass. Larger batches are split into several
    /// passes; the split does not change the gradients of the batch.
    pub micro_batch: usize,
    /// Number of optimiser steps with increasing learning rate; replaces
    /// `pretraining.warmup_ratio`.
    pub warmup_steps: Option<u64>,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub data: Data,
    pub mlm: TextSource<ShardPaths>,
    pub shuffle: ShuffleConfig,
    pub heads: KnowledgeConfig,
    pub losses: KnowledgeLossConfig,
    pub pretraining: TrainConfig,
    pub probe: ProbeConfig,
}

/// Folders prepared by `kg-triples mentions` and `kg-triples entailment`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    pub mentions: InputPath<ShardFiles>,
    pub triples: InputPath<ShardFiles>,
}

/// One arm: the losses it trains on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; absent: the arm's name.
    pub title: Option<String>,
    /// Whether to skip training and evaluate the unchanged encoder.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untrained: bool,
    /// Weight of each loss.
    pub weights: LossWeights,
    /// Whether subject and relation are contrasted with the object, as in the paper, or the
    /// relation is classified.
    pub object_entailment: ObjectEntailment,
    /// Folder with training mentions, such as mentions with descriptions in the mention's language;
    /// absent: `data.mentions`. The evaluation always uses the probe in `data.mentions`.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub mentions: InputPath<ShardFiles>,
    /// Number of rows of the queues; replaces `losses.queue.size`.
    pub queue_size: Option<i64>,
    /// Replaces `losses.contrast_within`.
    pub contrast_within: Option<ContrastWithin>,
    /// Replaces `losses.norm_by_language`: batch-norm statistics per language.
    pub norm_by_language: Option<bool>,
}

impl Recipe {
    /// Returns the training options, with the warm-up as a share of the steps.
    pub fn pretraining(&self) -> TrainConfig {
        let mut config = self.pretraining.clone();
        config.micro_batch = Some(self.micro_batch);
        if let (Some(warmup), Some(steps)) = (self.warmup_steps, config.steps) {
            config.warmup_ratio = (warmup as f64 / steps as f64).min(1.0);
        }
        config
    }

    /// Opens the data of section 3.1: mentions, triples and text.
    pub fn data(&self) -> Result<KnowledgeData> {
        let TextSource { text, max_tokens, packed } = &self.mlm;
        let source = TextSource { text: (), max_tokens: *max_tokens, packed: *packed };
        let tokenizer = read_tokenizer(&self.model.path)?;
        let data = KnowledgeData::open(&self.data.mentions, &self.data.triples, &self.shuffle)?;
        Ok(data.with_text(text, &source, &tokenizer)?)
    }

    /// Returns the task options of an arm.
    pub fn task_config(&self, arm: &Arm) -> KnowledgeTaskConfig {
        let mut losses = self.losses.clone();
        losses.queue.size = arm.queue_size.unwrap_or(losses.queue.size);
        losses.contrast_within = arm.contrast_within.unwrap_or(losses.contrast_within);
        losses.norm_by_language = arm.norm_by_language.unwrap_or(losses.norm_by_language);
        KnowledgeTaskConfig {
            weights: arm.weights.clone(),
            object_entailment: arm.object_entailment,
            losses,
        }
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "xlm-k";
    const ABOUT: &'static str = "Continues to train XLM-R with masked entity prediction and object \
        entailment in addition to masked language modelling, and evaluates both tasks across \
        languages.";
    const EXAMPLES: &'static str =
        "xlm-k examples/xlm-k/small.toml --prepare --out runs/xlm-k --seeds 3
xlm-k examples/xlm-k/small.toml --prepare --out runs/xlm-k-ablations --arms 'table4-*'
xlm-k examples/xlm-k/recipe.toml --model xlm-roberta-base --set data.mentions=mentions
    --set data.triples=triples --set mlm.text=text --set pretraining.steps=9 --out runs/paper";
    const EVALUATION_KEYS: &'static [&'static str] = &["arms.*.title", "probe"];
    experiment::recipe_fields!(Arm, stages: ["pretrain"]);

    fn validate(&self) -> Result<()> {
        if self.pretraining.steps.is_none() {
            bail!(
                "pretraining.steps is not set: the paper does not report the number of optimiser \
                 steps; set it, for example --set pretraining.steps=100000"
            );
        }
        self.pretraining.validate().context("pretraining")?;
        ensure!(self.micro_batch > 0, "micro_batch = 0: must be 1 or more");
        self.losses.validate()?;
        if self.pretraining.micro_batch.is_some() {
            bail!("pretraining.micro_batch: set the top-level key micro_batch instead");
        }
        for (name, arm) in &self.arms {
            arm.weights.validate().map_err(|error| anyhow!("arms.{name}.{error}"))?;
        }
        self.data
            .mentions
            .required("data.mentions", "an output folder of `kg-triples mentions`")?;
        self.data
            .triples
            .required("data.triples", "an output folder of `kg-triples entailment`")?;
        let limits = self.model.limits()?;
        if self.mlm.text.is_set() {
            self.mlm.validate().map_err(|error| anyhow!("mlm.{error}"))?;
            limits.check_length("mlm.max_tokens", self.mlm.max_tokens)?;
        }
        Ok(self.shuffle.validate()?)
    }
}
