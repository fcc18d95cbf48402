//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, InputPath, RunConfig};
use kg_triples::switch::SwitchConfig;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{PassageMasking, PhraseTaskConfig};
use trainer::TrainConfig;

/// Everything that decides a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub switch: SwitchConfig,
    /// Longest sentence in tokens, special ones counted; longer ones are cut.
    pub max_length: usize,
    pub pretraining: TrainConfig,
    pub task: PhraseTaskConfig,
    pub languages: Languages,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Linked English texts, JSONL, as `kg-triples link` writes them; absent: the extracts of
    /// `pages`, in which labels are looked for.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub texts: InputPath,
    /// `labels.tsv` of entities; absent: the labels of `pages`.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub labels: InputPath,
    /// Folder with `entities.<lang>.jsonl[.gz]`.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub pages: InputPath,
    /// Share of the entities that are never switched, and are asked for apart.
    pub held_out: f64,
    /// Seed of their choice.
    pub held_out_seed: u64,
}

/// How languages share the batches, each of one language.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Languages {
    /// Exponent of their numbers of sentences.
    pub smoothing: f64,
    /// Batches in a round, in which each language has its share, at least one.
    pub batches_per_round: u32,
}

impl Default for Languages {
    fn default() -> Self {
        Self { smoothing: 0.5, batches_per_round: 100 }
    }
}

/// Which sentences an arm trains on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceText {
    /// Switched sentences, and their sources as one language more.
    Switched,
    /// The sources of these alone.
    Source,
}

/// One arm; without `text`, nothing is trained.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Its row in tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<SourceText>,
    /// In place of `task.masking`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masking: Option<PassageMasking>,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "entity-cs";
    const ABOUT: &'static str = "Goes on training XLM-R on English sentences whose entities are \
        switched to other languages, with masks on entities.";
    const EXAMPLES: &'static str = "\
entity-cs examples/entity-cs/small.toml --seeds 3
entity-cs examples/entity-cs/recipe.toml --model xlm-roberta-base \\
    --set data.texts=linked.jsonl.gz --set data.labels=kg/labels.tsv --out runs/entity-cs";
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let data = &self.data;
        if !data.texts.is_set() || !data.labels.is_set() {
            data.pages
                .required("data.pages", "a folder of pages, or data.texts and data.labels")?;
        }
        ensure!(
            (0.0..1.0).contains(&data.held_out),
            "data.held_out = {}: must be from 0 to 1",
            data.held_out
        );
        self.switch.validate().context("switch")?;
        self.model.path.expect_length("max_length", self.max_length)?;
        self.pretraining.validate().context("pretraining")?;
        let Languages { smoothing, batches_per_round } = self.languages;
        ensure!(
            (0.0..=1.0).contains(&smoothing),
            "languages.smoothing = {smoothing}: must be from 0 to 1"
        );
        ensure!(batches_per_round > 0, "languages.batches_per_round = 0: must be 1 or more");
        Ok(())
    }
}

impl Recipe {
    /// How an arm masks.
    pub fn task(&self, arm: &Arm) -> PhraseTaskConfig {
        let masking = arm.masking.clone().unwrap_or_else(|| self.task.masking.clone());
        PhraseTaskConfig { masking, ..self.task.clone() }
    }

    /// Batches of each language in a round: n^smoothing of its n sentences, in whole numbers.
    pub fn batches_per_round(&self, sizes: &[usize]) -> Vec<u32> {
        let weight = |size: usize| (size as f64).powf(self.languages.smoothing);
        let total: f64 = sizes.iter().map(|&size| weight(size)).sum();
        let share =
            |size: usize| f64::from(self.languages.batches_per_round) * weight(size) / total;
        sizes.iter().map(|&size| (share(size).round() as u32).max(1)).collect()
    }
}
