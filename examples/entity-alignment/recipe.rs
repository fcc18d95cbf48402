//! The keys of `recipe.toml` and their meaning.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, InputPath, JsonlFolder, RunConfig};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::entity_alignment::{AlignmentConfig, StructureConfig};
use tasks::pooling::Pooling;
use trainer::TrainConfig;

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Languages whose graphs are aligned with the English graph.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Shares of the entities of each graph whose texts are missing, from 0 to below 1; each share
    /// is a setting.
    pub missing: Vec<f64>,
    /// Share of the aligned entities that are known in training.
    pub known: f64,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub text: TextVectors,
    pub structure: StructureConfig,
    /// Number of dimensions H of the projections.
    pub hidden_size: usize,
    pub alignment: AlignmentConfig,
    /// Training on the given vectors.
    pub align: TrainConfig,
    /// Training of the generators.
    pub generate: TrainConfig,
    /// Training with generated vectors. Arms without them are trained on the given vectors for as
    /// many steps.
    pub complete: TrainConfig,
    pub iteration: Iteration,
    pub evaluation: Evaluation,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder with `entities.<lang>.jsonl[.gz]`, whose labels and descriptions are the texts.
    pub entities: JsonlFolder,
    /// Linked pages of the entities, written by `kg-triples link`; a mention is an edge.
    pub links: InputPath,
}

/// Vectors of texts by the encoder, which is not trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextVectors {
    /// Whether a text is an entity's label and description, instead of the label only.
    pub descriptions: bool,
    /// Text before each label, such as `query: ` for E5 encoders.
    pub prefix: String,
    pub pooling: Pooling,
    /// Maximum number of tokens.
    pub max_length: usize,
    pub batch_size: usize,
}

impl Default for TextVectors {
    fn default() -> Self {
        Self {
            descriptions: false,
            prefix: String::new(),
            pooling: Pooling::Mean,
            max_length: 64,
            batch_size: 64,
        }
    }
}

/// A part of an entity's vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Modality {
    Text,
    Structure,
}

/// One arm.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; absent: the arm's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The parts that are used.
    pub modalities: BTreeSet<Modality>,
    /// Whether missing vectors are random numbers with the mean and standard deviation of the
    /// others, as in the first stage of the released code, instead of excluded.
    pub noise: bool,
    /// Whether missing vectors are generated.
    pub complete: bool,
    /// Whether mutual nearest neighbours become training pairs.
    pub iterate: bool,
}

/// Rounds of training after the alignment. In an arm that iterates, each round starts with the
/// mutual nearest neighbours as further pairs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Iteration {
    pub rounds: usize,
    /// Training of a round.
    pub training: TrainConfig,
}

/// Options of the evaluation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Number of neighbours of CSLS.
    pub neighbours: usize,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { neighbours: 3 }
    }
}

/// A pair of languages (the first is English) and the share of missing texts.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Setting {
    pub language: Language,
    pub missing: f64,
}

impl Setting {
    /// Returns the name of folders and files, such as `de-30`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.language, self.percent())
    }

    /// Returns the share of missing texts in percent.
    pub fn percent(&self) -> String {
        format!("{:.0}", 100.0 * self.missing)
    }
}

impl Recipe {
    /// Returns the settings in the order of shares.
    pub fn settings(&self) -> Vec<Setting> {
        let of_share = |&missing: &f64| {
            self.languages.iter().map(move |&language| Setting { language, missing })
        };
        self.missing.iter().flat_map(of_share).collect()
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "entity-alignment";
    const ABOUT: &'static str = "Aligns entities of two languages by text and neighbours, where a \
        part of the texts is missing.";
    const EXAMPLES: &'static str = "\
entity-alignment examples/entity-alignment/small.toml --prepare --seeds 3
entity-alignment examples/entity-alignment/recipe.toml --model xlm-roberta-base --prepare \\
    --set data.entities=pages --out runs/entity-alignment";
    const EVALUATION_KEYS: &'static [&'static str] = &["evaluation", "arms.*.title"];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        ensure!(self.model.adapters.is_none(), "model.adapters: the encoder is not trained");
        self.data.entities.required("data.entities", "a folder with entities.<lang>.jsonl")?;
        self.data.links.required("data.links", "the linked pages that `kg-triples link` writes")?;
        let languages = &self.languages;
        ensure!(
            !languages.is_empty() && !languages.contains(&Language::EN),
            "languages = {languages:?}: must be one or more languages without \"en\""
        );
        let names: BTreeSet<String> = self.settings().iter().map(Setting::name).collect();
        ensure!(
            !self.missing.is_empty()
                && names.len() == self.settings().len()
                && self.missing.iter().all(|share| (0.0..1.0).contains(share)),
            "missing = {:?}: must be one or more distinct shares in whole percents, at least 0 and \
             below 1",
            self.missing
        );
        ensure!(
            self.known > 0.0 && self.known < 1.0,
            "known = {}: must be above 0 and below 1",
            self.known
        );
        limits.check_length("text.max_length", self.text.max_length)?;
        ensure!(self.text.batch_size > 0, "text.batch_size = 0: must be 1 or more");
        self.structure.validate()?;
        ensure!(self.hidden_size > 0, "hidden_size = 0: must be 1 or more");
        self.alignment.validate()?;
        let stages = [
            ("align", &self.align),
            ("generate", &self.generate),
            ("complete", &self.complete),
            ("iteration.training", &self.iteration.training),
        ];
        for (key, config) in stages {
            config.validate().context(key)?;
        }
        ensure!(self.evaluation.neighbours > 0, "evaluation.neighbours = 0: must be 1 or more");
        for (name, arm) in &self.arms {
            ensure!(!arm.modalities.is_empty(), "arms.{name}.modalities: is empty");
            ensure!(!(arm.noise && arm.complete), "arms.{name}: set either noise or complete");
            ensure!(
                !arm.complete || arm.modalities.len() == 2,
                "arms.{name}.complete: needs both modalities"
            );
        }
        Ok(())
    }
}
