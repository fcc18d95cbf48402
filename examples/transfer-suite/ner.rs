//! Named entities: tagged English sentences to train on, others to test (XLM-K, section 4.1,
//! Table 2).
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use experiment::{InputPath, Trial};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::token_classification::{self, EncodedSentences, HeldOut, TokenClassificationTask};
use tokenizers::Tokenizer;
use trainer::TrainConfig;
use trainer::selection::BestEpoch;
use transfer_eval::Scores;
use transfer_eval::ner::{Labels, NerConfig, Sentence, read_ner, write_ner};
use xlmr_model::{Head, Pretrained, Segments};

use crate::recipe::{Recipe, Selection};
use crate::{Items, SuiteTask, Tested, Trained, check_length, selection, start, write_items};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ner {
    /// Types of entities.
    pub types: Vec<String>,
    /// Development sets that choose the epoch.
    pub selection: Selection,
    /// Inputs in a batch of evaluation.
    pub evaluation_batch_size: usize,
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

type Sentences = BTreeMap<Language, Vec<Sentence>>;

impl Ner {
    fn labels(&self) -> Labels {
        Labels::iob2(&self.types)
    }

    fn read(files: &BTreeMap<Language, InputPath>) -> Result<Sentences> {
        files.iter().map(|(&language, path)| Ok((language, read_ner(path, None)?))).collect()
    }

    /// Training sentences, and development sentences by language.
    fn training(&self) -> Result<(Vec<Sentence>, Sentences)> {
        let (mut train, mut dev) = (read_ner(&self.data.train, None)?, Self::read(&self.data.dev)?);
        if let Some(held_out) = &self.data.held_out {
            let held;
            (train, held) = held_out.divide(train).context("data")?;
            dev.insert(Language::EN, held);
        }
        Ok((train, dev))
    }

    fn encode(&self, all: &[Sentence], tokenizer: &Tokenizer) -> Result<EncodedSentences> {
        Ok(EncodedSentences::new(all.to_vec(), tokenizer, &self.labels(), &self.encoding)?)
    }
}

impl SuiteTask for Ner {
    fn is_given(&self) -> bool {
        self.data.train.is_set()
    }

    fn validate(&self) -> Result<()> {
        let Data { dev, held_out, test, .. } = &self.data;
        self.fine_tuning.validate().context("fine_tuning")?;
        ensure!(self.fine_tuning.steps.is_none(), "fine_tuning.steps: set epochs; one is chosen");
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        ensure!(!self.types.is_empty(), "types = []: give types, as [\"LOC\", \"PER\"]");
        ensure!(!test.is_empty(), "data.test is empty: give files, as data.test.de = \"PATH\"");
        let one = dev.is_empty() != held_out.is_none();
        ensure!(one, "give either data.dev, a file for each language, or data.held_out");
        let english = held_out.is_some() || dev.contains_key(&Language::EN);
        let chosen = self.selection != Selection::EnglishOnly || english;
        ensure!(chosen, "selection = \"english_only\": data.dev.en is needed");
        let named = |path: &InputPath| {
            path.required("data.dev.*, data.test.*", "tagged sentences for each language").map(drop)
        };
        Ok(dev.values().chain(test.values()).try_for_each(named)?)
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let (train, dev) = self.training()?;
        let train: Sentences = [(Language::EN, train)].into();
        for (language, all) in train.iter().chain(&dev).chain(&Self::read(&self.data.test)?) {
            self.encode(all, &model.tokenizer)
                .with_context(|| format!("sentences in {language}"))?;
        }
        Ok(())
    }

    fn head(&self) -> Head {
        token_classification::head(&self.labels())
    }

    fn train(&self, trial: &Trial<Recipe>) -> Result<Trained> {
        let start = start(trial, self.head())?;
        let (model, parameters) = (&start.model, start.model.named_parameters());
        let (train, dev) = self.training()?;
        let train = self.encode(&train, &start.tokenizer)?;
        let encode = |(language, all): (&Language, &Vec<Sentence>)| {
            Ok((language.to_string(), self.encode(all, &start.tokenizer)?))
        };
        let dev = dev.iter().map(encode).collect::<Result<BTreeMap<_, _>>>()?;
        let score = || -> Result<Scores> {
            let f1 = |(language, sentences): (&String, &EncodedSentences)| {
                let tagged =
                    sentences.predict(model, &self.labels(), self.evaluation_batch_size)?;
                Ok((language.clone(), 100.0 * tagged.score.micro.f1))
            };
            dev.iter().map(f1).collect()
        };
        let task = TokenClassificationTask::new(model, &train.inputs)?;
        let chosen = selection(self.selection, dev.keys().cloned(), score);
        let mut task = BestEpoch::new(task, &parameters, chosen);
        trial.fit("fine-tune", &self.fine_tuning, &parameters, &mut task)?;
        let (best, dev) = task.finish()?;
        token_classification::save(&start, &self.labels(), trial.dir("model"))?;
        Ok(Trained { epoch: Some(best + 1), dev })
    }

    fn test(&self, trial: &Trial<Recipe>) -> Result<Tested> {
        let tagger = trial.load(trial.dir("model"), &[self.head()], Segments::AsSaved)?;
        let (mut tested, mut items) = (Tested::default(), Items::new());
        for (language, sentences) in Self::read(&self.data.test)? {
            let encoded = self.encode(&sentences, &tagger.tokenizer)?;
            let tagged =
                encoded.predict(&tagger.model, &self.labels(), self.evaluation_batch_size)?;
            let file = trial.dir("predictions").join(format!("{language}.conll"));
            write_ner(file, &tagged.sentences)?;
            let all = tagged.score.micro;
            for (metric, share) in
                [("f1", all.f1), ("precision", all.precision), ("recall", all.recall)]
            {
                let scores = tested.metrics.entry(metric.to_owned()).or_default();
                scores.insert(language.to_string(), 100.0 * share);
            }
            let pairs = sentences.iter().zip(&tagged.sentences);
            let right = pairs.map(|(gold, own)| if gold.tags == own.tags { 100.0 } else { 0.0 });
            items.insert(language.to_string(), right.collect());
        }
        write_items(trial, &items)?;
        Ok(tested)
    }
}
