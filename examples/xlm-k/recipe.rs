//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use experiment::{
    BaseModel, InputPath, JsonlFolder, RunConfig, ShardFiles, ShardPaths, TsvFolder, WithExamples,
};
use kg_triples::knowledge::{DescribedBy, EntailmentSource, MentionSource};
use serde::{Deserialize, Serialize};
use tasks::knowledge::{
    ContrastWithin, KnowledgeFiles, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights,
    ObjectEntailment, ProbeConfig,
};
use tasks::masked_lm::TextSource;
use trainer::{ShuffleConfig, TrainConfig};
use xlmr_model::KnowledgeConfig;

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Rows that have a graph at once; a larger batch is cut, and its gradients equal the whole
    /// batch's.
    pub micro_batch: usize,
    /// Optimiser steps with rising learning rate; in place of `pretraining.warmup_ratio`.
    pub warmup_steps: Option<u64>,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub mentions: WithExamples<MentionSource<JsonlFolder>>,
    pub triples: WithExamples<EntailmentSource<TsvFolder, JsonlFolder>>,
    pub mlm: TextSource<ShardPaths>,
    pub shuffle: ShuffleConfig,
    pub heads: KnowledgeConfig,
    pub losses: KnowledgeLossConfig,
    pub pretraining: TrainConfig,
    pub probe: ProbeConfig,
}

/// One arm: the losses it trains on.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// What each loss weighs.
    pub weights: LossWeights,
    /// Contrasted with the object, as the paper, or the relation is classified.
    pub object_entailment: ObjectEntailment,
    /// Mention and description, subject and object are in different languages; absent: they are.
    pub multilingual: Option<bool>,
    /// Rows of the queues; absent: `losses.queue.size`.
    pub queue_size: Option<i64>,
    /// Absent: `losses.contrast_within`.
    pub contrast_within: Option<ContrastWithin>,
    /// Absent: `losses.norm_by_language`.
    pub norm_by_language: Option<bool>,
}

impl Recipe {
    /// The training stage with its warm-up as a share of the steps.
    pub fn pretraining(&self) -> TrainConfig {
        let mut config = self.pretraining.clone();
        if let (Some(warmup), Some(steps)) = (self.warmup_steps, config.steps) {
            config.warmup_ratio = (warmup as f64 / steps as f64).min(1.0);
        }
        config
    }

    /// Section 3.1: what is trained on.
    pub fn files(&self) -> KnowledgeFiles<'_, JsonlFolder, TsvFolder, InputPath<ShardFiles>> {
        let TextSource { max_tokens, packed, .. } = self.mlm;
        KnowledgeFiles {
            mentions: &self.mentions.source,
            mention_examples: &self.mentions.examples,
            triples: &self.triples.source,
            triple_examples: &self.triples.examples,
            text: TextSource { text: (), max_tokens, packed },
            text_files: &self.mlm.text,
            shuffle: &self.shuffle,
        }
    }

    /// What an arm trains.
    pub fn task(&self, arm: &Arm) -> KnowledgeTaskConfig {
        let mut losses = self.losses.clone();
        losses.queue.size = arm.queue_size.unwrap_or(losses.queue.size);
        losses.contrast_within = arm.contrast_within.unwrap_or(losses.contrast_within);
        losses.norm_by_language = arm.norm_by_language.unwrap_or(losses.norm_by_language);
        KnowledgeTaskConfig {
            weights: arm.weights.clone(),
            object_entailment: arm.object_entailment,
            losses,
            micro_batch: self.micro_batch,
            batch_size: self.pretraining.batch_size,
        }
    }
}

impl Arm {
    pub fn multilingual(&self) -> bool {
        self.multilingual.unwrap_or(true)
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "xlm-k";
    const ABOUT: &'static str = "Goes on training XLM-R with masked entity prediction and object \
        entailment beside masked language modelling, and asks it for entities and objects across \
        languages.";
    const EXAMPLES: &'static str = "xlm-k examples/xlm-k/small.toml --out runs/xlm-k --seeds 3
xlm-k examples/xlm-k/small.toml --out runs/xlm-k-ablations --arms 'table4-*'
xlm-k examples/xlm-k/recipe.toml --model xlm-roberta-base --set mentions.examples=mentions
    --set triples.examples=triples --set mlm.text=text --set pretraining.steps=9 --out runs/paper";
    const EVALUATION: &'static [&'static str] = &["arms.*.title", "probe"];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        if self.pretraining.steps.is_none() {
            bail!(
                "pretraining.steps is not set: the paper does not say how many optimiser steps it \
                 made, so give a number, for instance with --set pretraining.steps=100000"
            );
        }
        self.pretraining.validate().context("pretraining")?;
        ensure!(self.micro_batch > 0, "micro_batch = 0: must be 1 or more");
        self.losses.validate()?;
        for (name, arm) in &self.arms {
            arm.weights.validate().map_err(|error| anyhow!("arms.{name}.{error}"))?;
        }
        let limits = self.model.limits()?;
        let (mentions, triples) = (&self.mentions.source, &self.triples.source);
        let raw = [("pages", mentions.pages.is_set()), ("text", mentions.text.is_some())];
        if self.mentions.reads_source("mentions", &raw)? {
            mentions.pages.required("mentions.pages", "a folder with entities.<lang>.jsonl")?;
            mentions.validate().map_err(|error| anyhow!("mentions.{error}"))?;
            limits.expect_length("mentions.passages.max_tokens", mentions.passages.max_tokens)?;
            limits.expect_length("mentions.description_tokens", mentions.description_tokens)?;
        }
        let raw = [("kg", triples.kg.is_set()), ("pages", triples.pages.is_set())];
        if self.triples.reads_source("triples", &raw)? {
            triples.kg.required("triples.kg", "a folder with triples.tsv and labels.tsv")?;
            if triples.descriptions == DescribedBy::Pages {
                let pages = triples.or_pages(&mentions.pages).pages;
                pages.required("triples.pages", "a folder with entities.<lang>.jsonl")?;
            }
            triples.validate().map_err(|error| anyhow!("triples.{error}"))?;
            limits.expect_length("triples.description_tokens", triples.description_tokens)?;
        }
        if self.mlm.text.is_set() {
            self.mlm.validate().map_err(|error| anyhow!("mlm.{error}"))?;
            limits.expect_length("mlm.max_tokens", self.mlm.max_tokens)?;
        }
        Ok(self.shuffle.validate()?)
    }
}
