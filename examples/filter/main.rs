//! *FILTER* (Fang et al. 2021): a model that encodes each text together with its translation, for
//! question answering and sentence-pair classification.
mod data;
mod recipe;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use data::{Questions, SentencePairs};
use examples::inference_modes::{InferenceModes, Scores};
use experiment::{Experiment, Results, Trial};
use recipe::{Recipe, Task};
use serde::Serialize;
use tasks::alignment::AnswerAligner;
use tasks::fusion::{PairedText, best_fused_classes};
use train::{CLASS_HEAD, train_classifier, train_reader};
use transfer_eval::xnli::{NliLabel, score_nli};
use xlmr_model::{Head, Pretrained};

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    match experiment.recipe.task {
        Task::QuestionAnswering => {
            let input = Questions::read(&experiment.recipe)?;
            experiment.log(&input.pairs);
            let results = experiment
                .each(|trial| train_reader(trial, &input), |trial, _| answer(trial, &input))?;
            write(experiment, &results, ("f1", "F1"), |pairs| Some(pairs.to_string()))
        }
        Task::Classification => {
            let input = SentencePairs::read(&experiment.recipe)?;
            let results = experiment.each(
                |trial| train_classifier(trial, &input),
                |trial, _| classify(trial, &input),
            )?;
            write(experiment, &results, ("accuracy", "accuracy"), |_| None)
        }
    }
}

/// Writes the table and the summary of all arms.
fn write<T: Serialize>(
    experiment: &Experiment<Recipe>,
    results: &Results<T, Scores>,
    measure: (&str, &str),
    remark: impl Fn(&T) -> Option<String>,
) -> Result<()> {
    let recipe = &experiment.recipe;
    let titles =
        recipe.arms.iter().filter_map(|(name, arm)| Some((&**name, arm.title.as_deref()?)));
    let modes = InferenceModes {
        measure,
        languages: recipe.tested(),
        control: ("translate-train", PairedText::None.name()),
        titles: titles.collect(),
    };
    modes.write(experiment, results, remark)
}

/// Answers the test questions in each inference mode, and scores the answers.
fn answer(trial: &Trial<Recipe>, input: &Questions) -> Result<Scores> {
    let Recipe { model, windows, evaluation, .. } = trial.recipe;
    let config = trial.recipe.qa(trial.arm);
    let reader = trial.load(trial.dir("model"), &[Head::Span], model.segments)?;
    // The alternative to fusion: the model answers the translated question, and the answer is
    // projected onto the original passage.
    let base = trial.load(&model.path, &[], model.segments)?;
    let alignment = evaluation.alignment.clone();
    let aligner = AnswerAligner::new(&base.model, &base.tokenizer, base.special_tokens, alignment)?;
    let aligner = trial.arm.projected.then_some(&aligner);
    let out = trial.dir("predictions");
    let mut scores = Scores::new();
    for file in &input.files {
        for (mode, score) in evaluation.scores(&reader, windows, &config, file, aligner, &out)? {
            let mode_scores = scores.entry(mode).or_default();
            for (measure, value) in [("f1", score.f1), ("exact_match", score.exact_match)] {
                let language_scores = mode_scores.entry(measure.to_owned()).or_default();
                language_scores.insert(file.language, value);
            }
        }
    }
    Ok(scores)
}

/// Classifies the test pairs in each inference mode, and scores the classes.
fn classify(trial: &Trial<Recipe>, input: &SentencePairs) -> Result<Scores> {
    let (recipe, fusion) = (trial.recipe, trial.recipe.fusion(trial.arm));
    let Pretrained { model, tokenizer, .. } =
        trial.load(trial.dir("model"), &[CLASS_HEAD], recipe.model.segments)?;
    let pairs = input.test_pairs(&tokenizer, &recipe.classification.encoding)?;
    let pairs_with_source: Vec<_> =
        pairs.iter().map(|pair| (&*pair.target, &*pair.source)).collect();
    let translated: Vec<_> = pairs.iter().map(|pair| (&*pair.source, &*pair.source)).collect();
    let (no_text, size) = (PairedText::None, recipe.evaluation.batch_size);
    let mut scores = Scores::new();
    // A classifier without fused layers is evaluated on the original texts, and separately on their
    // translations.
    let modes: Vec<(PairedText, &str, _)> = match fusion.cross {
        0 => vec![
            (no_text, no_text.name(), &pairs_with_source),
            (no_text, "translate-test", &translated),
        ],
        _ => recipe
            .evaluation
            .second
            .iter()
            .map(|&text| (text, text.name(), &pairs_with_source))
            .collect(),
    };
    for (second, mode, rows) in modes {
        let classes = best_fused_classes(&model, rows, &fusion, second, size)?;
        let label = |class| NliLabel::from_class(class).expect("the head has three classes");
        let labels: Vec<NliLabel> = classes.into_iter().map(label).collect();
        let names: Vec<&str> = labels.iter().map(|label| label.name()).collect();
        let path = trial.dir("predictions").join(format!("{mode}.txt"));
        experiment::write_text(path, &(names.join("\n") + "\n"))?;
        let accuracy = score_nli(&input.test, &labels)?.by_language();
        let accuracy = accuracy.into_iter().map(|(code, value)| Ok((code.parse()?, value)));
        let language_scores = accuracy.collect::<Result<_>>()?;
        scores.entry(mode.to_owned()).or_default().insert("accuracy".to_owned(), language_scores);
    }
    Ok(scores)
}
