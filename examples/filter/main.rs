//! *FILTER* (Fang et al. 2021): a reader that reads each question beside its translation, from
//! pairs of texts to its table.
mod data;
mod recipe;

use std::process::ExitCode;

use anyhow::Result;
use data::Input;
use examples::inference_modes::{InferenceModes, Scores};
use experiment::{Experiment, Trial};
use recipe::{Recipe, Source};
use tasks::alignment::AnswerAligner;
use tasks::fusion::{FusedQaTask, PairCounts, PairedText, StudentStart};
use xlmr_model::{Head, Pretrained};

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let input = Input::read(&experiment.recipe)?;
    experiment.log(&input.pairs);
    let results =
        experiment.each(|trial| train(trial, &input), |trial, _| answer(trial, &input))?;
    let recipe = &experiment.recipe;
    let titles = recipe.arms.iter().filter_map(|(arm, own)| Some((&**arm, own.title.as_deref()?)));
    let modes = InferenceModes {
        measure: ("f1", "F1"),
        languages: recipe.tested(),
        control: ("translate-train", PairedText::None.name()),
        titles: titles.collect(),
    };
    modes.write(experiment, &results, |pairs| Some(pairs.to_string()))
}

/// Trains a reader on the arm's pairs.
fn train(trial: &Trial<Recipe>, input: &Input) -> Result<PairCounts> {
    let (recipe, arm, config) = (trial.recipe, trial.arm, trial.recipe.qa(trial.arm));
    let source = match arm.source {
        Source::Translation => &input.pairs.source,
        Source::Unrelated => &input.unrelated,
    };
    let texts = (input.pairs.target.as_slice(), source.as_slice());
    let start = || trial.start(&recipe.model.path, &[Head::Span], recipe.model.segments);
    let mut reader = start()?;

    // Section 3, self-teaching: a first model, and its scores of the target texts.
    let mut scores = None;
    if arm.soft {
        let Pretrained { model, tokenizer, .. } = &reader;
        let mut first = FusedQaTask::new(model, tokenizer, texts, &recipe.windows, &config)?;
        trial.fit("teacher", &recipe.teacher, &model.named_parameters(), &mut first)?;
        reader.save(trial.dir("teacher-model"), Head::Span)?;
        let (path, size) = (trial.dir("teacher-scores.safetensors"), recipe.evaluation.batch_size);
        scores = Some(first.teacher_logits(&path, model, size)?.0);
        if recipe.student == StudentStart::Base {
            reader = start()?;
        }
    }

    // The loss of both halves, and the divergence from these scores.
    let Pretrained { model, tokenizer, .. } = &reader;
    let mut task = FusedQaTask::new(model, tokenizer, texts, &recipe.windows, &config)?;
    if let Some(scores) = scores {
        task = task.with_teacher(scores)?;
    }
    trial.fit("train", &recipe.training(arm), &model.named_parameters(), &mut task)?;
    let counts = *task.counts();
    trial.save(&mut reader, Head::Span, trial.dir("model"))?;
    Ok(counts)
}

/// Answers in every language, beside the translation, beside the text itself, and alone.
fn answer(trial: &Trial<Recipe>, input: &Input) -> Result<Scores> {
    let Recipe { model, windows, evaluation, .. } = trial.recipe;
    let config = trial.recipe.qa(trial.arm);
    let reader = trial.load(trial.dir("model"), &[Head::Span], model.segments)?;
    // With a translation at hand: answer there, and carry the answer back.
    let base = trial.load(&model.path, &[], model.segments)?;
    let alignment = evaluation.alignment.clone();
    let aligner = AnswerAligner::new(&base.model, &base.tokenizer, base.specials, alignment)?;
    let aligner = trial.arm.projected.then_some(&aligner);
    let (reading, out) = ((windows, &config), trial.dir("predictions"));
    let mut scores = Scores::new();
    for file in &input.files {
        for (mode, score) in evaluation.scores(&reader, reading, file, aligner, &out)? {
            let of_mode = scores.entry(mode).or_default();
            for (measure, value) in [("f1", score.f1), ("exact_match", score.exact_match)] {
                let of_measure = of_mode.entry(measure.to_owned()).or_default();
                of_measure.insert(file.language, value);
            }
        }
    }
    Ok(scores)
}
