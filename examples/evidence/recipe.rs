//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use examples::numbers::Item;
use experiment::{BaseModel, JsonFolder, RunConfig};
use mlqa_eval::{Language, WindowConfig};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{EvaluationConfig, TrainingQuestions, check_files, question_file};
use trainer::TrainConfig;

use crate::guess::Guess;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The source language, whose answers say what is evidence, and the others.
    pub languages: Vec<Language>,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    /// Counted in `steps`, so that arms with more data make as many updates.
    pub training: TrainConfig,
    pub windows: WindowConfig,
    pub evaluation: EvaluationConfig,
    /// What counts as one item where tests are resampled.
    #[serde(skip_serializing_if = "Item::is_default")]
    pub bootstrap_unit: Item,
}

/// Where the data lies: folders of MLQA-named files that `qa-translate evidence` wrote.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Test files in all pairs of languages, and the training files' own evidence, by which the
    /// arms' is judged.
    pub evaluation: JsonFolder,
}

/// One arm: where the training evidence comes from, or a guess without training.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// Folder with `train-context-en-question-en.json` and so on.
    #[serde(skip_serializing_if = "JsonFolder::is_unset")]
    pub data: JsonFolder,
    /// Trains on the source language alone.
    pub source_alone: bool,
    /// Marks without training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guess: Option<Guess>,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "evidence";
    const ABOUT: &'static str = "Trains a tagger that marks the sentence that answers a question, \
        on labels that were carried over to translations, and tests it on every pair of languages";
    const EXAMPLES: &'static str = "\
evidence examples/evidence/small.toml --arms english,found --seeds 3
evidence examples/evidence/recipe.toml --model xlm-roberta-base --set arms.found.data=found \
--set data.evaluation=found --arms found";
    const EVALUATION: &'static [&'static str] =
        &["evaluation", "data.evaluation", "arms.*.title", "bootstrap_unit"];
    experiment::recipe_fields!(Arm, stages: ["train"]);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        let what = "what `qa-translate evidence` wrote";
        self.data.evaluation.required("data.evaluation", what)?;
        for (name, arm) in self.trained() {
            arm.data.required(&format!("arms.{name}.data"), what)?;
        }
        ensure!(!self.languages.is_empty(), "languages = []: the source language comes first");
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.training.validate().context("training")?;
        ensure!(self.training.steps.is_some(), "training.steps: set it, not epochs");
        Ok(self.evaluation.validate()?)
    }

    fn check_inputs(&self) -> Result<()> {
        check_files(&self.evaluation.files(&self.data.evaluation, &self.languages))?;
        for (_, arm) in self.trained() {
            TrainingQuestions::read_all(self.training_files(arm))?;
        }
        Ok(())
    }
}

impl Recipe {
    /// The selected arms that are no guesses.
    fn trained(&self) -> impl Iterator<Item = (&String, &Arm)> {
        let names = self.run.selected().iter();
        names
            .filter_map(|name| self.arms.get_key_value(name))
            .filter(|(_, arm)| arm.guess.is_none())
    }

    /// The files that an arm trains on, the source language's first.
    pub fn training_files(&self, arm: &Arm) -> Vec<PathBuf> {
        let most = if arm.source_alone { 1 } else { self.languages.len() };
        let languages = self.languages.iter().take(most);
        languages.map(|&code| question_file(&arm.data, "train", code, code)).collect()
    }
}
