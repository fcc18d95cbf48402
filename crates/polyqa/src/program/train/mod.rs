//! `polyqa train`.
mod args;
mod pairs;
mod recipe;
mod report;

use std::path::{Path, PathBuf};

use crate::no_answer::MIN_QUESTIONS;
use crate::{AnsweredFile, Calibration};
use anyhow::{Context, Result, anyhow, bail};
use experiment::{Experiment, InputPath, Trial};
use mlqa_eval::{
    Cell, Dataset, DatasetName, InvalidQuestion, Language, Matrix, NBest, Normalization, NullOdds,
    Predictions,
};
use mlqa_eval::{QuestionSource, QuestionSources, languages_in_name, write_n_best};
use serde::Serialize;
use tasks::question_answering::{
    Negatives, QaConfig, QaData, QaPredictor, QaTask, TrainingQuestions,
};
use xlmr_model::{Head, Pretrained};

pub use args::Args;
use pairs::Pairs;
use recipe::{Data, NoAnswerSource, Recipe, STAGE, Unanswerable};
use report::{CalibrationReport, Scores, Summary, TrainingResult};

/// A development file and its questions.
pub struct DevFile {
    /// Path of the file's predictions in the run folder, without `.json`.
    name: String,
    /// The languages in the file's name, if it follows MLQA's scheme.
    dataset_name: Option<DatasetName>,
    language: Language,
    /// Where `language` is from.
    language_source: LanguageSource,
    dataset: Dataset,
}

/// Source of the language that selects the scoring rules of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageSource {
    /// `data.language`, that is, `--language`.
    Option,
    /// The file's name.
    FileName,
    /// English, because there is no other source.
    Default,
}

pub fn run(args: &Args) -> Result<()> {
    let model = args.model.resolve()?;
    let mut recipe = args.recipe(&model)?;
    // All files are read before training starts and before any file is written.
    let train = read_training_questions(&mut recipe)?;
    let read_all = |paths: &[InputPath], is_dev: bool| -> Result<Vec<DevFile>> {
        paths.iter().map(|path| read_dev_file(path, &recipe, is_dev)).collect()
    };
    let (dev, calibration_files) =
        (read_all(&recipe.data.dev, true)?, read_all(&recipe.data.calibration, false)?);

    check_names(&recipe.data.dev, &dev)?;
    let experiment = Experiment::open(recipe, &args.out)?;
    train.write_corrections(&experiment.folder)?;
    report::log_training_data(&experiment.recipe, &train);
    report::log_languages(dev.iter().chain(&calibration_files));
    let results = experiment.each(|trial| fine_tune(trial, &train), |_, _| Ok(()))?;
    let training = results.first().map(|result| result.trained.clone());
    let (scores, calibration) = evaluate(&experiment, &train, &dev, &calibration_files)?;
    let (table, remark) = report::table(&scores, calibration.as_ref());
    let windows = experiment.recipe.windows.clone();
    let summary = Summary { model: model.origin, windows, training, scores, calibration };
    Ok(experiment.finish(&summary, &table, &remark)?)
}

/// The training questions.
pub struct TrainingData {
    questions: TrainingQuestions,
    /// Number of questions that are skipped because they have no answer.
    without_answer: usize,
    /// Corrections of invalid questions.
    corrections: Vec<Correction>,
}

/// A correction of an invalid question, with the question's file.
#[derive(Serialize)]
pub struct Correction {
    file: String,
    #[serde(flatten)]
    correction: InvalidQuestion,
}

/// Name of the list of corrections in the run folder.
const CORRECTIONS: &str = "invalid-questions.json";

impl TrainingData {
    /// Returns whether the reader is trained to return no answer to some of the questions.
    fn has_unanswerable(&self) -> bool {
        self.questions.questions.iter().any(|question| question.answers.is_empty())
    }

    /// Writes the list of corrections, unless it is empty.
    fn write_corrections(&self, folder: &Path) -> Result<()> {
        if self.corrections.is_empty() {
            return Ok(());
        }
        let path = folder.join(CORRECTIONS);
        let bytes = mlqa_eval::to_json_bytes(&path, &self.corrections)?;
        Ok(mlqa_eval::write_files(&[(path, bytes)])?)
    }
}

/// Reads the training questions.
fn read_training_questions(recipe: &mut Recipe) -> Result<TrainingData> {
    let Data { train, negatives, unanswerable, invalid_questions, .. } = &mut recipe.data;
    let train_paths = || {
        let paths = train.iter().map(|path| path.display().to_string());
        paths.collect::<Vec<_>>().join(", ")
    };
    // `negatives = 0` is stored as a missing key, so that runs from before this key existed can be
    // resumed.
    *negatives = negatives.filter(|&count| count > 0);
    let (mut questions, mut corrections) = (TrainingQuestions::default(), Vec::new());
    for path in train.iter() {
        let (file_questions, file_corrections) =
            TrainingQuestions::read_with(path, *invalid_questions).map_err(with_option)?;
        questions.questions.extend(file_questions.questions);
        questions.entity_spans.extend(file_questions.entity_spans);
        let file = path.display().to_string();
        corrections.extend(
            file_corrections
                .into_iter()
                .map(|correction| Correction { file: file.clone(), correction }),
        );
    }
    let (answered, skipped) = questions.clone().with_answers().with_context(train_paths)?;
    let (questions, without_answer) = match unanswerable {
        Unanswerable::Drop => (answered, skipped),
        Unanswerable::Train => (questions, 0),
    };
    Ok(TrainingData { questions, without_answer, corrections })
}

/// Adds the option that handles invalid questions to an error about such a question.
fn with_option(error: tasks::Error) -> anyhow::Error {
    let is_invalid_question = matches!(
        &error,
        tasks::Error::Eval(
            mlqa_eval::Error::AnswerMismatch { .. }
                | mlqa_eval::Error::NoOffset { .. }
                | mlqa_eval::Error::InvalidLabels { .. }
        )
    );
    match is_invalid_question {
        true => anyhow!(
            "{error}; `polyqa check` lists all such questions, and --invalid-questions skip or repair \
             trains without them"
        ),
        false => error.into(),
    }
}

/// Checks that the answers to each development file have a file of their own.
fn check_names(paths: &[InputPath], files: &[DevFile]) -> Result<()> {
    for (index, file) in files.iter().enumerate() {
        if let Some(other) = files[..index].iter().position(|other| other.name == file.name) {
            bail!(
                "--dev: the answers to {} and {} would both be written to {}.json; rename one of the files",
                paths[other].display(),
                paths[index].display(),
                file.name
            );
        }
    }
    Ok(())
}

/// Reads a development file, or a file for the calibration if `is_dev` is false. The calibration only
/// uses exact matches, so it needs no scoring rules for the language.
fn read_dev_file(path: &Path, recipe: &Recipe, is_dev: bool) -> Result<DevFile> {
    // A path without a name, such as `..`, is a folder, which cannot be read.
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let stem = file.split_once(".json").map_or(&*file, |(stem, _)| stem);
    let dataset_name: Option<DatasetName> = file.parse().ok();
    let (language, language_source) = match (recipe.data.language, languages_in_name(&file)?) {
        (Some(language), _) => (language, LanguageSource::Option),
        (None, Some((context, _))) => (context, LanguageSource::FileName),
        (None, None) => (Language::EN, LanguageSource::Default),
    };
    let name = match recipe.data.dev.len() {
        1 => "predictions".to_owned(),
        _ => format!("predictions/{stem}"),
    };
    let dataset = Dataset::read(path)?;
    let is_scored = is_dev && dataset.questions.iter().any(|question| !question.answers.is_empty());
    if is_scored && Normalization::Mlqa(language).check().is_err() {
        bail!(
            "{}: MLQA has no scoring rules for `{language}`, whose words are not separated by spaces. Set --language zh, \
             whose rules make each Chinese character a token, or score the file later with `polyqa score --norm squad`",
            path.display()
        );
    }
    Ok(DevFile { name, dataset_name, language, language_source, dataset })
}

/// Trains a span head with the encoder or the encoder's adapters on the questions' windows, and
/// saves the model. Adapters are also saved separately.
fn fine_tune(trial: &Trial<Recipe>, data: &TrainingData) -> Result<TrainingResult> {
    let recipe = trial.recipe;
    let mut base = trial.load_model(&recipe.model.path, &[Head::Span], recipe.model.segments)?;
    if recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }
    let parameters = base.model.named_parameters();
    let windows = &recipe.windows;
    let train = &data.questions;
    let qa_data = QaData { questions: &train.questions, question_entity_spans: None, windows };
    let negatives = Negatives {
        count: recipe.data.negatives.unwrap_or(0),
        loss: recipe.data.negative_loss,
        seed: recipe.training.seed,
    };
    let config = QaConfig { negatives, ..QaConfig::default() };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &qa_data, &config)?;
    let fit_report = trial.fit(STAGE, &recipe.training, &parameters, &mut task)?;
    trial.save(&mut base, Head::Span, trial.run_dir("model"))?;
    Ok(TrainingResult::new(data, &fit_report))
}

/// Answers the questions of every file, scores the answers and fits the calibration.
///
/// The answers to the questions of `dev` are written to the run folder, and scored if there are
/// gold answers. The calibration is fitted on `calibration_files`, or on `dev` if there are no
/// `calibration_files`.
fn evaluate(
    experiment: &Experiment<Recipe>,
    train: &TrainingData,
    dev: &[DevFile],
    calibration_files: &[DevFile],
) -> Result<(Vec<Scores>, Option<CalibrationReport>)> {
    if dev.is_empty() && calibration_files.is_empty() {
        return Ok((Vec::new(), None));
    }
    let (recipe, model) = (&experiment.recipe, experiment.dir("model"));
    let runtime = &experiment.runtime;
    let reader = Pretrained::load_trained(&model, Head::Span, runtime.device, runtime.precision)?;
    let predictor = QaPredictor::new(&reader.model, &reader.tokenizer, &recipe.windows)
        .with_decoding(&recipe.decoding);
    let mut sources = QuestionSources::default();
    let mut dev_answers: Vec<Vec<NBest>> = Vec::new();
    for file in dev {
        let answers = predictor.predict(&file.dataset.questions)?;
        let output_path = |name: &str| -> PathBuf {
            experiment.dir(format!("{}.json", file.name.replacen("predictions", name, 1)))
        };
        Predictions::from(answers.as_slice()).write(output_path("predictions"))?;
        write_n_best(output_path("n-best"), &answers)?;
        NullOdds::of(&answers).write(output_path("null-odds"))?;
        sources.insert(
            format!("{}.json", file.name),
            QuestionSource {
                path: file.dataset.path.clone(),
                context: file.language,
                question: file.dataset_name.as_ref().map_or(file.language, |name| name.question),
                squad_rules: false,
            },
        );
        dev_answers.push(answers);
    }
    sources.write(&experiment.folder)?;
    let calibration_answers =
        calibration_files.iter().map(|file| predictor.predict(&file.dataset.questions));
    let calibration_answers = calibration_answers.collect::<Result<Vec<_>, _>>()?;
    let (files, answers) = match calibration_files {
        [] => (dev, &dev_answers),
        _ => (calibration_files, &calibration_answers),
    };
    let fit_no_answer = recipe.data.no_answer == NoAnswerSource::Mismatched
        && files.iter().flat_map(|file| &file.dataset.questions).all(|one| !one.answers.is_empty());
    let fit_with_mismatched = match fit_no_answer {
        true => Pairs::answer(&predictor, files, answers)?.fit()?,
        false => None,
    };
    if fit_no_answer && fit_with_mismatched.is_none() {
        experiment::log(format!(
            "no answer is not fitted: fewer than {MIN_QUESTIONS} questions of the calibration have a \
             paragraph of another article in their file, or hardly any answer is correct"
        ));
    }
    let fit = match fit_with_mismatched {
        // Unanswerable training questions make scores comparable across languages.
        Some(fit) if train.has_unanswerable() => Some(fit.with_one_no_answer_fit()),
        Some(fit) => Some(fit),
        None => Calibration::fit(&answered_files(files, answers))?,
    };
    let mut calibration = match (fit, calibration_files) {
        (None, _) => None,
        (Some(fit), []) => Some(CalibrationReport::of_dev_files(fit)),
        (Some(fit), _) => {
            let dev = answered_files(dev, &dev_answers);
            Some(CalibrationReport::of_separate_files(fit, &dev)?)
        }
    };
    if let Some(calibration) = &mut calibration {
        calibration.fit.window_score = recipe.decoding.window_score;
        calibration.fit.write(&model)?;
    }
    let threshold = calibration.as_ref().and_then(|calibration| calibration.fit.null_threshold);
    let scores =
        dev.iter().zip(&dev_answers).map(|(file, answers)| Scores::of(file, answers, threshold));
    let scores = scores.collect::<Result<Vec<_>>>()?;
    write_matrix(&experiment.folder, dev, &scores)?;
    Ok((scores, calibration))
}

/// Returns the questions of files with their answers and languages.
fn answered_files<'a>(files: &'a [DevFile], answers: &'a [Vec<NBest>]) -> Vec<AnsweredFile<'a>> {
    let answered_file = |(file, answers): (&'a DevFile, &'a Vec<NBest>)| {
        (&file.dataset, answers.as_slice(), file.language)
    };
    files.iter().zip(answers).map(answered_file).collect()
}

/// Writes the matrix of context and question languages if the names of all files follow MLQA's
/// scheme.
fn write_matrix(folder: &Path, dev: &[DevFile], scores: &[Scores]) -> Result<()> {
    let mut matrix = Matrix::new("Development files");
    for (file, scores) in dev.iter().zip(scores) {
        let (Some(name), Some(score)) = (&file.dataset_name, &scores.score) else { return Ok(()) };
        let (f1, em, questions) = (score.f1, score.exact_match, score.questions);
        let cell = Cell { f1, em, questions, f1_half_width: None, em_half_width: None };
        matrix.insert(name.context, name.question, cell);
    }
    if matrix.len() > 1 {
        matrix.write(folder)?;
    }
    Ok(())
}
