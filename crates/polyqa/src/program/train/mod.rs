//! `polyqa train`.
mod args;
mod recipe;
mod report;

use std::path::{Path, PathBuf};

use crate::AnsweredFile;
use anyhow::{Context, Result};
use experiment::{Experiment, InputPath, Trial};
use mlqa_eval::{Cell, Dataset, DatasetName, Language, Matrix, NBest, NullOdds, Predictions};
use mlqa_eval::{QuestionSource, QuestionSources, write_n_best};
use tasks::question_answering::{
    Negatives, QaConfig, QaData, QaPredictor, QaTask, TrainingQuestions,
};
use xlmr_model::{Head, Pretrained};

pub use args::Args;
use recipe::{Data, Recipe, STAGE, Unanswerable};
use report::{CalibrationReport, Scores, Summary, TrainingResult};

/// A development file and its questions.
pub struct DevFile {
    /// Path of the file's predictions in the run folder, without `.json`.
    name: String,
    /// The languages in the file's name, if it follows MLQA's scheme.
    dataset_name: Option<DatasetName>,
    language: Language,
    dataset: Dataset,
}

pub fn run(args: &Args) -> Result<()> {
    let model = args.model.resolve()?;
    let mut recipe = args.recipe(&model)?;
    // All files are read before training starts and before any file is written.
    let train = read_training_questions(&mut recipe)?;
    let read_all = |paths: &[InputPath]| -> Result<Vec<DevFile>> {
        paths.iter().map(|path| read_dev_file(path, &recipe)).collect()
    };
    let (dev, calibration_files) =
        (read_all(&recipe.data.dev)?, read_all(&recipe.data.calibration)?);

    let experiment = Experiment::open(recipe, &args.out)?;
    report::log_training_data(&experiment.recipe, &train);
    let results = experiment.each(|trial| fine_tune(trial, &train), |_, _| Ok(()))?;
    let training = results.first().map(|result| result.trained.clone());
    let (scores, calibration) = evaluate(&experiment, &dev, &calibration_files)?;
    let (table, remark) = report::table(&scores, calibration.as_ref());
    let windows = experiment.recipe.windows.clone();
    let summary = Summary { model: model.origin, windows, training, scores, calibration };
    Ok(experiment.finish(&summary, &table, &remark)?)
}

/// Reads the training questions; also returns the number of questions that are skipped because they
/// have no answer.
fn read_training_questions(recipe: &mut Recipe) -> Result<(TrainingQuestions, usize)> {
    let Data { train, negatives, unanswerable, .. } = &mut recipe.data;
    let train_paths = || {
        let paths = train.iter().map(|path| path.display().to_string());
        paths.collect::<Vec<_>>().join(", ")
    };
    // `negatives = 0` is stored as a missing key, so that runs from before this key existed can be
    // resumed.
    *negatives = negatives.filter(|&count| count > 0);
    let questions = TrainingQuestions::read_all(train.iter())?;
    let answered_questions = questions.clone().with_answers().with_context(train_paths)?;
    Ok(match unanswerable {
        Unanswerable::Drop => answered_questions,
        Unanswerable::Train => (questions, 0),
    })
}

fn read_dev_file(path: &Path, recipe: &Recipe) -> Result<DevFile> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let dataset_name: Option<DatasetName> = file.parse().ok();
    let stem = file.split(".json").next().unwrap_or_default();
    // Example: `xquad.de.json`.
    let suffix = stem.rsplit_once('.').and_then(|(_, code)| code.parse::<Language>().ok());
    let file_language = dataset_name.as_ref().map(|name| name.context).or(suffix);
    let language = recipe.data.language.or(file_language).unwrap_or(Language::EN);
    let name = match recipe.data.dev.len() {
        1 => "predictions".to_owned(),
        _ => format!("predictions/{stem}"),
    };
    Ok(DevFile { name, dataset_name, language, dataset: Dataset::read(path)? })
}

/// Trains a span head with the encoder or the encoder's adapters on the questions' windows, and
/// saves the model. Adapters are also saved separately.
fn fine_tune(
    trial: &Trial<Recipe>,
    (train, without_answer): &(TrainingQuestions, usize),
) -> Result<TrainingResult> {
    let recipe = trial.recipe;
    let mut base = trial.load_model(&recipe.model.path, &[Head::Span], recipe.model.segments)?;
    if recipe.windows.segment_ids {
        base.enable_pair_segments()?;
    }
    let parameters = base.model.named_parameters();
    let windows = &recipe.windows;
    let data = QaData { questions: &train.questions, question_entity_spans: None, windows };
    let negatives = Negatives {
        count: recipe.data.negatives.unwrap_or(0),
        loss: recipe.data.negative_loss,
        seed: recipe.training.seed,
    };
    let config = QaConfig { negatives, ..QaConfig::default() };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &data, &config)?;
    let fit_report = trial.fit(STAGE, &recipe.training, &parameters, &mut task)?;
    trial.save(&mut base, Head::Span, trial.run_dir("model"))?;
    Ok(TrainingResult::new(train.questions.len(), *without_answer, &fit_report))
}

/// Answers the questions of every file, scores the answers and fits the calibration.
///
/// The answers to the questions of `dev` are written to the run folder, and scored if there are
/// gold answers. The calibration is fitted on `calibration_files`, or on `dev` if there are no
/// `calibration_files`.
fn evaluate(
    experiment: &Experiment<Recipe>,
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
    let mut calibration = match calibration_files {
        [] => CalibrationReport::fit_on_dev_files(&answered_files(dev, &dev_answers))?,
        _ => CalibrationReport::fit_on_separate_files(
            &answered_files(calibration_files, &calibration_answers),
            &answered_files(dev, &dev_answers),
        )?,
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
