//! The keys of `recipe.toml` and what they mean.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use examples::evaluation::{EvaluationConfig, question_file};
use examples::folder::{self, RunRecipe};
use examples::machine::Machine;
use examples::reading::ReadingConfig;
use examples::search::SearchConfig;
use kg_triples::phrases::PhraseConfig;
use kg_triples::questions::EntitySplit;
use mlqa_eval::{DatasetName, Language, WindowConfig};
use objectives::SpanConfig;
use objectives::masking::NgramMaskingConfig;
use qa_translate::MixConfig;
use serde::{Deserialize, Serialize};
use tasks::masked_lm::{PassageMasking, PhraseTaskConfig};
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
    /// The source language, whose questions were translated, and the others.
    pub languages: Vec<String>,
    /// Arms to run, in this order.
    pub run_arms: Vec<String>,
    pub data: Data,
    pub model: Start,
    pub arms: BTreeMap<String, Arm>,
    pub mix: MixConfig,
    /// Batches of each task in a round.
    pub rounds: Rounds,
    /// `steps` counts the updates on questions; those on phrases come on top. `epochs` are those of the unmixed questions.
    pub training: TrainConfig,
    pub span_loss: SpanConfig,
    pub reading: ReadingConfig,
    pub windows: WindowConfig,
    pub lakm: PhraseTaskConfig,
    /// Longest passage of LAKM in tokens, `<s>` and `</s>` counted.
    pub lakm_max_length: usize,
    /// What [`PhraseMasking::Ngrams`] masks.
    pub ngrams: NgramMaskingConfig,
    pub evaluation: EvaluationConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// SQuAD-style questions in the source language; not with `facts`.
    pub train: PathBuf,
    /// Folder that `qa-translate translate` wrote from them; not with `facts`.
    pub translated: PathBuf,
    /// Folder with MLQA-named question files; not with `facts`.
    pub evaluation: PathBuf,
    /// Passages with knowledge phrases that `kg-triples phrases` wrote; not with `search`.
    pub phrases: PathBuf,
    /// Questions made from facts in place of the first three.
    pub facts: Option<Facts>,
    /// Phrases mined from a stand-in for a search engine in place of `phrases`.
    pub search: Option<Search>,
}

/// Questions made from knowledge, told alike in all languages.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Folder with `triples.tsv` and `labels.tsv`.
    pub kg: PathBuf,
    /// Sentence templates in all languages.
    pub templates: PathBuf,
    /// Training questions, each with a context whose labels are drawn at random.
    pub items: usize,
    /// Head entities by split; evaluation contexts tell true facts.
    pub split: EntitySplit,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            kg: PathBuf::new(),
            templates: PathBuf::new(),
            items: 10_000,
            split: EntitySplit::default(),
        }
    }
}

/// Queries, documents, and what is a phrase.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Search {
    pub documents: SearchConfig,
    pub mining: PhraseConfig,
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

/// One arm: the tasks beside reading the source language's questions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PhraseMasking {
    /// Knowledge phrases, as `lakm.masking` says.
    Phrases,
    /// Random n-grams of the same passages (Table 8).
    Ngrams,
}

/// Batches of each task in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rounds {
    /// Question and passage in one language.
    pub mrc: u32,
    /// In two.
    pub mixed: u32,
    /// Passages with masked phrases.
    pub lakm: u32,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { mrc: 1, mixed: 1, lakm: 1 }
    }
}

impl Recipe {
    /// The training stage of an arm: as many updates on questions in each, those on phrases on top.
    pub fn training(&self, seed: u64, arm: &Arm) -> TrainConfig {
        let Rounds { mrc, mixed, lakm } = self.rounds;
        let reading = u64::from(mrc) + if arm.mixed { u64::from(mixed) } else { 0 };
        let round = reading + if arm.lakm.is_some() { u64::from(lakm) } else { 0 };
        let rounds = |steps: u64| steps.div_ceil(reading.max(1));
        let steps = self.training.steps.map(|steps| rounds(steps) * round);
        TrainConfig { seed, steps, ..self.training.clone() }
    }

    /// LAKM as an arm has it.
    pub fn lakm(&self, masking: PhraseMasking) -> PhraseTaskConfig {
        match masking {
            PhraseMasking::Phrases => self.lakm.clone(),
            PhraseMasking::Ngrams => PhraseTaskConfig {
                masking: PassageMasking::Ngrams(self.ngrams.clone()),
                ..self.lakm.clone()
            },
        }
    }

    /// The source language and the others.
    ///
    /// # Errors
    /// If one is no language code.
    pub fn parsed_languages(&self) -> Result<Vec<Language>> {
        self.languages.iter().map(|code| code.parse().context("languages")).collect()
    }

    /// The file of the questions in `language` among the translations; of another context's language, their wording alone.
    pub fn translated_file(&self, context: Language, question: Language) -> PathBuf {
        let name = DatasetName { split: "train".to_owned(), context, question };
        self.data.translated.join(name.to_string())
    }

    fn evaluation_files(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for context in &self.evaluation.contexts {
            for question in &self.languages {
                let (context, question) = (context.parse()?, question.parse()?);
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

    /// The paths that this recipe reads, by key.
    fn paths(&self) -> Vec<(&'static str, &Path, &'static str)> {
        let mut paths: Vec<(&str, &Path, &str)> =
            vec![("model.path", &self.model.path, "a Hugging Face folder of XLM-R (--model DIR)")];
        match &self.data.facts {
            Some(facts) => paths.extend([
                ("data.facts.kg", facts.kg.as_path(), "a folder with triples.tsv and labels.tsv"),
                ("data.facts.templates", &facts.templates, "sentence templates"),
            ]),
            None => {
                let asked = |arm: &Arm| arm.translated || arm.mixed;
                paths.push(("data.train", &self.data.train, "a SQuAD-style training file"));
                if self.chosen().any(asked) {
                    let what = "the folder that `qa-translate translate` wrote";
                    paths.push(("data.translated", &self.data.translated, what));
                }
                let what = "a folder with MLQA's question files";
                paths.push(("data.evaluation", &self.data.evaluation, what));
            }
        }
        match &self.data.search {
            Some(search) => paths.extend([
                (
                    "data.search.documents.questions",
                    search.documents.questions.as_path(),
                    "a folder with xquad.<lang>.json",
                ),
                (
                    "data.search.documents.pages",
                    &search.documents.pages,
                    "a folder with entities.<lang>.jsonl[.gz]",
                ),
            ]),
            None if self.chosen().any(|arm| arm.lakm.is_some()) => {
                paths.push(("data.phrases", &self.data.phrases, "what `kg-triples phrases` wrote"));
            }
            None => {}
        }
        paths
    }

    fn chosen(&self) -> impl Iterator<Item = &Arm> {
        self.run_arms.iter().filter_map(|name| self.arms.get(name))
    }

    fn validate_lengths(&self) -> Result<()> {
        let config = Config::from_file(self.model.path.join("config.json"))?;
        for (key, length) in [
            ("windows.max_length", self.windows.max_length),
            ("lakm_max_length", self.lakm_max_length),
        ] {
            if i64::try_from(length).map_or(true, |length| length > config.max_length()) {
                bail!("{key} = {length}: the model has {} positions", config.max_length());
            }
        }
        let least = self.windows.max_question_length + 4 + self.windows.doc_stride;
        if self.windows.max_length <= least {
            bail!(
                "windows.max_length = {}: must be above max_question_length + doc_stride + 4 = {least}",
                self.windows.max_length
            );
        }
        let two = config.type_vocab_size > 1 || self.model.segments == Segments::Learned2;
        if self.windows.segment_ids && !two {
            bail!(
                "windows.segment_ids = true: the model has one segment; set model.segments = \"learned2\" too"
            );
        }
        Ok(())
    }
}

impl RunRecipe for Recipe {
    fn validate(&self) -> Result<()> {
        for (key, value, what) in self.paths() {
            if value.as_os_str().is_empty() {
                bail!("{key} is not set: give {what}, for instance with --set {key}=PATH");
            }
            if !value.exists() {
                bail!("{key} = {}: no such file or folder", value.display());
            }
        }
        self.validate_lengths()?;
        self.training.validate().context("training")?;
        let languages = self.parsed_languages()?;
        if languages.first() != Some(&self.mix.source_language) || languages.len() < 2 {
            bail!(
                "languages = {:?}: must be mix.source_language, {}, and at least one other",
                self.languages,
                self.mix.source_language
            );
        }
        if self.seeds.is_empty() {
            bail!("seeds = []: give at least one");
        }
        let Rounds { mrc, mixed, lakm } = self.rounds;
        for (key, count) in [("mrc", mrc), ("mixed", mixed), ("lakm", lakm)] {
            if count == 0 {
                bail!("rounds.{key} = 0: must be 1 or more; an arm says which tasks it has");
            }
        }
        if let Some(name) = self.run_arms.iter().find(|name| !self.arms.contains_key(*name)) {
            let known: Vec<&str> = self.arms.keys().map(String::as_str).collect();
            bail!("run_arms: no arm is called {name:?} (arms: {})", known.join(", "));
        }
        if self.data.facts.is_some() && !["dev", "test"].contains(&self.evaluation.split.as_str()) {
            bail!("evaluation.split = {:?}: must be \"dev\" or \"test\"", self.evaluation.split);
        }
        Ok(())
    }

    fn decisive(&self) -> Self {
        Self {
            seeds: Vec::new(),
            run_arms: Vec::new(),
            device: String::new(),
            threads: 0,
            training: TrainConfig {
                checkpoint_steps: None,
                keep_checkpoints: 1,
                log_steps: 1,
                ..self.training.clone()
            },
            ..self.clone()
        }
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = folder::model_files(&self.model.path)?;
        match &self.data.facts {
            Some(facts) => {
                files.extend(folder::files(&facts.kg, |name| name.ends_with(".tsv"))?);
                files.push(facts.templates.clone());
            }
            None => {
                files.push(self.data.train.clone());
                files.extend(self.evaluation_files(&self.data.evaluation)?);
                if self.data.translated.is_dir() {
                    let json = |name: &str| name.ends_with(".json");
                    files.extend(folder::files(&self.data.translated, json)?);
                }
            }
        }
        match &self.data.search {
            Some(search) => {
                let pages = |name: &str| name.starts_with("entities.");
                files.extend(folder::files(&search.documents.pages, pages)?);
                let questions = |name: &str| name.starts_with("xquad.");
                files.extend(folder::files(&search.documents.questions, questions)?);
            }
            None if self.data.phrases.is_file() => files.push(self.data.phrases.clone()),
            None => {}
        }
        Ok(files)
    }

    fn machine(&self) -> Result<Machine> {
        Machine::set_up(&self.device, self.threads, &self.float32_matmul)
    }
}
