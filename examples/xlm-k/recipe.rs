//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use examples::folder::{self, RunRecipe};
use examples::machine::Machine;
use kg_triples::KgError;
use kg_triples::knowledge::{EntailmentSource, MentionSource};
use serde::{Deserialize, Serialize};
use tasks::knowledge::{
    ContrastWithin, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights, ObjectEntailment,
    ProbeConfig,
};
use trainer::TrainConfig;
use xlmr_model::{Config, KnowledgeConfig};

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// One run of all arms for each.
    pub seeds: Vec<u64>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`.
    pub float32_matmul: String,
    /// Arms to run, in this order.
    pub run_arms: Vec<String>,
    /// Rows that have a graph at once; a larger batch is cut, and its gradients equal the whole batch's.
    pub micro_batch: usize,
    /// Optimiser steps with rising learning rate; in place of `pretraining.warmup_ratio`.
    pub warmup_steps: Option<u64>,
    pub model: Start,
    pub arms: BTreeMap<String, Arm>,
    pub mentions: MentionSource,
    pub facts: EntailmentSource,
    pub heads: KnowledgeConfig,
    pub losses: KnowledgeLossConfig,
    pub pretraining: TrainConfig,
    pub probe: ProbeConfig,
}

/// The checkpoint a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// Hugging Face folder.
    pub path: PathBuf,
}

/// One arm: the losses it trains on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// Their weights.
    pub weights: LossWeights,
    /// How object entailment reads the relation.
    pub object_entailment: ObjectEntailment,
    /// Mention and description, subject and object are in different languages.
    pub multilingual: bool,
    /// Rows of the queues; absent: `losses.queue.size`.
    pub queue_size: Option<i64>,
    /// Absent: `losses.contrast_within`.
    pub contrast_within: Option<ContrastWithin>,
    /// Absent: `losses.norm_by_language`.
    pub norm_by_language: Option<bool>,
}

impl Default for Arm {
    fn default() -> Self {
        Self {
            title: None,
            weights: LossWeights::default(),
            object_entailment: ObjectEntailment::Contrastive,
            multilingual: true,
            queue_size: None,
            contrast_within: None,
            norm_by_language: None,
        }
    }
}

impl Recipe {
    /// The training stage with its warm-up as a share of the steps.
    pub fn pretraining(&self, seed: u64) -> TrainConfig {
        let mut config = TrainConfig { seed, ..self.pretraining.clone() };
        if let (Some(warmup), Some(steps)) = (self.warmup_steps, config.steps) {
            config.warmup_ratio = (warmup as f64 / steps as f64).min(1.0);
        }
        config
    }

    /// The task as an arm has it.
    pub fn task(&self, arm: &Arm) -> KnowledgeTaskConfig {
        let mut losses = self.losses.clone();
        if let Some(size) = arm.queue_size {
            losses.queue.size = size;
        }
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

    fn validate_lengths(&self) -> Result<()> {
        let positions = Config::from_file(self.model.path.join("config.json"))?.max_length();
        for (key, length) in [
            ("mentions.examples.max_tokens", self.mentions.examples.max_tokens),
            ("mentions.description_tokens", self.mentions.description_tokens),
            ("facts.description_tokens", self.facts.description_tokens),
        ] {
            if i64::try_from(length).map_or(true, |length| length > positions) {
                bail!("{key} = {length}: the model has {positions} positions");
            }
            if length < 8 {
                bail!("{key} = {length}: must be 8 or more");
            }
        }
        Ok(())
    }
}

/// Names a key of a table in full.
fn below(table: &str, checked: Result<(), KgError>) -> Result<()> {
    match checked {
        Err(KgError::Config { key, value, rule }) => {
            bail!("{table}.{key} = {value}: must be {rule}")
        }
        checked => Ok(checked?),
    }
}

impl RunRecipe for Recipe {
    fn validate(&self) -> Result<()> {
        for (key, value, what) in [
            ("model.path", &self.model.path, "a Hugging Face folder of XLM-R (--model DIR)"),
            ("mentions.pages", &self.mentions.pages, "a folder with entities.<lang>.jsonl[.gz]"),
            ("facts.kg", &self.facts.kg, "a folder with triples.tsv and labels.tsv"),
        ] {
            if value.as_os_str().is_empty() {
                bail!("{key} is not set: give {what}, for instance with --set {key}=PATH");
            }
            if !value.exists() {
                bail!("{key} = {}: no such file or folder", value.display());
            }
        }
        if self.pretraining.steps.is_none() {
            bail!(
                "pretraining.steps is not set: the paper does not say how many optimiser steps it made, so give a number, for \
                 instance with --set pretraining.steps=100000"
            );
        }
        self.pretraining.validate().context("pretraining")?;
        self.validate_lengths()?;
        if self.micro_batch == 0 {
            bail!("micro_batch = 0: must be 1 or more");
        }
        if self.seeds.is_empty() {
            bail!("seeds = []: give at least one");
        }
        below("mentions", self.mentions.validate())?;
        below("facts", self.facts.validate())?;
        if let Some(name) = self.run_arms.iter().find(|name| !self.arms.contains_key(*name)) {
            let known: Vec<&str> = self.arms.keys().map(String::as_str).collect();
            bail!("run_arms: no arm is called {name:?} (arms: {})", known.join(", "));
        }
        for (name, arm) in &self.arms {
            arm.weights.validate().with_context(|| format!("arms.{name}"))?;
        }
        Ok(())
    }

    fn decisive(&self) -> Self {
        Self {
            seeds: Vec::new(),
            run_arms: Vec::new(),
            device: String::new(),
            threads: 0,
            pretraining: TrainConfig {
                checkpoint_steps: None,
                keep_checkpoints: 1,
                log_steps: 1,
                ..self.pretraining.clone()
            },
            ..self.clone()
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = folder::model_files(&self.model.path)?;
        files.extend(folder::files(&self.facts.kg, |name| name.ends_with(".tsv"))?);
        files.extend(folder::files(&self.mentions.pages, |name| name.starts_with("entities."))?);
        files.extend(self.mentions.text.clone());
        Ok(files)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::set_up(&self.device, self.threads, &self.float32_matmul)
    }
}
