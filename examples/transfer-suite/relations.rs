//! Relation classification: English sentences with two marked entities for training, and sentences
//! in several languages for testing (MultiTACRED, Hennig et al. 2023).
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use experiment::{InputPath, write_text};
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use tasks::relation_classification::{
    RelationPooling, RelationTask, classify_relations, relation_classes, write_relation_names,
};
use trainer::{Task, TrainConfig};
use transfer_eval::relations::{
    RelationConfig, RelationExample, RelationInput, RelationLabels, encode_relations,
    read_relations, score_relations,
};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{
    Benchmark, BenchmarkInfo, ModelSelection, Scorer, Split, TestResults, check_epochs,
    check_files, check_length,
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Relations {
    /// Relations other than `no_relation`.
    pub relations: Vec<String>,
    /// The hidden states that a relation is classified from.
    pub pooling: RelationPooling,
    /// Development sets that select the epoch.
    pub selection: ModelSelection,
    /// Sentences per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub encoding: RelationConfig,
    pub fine_tuning: TrainConfig,
}

/// Paths of the data, in TACRED's JSON.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of the data set in tables.
    pub name: String,
    /// Training sentences, in English for transfer to other languages.
    pub train: InputPath,
    /// Development files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub dev: BTreeMap<Language, InputPath>,
    /// Test files by language.
    #[serde(deserialize_with = "language::plausible::keys")]
    pub test: BTreeMap<Language, InputPath>,
}

impl Relations {
    fn labels(&self) -> Result<RelationLabels> {
        Ok(RelationLabels::new(&self.relations)?)
    }

    fn read(
        &self,
        file: &InputPath,
        model: &Pretrained,
    ) -> Result<(Vec<RelationExample>, Vec<RelationInput>)> {
        check_length("encoding.max_length", self.encoding.max_length, model)?;
        let examples = read_relations(file)?;
        let inputs = encode_relations(&examples, &model.tokenizer, &self.encoding)
            .with_context(|| file.display().to_string())?;
        Ok((examples, inputs))
    }
}

impl Benchmark for Relations {
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
        self.labels()?;
        let Data { dev, test, .. } = &self.data;
        let lists = [("data.dev", dev), ("data.test", test)];
        check_files(&lists, "TACRED's JSON by language", self.selection, dev)
    }

    fn head(&self) -> Head {
        #[expect(clippy::expect_used, reason = "`validate` rejects invalid relations")]
        let labels = self.labels().expect("relations are valid");
        self.pooling.head(&labels)
    }

    fn training_task<'a>(&'a self, model: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        let (examples, inputs) = self.read(&self.data.train, model)?;
        let classes = relation_classes(&examples, &self.labels()?)
            .with_context(|| self.data.train.display().to_string())?;
        let rows = inputs.into_iter().zip(classes).collect();
        Ok(Box::new(RelationTask::new(&model.model, self.pooling, rows)?))
    }

    fn add_files(&self, folder: &Path) -> Result<()> {
        Ok(write_relation_names(folder, self.pooling, &self.labels()?)?)
    }

    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        let files = match split {
            Split::Development => &self.data.dev,
            Split::Test => &self.data.test,
        };
        let read = |(&language, file): (&Language, &InputPath)| {
            let (examples, inputs) = self.read(file, model)?;
            let gold = examples.into_iter().map(|example| example.relation);
            Ok((language, (gold.collect::<Vec<String>>(), inputs)))
        };
        let sets = files.iter().map(read).collect::<Result<BTreeMap<_, _>>>()?;
        let languages = sets.keys().map(Language::to_string).collect();
        let labels = self.labels()?;
        let score = move |predictions: Option<&Path>| {
            let mut results = TestResults::default();
            for (language, (gold, inputs)) in &sets {
                let size = self.evaluation_batch_size;
                let classes = classify_relations(&model.model, self.pooling, inputs, size)?;
                let predicted: Vec<&str> =
                    classes.iter().map(|&class| &*labels.names()[class]).collect();
                if let Some(folder) = predictions {
                    write_text(
                        folder.join(format!("{language}.txt")),
                        &(predicted.join("\n") + "\n"),
                    )?;
                }
                let micro = score_relations(gold, &predicted)?.micro;
                results.add("f1", language, micro.f1);
                results.add("precision", language, micro.precision);
                results.add("recall", language, micro.recall);
            }
            Ok(results)
        };
        Ok(Scorer { languages, score: Box::new(score) })
    }
}
