//! The keys of `recipe.toml` and their meaning.
use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use examples::numbers::{Item, check_english_contexts};
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig, ShardPaths, Trial, TsvFolder};
use kg_triples::SequenceKind;
use mlqa_eval::{Language, WindowConfig};
use objectives::EntityCompletionConfig;
use objectives::masking::MlmMaskingConfig;
use serde::{Deserialize, Serialize};
use tasks::LanguageGroups;
use tasks::label_retrieval::MappedRetrievalConfig;
use tasks::masked_lm::{PassageMasking, PhraseTaskConfig};
use tasks::question_answering::{EvaluationConfig, QaConfig};
use trainer::{ShuffleConfig, TrainConfig};

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Models of a run: one for each pair of English and another language, or one for all
    /// languages.
    pub models: LanguageGroups,
    /// English and the languages of the questions.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    #[serde(skip_serializing_if = "ShuffleConfig::is_default")]
    pub shuffle: ShuffleConfig,
    pub injection: TrainConfig,
    pub injection_loss: EntityCompletionConfig,
    #[serde(skip_serializing_if = "Text::is_default")]
    pub text: Text,
    /// Options of a control for label retrieval that maps the token embeddings before retrieval.
    /// The map is fitted to the labels of entities other than the evaluated ones.
    pub label_map: MappedRetrievalConfig,
    pub fine_tuning: TrainConfig,
    pub qa: QaConfig,
    /// Whether to centre the token embeddings before fine-tuning. They are then scaled to their
    /// previous mean norm.
    pub center_word_embeddings: bool,
    /// Whether to save the model after injection, with its masked-LM head, in the folder `injected`
    /// of the trial.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_injected: bool,
    pub windows: WindowConfig,
    pub evaluation: EvaluationConfig,
    /// Unit that the bootstrap resamples.
    #[serde(skip_serializing_if = "Item::is_default")]
    pub bootstrap_unit: Item,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    pub kg: TsvFolder,
    /// Sequences made from the triples in `kg`, in a folder that `kg-triples mix` wrote.
    pub sequences: ShardPaths,
    /// SQuAD-style training questions.
    pub train: InputPath,
    /// Folder with MLQA-named question files.
    pub evaluation: JsonFolder,
}

/// Options of masked language modelling (Eq. 1) on the running text of [`Arm::text`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Text {
    /// Maximum length of a passage in tokens, including special tokens; longer passages are split.
    pub max_length: usize,
    /// Weight of the loss on text; the weight of the loss on sequences is 1.
    pub weight: f64,
    pub task: PhraseTaskConfig,
}

impl Default for Text {
    fn default() -> Self {
        let masking = PassageMasking::Tokens(MlmMaskingConfig::default());
        let task = PhraseTaskConfig { masking, ..PhraseTaskConfig::default() };
        Self { max_length: 48, weight: 1.0, task }
    }
}

impl Text {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    fn validate(&self) -> Result<()> {
        // A passage has `<s>`, `</s>` and at least one token.
        let length = self.max_length;
        ensure!(length >= 3, "text.max_length = {length}: must be 3 or more");
        let weight = self.weight;
        ensure!(weight > 0.0 && weight.is_finite(), "text.weight = {weight}: must be positive");
        self.task.masking.validate().map_err(|error| anyhow!("text.task.{error}"))
    }
}

/// One arm: the kinds of sequences to inject. Without kinds and text, nothing is injected.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    pub kinds: Vec<SequenceKind>,
    /// Running text, `<lang>.json` in a folder that `demo-data text` wrote. Each step also has a
    /// batch of it; without kinds, it has text only. It is not part of the paper's injection, and
    /// is intended to preserve what the encoder learned before.
    #[serde(skip_serializing_if = "InputPath::is_unset")]
    pub text: JsonFolder,
    /// Name of another arm. This arm trains on as many tokens of sequences as the named arm,
    /// excluding padding.
    pub equal_tokens: Option<String>,
    /// Replaces `data.sequences`.
    #[serde(skip_serializing_if = "ShardPaths::is_unset")]
    pub sequences: ShardPaths,
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "bridging-gap";
    const ABOUT: &'static str = "Injects knowledge triples into XLM-R, fine-tunes it on English \
        questions and tests it on questions in other languages.";
    const EXAMPLES: &'static str = "\
bridging-gap examples/bridging-gap/small.toml --prepare --seeds 3
bridging-gap examples/bridging-gap/recipe.toml --model xlm-roberta-base --prepare \\
    --set data.train=train-v1.1.json --set data.evaluation=MLQA_V1/test --out runs/paper";
    const EVALUATION_KEYS: &'static [&'static str] =
        &["evaluation", "data.evaluation", "bootstrap_unit"];
    experiment::recipe_fields!(Arm, stages: ["inject", "fine-tune"]);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        self.data.kg.required("data.kg", "a folder with triples.tsv and labels.tsv")?;
        let languages = &self.languages;
        let valid = languages.first() == Some(&Language::EN) && languages.len() > 1;
        ensure!(valid, "languages = {languages:?}: must be \"en\" and at least one other");
        self.data.train.required("data.train", "a SQuAD-style training file")?;
        self.data.evaluation.required("data.evaluation", "a folder with MLQA's files")?;
        self.injection.validate().context("injection")?;
        self.fine_tuning.validate().context("fine_tuning")?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.evaluation.validate().context("evaluation")?;
        check_english_contexts(&self.evaluation)?;
        if self.run.selected_arms().iter().any(|name| self.arms[name].text.is_set()) {
            self.text.validate()?;
            limits.check_length("text.max_length", self.text.max_length)?;
        }
        for (name, arm) in &self.arms {
            let sequences = [&arm.sequences, &self.data.sequences].map(|paths| paths.first());
            let unset = InputPath::default();
            let sequences = sequences.into_iter().flatten().next().unwrap_or(&unset);
            if !arm.kinds.is_empty() {
                sequences.required("data.sequences", "an output folder of `kg-triples mix`")?;
            }
            let Some(other) = &arm.equal_tokens else { continue };
            let key = format!("arms.{name}.equal_tokens = {other:?}");
            let reference = self.arms.get(other).with_context(|| format!("{key}: no such arm"))?;
            let has_sequences = !arm.kinds.is_empty() && !reference.kinds.is_empty();
            ensure!(has_sequences, "{key}: both arms must have `kinds`");
        }
        Ok(())
    }

    // Without injection, one model is trained for all languages.
    fn variants(&self, arm: &str) -> Vec<String> {
        let is_injected = self.arms[arm].is_injected();
        let groups = if is_injected { self.models } else { LanguageGroups::Joint };
        groups.names(&self.languages)
    }
}

impl Arm {
    /// Returns whether the arm trains on sequences or text before fine-tuning.
    pub fn is_injected(&self) -> bool {
        !self.kinds.is_empty() || self.text.is_set()
    }
}

impl Recipe {
    /// Returns the files of an arm's sequences.
    pub fn sequences_of<'a>(&'a self, arm: &'a Arm) -> &'a ShardPaths {
        if arm.sequences.is_set() { &arm.sequences } else { &self.data.sequences }
    }

    /// Returns the languages of a model, English first.
    pub fn languages_of(&self, trial: &Trial<Self>) -> Vec<Language> {
        // A trial without a variant is the only model, for all languages.
        self.models.members(&self.languages, trial.variant.as_deref().unwrap_or(""))
    }
}
