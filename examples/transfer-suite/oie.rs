//! Open information extraction: sentences with extractions for training and testing in one or several
//! languages (MT4CrossOIE, Yang et al. 2023).
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use experiment::InputPath;
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::oie::{OieConfig, extract, oie_labels, training_inputs};
use tasks::token_classification::{self, TokenClassificationTask};
use trainer::{Task, TrainConfig};
use transfer_eval::oie::{OieSentence, read_oie_gold, score_oie, write_oie};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{
    Benchmark, BenchmarkInfo, ModelSelection, Scorer, Split, TestResults, check_epochs,
    check_files, check_length,
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Oie {
    /// Development sets that select the epoch.
    pub selection: ModelSelection,
    /// Sentences per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub encoding: OieConfig,
    pub fine_tuning: TrainConfig,
}

/// Paths of the data: CaRB's tab-separated files or Re-OIE2016's JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of the data set in tables.
    pub name: String,
    /// Training files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub train: BTreeMap<Language, InputPath>,
    /// Development files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub dev: BTreeMap<Language, InputPath>,
    /// Test files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub test: BTreeMap<Language, InputPath>,
}

type Gold = BTreeMap<Language, Vec<OieSentence>>;

fn read(files: &BTreeMap<Language, InputPath>) -> Result<Gold> {
    files.iter().map(|(&language, path)| Ok((language, read_oie_gold(path)?))).collect()
}

impl Benchmark for Oie {
    fn info(&self) -> BenchmarkInfo<'_> {
        BenchmarkInfo {
            name: &self.data.name,
            has_data: !self.data.train.is_empty(),
            batch_size: self.evaluation_batch_size,
            training: Some((&self.fine_tuning, self.selection)),
        }
    }

    fn validate(&self) -> Result<()> {
        check_epochs(&self.fine_tuning)?;
        let Data { train, dev, test, .. } = &self.data;
        let lists = [("data.train", train), ("data.dev", dev), ("data.test", test)];
        check_files(&lists, "extractions by language", self.selection, dev)
    }

    fn head(&self) -> Head {
        token_classification::head(&oie_labels())
    }

    fn training_task<'a>(&'a self, model: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let mut sets = Vec::new();
        for (language, gold) in read(&self.data.train)? {
            let encoded = training_inputs(&gold, &model.tokenizer, &self.encoding)
                .with_context(|| format!("data.train.{language}"))?;
            experiment::log(format!(
                "{language}: {} of {} extractions have tags",
                encoded.extractions - encoded.skipped,
                encoded.extractions
            ));
            sets.push((language.to_string(), encoded.inputs));
        }
        let sets = sets.iter().map(|(language, inputs)| (language.as_str(), inputs.as_slice()));
        Ok(Box::new(TokenClassificationTask::of_languages(&model.model, sets)?))
    }

    fn add_files(&self, folder: &Path) -> Result<()> {
        Ok(token_classification::write_label_names(folder, &oie_labels())?)
    }

    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let gold = read(match split {
            Split::Development => &self.data.dev,
            Split::Test => &self.data.test,
        })?;
        let languages = gold.keys().map(Language::to_string).collect();
        let score = move |predictions: Option<&Path>| {
            let mut results = TestResults::default();
            for (language, gold) in &gold {
                let texts: Vec<&str> = gold.iter().map(|sentence| &*sentence.text).collect();
                let Pretrained { model, tokenizer, .. } = model;
                let size = self.evaluation_batch_size;
                let code = language.to_string();
                let found = extract(model, tokenizer, &texts, Some(&code), &self.encoding, size)?;
                if let Some(folder) = predictions {
                    write_oie(folder.join(format!("{language}.tsv")), &found)?;
                }
                let score = score_oie(gold, &found)?;
                for (metric, value) in [
                    ("f1", score.f1),
                    ("precision", score.precision),
                    ("recall", score.recall),
                    ("auc", score.auc_distinct_recall),
                ] {
                    results.add(metric, language, 100.0 * value);
                }
            }
            Ok(results)
        };
        Ok(Scorer { languages, score: Box::new(score) })
    }
}
