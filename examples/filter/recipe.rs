//! The keys of `recipe.toml` and of `xnli.toml`.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig};
use mlqa_eval::{Language, WindowConfig};
use serde::{Deserialize, Serialize};
use tasks::fusion::{FusedEvaluation, FusedQaConfig, SoftTeaching, StudentStart};
use torch_ext::to_usize;
use trainer::TrainConfig;
use transfer_eval::xnli::NliConfig;
use xlmr_model::{Config, FusionConfig};

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub task: Task,
    /// The source language, followed by the languages into which the training data is translated.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Languages of the test data; empty: `languages`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[serde(deserialize_with = "language::plausible::list")]
    pub tested: Vec<Language>,
    /// Initial weights of the second model. Only arms with `soft` train two models.
    pub student: StudentStart,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    /// Windows of question answering.
    pub windows: WindowConfig,
    /// Options of question answering.
    pub qa: FusedQaConfig,
    /// Options of classification.
    pub classification: Classification,
    /// Training of the first model, which provides the soft labels in arms with `soft`.
    pub teacher: TrainConfig,
    /// Training of the second model; in arms without `soft`, of the only model.
    pub training: TrainConfig,
    pub evaluation: FusedEvaluation,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    #[default]
    QuestionAnswering,
    /// Classification of sentence pairs, as in XNLI.
    Classification,
}

/// Files of both tasks.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style training questions in the source language; for classification, a folder with a
    /// file `multinli.train.<lang>.tsv` per language. Rows with the same index are translations of
    /// each other.
    pub train: InputPath,
    /// Folder with the training questions as translated by `qa-translate translate`; not used for
    /// classification.
    pub translated: JsonFolder,
    /// Test folder with `xquad.<lang>.json`; for classification `xnli.test.tsv`.
    pub evaluation: InputPath,
    /// The test data translated into the source language, in files with the same names as the test
    /// files.
    pub second: InputPath,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Classification {
    pub encoding: NliConfig,
    /// Which layers attend to both texts.
    pub fusion: FusionConfig,
    pub soft: SoftTeaching,
}

/// The second text of each training pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[default]
    Translation,
    /// A control: a question about another article, or another pair of sentences of the same
    /// class, in the source language.
    Unrelated,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// The name in tables; absent: the arm's name.
    pub title: Option<String>,
    /// Replaces `fusion.cross`, the number k of layers that attend to both texts; 0 trains without
    /// fusion (translate-train).
    pub cross: Option<usize>,
    pub source: Source,
    /// Phase two: whether to add the loss on soft labels of the first model.
    pub soft: bool,
    /// Replaces `training.steps`.
    pub steps: Option<u64>,
    /// Question answering: whether to also answer each translated question in its translated
    /// passage, without fusion, and to project the answer onto the original passage by alignment.
    pub projected: bool,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "filter";
    const ABOUT: &'static str = "Trains a question-answering or classification model whose middle \
        layers attend to a text and its translation, with soft labels in a second phase (FILTER)";
    const EXAMPLES: &'static str = "\
filter examples/filter/small.toml --seeds 3
filter examples/filter/small.toml --arms 'filter*' --set qa.pairing=all_pairs
filter examples/filter/recipe.toml --model xlm-roberta-large --set data.train=train-v1.1.json \
--set data.translated=translated --set data.evaluation=xquad --set data.second=xquad-to-english
filter examples/filter/xnli-small.toml --seeds 3
filter examples/filter/xnli.toml --model xlm-roberta-large --set data.train=XNLI-MT-1.0/multinli \
--set data.evaluation=XNLI-1.0/xnli.test.tsv --set data.second=xnli.test.to-english.tsv";
    const EVALUATION_KEYS: &'static [&'static str] = &[
        "evaluation",
        "tested",
        "data.evaluation",
        "data.second",
        "arms.*.title",
        "arms.*.projected",
    ];
    experiment::recipe_fields!(Arm, stages: ["teacher", "train"]);

    fn validate(&self) -> Result<()> {
        let (data, limits) = (&self.data, self.model.limits()?);
        ensure!(
            self.languages.len() > 1,
            "languages: list the source language and at least one other"
        );
        let config = Config::of_folder(&self.model.path)?;
        let layers = to_usize(config.num_hidden_layers);
        data.second.required("data.second", "translations of the test data")?;
        match self.task {
            Task::QuestionAnswering => {
                data.train.required("data.train", "a SQuAD-style training file")?;
                data.translated
                    .required("data.translated", "an output folder of `qa-translate translate`")?;
                data.evaluation.required("data.evaluation", "a folder with xquad.<lang>.json")?;
                self.windows.validate(limits.positions, limits.segments).context("windows")?;
                self.qa.fusion.validate(layers).context("qa.fusion")?;
                self.qa.soft.validate().map_err(|error| anyhow!("qa.{error}"))?;
            }
            Task::Classification => {
                data.train.required("data.train", "a folder with multinli.train.<lang>.tsv")?;
                data.evaluation.required("data.evaluation", "test pairs, such as xnli.test.tsv")?;
                let Classification { encoding, fusion, soft } = &self.classification;
                limits.check_length("classification.encoding.max_length", encoding.max_length)?;
                fusion.validate(layers).context("classification.fusion")?;
                soft.validate().map_err(|error| anyhow!("classification.{error}"))?;
            }
        }
        self.teacher.validate().context("teacher")?;
        self.training.validate().context("training")?;
        Ok(self.evaluation.validate()?)
    }
}

impl Recipe {
    /// Returns the languages of the test data.
    pub fn tested(&self) -> &[Language] {
        if self.tested.is_empty() { &self.languages } else { &self.tested }
    }

    /// Returns the question-answering options of an arm.
    pub fn qa(&self, arm: &Arm) -> FusedQaConfig {
        let mut config = self.qa.clone();
        config.fusion.cross = arm.cross.unwrap_or(config.fusion.cross);
        config
    }

    /// Returns the fusion options of a classification arm.
    pub fn fusion(&self, arm: &Arm) -> FusionConfig {
        let fusion = self.classification.fusion;
        FusionConfig { cross: arm.cross.unwrap_or(fusion.cross), ..fusion }
    }

    /// Returns the training options of an arm's last stage.
    pub fn training(&self, arm: &Arm) -> TrainConfig {
        TrainConfig { steps: arm.steps.or(self.training.steps), ..self.training.clone() }
    }
}
