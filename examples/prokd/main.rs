//! Reproduces *ProKD* (Ge et al. 2023): a teacher of named entities whose classes are aligned with
//! those of languages without tags, and students that learn from it and from prototypes.
mod recipe;
mod report;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use recipe::{Recipe, Sentences, Teacher};
use report::Scores;
use train::{teacher_folder, teacher_model, train_student, train_teacher};
use transfer_eval::ner::write_ner;
use xlmr_model::Segments;

fn main() -> ExitCode {
    experiment::main::<Recipe>(run)
}

fn run(experiment: &Experiment<Recipe>) -> Result<()> {
    let sentences = experiment.recipe.sentences()?;
    for (language, untagged) in &sentences.untagged {
        let test = sentences.test[language].len();
        experiment
            .log(format!("{language}: {} sentences without tags, {test} to test", untagged.len()));
    }
    // Each teacher is trained once per seed, and all arms that use it share it.
    let arms = experiment.arms().iter().map(|name| &experiment.recipe.arms[name]);
    let mut teachers: Vec<Teacher> = arms.filter_map(|arm| arm.teacher).collect();
    teachers.sort_unstable();
    teachers.dedup();
    for kind in teachers {
        let train = |trial: &Trial<_, ()>| train_teacher(trial, kind, &sentences);
        experiment.each_seed(teacher_folder(kind), train, |_, ()| Ok(()))?;
    }
    let train = |trial: &Trial<Recipe>| train_student(trial, &sentences);
    let results = experiment.each(train, |trial, ()| evaluate(trial, &sentences))?;
    report::write(experiment, &results)
}

/// Scores the student, or the teacher of an arm without a student, in every language.
fn evaluate(trial: &Trial<Recipe>, sentences: &Sentences) -> Result<Scores> {
    let recipe = trial.recipe;
    let folder = match trial.arm.student {
        Some(_) => trial.dir("model"),
        None => teacher_model(trial),
    };
    let tagger = trial.load(folder, &[recipe.head()], Segments::AsSaved)?;
    let mut scores = Scores::default();
    for (&language, sentences) in &sentences.test {
        let encoded = recipe.encode(sentences, &tagger)?;
        let batch_size = recipe.evaluation_batch_size;
        let predicted = encoded.predict(&tagger.model, &recipe.labels(), batch_size)?;
        let path = trial.dir("predictions").join(format!("{language}.conll"));
        write_ner(path, &predicted.sentences)?;
        scores.f1.insert(language, 100.0 * predicted.score.micro.f1);
    }
    Ok(scores)
}
