//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;
use std::num::NonZeroU32;

use anyhow::{Context, Result, anyhow, ensure};
use examples::numbers::Item;
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig};
use mlqa_eval::{Language, WindowConfig};
use objectives::masking::NgramMaskingConfig;
use qa_translate::MixConfig;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{PhraseMasking, PhraseTaskConfig};
use tasks::question_answering::{DevSelection, EvaluationConfig, QaConfig};
use trainer::TrainConfig;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The source language, whose questions were translated, followed by the languages of the
    /// translations.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Maximum passage length of LAKM in tokens, including `<s>` and `</s>`.
    pub lakm_max_length: usize,
    /// Whether to draw as many passages for LAKM as there are mixed questions (section 3.2).
    /// `mix.seed` determines the draw.
    pub lakm_as_many_as_mixed: bool,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub mix: MixConfig,
    /// Number of batches of each task in a round.
    pub rounds: BatchesPerRound,
    /// `steps` is the number of updates on questions, and `epochs` is the number of epochs of the
    /// unmixed questions. Updates on phrases are not included in these numbers. Updates on mixed
    /// questions are included unless `mixed_on_top` is set.
    pub training: TrainConfig,
    /// Selection of the tested model, and the score that `training.patience` uses to stop training.
    #[serde(skip_serializing_if = "DevSelection::is_default")]
    pub selection: DevSelection,
    pub qa: QaConfig,
    pub windows: WindowConfig,
    pub lakm: PhraseTaskConfig,
    /// Masking of arms with `lakm = "ngrams"`.
    pub ngrams: NgramMaskingConfig,
    pub evaluation: EvaluationConfig,
    /// Unit that the bootstrap resamples.
    #[serde(skip_serializing_if = "Item::is_default")]
    pub bootstrap_unit: Item,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style questions in the source language.
    pub train: InputPath,
    /// Folder that `qa-translate translate` wrote from `train`.
    pub translated: JsonFolder,
    /// Such folders of other translators, by name, for arms with `translator`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub translators: BTreeMap<String, JsonFolder>,
    /// Folder with `dev-context-en-question-en.json` and so on.
    #[serde(skip_serializing_if = "JsonFolder::is_unset")]
    pub dev: JsonFolder,
    /// Folder with MLQA-named question files.
    pub evaluation: JsonFolder,
    /// Passages with knowledge phrases that `kg-triples phrases` wrote.
    pub phrases: InputPath,
}

/// One arm: tasks in addition to the questions in the source language.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; absent: the arm's name.
    pub title: Option<String>,
    /// Name of the arm's translator in `data.translators`; absent: `data.translated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translator: Option<String>,
    /// Whether to train on the translations, with question and passage in the same language.
    pub translated: bool,
    /// mixMRC: whether to train on questions and passages in different languages.
    pub mixed: bool,
    /// Whether updates on mixed questions are added to the updates on unmixed questions, instead of
    /// replacing some of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mixed_on_top: bool,
    /// LAKM: masking of phrases in passages, or of random n-grams (Table 8).
    pub lakm: Option<PhraseMasking>,
}

/// Number of batches of each task in a round: questions in the passage's language, questions in
/// another language, and masked phrases; absent: 1.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchesPerRound {
    pub mrc: Option<NonZeroU32>,
    pub mixed: Option<NonZeroU32>,
    pub lakm: Option<NonZeroU32>,
}

/// Number of batches of each task in a round of an arm; 0 if the arm does not have the task.
pub struct Round {
    /// Questions in the passage's language.
    pub mrc: u32,
    /// Questions in another language.
    pub mixed: u32,
    /// Masked phrases.
    pub lakm: u32,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "mixmrc-lakm";
    const ABOUT: &'static str = "Trains a reader on translated and mixed questions, with masked \
        knowledge phrases as a second task, and tests it on every pair of languages (mixMRC + LAKM)";
    const EXAMPLES: &'static str = "\
mixmrc-lakm examples/mixmrc-lakm/small.toml --arms 'baseline,lakm*' --seeds 3
mixmrc-lakm examples/mixmrc-lakm/recipe.toml --model xlm-roberta-base \
--set data.train=train-v1.1.json --set data.translated=translated --set data.dev=MLQA_V1/dev \
--set data.phrases=phrases.jsonl --set data.evaluation=MLQA_V1/test";
    const EVALUATION_KEYS: &'static [&'static str] =
        &["evaluation", "data.evaluation", "arms.*.title", "bootstrap_unit"];
    experiment::recipe_fields!(Arm, stages: ["train"]);

    fn validate(&self) -> Result<()> {
        let (data, limits) = (&self.data, self.model.limits()?);
        data.train.required("data.train", "a SQuAD-style training file")?;
        let folder = "an output folder of `qa-translate translate`";
        if self.needs_translations() {
            data.translated.required("data.translated", folder)?;
        }
        for (name, translator) in self.translators() {
            let key = format!("data.translators.{translator}");
            let path = data.translators.get(translator);
            path.with_context(|| {
                format!("arms.{name}.translator: {key} is not set: give {folder}")
            })?
            .required(&key, folder)?;
        }
        data.evaluation.required("data.evaluation", "a folder with MLQA's question files")?;
        if self.selected().any(|arm| arm.lakm.is_some()) {
            data.phrases.required("data.phrases", "the output of `kg-triples phrases`")?;
        }
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        // A passage has `<s>`, `</s>` and at least one token.
        let length = self.lakm_max_length;
        ensure!(length >= 3, "lakm_max_length = {length}: must be 3 or more");
        limits.check_length("lakm_max_length", length)?;
        self.lakm.masking.validate().map_err(|error| anyhow!("lakm.{error}"))?;
        self.ngrams.validate().map_err(|error| anyhow!("ngrams.{error}"))?;
        self.training.validate().context("training")?;
        self.selection.validate()?;
        self.evaluation.validate()?;
        for (name, arm) in &self.arms {
            let valid = arm.mixed || !arm.mixed_on_top;
            ensure!(valid, "arms.{name}.mixed_on_top = true: must have mixed = true");
        }
        Ok(self.mix.check_languages(&self.languages)?)
    }
}

impl Recipe {
    /// Returns the arms to run.
    pub fn selected(&self) -> impl Iterator<Item = &Arm> {
        self.run.selected_arms().iter().map(|name| &self.arms[name])
    }

    /// Returns whether a selected arm needs `data.translated`: to train on the translations, or to
    /// count the mixed questions for drawing LAKM passages.
    pub fn needs_translations(&self) -> bool {
        let needs_mixed_count = |arm: &Arm| arm.lakm.is_some() && self.lakm_as_many_as_mixed;
        let trains = |arm: &Arm| arm.translator.is_none() && (arm.translated || arm.mixed);
        self.selected().any(|arm| trains(arm) || needs_mixed_count(arm))
    }

    /// Returns the translators of the selected arms, with the name of an arm. The translators are
    /// distinct.
    pub fn translators(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut by_translator: BTreeMap<&str, &str> = BTreeMap::new();
        for name in self.run.selected_arms() {
            if let Some(translator) = &self.arms[name].translator {
                by_translator.insert(translator, name);
            }
        }
        by_translator.into_iter().map(|(translator, name)| (name, translator))
    }

    /// Returns a round of the arm's tasks.
    pub fn round(&self, arm: &Arm) -> Round {
        let BatchesPerRound { mrc, mixed, lakm } = self.rounds;
        let batches = |count: Option<NonZeroU32>| count.map_or(1, NonZeroU32::get);
        Round {
            mrc: batches(mrc),
            mixed: if arm.mixed { batches(mixed) } else { 0 },
            lakm: if arm.lakm.is_some() { batches(lakm) } else { 0 },
        }
    }

    /// Returns the training options of an arm with `rows` windows of unmixed questions; see the
    /// field `training`.
    pub fn training(&self, arm: &Arm, rows: usize) -> TrainConfig {
        let Round { mrc, mixed, lakm } = self.round(arm);
        let (counted, additional) = match arm.mixed_on_top {
            true => (mrc, mixed + lakm),
            false => (mrc + mixed, lakm),
        };
        self.training.for_counted_tasks(rows, counted, additional)
    }
}
