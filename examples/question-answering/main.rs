//! Your own questions: fine-tunes XLM-R on a SQuAD-style file, answers another, scores the answers.
//!
//!     cargo run --release -p examples --example question-answering -- --model xlm-roberta-base \
//!         --train train.json --dev dev.json --out runs/mine
mod recipe;
mod report;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use experiment::{Experiment, Trial};
use mlqa_eval::{Dataset, Language, Predictions, QuestionSources, write_n_best};
use recipe::{Args, Recipe};
use report::{Scores, Summary, Trained};
use tasks::question_answering::{QaConfig, QaData, QaPredictor, QaTask, TrainingQuestions};
use xlmr_model::{Head, Pretrained};

fn main() -> ExitCode {
    let args = Args::parse();
    torch_ext::passive_omp_wait();
    experiment::exit(run(&args))
}

fn run(args: &Args) -> Result<()> {
    let recipe = args.recipe()?;
    // Every file is read before anything is trained or written.
    let train = args.train.as_deref().map(questions).transpose()?;
    let dev = args.dev.as_deref().map(Dataset::read).transpose()?;

    let experiment = Experiment::open(recipe, &args.out)?;
    let recipe = &experiment.recipe;
    report::announce(recipe, train.as_ref());
    let (mut model, mut training, mut scores) = (recipe.model.path.to_path_buf(), None, None);
    if let Some(train) = &train {
        let results = experiment.each(|trial| fine_tune(trial, train), |_, _| Ok(()))?;
        training = results.first().map(|result| result.trained.clone());
        model = experiment.dir("model");
    }
    if let Some(dev) = &dev {
        scores = answer(&experiment, &model, dev)?;
    }
    let (table, remark) = report::table(dev.as_ref(), scores.as_ref());
    let summary = Summary { windows: recipe.windows.clone(), training, scores };
    Ok(experiment.finish(&summary, &table, &remark)?)
}

/// The questions to train on, and how many are left out as they have no answer.
fn questions(file: &Path) -> Result<(TrainingQuestions, usize)> {
    TrainingQuestions::read(file)?.answered().with_context(|| file.display().to_string())
}

/// Trains the encoder and a span head on the questions' windows, and saves both.
fn fine_tune(
    trial: &Trial<Recipe>,
    (train, without_answer): &(TrainingQuestions, usize),
) -> Result<Trained> {
    let recipe = trial.recipe;
    let base = trial.load(&recipe.model.path, &[Head::Span], recipe.model.segments)?;
    let windows = &recipe.windows;
    let data = QaData { questions: &train.questions, question_entity_spans: None, windows };
    let mut task = QaTask::new(&base.model, &base.tokenizer, &data, &QaConfig::default())?;
    let parameters = base.model.named_parameters();
    let fitted = trial.fit("fine-tune", &recipe.training, &parameters, &mut task)?;
    base.save(trial.run_dir("model"), Head::Span)?;
    Ok(Trained::new(train.questions.len(), *without_answer, &fitted))
}

/// Answers every question, writes the answers, and scores those that have gold answers.
fn answer(experiment: &Experiment<Recipe>, model: &Path, dev: &Dataset) -> Result<Option<Scores>> {
    let (recipe, device) = (&experiment.recipe, experiment.runtime.device);
    let mut trained = Pretrained::load_trained(model, Head::Span, device)?;
    trained.model.set_precision(experiment.runtime.precision);
    let predictor = QaPredictor::new(&trained.model, &trained.tokenizer, &recipe.windows)
        .with_decoding(&recipe.decoding);
    let answers = predictor.predict(&dev.questions)?;
    let predictions = Predictions::from(answers.as_slice());
    predictions.write(experiment.dir("predictions.json"))?;
    write_n_best(experiment.dir("n-best.json"), &answers)?;
    let language = recipe.data.language.unwrap_or(Language::EN);
    QuestionSources::of("predictions.json", &dev.path, language).write(&experiment.folder)?;
    Scores::of(dev, &predictions, language)
}
