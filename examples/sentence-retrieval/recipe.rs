//! The keys of `recipe.toml`.
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{BaseModel, JsonFolder, JsonlFolder, RunConfig, TsvFolder};
use mlqa_eval::Language;
use objectives::ListwiseConfig;
use serde::{Deserialize, Serialize};
use tasks::text_pairs::{PairLoss, TextPairConfig};
use trainer::TrainConfig;
use transfer_eval::retrieval::RankConfig;

/// Options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Languages of questions and paragraphs.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Number of articles to train on; the questions of the following articles are queries.
    pub train_articles: usize,
    /// Share of the words that are dropped from the copy of a question, if this copy is the
    /// question's positive key.
    pub dropped_words: f64,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    pub prefixes: Prefixes,
    pub pairs: TextPairConfig,
    pub training: TrainConfig,
    pub evaluation: Evaluation,
    pub reranking: Reranking,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder with `xquad.<lang>.json`.
    pub xquad: JsonFolder,
    /// Folder with `<lang>.tsv`: parallel sentences in the same order.
    pub sentences: TsvFolder,
    /// Folder with `entities.<lang>.jsonl.gz`: names and descriptions of entities.
    pub entities: JsonlFolder,
}

/// Prefixes of texts, which E5 encoders require.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Prefixes {
    /// Prefix of questions and sentences.
    pub query: String,
    /// Prefix of paragraphs.
    pub passage: String,
}

/// The positive key of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Positive {
    /// The same question in another language.
    Translation,
    /// The question's paragraph in another language.
    Paragraph,
    /// The question's paragraph in the question's language.
    OwnParagraph,
    /// The question with dropped words.
    DroppedWords,
}

/// One arm. Without `positive` and `rerank`, nothing is trained.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; default: the arm's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<Positive>,
    /// Trains a cross-encoder that re-ranks descriptions of entities, in place of a sentence encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerank: Option<ListwiseConfig>,
    /// Replaces `pairs.loss`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<PairLoss>,
    /// Replaces `training.batch_size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<usize>,
    /// Replaces `training.steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
}

/// Options of the evaluation.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Languages of the sentences.
    #[serde(deserialize_with = "language::plausible::list")]
    pub sentence_languages: Vec<Language>,
    /// Maximum number of sentences per language.
    pub max_sentences: usize,
    /// Maximum text length in tokens.
    pub max_length: usize,
    pub batch_size: usize,
    /// Number of questions per language that are added to the vector of each paragraph.
    pub questions: usize,
    /// Weight of each question in the vector of its paragraph.
    pub alpha: f64,
    pub ranks: RankConfig,
}

/// Options of re-ranking: the names of entities are queries, and their descriptions are candidates.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reranking {
    /// Languages of names and descriptions; empty: the base is not evaluated on entities.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Maximum number of entities.
    pub max_entities: usize,
    /// Share of the entities for testing.
    pub held_out: f64,
    /// Number of candidates per name.
    pub candidates: usize,
    /// Maximum number of test names per pair of languages.
    pub queries: usize,
    /// Maximum number of tokens of a name with a description.
    pub max_length: usize,
    pub training: TrainConfig,
}

impl Reranking {
    /// Returns whether entities are read.
    pub fn is_used(&self) -> bool {
        !self.languages.is_empty()
    }

    fn validate(&self, recipe: &Recipe) -> Result<()> {
        if !self.is_used() {
            let unused = recipe.arms.values().all(|arm| arm.rerank.is_none());
            ensure!(unused, "reranking.languages = []: arms with `rerank` need two or more");
            return Ok(());
        }
        recipe.data.entities.required("data.entities", "a folder with entities by language")?;
        ensure!(
            self.languages.len() > 1,
            "reranking.languages = {:?}: must be two languages or more",
            self.languages
        );
        let share = self.held_out;
        ensure!(share > 0.0 && share < 1.0, "reranking.held_out = {share}: must be in (0, 1)");
        for (key, value) in [
            ("max_entities", self.max_entities),
            ("candidates", self.candidates),
            ("queries", self.queries),
        ] {
            ensure!(value > 0, "reranking.{key} = 0: must be 1 or more");
        }
        self.training.validate().context("reranking.training")?;
        recipe.model.limits()?.check_length("reranking.max_length", self.max_length)?;
        Ok(())
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "sentence-retrieval";
    const ABOUT: &'static str = "Trains a multilingual sentence encoder on pairs of texts \
        or a re-ranker of entity descriptions, and evaluates retrieval across languages.";
    const EXAMPLES: &'static str = "\
sentence-retrieval examples/sentence-retrieval/small.toml --seeds 3
sentence-retrieval examples/sentence-retrieval/recipe.toml --model xlm-roberta-base --out runs/sr";
    const EVALUATION_KEYS: &'static [&'static str] =
        &["evaluation", "data.sentences", "arms.*.title"];
    experiment::recipe_fields!(Arm, stages: ["train"]);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        self.data.xquad.required("data.xquad", "a folder with XQuAD's files")?;
        self.data.sentences.required("data.sentences", "a folder with sentences by language")?;
        let sets = [
            ("languages", &self.languages),
            ("evaluation.sentence_languages", &self.evaluation.sentence_languages),
        ];
        for (key, languages) in sets {
            ensure!(languages.len() > 1, "{key} = {languages:?}: must be two languages or more");
        }
        let share = self.dropped_words;
        ensure!((0.0..1.0).contains(&share), "dropped_words = {share}: must be in [0, 1)");
        let alpha = self.evaluation.alpha;
        ensure!((0.0..1.0).contains(&alpha), "evaluation.alpha = {alpha}: must be in [0, 1)");
        self.pairs.validate().context("pairs")?;
        limits.check_length("pairs.sentence_length", self.pairs.sentence_length)?;
        limits.check_length("evaluation.max_length", self.evaluation.max_length)?;
        self.reranking.validate(self)?;
        for (name, arm) in &self.arms {
            let one_method = arm.positive.is_none() || arm.rerank.is_none();
            ensure!(one_method, "arms.{name}: give either positive or rerank");
            if let Some(rerank) = &arm.rerank {
                rerank.validate().with_context(|| format!("arms.{name}.rerank"))?;
            }
            self.training(arm).validate().with_context(|| format!("training, arms.{name}"))?;
        }
        Ok(())
    }
}

impl Recipe {
    /// Returns the training options of an arm.
    pub fn training(&self, arm: &Arm) -> TrainConfig {
        let mut training = self.training.clone();
        training.batch_size = arm.batch_size.unwrap_or(training.batch_size);
        training.steps = arm.steps.or(training.steps);
        training
    }
}
