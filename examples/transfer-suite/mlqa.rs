//! Question answering: English training questions, and MLQA or XQuAD for testing (XLM-K,
//! section 4.1, Table 1).
use std::path::Path;

use anyhow::{Context, Result, ensure};
use experiment::{InputPath, JsonFolder};
use mlqa_eval::{Dataset, DecodeConfig, Language, Normalization, Predictions, WindowConfig, score};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{
    QaConfig, QaData, QaPredictor, QaTask, QuestionFile, TrainingQuestions, check_files, evaluate,
    mlqa_files, question_file,
};
use trainer::{Task, TrainConfig};
use xlmr_model::{Head, Pretrained};

use crate::benchmark::{Benchmark, BenchmarkInfo, ModelSelection, Scorer, Split, TestResults};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlqa {
    /// Development sets that select the epoch.
    pub selection: ModelSelection,
    /// Windows per evaluation batch.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub windows: WindowConfig,
    pub decoding: DecodeConfig,
    pub fine_tuning: TrainConfig,
}

/// Paths of the data.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// Name of the data set in tables.
    pub name: String,
    /// English training questions: SQuAD's `train-v1.1.json`.
    pub train: InputPath,
    /// MLQA's folder `dev`; empty: the last epoch is tested.
    pub dev: JsonFolder,
    /// MLQA's folder `test`.
    pub test: JsonFolder,
    /// Test languages; questions and contexts are in the same language.
    #[serde(deserialize_with = "language::plausible::list")]
    pub languages: Vec<Language>,
}

impl Mlqa {
    fn files(&self, split: Split) -> Vec<QuestionFile> {
        let Data { dev, test, languages, .. } = &self.data;
        match (split, self.selection) {
            (Split::Development, _) if !dev.is_set() => Vec::new(),
            (Split::Development, ModelSelection::EnglishOnly) => {
                mlqa_files(dev, "dev", &[Language::EN])
            }
            (Split::Development, ModelSelection::AllLanguages) => mlqa_files(dev, "dev", languages),
            (Split::Test, _) => mlqa_files(test, "test", languages),
        }
    }
}

impl Benchmark for Mlqa {
    fn info(&self) -> BenchmarkInfo<'_> {
        BenchmarkInfo {
            name: &self.data.name,
            has_data: self.data.train.is_set(),
            batch_size: self.evaluation_batch_size,
            training: Some((&self.fine_tuning, self.selection)),
        }
    }

    fn validate(&self) -> Result<()> {
        self.decoding.validate().context("decoding")?;
        self.data.test.required("data.test", "MLQA's folder test")?;
        ensure!(!self.data.languages.is_empty(), "data.languages = []: give at least one");
        Ok(())
    }

    fn head(&self) -> Head {
        Head::Span
    }

    fn enables_pair_segments(&self) -> bool {
        self.windows.segment_ids
    }

    fn training_task<'a>(&'a self, model: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        let config = model.model.config();
        let positions = usize::try_from(config.max_length())?;
        let segments = usize::try_from(config.type_vocab_size)?;
        self.windows.validate(positions, segments).context("windows")?;
        let (train, _) = TrainingQuestions::read(&self.data.train)?.with_answers()?;
        let data = QaData {
            questions: &train.questions,
            question_entity_spans: None,
            windows: &self.windows,
        };
        Ok(Box::new(QaTask::new(&model.model, &model.tokenizer, &data, &QaConfig::default())?))
    }

    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>> {
        let files = self.files(split);
        check_files(&files)?;
        let languages = files.iter().map(|file| file.context.to_string()).collect();
        let predictor = QaPredictor::new(&model.model, &model.tokenizer, &self.windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.evaluation_batch_size);
        let score = move |folder: Option<&Path>| {
            let mut results = TestResults::default();
            if let Some(folder) = folder {
                evaluate(&predictor, &files, "test", &[], folder)?;
            }
            for &QuestionFile { context, question, ref path, .. } in &files {
                let dataset = Dataset::read(path)?;
                let answers = match folder {
                    Some(folder) => {
                        Predictions::read(question_file(folder, "test", context, question))?
                    }
                    None => predictor.predict(&dataset.questions)?.as_slice().into(),
                };
                let scores = score(&dataset, &answers, Normalization::Mlqa(context))?;
                results.add("f1", context, scores.f1);
                results.add("em", context, scores.exact_match);
            }
            Ok(results)
        };
        Ok(Scorer { languages, score: Box::new(score) })
    }
}
