//! XNLI: pairs of English sentences to train on, pairs in fifteen languages to test (XLM-K, section
//! 4.1, Table 3).
use anyhow::{Context, Result, ensure};
use experiment::{InputPath, Trial};
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
use crate::{Items, SuiteTask, Tested, Trained, check_length, selection, start, write_items};

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
}

impl Xnli {
    fn encode(&self, all: &[NliExample], tokenizer: &Tokenizer) -> Result<Vec<NliInput>> {
        Ok(encode_nli(all, tokenizer, &self.encoding)?)
    }
}

impl SuiteTask for Xnli {
    fn is_given(&self) -> bool {
        self.data.train.is_set()
    }

    fn validate(&self) -> Result<()> {
        self.fine_tuning.validate().context("fine_tuning")?;
        ensure!(self.fine_tuning.steps.is_none(), "fine_tuning.steps: set epochs; one is chosen");
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        let Data { dev, test, .. } = &self.data;
        dev.required("data.dev", "development pairs, as xnli.dev.tsv")?;
        test.required("data.test", "test pairs, as xnli.test.tsv")?;
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let files = [&self.data.train, &self.data.dev, &self.data.test];
        files.iter().filter(|file| file.is_set()).try_for_each(|file| {
            read_nli(file)?;
            Ok(())
        })
    }

    fn head(&self) -> Head {
        Head::SequenceClassification { labels: 3 }
    }

    fn train(&self, trial: &Trial<Recipe>) -> Result<Trained> {
        let start = start(trial, self.head())?;
        let (model, parameters) = (&start.model, start.model.named_parameters());
        let train = self.encode(&read_nli(&self.data.train)?.examples, &start.tokenizer)?;
        let rows = train.into_iter().map(|pair| (pair.input_ids, pair.label)).collect();
        let dev = read_nli(&self.data.dev)?.examples;
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
        trial.fit("fine-tune", &self.fine_tuning, &parameters, &mut task)?;
        let (best, dev) = task.finish()?;
        start.save(trial.dir("model"), self.head())?;
        Ok(Trained { epoch: Some(best + 1), dev })
    }

    fn test(&self, trial: &Trial<Recipe>) -> Result<Tested> {
        let trained = trial.load(trial.dir("model"), &[self.head()], Segments::AsSaved)?;
        let pairs = read_nli(&self.data.test)?.examples;
        let inputs = self.encode(&pairs, &trained.tokenizer)?;
        let labels = classify(&trained.model, &inputs, self.evaluation_batch_size)?;
        let names: Vec<&str> = labels.iter().map(|label: &NliLabel| label.name()).collect();
        experiment::write_text(
            trial.dir("predictions").join("test.txt"),
            &(names.join("\n") + "\n"),
        )?;
        let mut items = Items::new();
        for (pair, label) in pairs.iter().zip(&labels) {
            let right = if pair.label == *label { 100.0 } else { 0.0 };
            items.entry(pair.language.clone()).or_default().push(right);
        }
        write_items(trial, &items)?;
        let accuracy = score_nli(&pairs, &labels)?.by_language();
        Ok(Tested { metrics: [("accuracy".to_owned(), accuracy)].into(), ..Tested::default() })
    }
}
