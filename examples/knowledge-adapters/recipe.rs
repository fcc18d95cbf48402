//! The keys of `recipe.toml` and their meaning.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use examples::numbers::{Item, check_english_contexts};
use examples::sentences;
use experiment::{BaseModel, InputPath, JsonFolder, RunConfig, ShardFiles, TsvFolder};
use kg_triples::KnowledgeGraph;
use kg_triples::knowledge::PairKind;
use kg_triples::phrases::PhrasePassage;
use mlqa_eval::{Language, WindowConfig};
use serde::{Deserialize, Serialize};
use tasks::graph_retrieval::GraphQueries;
use tasks::masked_lm::PhraseTaskConfig;
use tasks::question_answering::{EvaluationConfig, QaConfig, TrainingQuestions, check_files};
use tasks::text_pairs::{PairData, TextPairConfig};
use trainer::TrainConfig;
use transfer_eval::retrieval::map::MapConfig;
use xlmr_model::BottleneckConfig;

/// All options that determine a run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Languages of labels, facts and questions: English and others.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    pub run: RunConfig,
    pub data: Data,
    pub model: BaseModel,
    pub arms: BTreeMap<String, Arm>,
    /// Options of an adapter for one kind of pairs.
    pub adapter: BottleneckConfig,
    /// Options of the adapter for all kinds of pairs.
    pub one_adapter: BottleneckConfig,
    pub pairs: TextPairConfig,
    /// Training of adapters, or of all parameters, on pairs of texts.
    pub knowledge: PairSchedule,
    /// Training of the fusion weights.
    pub fusion: PairSchedule,
    /// Options of the control for retrieval: an orthogonal map of the base model's vectors.
    pub map: MapConfig,
    pub language_model: LanguageModel,
    pub fine_tuning: TrainConfig,
    pub qa: QaConfig,
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
    /// Knowledge graph whose labels and objects are retrieved in the evaluation.
    pub kg: TsvFolder,
    /// Pairs of texts of all kinds, in a folder that `kg-triples pairs --hold-out` wrote.
    pub pairs: InputPath<ShardFiles>,
    /// Folder with `<lang>.tsv`: sentences on which the masked-LM loss is measured. Training on
    /// pairs should not increase this loss.
    pub sentences: TsvFolder,
    /// SQuAD-style training questions.
    pub train: InputPath,
    /// Folder with MLQA-named question files.
    pub evaluation: JsonFolder,
}

/// One arm: how a model is trained on pairs before fine-tuning. Without `adapters` and `union`,
/// nothing is trained on pairs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Row title in tables; absent: the arm's name.
    pub title: Option<String>,
    /// Active adapters, each trained on one kind of pairs. Several adapters are fused.
    pub adapters: Vec<PairKind>,
    /// Parameters to train on pairs of all kinds, instead of one adapter for each kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub union: Option<UnionParameters>,
    /// Learning rate for training `union`, instead of the learning rates of the two stages of
    /// `knowledge`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
}

impl Arm {
    /// Returns whether nothing is trained on pairs.
    pub fn is_base(&self) -> bool {
        self.adapters.is_empty() && self.union.is_none()
    }
}

/// Parameters that are trained on all kinds of pairs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnionParameters {
    /// Every parameter of the model, without an adapter.
    AllParameters,
    /// One adapter.
    Adapter,
}

/// Training schedule on pairs. Each round has a stage on phrases, followed by a stage on sentences.
/// Within a stage, batches of the kinds of pairs alternate.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PairSchedule {
    /// Number of rounds; each round has separate learning-rate schedules.
    pub rounds: u64,
    /// Share of the phrase pairs to train on. A new share is drawn in each round.
    pub phrase_share: f64,
    /// Share of the sentence pairs to train on. A new share is drawn in each round.
    pub sentence_share: f64,
    /// Number of optimiser steps with increasing learning rate; replaces `warmup_ratio`.
    pub warmup_steps: Option<u64>,
    /// Training on phrase pairs; `steps` and `epochs` are for each of the kinds `PairKind::Ep` and
    /// `PairKind::Tp` separately.
    pub phrases: TrainConfig,
    pub sentences: TrainConfig,
}

impl Default for PairSchedule {
    fn default() -> Self {
        Self {
            rounds: 1,
            phrase_share: 1.0,
            sentence_share: 1.0,
            warmup_steps: None,
            phrases: TrainConfig::default(),
            sentences: TrainConfig::default(),
        }
    }
}

impl PairSchedule {
    /// Returns the stages of a round: name, alternating kinds, share of the pairs, and training
    /// options.
    pub fn stages(&self) -> [(&'static str, [PairKind; 2], f64, &TrainConfig); 2] {
        [
            ("phrases", [PairKind::Tp, PairKind::Ep], self.phrase_share, &self.phrases),
            ("sentences", [PairKind::Ts, PairKind::Es], self.sentence_share, &self.sentences),
        ]
    }

    fn validate(&self) -> Result<()> {
        ensure!(self.rounds > 0, "rounds = 0: must be 1 or more");
        for (name, _, share, config) in self.stages() {
            let key = name.trim_end_matches('s');
            let valid = share > 0.0 && share <= 1.0;
            ensure!(valid, "{key}_share = {share}: must be above 0 and at most 1");
            config.validate().context(name)?;
        }
        Ok(())
    }
}

/// Options for measuring the masked-LM loss on sentences; no model is trained with this loss.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LanguageModel {
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
    /// Number of sentences per language.
    pub sentences: usize,
    /// Maximum passage length in tokens, including special tokens.
    pub max_length: usize,
    /// Segment of all tokens.
    pub segment: u32,
    pub batch_size: usize,
}

impl Default for LanguageModel {
    fn default() -> Self {
        Self { languages: Vec::new(), sentences: 1000, max_length: 128, segment: 0, batch_size: 32 }
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "knowledge-adapters";
    const ABOUT: &'static str = "Trains small adapters of a frozen XLM-R on labels, triples, \
        descriptions and sentences across languages, fuses them, and evaluates labels, objects and \
        answers.";
    const EXAMPLES: &'static str = "\
knowledge-adapters examples/knowledge-adapters/small.toml --prepare --seeds 3
knowledge-adapters examples/knowledge-adapters/recipe.toml --model xlm-roberta-base --prepare \\
    --set data.train=train-v1.1.json --set data.evaluation=MLQA_V1/test --out runs/paper";
    const EVALUATION_KEYS: &'static [&'static str] =
        &["evaluation", "data.evaluation", "arms.*.title", "bootstrap_unit"];
    experiment::recipe_fields!(Arm);

    fn validate(&self) -> Result<()> {
        let limits = self.model.limits()?;
        let unset = self.model.adapters.is_none();
        ensure!(unset, "model.adapters: set the adapters in `arms` and their options in `adapter`");
        self.data.kg.required("data.kg", "a folder with triples.tsv and labels.tsv")?;
        self.data.pairs.required("data.pairs", "an output folder of `kg-triples pairs`")?;
        self.data.sentences.required("data.sentences", "a folder with sentences by language")?;
        self.data.train.required("data.train", "a SQuAD-style training file")?;
        self.data.evaluation.required("data.evaluation", "a folder with MLQA's files")?;
        let languages = &self.languages;
        let valid = languages.first() == Some(&Language::EN) && languages.len() > 1;
        ensure!(valid, "languages = {languages:?}: must be \"en\" and at least one other");
        self.pairs.validate().context("pairs")?;
        for (key, length) in [
            ("pairs.phrase_length", self.pairs.phrase_length),
            ("pairs.sentence_length", self.pairs.sentence_length),
            ("language_model.max_length", self.language_model.max_length),
        ] {
            limits.check_length(key, length)?;
        }
        let reductions = [("adapter", &self.adapter), ("one_adapter", &self.one_adapter)];
        for (key, BottleneckConfig { reduction, .. }) in reductions {
            ensure!(*reduction > 0, "{key}.reduction = {reduction}: must be 1 or more");
        }
        self.knowledge.validate().context("knowledge")?;
        self.fusion.validate().context("fusion")?;
        self.fine_tuning.validate().context("fine_tuning")?;
        self.windows.validate(limits.positions, limits.segments).context("windows")?;
        self.evaluation.validate().context("evaluation")?;
        check_english_contexts(&self.evaluation)?;
        for (name, arm) in &self.arms {
            let Arm { adapters, union, .. } = arm;
            let distinct: BTreeSet<&PairKind> = adapters.iter().collect();
            ensure!(
                distinct.len() == adapters.len(),
                "arms.{name}.adapters: an adapter is listed twice"
            );
            let is_exclusive = adapters.is_empty() || union.is_none();
            ensure!(is_exclusive, "arms.{name}: set either adapters or union");
            let is_unused = arm.learning_rate.is_some() && union.is_none();
            ensure!(!is_unused, "arms.{name}.learning_rate: only allowed with union");
            self.union_schedule(arm).validate().with_context(|| format!("arms.{name}"))?;
        }
        Ok(())
    }
}

/// Training and evaluation data.
pub struct Inputs {
    pub graph: KnowledgeGraph,
    pub pairs: PairData,
    pub sentences: BTreeMap<Language, Vec<PhrasePassage>>,
    pub questions: TrainingQuestions,
}

impl Recipe {
    pub fn inputs(&self) -> Result<Inputs> {
        let (data, model) = (&self.data, &self.language_model);
        check_files(&self.evaluation.files(&data.evaluation, &self.languages))?;
        Ok(Inputs {
            graph: KnowledgeGraph::read_dir(&data.kg)?,
            pairs: PairData::read(&data.pairs)?,
            sentences: sentences::read(&data.sentences, &model.languages, model.sentences)?,
            questions: TrainingQuestions::read(&data.train)?,
        })
    }

    /// Returns the training options of `union` in an arm.
    pub fn union_schedule(&self, arm: &Arm) -> PairSchedule {
        let mut schedule = self.knowledge.clone();
        for stage in [&mut schedule.phrases, &mut schedule.sentences] {
            stage.learning_rate = arm.learning_rate.unwrap_or(stage.learning_rate);
        }
        schedule
    }

    /// Returns the queries of graph retrieval.
    pub fn graph_queries<'a>(&'a self, inputs: &'a Inputs) -> GraphQueries<'a> {
        let (graph, held_out) = (&inputs.graph, &inputs.pairs.held_out);
        GraphQueries { graph, languages: &self.languages, held_out }
    }

    /// Returns the kinds of adapters that the selected arms use.
    pub fn kinds(&self) -> BTreeSet<PairKind> {
        let arms = self.run.selected_arms().iter().map(|name| &self.arms[name]);
        arms.flat_map(|arm| arm.adapters.iter().copied()).collect()
    }

    /// Returns the options for scoring sentences: plain masked language modelling.
    pub fn masked_lm(&self) -> PhraseTaskConfig {
        let segment = self.language_model.segment;
        PhraseTaskConfig { segment, ..PhraseTaskConfig::default() }
    }
}
