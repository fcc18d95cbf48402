//! Named entities: tagged English sentences for training, and sentences in several languages for
//! testing (XLM-K, section 4.1, Table 2).
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use experiment::InputPath;
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::token_classification::{self, EncodedSentences, HeldOut, TokenClassificationTask};
use trainer::{Task, TrainConfig};
use transfer_eval::ner::{Labels, NerConfig, Sentence, read_ner, write_ner};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{
    Benchmark, BenchmarkInfo, ModelSelection, Scorer, Split, TestResults, check_epochs,
    check_length,
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ner {
    /// Entity types.
    pub types: Vec<String>,
    /// Development sets that select the epoch.
    pub selection: ModelSelection,
    /// Inputs per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub encoding: NerConfig,
    pub fine_tuning: TrainConfig,
}

/// Paths of the data; formats are detected by [`transfer_eval::ner::NerFormat`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of the data set in tables.
    pub name: String,
    /// English training sentences.
    pub train: InputPath,
    /// Development files by language; not allowed with `held_out`.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub dev: BTreeMap<Language, InputPath>,
    /// Part of `train` that is used as the English development set.
    pub held_out: Option<HeldOut>,
    /// Test files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub test: BTreeMap<Language, InputPath>,
}

type Sentences = BTreeMap<Language, Vec<Sentence>>;

impl Ner {
    fn labels(&self) -> Labels {
        Labels::iob2(&self.types)
    }

    fn read(files: &BTreeMap<Language, InputPath>) -> Result<Sentences> {
        files.iter().map(|(&language, path)| Ok((language, read_ner(path, None)?))).collect()
    }

    /// Returns training sentences, and development sentences by language.
    fn sentences(&self) -> Result<(Vec<Sentence>, Sentences)> {
        let mut train = read_ner(&self.data.train, None)?;
        let mut dev = Self::read(&self.data.dev)?;
        if let Some(held_out) = &self.data.held_out {
            let held_out_sentences;
            (train, held_out_sentences) = held_out.split(train).context("data")?;
            dev.insert(Language::EN, held_out_sentences);
        }
        Ok((train, dev))
    }

    fn encode(
        &self,
        language: Language,
        sentences: Vec<Sentence>,
        model: &Pretrained,
    ) -> Result<EncodedSentences> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let tokenizer = &model.tokenizer;
        let encoded = EncodedSentences::new(sentences, tokenizer, &self.labels(), &self.encoding);
        encoded.with_context(|| format!("sentences in {language}"))
    }
}

impl Benchmark for Ner {
    fn info(&self) -> BenchmarkInfo<'_> {
        BenchmarkInfo {
            name: &self.data.name,
            has_data: self.data.train.is_set(),
            batch_size: self.evaluation_batch_size,
            training: Some((&self.fine_tuning, self.selection)),
        }
    }

    fn validate(&self) -> Result<()> {
        let Data { dev, held_out, test, .. } = &self.data;
        check_epochs(&self.fine_tuning)?;
        ensure!(!self.types.is_empty(), "types = []: give types, such as [\"LOC\", \"PER\"]");
        ensure!(
            !test.is_empty(),
            "data.test is empty: give files, such as data.test.de = \"PATH\""
        );
        let one_source = dev.is_empty() != held_out.is_none();
        ensure!(one_source, "give either data.dev, with one file per language, or data.held_out");
        let has_english = held_out.is_some() || dev.contains_key(&Language::EN);
        let valid = self.selection != ModelSelection::EnglishOnly || has_english;
        ensure!(valid, "selection = \"english_only\": data.dev.en is needed");
        let check_file = |path: &InputPath| {
            path.required("data.dev.*, data.test.*", "tagged sentences for each language").map(drop)
        };
        Ok(dev.values().chain(test.values()).try_for_each(check_file)?)
    }

    fn head(&self) -> Head {
        token_classification::head(&self.labels())
    }

    fn training_task<'a>(&'a self, model: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        let train = self.encode(Language::EN, self.sentences()?.0, model)?;
        Ok(Box::new(TokenClassificationTask::new(&model.model, &train.inputs)?))
    }

    fn add_files(&self, folder: &Path) -> Result<()> {
        Ok(token_classification::write_label_names(folder, &self.labels())?)
    }

    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        let sentences = match split {
            Split::Development => self.sentences()?.1,
            Split::Test => Self::read(&self.data.test)?,
        };
        let encoded = sentences
            .into_iter()
            .map(|(language, sentences)| Ok((language, self.encode(language, sentences, model)?)));
        let encoded = encoded.collect::<Result<BTreeMap<Language, EncodedSentences>>>()?;
        let languages = encoded.keys().map(Language::to_string).collect();
        let score = move |predictions: Option<&Path>| {
            let mut results = TestResults::default();
            for (language, gold) in &encoded {
                let size = self.evaluation_batch_size;
                let predicted = gold.predict(&model.model, &self.labels(), size)?;
                if let Some(folder) = predictions {
                    write_ner(folder.join(format!("{language}.conll")), &predicted.sentences)?;
                }
                let score = predicted.score.micro;
                results.add("f1", language, 100.0 * score.f1);
                results.add("precision", language, 100.0 * score.precision);
                results.add("recall", language, 100.0 * score.recall);
            }
            Ok(results)
        };
        Ok(Scorer { languages, score: Box::new(score) })
    }
}
