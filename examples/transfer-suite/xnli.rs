//! XNLI: English sentence pairs for training, and pairs in fifteen languages for testing (XLM-K,
//! section 4.1, Table 3).
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use experiment::{InputPath, write_text};
use serde::{Deserialize, Serialize};
use tasks::sequence_classification::{SequenceClassificationTask, classify_nli};
use trainer::{Task, TrainConfig};
use transfer_eval::xnli::{
    NliConfig, NliExample, NliInput, NliLabel, encode_nli, read_nli, score_nli,
};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{
    Benchmark, BenchmarkInfo, ModelSelection, Scorer, Split, TestResults, check_epochs,
    check_length,
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Xnli {
    /// Development pairs that select the epoch.
    pub selection: ModelSelection,
    /// Pairs per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub encoding: NliConfig,
    pub fine_tuning: TrainConfig,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of the data set in tables.
    pub name: String,
    /// English training pairs: `multinli_1.0_train.txt`.
    pub train: InputPath,
    /// Development pairs: `xnli.dev.tsv`.
    pub dev: InputPath,
    /// Test pairs: `xnli.test.tsv`.
    pub test: InputPath,
}

impl Xnli {
    fn read(
        &self,
        file: &InputPath,
        model: &Pretrained,
    ) -> Result<(Vec<NliExample>, Vec<NliInput>)> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let pairs = read_nli(file)?.examples;
        let inputs = encode_nli(&pairs, &model.tokenizer, &self.encoding)?;
        Ok((pairs, inputs))
    }
}

impl Benchmark for Xnli {
    fn info(&self) -> BenchmarkInfo<'_> {
        BenchmarkInfo {
            name: &self.data.name,
            has_data: self.data.train.is_set(),
            batch_size: self.evaluation_batch_size,
            training: Some((&self.fine_tuning, self.selection)),
        }
    }

    fn validate(&self) -> Result<()> {
        check_epochs(&self.fine_tuning)?;
        self.data.dev.required("data.dev", "development pairs, such as xnli.dev.tsv")?;
        self.data.test.required("data.test", "test pairs, such as xnli.test.tsv")?;
        Ok(())
    }

    fn head(&self) -> Head {
        Head::SequenceClassification { labels: 3 }
    }

    fn training_task<'a>(&'a self, model: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        let (_, inputs) = self.read(&self.data.train, model)?;
        let rows = inputs.into_iter().map(|pair| (pair.input_ids, pair.label)).collect();
        Ok(Box::new(SequenceClassificationTask::new(&model.model, rows)?))
    }

    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        let (pairs, inputs) = match split {
            Split::Development => self.read(&self.data.dev, model)?,
            Split::Test => self.read(&self.data.test, model)?,
        };
        let languages: BTreeSet<String> = pairs.iter().map(|pair| pair.language.clone()).collect();
        let score = move |predictions: Option<&Path>| {
            let labels = classify_nli(&model.model, &inputs, self.evaluation_batch_size)?;
            if let Some(folder) = predictions {
                let names: Vec<&str> = labels.iter().map(|label: &NliLabel| label.name()).collect();
                write_text(folder.join("test.txt"), &(names.join("\n") + "\n"))?;
            }
            let mut results = TestResults::default();
            let accuracy = score_nli(&pairs, &labels)?.by_language();
            results.metrics.insert("accuracy".to_owned(), accuracy);
            Ok(results)
        };
        Ok(Scorer { languages: languages.into_iter().collect(), score: Box::new(score) })
    }
}
