//! The keys of `recipe.toml`, what they mean, and the sentences that they name.
use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use experiment::{InputPath, ModelFolder, RunConfig};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::token_classification::{EncodedSentences, HeldOut};
use tch::Device;
use tokenizers::Tokenizer;
use trainer::TrainConfig;
use transfer_eval::Selection;
use transfer_eval::ner::{Labels, NerConfig, Sentence, read_ner};
use xlmr_model::{LoadOptions, Pretrained};

use crate::report::AVERAGE;

/// Everything that decides a run.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    pub run: RunConfig,
    /// Types of entities.
    pub types: Vec<String>,
    /// Development sets that choose the epoch.
    pub selection: Selection,
    /// Inputs in a batch of evaluation.
    pub evaluation_batch_size: usize,
    /// Hugging Face folders to start from, by the name of their rows in the table: the arms.
    pub models: BTreeMap<String, ModelFolder>,
    pub data: Data,
    pub encoding: NerConfig,
    pub fine_tuning: TrainConfig,
}

/// Where the data lies; formats as [`transfer_eval::ner::NerFormat`] detects them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What tables call the data set.
    pub name: String,
    /// English training sentences.
    pub train: InputPath,
    /// Development files by language; not with `held_out`.
    pub dev: BTreeMap<Language, InputPath>,
    /// A part of `train` as the development set of `en`.
    pub held_out: Option<HeldOut>,
    /// Test files by language.
    pub test: BTreeMap<Language, InputPath>,
}

impl Recipe {
    /// Sentences as a model with this tokenizer reads them, by language.
    pub fn encode(
        &self,
        sentences: &Sentences,
        tokenizer: &Tokenizer,
    ) -> Result<BTreeMap<String, EncodedSentences>> {
        let encode = |(language, all): (&Language, &Vec<Sentence>)| {
            let (labels, config) = (Labels::iob2(&self.types), &self.encoding);
            let encoded = EncodedSentences::new(all.clone(), tokenizer, &labels, config);
            Ok((language.to_string(), encoded.with_context(|| format!("sentences in {language}"))?))
        };
        sentences.iter().map(encode).collect()
    }
}

impl experiment::Recipe for Recipe {
    const NAME: &'static str = "ner";
    const ABOUT: &'static str = "Fine-tunes XLM-R on English named entities and tests it on other \
        languages. Several starts make one table.";
    const EXAMPLES: &'static str = "ner examples/ner/small.toml --out runs/ner --seeds 2
ner examples/ner/small.toml --model data/base --model xlm-k=runs/xlm-k/seed-0/xlm-k/model
ner examples/ner/recipe.toml --model xlm-roberta-base --set data.train=en.train
    --set data.dev.en=en.dev --set data.test.en=en.test --set data.test.de=de.test";
    const EVALUATION: &'static [&'static str] = &["data.name", "data.test"];
    experiment::recipe_fields!(models);

    fn validate(&self) -> Result<()> {
        let Data { train, dev, held_out, test, .. } = &self.data;
        train.required("data.train", "English training sentences")?;
        self.fine_tuning.validate().context("fine_tuning")?;
        ensure!(self.fine_tuning.steps.is_none(), "fine_tuning.steps: set epochs; one is chosen");
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        ensure!(!self.types.is_empty(), "types = []: give types, as [\"LOC\", \"PER\"]");
        ensure!(!test.is_empty(), "data.test is empty: give files, as data.test.de = \"PATH\"");
        let clash = test.keys().any(|language| *language == AVERAGE);
        ensure!(!clash, "data.test.{AVERAGE}: the table has a column of this name");
        for path in dev.values().chain(test.values()) {
            path.required("data.dev.*, data.test.*", "tagged sentences for each language")?;
        }
        if dev.is_empty() == held_out.is_none() {
            bail!("give either data.dev, a file for each language, or data.held_out");
        }
        let english = held_out.is_some() || dev.contains_key(&Language::EN);
        if self.selection == Selection::EnglishOnly && !english {
            bail!("selection = \"english_only\": data.dev.en is needed");
        }
        Ok(())
    }

    fn check_inputs(&self) -> Result<()> {
        let corpus = Corpus::read(&self.data)?;
        let selected = |(name, _): &(&String, _)| self.run.selected().contains(name);
        for (name, folder) in self.models.iter().filter(selected) {
            let (start, _) = Pretrained::load(folder, &[], Device::Cpu, LoadOptions::default())?;
            let (length, positions) = (self.encoding.max_length, start.model.config().max_length());
            if i64::try_from(length).map_or(true, |length| length > positions) {
                bail!("encoding.max_length = {length}: models.{name} has {positions} positions");
            }
            for sentences in [&corpus.train, &corpus.dev, &corpus.test] {
                self.encode(sentences, &start.tokenizer)?;
            }
        }
        Ok(())
    }
}

/// Sentences by language.
pub type Sentences = BTreeMap<Language, Vec<Sentence>>;

/// All sentences of a run.
pub struct Corpus {
    pub train: Sentences,
    pub dev: Sentences,
    pub test: Sentences,
}

impl Corpus {
    /// Reads the files and holds out what the recipe says.
    pub fn read(data: &Data) -> Result<Self> {
        let read =
            |(&language, path): (&Language, &InputPath)| Ok((language, read_ner(path, None)?));
        let mut dev: Sentences = data.dev.iter().map(read).collect::<Result<_>>()?;
        let mut train = read_ner(&data.train, None)?;
        if let Some(held_out) = &data.held_out {
            let held;
            (train, held) = held_out.divide(train).context("data")?;
            dev.insert(Language::EN, held);
        }
        let test = data.test.iter().map(read).collect::<Result<_>>()?;
        Ok(Self { train: [(Language::EN, train)].into(), dev, test })
    }

    /// How many sentences there are.
    pub fn counts(&self) -> String {
        let counts = |sentences: &Sentences| {
            let count = |(language, all): (&Language, &Vec<_>)| format!("{} {language}", all.len());
            sentences.iter().map(count).collect::<Vec<_>>().join(", ")
        };
        let [train, dev, test] = [&self.train, &self.dev, &self.test].map(counts);
        format!("sentences: train {train}; dev {dev}; test {test}")
    }
}
