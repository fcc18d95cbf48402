//! Questions: English ones to train on, MLQA's or XQuAD's to test (XLM-K, section 4.1, Table 1;
//! *Bridging the Language Gap*, Table I; *From Good to Best*, Tables 5 and 6).
use anyhow::{Context, Result, ensure};
use experiment::{InputPath, JsonFolder, Trial};
use mlqa_eval::{Dataset, DecodeConfig, Language, Normalization, Predictions, WindowConfig, score};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{
    EvaluationConfig, QaConfig, QaData, QaPredictor, QaTask, QuestionFile, QuestionLanguages,
    TrainingQuestions, check_files, evaluate, mlqa_files, question_file,
};
use trainer::TrainConfig;
use trainer::selection::BestEpoch;
use transfer_eval::Scores;
use xlmr_model::{Head, Pretrained, Segments};

use crate::recipe::{Recipe, Selection};
use crate::{Items, SuiteTask, Tested, Trained, selection, start, write_items};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mlqa {
    /// Development sets that choose the epoch.
    pub selection: Selection,
    /// Windows in a batch of evaluation.
    pub evaluation_batch_size: usize,
    pub data: Data,
    pub windows: WindowConfig,
    pub decoding: DecodeConfig,
    pub fine_tuning: TrainConfig,
}

/// Where the data lies.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Data {
    /// What tables call the data set.
    pub name: String,
    /// English training questions: SQuAD's `train-v1.1.json`.
    pub train: InputPath,
    /// MLQA's folder `dev`; empty: the last epoch is tested.
    pub dev: JsonFolder,
    /// MLQA's folder `test`.
    pub test: JsonFolder,
    /// Languages that are tested, each with questions in its own.
    pub languages: Vec<Language>,
    /// Every pair of a context's and a question's language, as in *Bridging the Language Gap*.
    pub all_pairs: bool,
}

impl Mlqa {
    /// Development files; none: the last epoch is taken.
    fn dev_files(&self) -> Vec<QuestionFile> {
        let languages = match self.selection {
            Selection::AllLanguages => self.data.languages.as_slice(),
            Selection::EnglishOnly => &[Language::EN],
        };
        match self.data.dev.is_set() {
            true => mlqa_files(&self.data.dev, "dev", languages),
            false => Vec::new(),
        }
    }

    fn test_files(&self) -> Vec<QuestionFile> {
        let questions = match self.data.all_pairs {
            true => QuestionLanguages::All,
            false => QuestionLanguages::OfContext,
        };
        let contexts = self.data.languages.clone();
        let config = EvaluationConfig { contexts, questions, ..EvaluationConfig::default() };
        config.files(&self.data.test, &self.data.languages)
    }
}

impl SuiteTask for Mlqa {
    fn is_given(&self) -> bool {
        self.data.train.is_set()
    }

    fn validate(&self) -> Result<()> {
        self.fine_tuning.validate().context("fine_tuning")?;
        ensure!(self.evaluation_batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
        self.decoding.validate().context("decoding")?;
        self.data.test.required("data.test", "MLQA's folder test")?;
        ensure!(!self.data.languages.is_empty(), "data.languages = []: give at least one");
        Ok(())
    }

    fn check(&self, model: &Pretrained) -> Result<()> {
        let config = model.model.config();
        let positions = usize::try_from(config.max_length())?;
        self.windows
            .validate(positions, usize::try_from(config.type_vocab_size)?)
            .context("windows")?;
        TrainingQuestions::read(&self.data.train)?.answered()?;
        Ok(check_files(self.dev_files().iter().chain(&self.test_files()))?)
    }

    fn head(&self) -> Head {
        Head::Span
    }

    fn train(&self, trial: &Trial<Recipe>) -> Result<Trained> {
        let start = start(trial, self.head())?;
        let (model, parameters) = (&start.model, start.model.named_parameters());
        let (train, _) = TrainingQuestions::read(&self.data.train)?.answered()?;
        let dev = self.dev_files();
        let data = QaData {
            questions: &train.questions,
            question_entity_spans: None,
            windows: &self.windows,
        };
        let mut task = QaTask::new(model, &start.tokenizer, &data, &QaConfig::default())?;
        let mut trained = Trained::default();
        if dev.is_empty() {
            trial.fit("fine-tune", &self.fine_tuning, &parameters, &mut task)?;
        } else {
            let predictor = QaPredictor::new(model, &start.tokenizer, &self.windows)
                .with_decoding(&self.decoding)
                .with_batch_size(self.evaluation_batch_size);
            let score = || -> Result<Scores> {
                let f1 = |file: &QuestionFile| {
                    let dataset = Dataset::read(&file.path)?;
                    let answers = predictor.predict(&dataset.questions)?;
                    let answers = Predictions::from(answers.as_slice());
                    let rules = Normalization::Mlqa(file.context);
                    Ok((file.context.to_string(), score(&dataset, &answers, rules)?.f1))
                };
                dev.iter().map(f1).collect()
            };
            let names = dev.iter().map(|file| file.context.to_string());
            let mut task =
                BestEpoch::new(task, &parameters, selection(self.selection, names, score));
            trial.fit("fine-tune", &self.fine_tuning, &parameters, &mut task)?;
            let (best, dev) = task.finish()?;
            trained = Trained { epoch: Some(best + 1), dev };
        }
        start.save(trial.dir("model"), self.head())?;
        Ok(trained)
    }

    fn test(&self, trial: &Trial<Recipe>) -> Result<Tested> {
        let trained = trial.load(trial.dir("model"), &[self.head()], Segments::AsSaved)?;
        let predictor = QaPredictor::new(&trained.model, &trained.tokenizer, &self.windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.evaluation_batch_size);
        let (sources, out) = (self.test_files(), trial.dir("predictions"));
        let files = evaluate(&predictor, &sources, "test", &[], &out)?;
        let (mut tested, mut items) = (Tested { files, ..Tested::default() }, Items::new());
        for (file, scored) in sources.iter().zip(&tested.files) {
            let (context, question) = (file.context, file.question);
            if context == question {
                for (metric, value) in [("f1", scored.f1), ("em", scored.em)] {
                    let of = tested.metrics.entry(metric.to_owned()).or_default();
                    of.insert(context.to_string(), value);
                }
            }
            let dataset = Dataset::read(&file.path)?;
            let answers = Predictions::read(question_file(&out, "test", context, question))?;
            let rules = Normalization::Mlqa(context);
            let each = score(&dataset, &answers, rules)?.per_question;
            let values = each.iter().map(|question| 100.0 * question.f1);
            items.entry(question.to_string()).or_default().extend(values);
        }
        write_items(trial, &items)?;
        Ok(tested)
    }
}
