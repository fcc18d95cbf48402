//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use experiment::{BaseModel, InputPath, RunConfig, ShardPaths, TsvFolder};
use kg_triples::switch::SwitchConfig;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{HeldBack, LanguageShares, PassageMasking, PhraseTaskConfig};
use trainer::{ShuffleConfig, TrainConfig};

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
    pub languages: LanguageShares,
    /// Sentences that are kept from training; the model with the lowest mean perplexity on them is
    /// kept. Without them it is the last one.
    pub validation: HeldBack,
    #[serde(skip_serializing_if = "ShuffleConfig::is_default")]
    pub shuffle: ShuffleConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Switched texts and their sources in files, which are streamed, as `kg-triples switch` writes
    /// them; in place of all the others. Then labels are not asked for.
    #[serde(skip_serializing_if = "ShardPaths::is_unset")]
    pub switched: ShardPaths,
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
    /// Folder with `<lang>.tsv`, sentences that nothing switches: how well each model still
    /// predicts their tokens.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub sentences: TsvFolder,
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
    --set data.switched=switched --out runs/entity-cs";
    const EVALUATION: &'static [&'static str] = &["data.sentences", "arms.*.title"];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let data = &self.data;
        if data.switched.is_unset() && !(data.texts.is_set() && data.labels.is_set()) {
            let what = "a folder of pages, or data.switched, or data.texts and data.labels";
            data.pages.required("data.pages", what)?;
        }
        ensure!(
            (0.0..1.0).contains(&data.held_out),
            "data.held_out = {}: must be from 0 to 1",
            data.held_out
        );
        self.task.masking.validate().map_err(|error| anyhow!("task.{error}"))?;
        for (name, arm) in &self.arms {
            let masking = arm.masking.iter().try_for_each(PassageMasking::validate);
            masking.map_err(|error| anyhow!("arms.{name}.{error}"))?;
        }
        self.switch.validate().context("switch")?;
        self.model.limits()?.expect_length("max_length", self.max_length)?;
        self.pretraining.validate().context("pretraining")?;
        self.languages.validate().context("languages")?;
        Ok(())
    }
}

impl Recipe {
    /// How an arm masks.
    pub fn task(&self, arm: &Arm) -> PhraseTaskConfig {
        let masking = arm.masking.clone().unwrap_or_else(|| self.task.masking.clone());
        PhraseTaskConfig { masking, ..self.task.clone() }
    }

    /// How sentences are scored: plain masked language modelling.
    pub fn plain(&self) -> PhraseTaskConfig {
        PhraseTaskConfig { segment: self.task.segment, ..PhraseTaskConfig::default() }
    }
}
