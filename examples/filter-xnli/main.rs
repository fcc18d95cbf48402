//! *FILTER* (Fang et al. 2021) for classification: pairs of sentences read beside their
//! translations, from XNLI's files to its table.
mod data;
mod recipe;

use std::process::ExitCode;

use anyhow::Result;
use data::Input;
use examples::inference_modes::{InferenceModes, Scores};
use experiment::{Experiment, Trial};
use recipe::{Recipe, Source};
use tasks::fusion::{
    ClassPair, FusedClassificationTask, PairedText, StudentStart, best_fused_classes,
};
use transfer_eval::xnli::{NliLabel, score_nli};
use xlmr_model::{Head, Pretrained};

/// Entailment, neutral, contradiction.
const HEAD: Head = Head::SequenceClassification { labels: 3 };

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let recipe = &experiment.recipe;
    let input = Input::read(recipe)?;
    let results = experiment.each(|trial| train(trial, &input), |trial, _| test(trial, &input))?;
    let titles = recipe.arms.iter().filter_map(|(arm, own)| Some((&**arm, own.title.as_deref()?)));
    let modes = InferenceModes {
        measure: ("accuracy", "accuracy"),
        languages: &recipe.languages,
        control: ("translate-train", PairedText::None.name()),
        titles: titles.collect(),
    };
    modes.write(experiment, &results, |_| None)
}

/// Trains a classifier on the arm's pairs; returns how many.
fn train(trial: &Trial<Recipe>, input: &Input) -> Result<usize> {
    let (recipe, arm) = (trial.recipe, trial.arm);
    let start = || trial.start(&recipe.model.path, &[HEAD], recipe.model.segments);
    let mut classifier = start()?;
    let mut pairs = input.pairs(&classifier.tokenizer, &recipe.encoding)?;
    if arm.source == Source::Unrelated {
        pairs = ClassPair::unrelated(&pairs)?;
    }
    let fusion = recipe.fusion(arm);

    // Section 3, self-teaching: a first model, and its scores of the target texts.
    let mut scores = None;
    if arm.soft {
        let Pretrained { model, .. } = &classifier;
        let mut first = FusedClassificationTask::new(model, pairs.clone(), fusion, &recipe.soft)?;
        trial.fit("teacher", &recipe.teacher, &model.named_parameters(), &mut first)?;
        classifier.save(trial.dir("teacher-model"), HEAD)?;
        let (path, size) = (trial.dir("teacher-scores.safetensors"), recipe.evaluation.batch_size);
        scores = Some(first.teacher_logits(&path, model, size)?.0);
        if recipe.student == StudentStart::Base {
            classifier = start()?;
        }
    }

    // The loss of both halves, and the divergence from these scores.
    let (Pretrained { model, .. }, count) = (&classifier, pairs.len());
    let mut task = FusedClassificationTask::new(model, pairs, fusion, &recipe.soft)?;
    if let Some(scores) = scores {
        task = task.with_teacher(scores)?;
    }
    trial.fit("train", &recipe.training(arm), &model.named_parameters(), &mut task)?;
    trial.save(&mut classifier, HEAD, trial.dir("model"))?;
    Ok(count)
}

/// Classifies in every language, beside the translation, beside the text itself, and alone.
fn test(trial: &Trial<Recipe>, input: &Input) -> Result<Scores> {
    let (recipe, fusion) = (trial.recipe, trial.recipe.fusion(trial.arm));
    let Pretrained { model, tokenizer, .. } =
        trial.load(trial.dir("model"), &[HEAD], recipe.model.segments)?;
    let pairs = input.test(&tokenizer, &recipe.encoding)?;
    let own: Vec<_> = pairs.iter().map(|pair| (&*pair.target, &*pair.source)).collect();
    let translated: Vec<_> = pairs.iter().map(|pair| (&*pair.source, &*pair.source)).collect();
    let (alone, size) = (PairedText::None, recipe.evaluation.batch_size);
    let mut scores = Scores::new();
    // A classifier whose texts never meet reads each alone, and in a second way its translation.
    let modes: Vec<(PairedText, &str, _)> = match fusion.cross {
        0 => vec![(alone, alone.name(), &own), (alone, "translate-test", &translated)],
        _ => recipe.evaluation.second.iter().map(|&text| (text, text.name(), &own)).collect(),
    };
    for (second, mode, rows) in modes {
        let classes = best_fused_classes(&model, rows, &fusion, second, size)?;
        let labels: Vec<NliLabel> = classes.into_iter().filter_map(NliLabel::from_class).collect();
        let names: Vec<&str> = labels.iter().map(|label| label.name()).collect();
        let path = trial.dir("predictions").join(format!("{mode}.txt"));
        experiment::write_text(path, &(names.join("\n") + "\n"))?;
        let accuracy = score_nli(&input.test, &labels)?.by_language();
        let accuracy = accuracy.into_iter().map(|(code, value)| Ok((code.parse()?, value)));
        let of_measure = accuracy.collect::<Result<_>>()?;
        scores.entry(mode.to_owned()).or_default().insert("accuracy".to_owned(), of_measure);
    }
    Ok(scores)
}
