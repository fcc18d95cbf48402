//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use examples::search::SearchConfig;
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig, TsvFolder};
use kg_triples::phrases::PhraseConfig;
use kg_triples::questions::FactQuestions;
use mlqa_eval::{Language, WindowConfig};
use objectives::masking::NgramMaskingConfig;
use qa_translate::MixConfig;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{PassageMasking, PhraseTaskConfig};
use tasks::question_answering::{EvaluationConfig, QaConfig, question_file};
use trainer::TrainConfig;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// The source language, whose questions were translated, and the others.
    pub languages: Vec<Language>,
    /// Longest passage of LAKM in tokens, `<s>` and `</s>` counted.
    pub lakm_max_length: usize,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub mix: MixConfig,
    /// Batches of each task in a round.
    pub rounds: Rounds,
    /// `steps` counts the updates on questions; those on phrases come on top. `epochs` are those of
    /// the questions in one language.
    pub training: TrainConfig,
    pub qa: QaConfig,
    pub windows: WindowConfig,
    pub lakm: PhraseTaskConfig,
    /// What [`PhraseMasking::Ngrams`] masks.
    pub ngrams: NgramMaskingConfig,
    pub evaluation: EvaluationConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style questions in the source language; not with `templates`.
    pub train: InputPath,
    /// Folder that `qa-translate translate` wrote from them; not with `templates`.
    pub translated: JsonFolder,
    /// Folder with MLQA-named question files; not with `templates`.
    pub evaluation: JsonFolder,
    /// Passages with knowledge phrases that `kg-triples phrases` wrote; not with `search`.
    pub phrases: InputPath,
    /// Folder with `triples.tsv` and `labels.tsv`, for `templates`.
    pub kg: TsvFolder,
    /// Sentence templates in all languages: questions are made from triples in place of the first
    /// three.
    pub templates: InputPath,
    /// How they are made.
    pub facts: FactQuestions,
    /// Phrases mined from a stand-in for a search engine in place of `phrases`.
    pub search: Option<Search>,
}

/// Queries, documents, and what is a phrase.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    pub documents: SearchConfig,
    pub mining: PhraseConfig,
}

/// One arm: the tasks beside reading the source language's questions.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// What tables call it; absent: its name.
    pub title: Option<String>,
    /// Reads the translations too, question and passage in one language.
    pub translated: bool,
    /// mixMRC: reads questions in another language than their passages.
    pub mixed: bool,
    /// LAKM: masks phrases in passages.
    pub lakm: Option<PhraseMasking>,
}

/// What LAKM masks.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseMasking {
    /// Knowledge phrases, as `lakm.masking` says.
    Phrases,
    /// Random n-grams of the same passages (Table 8).
    Ngrams,
}

/// Batches of each task in a round: question and passage in one language, in two, and passages with
/// masked phrases.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounds {
    pub mrc: NonZeroU32,
    pub mixed: NonZeroU32,
    pub lakm: NonZeroU32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { mrc: NonZeroU32::MIN, mixed: NonZeroU32::MIN, lakm: NonZeroU32::MIN }
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "mixmrc-lakm";
    const ABOUT: &'static str = "Trains a reader on translated and mixed questions, with masked \
        knowledge phrases beside it, and tests it on every pair of languages (mixMRC + LAKM)";
    const EXAMPLES: &'static str = "\
mixmrc-lakm examples/mixmrc-lakm/small.toml --seeds 3
mixmrc-lakm examples/mixmrc-lakm/small.toml --arms 'baseline,lakm*' --out runs/table8
mixmrc-lakm examples/mixmrc-lakm/recipe.toml --model xlm-roberta-base \
--set data.train=train-v1.1.json --set data.translated=translated \
--set data.phrases=phrases.jsonl --set data.evaluation=MLQA_V1/test";
    const EVALUATION: &'static [&'static str] = &["evaluation", "data.evaluation", "arms.*.title"];
    const RENAMED: &'static [(&'static str, &'static str)] = &[
        ("reading.context_only", "qa.context_only"),
        ("reading.*", "qa.augmentation.*"),
        ("span_loss.*", "qa.span_loss.*"),
        ("data.facts.kg", "data.kg"),
        ("data.facts.templates", "data.templates"),
    ];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let (data, limits) = (&self.data, self.model.limits()?);
        if data.templates.is_set() {
            data.kg.required("data.kg", "a folder with triples.tsv and labels.tsv")?;
            let split = &self.evaluation.split;
            let known = ["dev", "test"].contains(&split.as_str());
            ensure!(known, "evaluation.split = {split:?}: must be \"dev\" or \"test\"");
        } else {
            data.train.required("data.train", "a SQuAD-style training file")?;
            if self.selected().any(|arm| arm.translated || arm.mixed) {
                let what = "the folder that `qa-translate translate` wrote";
                data.translated.required("data.translated", what)?;
            }
            data.evaluation.required("data.evaluation", "a folder with MLQA's question files")?;
        }
        if data.search.is_none() && self.selected().any(|arm| arm.lakm.is_some()) {
            data.phrases.required("data.phrases", "what `kg-triples phrases` wrote")?;
        }
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        limits.expect_length("lakm_max_length", self.lakm_max_length)?;
        self.training.validate().context("training")?;
        self.evaluation.validate()?;
        let (source, languages) = (self.mix.source_language, &self.languages);
        ensure!(
            languages.first() == Some(&source) && languages.len() > 1,
            "languages = {languages:?}: must be mix.source_language, {source}, and one other or more"
        );
        Ok(())
    }
}

impl Recipe {
    /// The arms to run.
    pub fn selected(&self) -> impl Iterator<Item = &Arm> {
        self.run.selected().iter().filter_map(|name| self.arms.get(name))
    }

    /// The source language's questions in a folder.
    pub fn train_file(&self, folder: &Path) -> PathBuf {
        question_file(folder, "train", self.mix.source_language, self.mix.source_language)
    }

    /// The training stage of an arm: as many updates on questions in each, those on phrases on top.
    pub fn training(&self, arm: &Arm) -> TrainConfig {
        let batches = |rounds: NonZeroU32| u64::from(rounds.get());
        let Rounds { mrc, mixed, lakm } = self.rounds;
        let reading = batches(mrc) + if arm.mixed { batches(mixed) } else { 0 };
        let round = reading + if arm.lakm.is_some() { batches(lakm) } else { 0 };
        let steps = self.training.steps.map(|steps| steps.div_ceil(reading) * round);
        TrainConfig { steps, ..self.training.clone() }
    }

    /// LAKM as an arm has it.
    pub fn lakm(&self, masking: PhraseMasking) -> PhraseTaskConfig {
        let mut config = self.lakm.clone();
        if let PhraseMasking::Ngrams = masking {
            config.masking = PassageMasking::Ngrams(self.ngrams.clone());
        }
        config
    }
}
