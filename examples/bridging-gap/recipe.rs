//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, InputPath, RunConfig, TsvFolder};
use kg_triples::questions::FactQuestions;
use kg_triples::{SampleConfig, SequenceConfig, SequenceKind};
use mlqa_eval::{Dataset, Language, WindowConfig};
use objectives::EntityCompletionConfig;
use serde::{Deserialize, Serialize};
use tasks::question_answering::{EvaluationConfig, QaConfig};
use trainer::TrainConfig;

/// Everything that decides a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// One model for each pair of languages, or one for all.
    pub models: Models,
    /// English and the languages of the questions.
    pub languages: Vec<Language>,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub sampling: SampleConfig,
    pub sequences: SequenceConfig,
    pub injection: TrainConfig,
    pub injection_loss: EntityCompletionConfig,
    pub fine_tuning: TrainConfig,
    pub qa: QaConfig,
    /// Centres the word vectors and gives all of them their earlier mean norm before fine-tuning.
    pub center_word_embeddings: bool,
    pub windows: WindowConfig,
    pub evaluation: EvaluationConfig,
}

/// How many models a run trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Models {
    /// One for English with each other language, as in the paper's experiments.
    #[default]
    PerPair,
    /// One for all languages.
    Joint,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: TsvFolder,
    /// SQuAD-style training questions; not with `templates`.
    pub train: InputPath,
    /// Folder with MLQA-named question files; not with `templates`.
    pub evaluation: InputPath,
    /// Sentence templates: training and evaluation questions are then made from the triples.
    pub templates: InputPath,
    /// How they are made.
    pub facts: FactQuestions,
}

/// One arm: what knowledge is injected. Without kinds, none.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Kinds of sequences.
    pub kinds: Vec<SequenceKind>,
    /// Trains for as many tokens, padding left out, as this arm.
    pub equal_tokens: Option<String>,
    /// Leaves out the triples whose head is in this split of `data.facts`.
    pub without_split: Option<String>,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "bridging-gap";
    const ABOUT: &'static str = "Injects knowledge triples into XLM-R, fine-tunes it on English \
        questions and tests it on questions in other languages.";
    const EXAMPLES: &'static str = "\
bridging-gap examples/bridging-gap/small.toml --seeds 3
bridging-gap examples/bridging-gap/recipe.toml --model xlm-roberta-base --set data.kg=kg \\
    --set data.train=train-v1.1.json --set data.evaluation=MLQA_V1/test --out runs/paper";
    const EVALUATION: &'static [&'static str] = &["evaluation", "data.evaluation"];
    const RENAMED: &'static [(&'static str, &'static str)] = &[
        ("reading.context_only", "qa.context_only"),
        ("reading.recentre_embeddings", "center_word_embeddings"),
        ("reading.*", "qa.augmentation.*"),
        ("span_loss.*", "qa.span_loss.*"),
    ];

    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        self.data.kg.required("data.kg", "a folder with triples.tsv and labels.tsv")?;
        let others = self.languages.split_first().filter(|(first, _)| **first == Language::EN);
        ensure!(
            others.is_some_and(|(_, others)| !others.is_empty()),
            "languages = {:?}: must be \"en\" and at least one other",
            self.languages
        );
        if !self.data.templates.is_set() {
            self.data.train.required("data.train", "a SQuAD-style training file")?;
            self.data.evaluation.required("data.evaluation", "a folder with MLQA's files")?;
        }
        self.injection.validate().context("injection")?;
        self.fine_tuning.validate().context("fine_tuning")?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.evaluation.validate().context("evaluation")?;
        self.model.path.expect_length("sequences.max_length", self.sequences.max_length)?;
        for (name, arm) in &self.arms {
            let other = arm.equal_tokens.as_ref().filter(|other| !self.arms.contains_key(*other));
            ensure!(other.is_none(), "arms.{name}.equal_tokens: no arm is called {other:?}");
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<()> {
        if !self.data.templates.is_set() {
            for file in self.evaluation.files(&self.data.evaluation, &self.languages) {
                Dataset::read(file.path)?.check_scorable()?;
            }
        }
        Ok(())
    }

    // Without injection one model serves all languages.
    fn variants(&self, arm: &str) -> Vec<String> {
        let injects = self.arms.get(arm).is_some_and(|arm| !arm.kinds.is_empty());
        let others = self.languages.iter().skip(1);
        match self.models {
            Models::PerPair if injects => others.map(|other| format!("en-{other}")).collect(),
            _ => vec!["all".into()],
        }
    }
}

impl Recipe {
    /// The languages of a variant, English first.
    pub fn languages_of(&self, variant: Option<&str>) -> Vec<Language> {
        let other = variant.and_then(|variant| variant.strip_prefix("en-"));
        let wanted = |language: &&Language| {
            **language == Language::EN || other.is_none_or(|other| language.as_str() == other)
        };
        self.languages.iter().filter(wanted).copied().collect()
    }
}
