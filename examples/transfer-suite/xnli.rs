//! XNLI: pairs of English sentences to train on, pairs in fifteen languages to test (XLM-K, section
//! 4.1, Table 3); or pairs about the facts of a graph.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use examples::fact_source::FactSource;
use experiment::{Cell, InputPath};
use kg_triples::probes::{InferenceConfig, write_inference};
use serde::{Deserialize, Serialize};
use tasks::sequence_classification::{SequenceClassificationTask, classify};
use tokenizers::Tokenizer;
use trainer::TrainConfig;
use trainer::selection::BestEpoch;
use transfer_eval::Scores;
use transfer_eval::xnli::{
    NliConfig, NliExample, NliInput, NliLabel, encode_nli, read_nli, score_nli,
};
use xlmr_model::{Head, Pretrained, Segments};

use crate::recipe::{Recipe, Selection};
use crate::{
    Items, SuiteTask, Tested, Trained, expect_length, made, selection, start, write_items,
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xnli {
    /// Development pairs that choose the epoch.
    pub selection: Selection,
    /// Pairs in a batch of evaluation.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub encoding: NliConfig,
    pub fine_tuning: TrainConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What tables call the data set.
    pub name: String,
    /// English training pairs: `multinli_1.0_train.txt`.
    pub train: InputPath,
    /// Development pairs: `xnli.dev.tsv`.
    pub dev: InputPath,
    /// Test pairs: `xnli.test.tsv`.
    pub test: InputPath,
    /// Pairs about facts, in place of the three files: a stand-in, and no paper's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<FactSource>,
    /// How they are made.
    pub inference: InferenceConfig,
}

/// The name of the task's folder of made files.
const NAME: &str = "xnli";
const SPLITS: [&str; 3] = ["train", "dev", "test"];

impl Xnli {
    /// The pairs of a split, by its files.
    fn read(&self, split: &str, folder: &Path) -> Result<Vec<NliExample>> {
        let files: Vec<PathBuf> = match (&self.data.facts, split) {
            (Some(facts), "train") => vec![folder.join(file(split, facts.first()))],
            (Some(facts), _) => {
                let name = |language: &mlqa_eval::Language| folder.join(file(split, *language));
                facts.languages.iter().map(name).collect()
            }
            (None, "train") => vec![self.data.train.to_path_buf()],
            (None, "dev") => vec![self.data.dev.to_path_buf()],
            (None, _) => vec![self.data.test.to_path_buf()],
        };
        let read = files.iter().map(|file| Ok(read_nli(file)?.examples));
        Ok(read.collect::<Result<Vec<_>>>()?.concat())
    }

    fn encode(&self, all: &[NliExample], tokenizer: &Tokenizer) -> Result<Vec<NliInput>> {
        Ok(encode_nli(all, tokenizer, &self.encoding)?)
    }
}

fn file(split: &str, language: mlqa_eval::Language) -> String {
    format!("{split}.{language}.tsv")
}

impl SuiteTask for Xnli {
    fn is_given(&self) -> bool {
        self.data.train.is_set() || self.data.facts.is_some()
    }

    fn validate(&self) -> Result<()> {
        self.fine_tuning.validate().context("fine_tuning")?;
        ensure!(self.fine_tuning.steps.is_none(), "fine_tuning.steps: set epochs; one is chosen");
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        let Data { train, dev, test, facts, .. } = &self.data;
        if let Some(facts) = facts {
            ensure!(!train.is_set(), "data.train: not with data.facts");
            return facts.validate().context("data.facts");
        }
        dev.required("data.dev", "development pairs, as xnli.dev.tsv")?;
        test.required("data.test", "test pairs, as xnli.test.tsv")?;
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        expect_length("encoding.max_length", self.encoding.max_length, model)?;
        let files = [&self.data.train, &self.data.dev, &self.data.test];
        files.iter().filter(|file| file.is_set()).try_for_each(|file| {
            read_nli(file)?;
            Ok(())
        })
    }

    fn prepare(&self, folder: &Path) -> Result<()> {
        let Some(facts) = &self.data.facts else { return Ok(()) };
        let (graph, templates, split) = facts.read()?;
        for name in SPLITS {
            let heads = (name, split.get(name)?);
            let (languages, config) = (&facts.languages, &self.data.inference);
            let (report, _) =
                write_inference(&graph, &templates, heads, languages, config, folder)?;
            experiment::log(format!("{name}: {} pairs in each language", report.pairs));
        }
        Ok(())
    }

    fn head(&self) -> Head {
        Head::SequenceClassification { labels: 3 }
    }

    fn train(&self, cell: &Cell<Recipe>) -> Result<Trained> {
        let start = start(cell, self.head())?;
        let (model, parameters) = (&start.model, start.model.named_parameters());
        let folder = made(cell, NAME);
        let train = self.encode(&self.read("train", &folder)?, &start.tokenizer)?;
        let rows = train.into_iter().map(|pair| (pair.input_ids, pair.label)).collect();
        let dev = self.read("dev", &folder)?;
        let inputs = self.encode(&dev, &start.tokenizer)?;
        let score = || -> Result<Scores> {
            let labels = classify(model, &inputs, self.evaluation_batch_size)?;
            Ok(score_nli(&dev, &labels)?.by_language())
        };
        let languages = dev.iter().map(|pair| pair.language.clone());
        let languages: std::collections::BTreeSet<String> = languages.collect();
        let task = SequenceClassificationTask::new(model, rows)?;
        let mut task =
            BestEpoch::new(task, &parameters, selection(self.selection, languages, score));
        cell.fit("fine-tune", &self.fine_tuning, &parameters, &mut task)?;
        let (best, dev) = task.finish()?;
        start.save(cell.dir("model"), self.head())?;
        Ok(Trained { epoch: Some(best + 1), dev })
    }

    fn test(&self, cell: &Cell<Recipe>) -> Result<Tested> {
        let trained = cell.load(cell.dir("model"), &[self.head()], Segments::AsSaved)?;
        let pairs = self.read("test", &made(cell, NAME))?;
        let inputs = self.encode(&pairs, &trained.tokenizer)?;
        let labels = classify(&trained.model, &inputs, self.evaluation_batch_size)?;
        let names: Vec<&str> = labels.iter().map(|label: &NliLabel| label.name()).collect();
        experiment::write_text(
            cell.dir("predictions").join("test.txt"),
            &(names.join("\n") + "\n"),
        )?;
        let mut items = Items::new();
        for (pair, label) in pairs.iter().zip(&labels) {
            let right = if pair.label == *label { 100.0 } else { 0.0 };
            items.entry(pair.language.clone()).or_default().push(right);
        }
        write_items(cell, &items)?;
        let accuracy = score_nli(&pairs, &labels)?.by_language();
        Ok(Tested { metrics: [("accuracy".to_owned(), accuracy)].into(), ..Tested::default() })
    }
}
