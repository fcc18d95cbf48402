//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use examples::folder::{self, RunRecipe};
use examples::machine::Machine;
use kg_triples::questions::EntitySplit;
use kg_triples::{SampleConfig, SequenceConfig, SequenceKind};
use mlqa_eval::{Language, WindowConfig};
use objectives::EntityCompletionConfig;
use serde::{Deserialize, Serialize};
use tasks::question_answering::{EvaluationConfig, QaConfig, question_file};
use trainer::TrainConfig;
use xlmr_model::{Config, Segments};

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// One run of all arms for each.
    pub seeds: Vec<u64>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// 0: one per core.
    pub threads: usize,
    /// `auto`, `highest`, `high` or `medium`.
    pub float32_matmul: String,
    /// One model for each pair of languages, or one for all.
    pub models: Models,
    /// Centers the word embeddings before fine-tuning, and gives each the mean norm they had before
    /// injection.
    pub center_word_embeddings: bool,
    /// English and the languages of the questions.
    pub languages: Vec<String>,
    /// Arms to run, in this order.
    pub run_arms: Vec<String>,
    pub data: Data,
    pub model: Start,
    pub arms: BTreeMap<String, Arm>,
    pub sampling: SampleConfig,
    pub sequences: SequenceConfig,
    pub injection: TrainConfig,
    pub injection_loss: EntityCompletionConfig,
    pub fine_tuning: TrainConfig,
    pub qa: QaConfig,
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
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: PathBuf,
    /// SQuAD-style training questions; not with `templates`.
    pub train: PathBuf,
    /// Folder with MLQA-named question files; not with `templates`.
    pub evaluation: PathBuf,
    /// Sentence templates: training and evaluation questions are then made from the knowledge itself.
    pub templates: Option<PathBuf>,
    /// How they are made.
    pub facts: Facts,
}

/// Questions made from knowledge.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Training questions, each with a context whose labels are drawn at random.
    pub items: usize,
    /// Head entities by split; evaluation contexts tell true facts.
    pub split: EntitySplit,
}

impl Default for Facts {
    fn default() -> Self {
        Self { items: 10_000, split: EntitySplit::default() }
    }
}

/// The checkpoint a run starts from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// Hugging Face folder.
    pub path: PathBuf,
    /// Segment embeddings.
    pub segments: Segments,
}

/// One arm: what knowledge is injected. Without kinds, none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arm {
    /// Kinds of sequences.
    pub kinds: Vec<SequenceKind>,
    /// Trains for as many tokens, padding left out, as this arm.
    pub equal_tokens: Option<String>,
    /// Leaves out the facts whose head is in this split of `data.facts`.
    pub without_split: Option<String>,
}

/// Languages that share a model: each pair is English with another.
pub struct Group {
    /// Folder name.
    pub name: String,
    /// English first.
    pub pairs: Vec<(String, String)>,
    /// English first.
    pub languages: Vec<String>,
}

impl RunRecipe for Recipe {
    // What no other crate checks.
    fn validate(&self) -> Result<()> {
        let required = [
            ("model.path", &self.model.path, "a Hugging Face folder of XLM-R (--model DIR)"),
            ("data.kg", &self.data.kg, "a folder with triples.tsv and labels.tsv"),
        ];
        let read = [
            ("data.train", &self.data.train, "a SQuAD-style training file"),
            ("data.evaluation", &self.data.evaluation, "a folder with MLQA's question files"),
        ];
        let read = read.iter().filter(|_| self.data.templates.is_none());
        for (key, value, what) in required.iter().chain(read) {
            if value.as_os_str().is_empty() {
                bail!("{key} is not set: give {what}, for instance with --set {key}=PATH");
            }
            if !value.exists() {
                bail!("{key} = {}: no such file or folder", value.display());
            }
        }
        let config = Config::from_file(self.model.path.join("config.json"))?;
        self.validate_lengths(&config)?;
        self.injection.validate().context("injection")?;
        self.fine_tuning.validate().context("fine_tuning")?;
        self.evaluation.validate()?;
        if self.evaluation.contexts.first() != Some(&Language::EN) {
            bail!("evaluation.contexts = {:?}: must begin with \"en\"", self.evaluation.contexts);
        }
        if self.data.templates.is_some() {
            let split = &self.evaluation.split;
            if !["dev", "test"].contains(&split.as_str()) {
                bail!("evaluation.split = {split:?}: must be \"dev\" or \"test\"");
            }
            if self.evaluation.contexts.len() > 1 {
                bail!("evaluation.contexts: contexts made from templates are English alone");
            }
        }
        if self.languages.first().map(String::as_str) != Some("en") || self.languages.len() < 2 {
            bail!("languages = {:?}: must be \"en\" and at least one other", self.languages);
        }
        if self.seeds.is_empty() {
            bail!("seeds = []: give at least one");
        }
        if let Some(name) = self.run_arms.iter().find(|name| !self.arms.contains_key(*name)) {
            let known: Vec<&str> = self.arms.keys().map(String::as_str).collect();
            bail!("run_arms: no arm is called {name:?} (arms: {})", known.join(", "));
        }
        for (name, arm) in &self.arms {
            if let Some(split) = &arm.without_split
                && !["train", "dev", "test"].contains(&split.as_str())
            {
                bail!(
                    "arms.{name}.without_split = {split:?}: must be \"train\", \"dev\" or \"test\""
                );
            }
            if let Some(other) = arm.equal_tokens.as_ref().filter(|k| !self.arms.contains_key(*k)) {
                bail!("arms.{name}.equal_tokens: no arm is called {other:?}");
            }
        }
        Ok(())
    }

    fn decisive(&self) -> Self {
        let plain = |config: &TrainConfig| TrainConfig {
            checkpoint_steps: None,
            keep_checkpoints: 1,
            log_steps: 1,
            ..config.clone()
        };
        Self {
            device: String::new(),
            threads: 0,
            injection: plain(&self.injection),
            fine_tuning: plain(&self.fine_tuning),
            ..self.clone()
        }
    }

    // Evaluation files are named by their languages.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        files.extend(folder::files(&self.data.kg, |name| name.ends_with(".tsv"))?);
        files.extend(folder::model_files(&self.model.path)?);
        match &self.data.templates {
            Some(templates) => files.push(templates.clone()),
            None => {
                files.push(self.data.train.clone());
                files.extend(self.evaluation_files(&self.data.evaluation)?);
            }
        }
        Ok(files)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::set_up(&self.device, self.threads, &self.float32_matmul)
    }
}

impl Recipe {
    /// Lengths that the model or each other leaves no room for, and segments that one key asks for and another does not.
    fn validate_lengths(&self, config: &Config) -> Result<()> {
        let windows = &self.windows;
        let lengths = [
            ("windows.max_length", windows.max_length),
            ("sequences.max_length", self.sequences.max_length),
        ];
        for (key, length) in lengths {
            if i64::try_from(length).map_or(true, |length| length > config.max_length()) {
                bail!("{key} = {length}: the model has {} positions", config.max_length());
            }
        }
        let specials = 4;
        let least = windows.max_question_length + specials + windows.doc_stride;
        if windows.max_length <= least {
            bail!(
                "windows.max_length = {}: must be above max_question_length + doc_stride + {specials} = {least}",
                windows.max_length
            );
        }
        let two = config.type_vocab_size > 1 || self.model.segments == Segments::Learned2;
        if windows.segment_ids && !two {
            bail!(
                "windows.segment_ids = true: the model has one segment; set model.segments = \"learned2\" too"
            );
        }
        if !windows.segment_ids && self.model.segments == Segments::Learned2 {
            bail!("model.segments = \"learned2\": set windows.segment_ids = true too, to use them");
        }
        Ok(())
    }

    /// The sample of facts: labels in the run's languages, unless `sampling.languages` names others.
    pub fn sampling(&self) -> SampleConfig {
        let default = SampleConfig::default().languages;
        let languages = match self.sampling.languages == default {
            true => self.languages.clone(),
            false => self.sampling.languages.clone(),
        };
        SampleConfig { languages, ..self.sampling.clone() }
    }

    /// The question files of the evaluation, in `folder`.
    pub fn evaluation_files(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for &context in &self.evaluation.contexts {
            for question in &self.languages {
                let question = question.parse()?;
                let path = question_file(folder, &self.evaluation.split, context, question);
                if !path.exists() {
                    bail!(
                        "{}: no such file; data.evaluation must hold MLQA's files, such as test-context-en-question-de.json",
                        path.display()
                    );
                }
                files.push(path);
            }
        }
        Ok(files)
    }

    /// The models of an arm: without injection one serves all languages.
    pub fn groups(&self, arm: &Arm) -> Vec<Group> {
        let others = || self.languages.iter().skip(1);
        let pair = |other: &String| ("en".to_owned(), other.clone());
        if self.models == Models::Joint || arm.kinds.is_empty() {
            return vec![Group {
                name: "all".into(),
                pairs: others().map(pair).collect(),
                languages: self.languages.clone(),
            }];
        }
        others()
            .map(|other| Group {
                name: format!("en-{other}"),
                pairs: vec![pair(other)],
                languages: vec!["en".into(), other.clone()],
            })
            .collect()
    }
}
