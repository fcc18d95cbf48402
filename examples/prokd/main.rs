//! Reproduces *ProKD* (Ge et al. 2023): a teacher of named entities whose classes are aligned with
//! those of languages without tags, and students that learn from it and from prototypes.
mod recipe;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use experiment::{Experiment, Trial};
use mlqa_eval::Language;
use recipe::{Recipe, STUDENT, Sentences, TEACHER, Targets, Teacher};
use report::Scores;
use tasks::token_classification::{
    AlignedTaggingTask, StudentTask, TokenClassificationTask, class_log_probabilities,
    write_label_names,
};
use trainer::Alternating;
use transfer_eval::ner::{NerInput, write_ner};
use xlmr_model::{Pretrained, Segments};

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

fn teacher_folder(kind: Teacher) -> &'static str {
    match kind {
        Teacher::Plain => "teacher-plain",
        Teacher::Aligned => "teacher-aligned",
    }
}

/// Number of batches of each language before the next language has its turn.
const BATCHES_PER_TURN: u32 = 1;

/// The inputs for training in each target language.
fn untagged_inputs(
    recipe: &Recipe,
    sentences: &Sentences,
    model: &Pretrained,
) -> Result<BTreeMap<Language, Vec<NerInput>>> {
    let encode = |(&language, sentences): (&Language, &Vec<_>)| {
        Ok((language, recipe.encode(sentences, model)?.inputs))
    };
    sentences.untagged.iter().map(encode).collect()
}

/// Trains a teacher on tagged sentences; an aligned one also on sentences without tags of one target
/// language per batch.
fn train_teacher(trial: &Trial<Recipe, ()>, kind: Teacher, sentences: &Sentences) -> Result<()> {
    let recipe = trial.recipe;
    let base = trial.load(&recipe.model.path, &[recipe.head()], recipe.model.segments)?;
    let tagged = recipe.encode(&sentences.train, &base)?.inputs;
    let parameters = base.model.named_parameters();
    match kind {
        Teacher::Plain => {
            let mut task = TokenClassificationTask::new(&base.model, &tagged)?;
            trial.fit(TEACHER, &recipe.teacher, &parameters, &mut task)?;
        }
        Teacher::Aligned => {
            let mut tasks = Alternating::new();
            for (language, untagged) in untagged_inputs(recipe, sentences, &base)? {
                let task =
                    AlignedTaggingTask::new(&base.model, &tagged, &untagged, &recipe.alignment)?;
                tasks = tasks.with(language.as_str(), BATCHES_PER_TURN, task);
            }
            trial.fit(TEACHER, &recipe.teacher, &parameters, tasks)?;
        }
    }
    save(&base, recipe, trial.dir("model"))
}

fn save(tagger: &Pretrained, recipe: &Recipe, folder: std::path::PathBuf) -> Result<()> {
    tagger.save(&folder, recipe.head())?;
    Ok(write_label_names(folder, &recipe.labels())?)
}

/// Trains the student of an arm, which starts as the encoder before the teacher's training; one
/// target language per batch, each with its own prototypes.
fn train_student(trial: &Trial<Recipe>, sentences: &Sentences) -> Result<()> {
    let (recipe, arm) = (trial.recipe, trial.arm);
    let Some(targets) = arm.student else { return Ok(()) };
    let teacher = trial.load(teacher_model(trial), &[recipe.head()], Segments::AsSaved)?;
    let base = trial.load(&recipe.model.path, &[recipe.head()], recipe.model.segments)?;
    let mut tasks = Alternating::new();
    for (language, inputs) in untagged_inputs(recipe, sentences, &base)? {
        let batch_size = recipe.evaluation_batch_size;
        let probabilities = class_log_probabilities(&teacher.model, &inputs, batch_size)?;
        let self_training = (targets == Targets::Prototypes).then(|| recipe.self_training.clone());
        let task = StudentTask::new(&base.model, &inputs, probabilities, self_training)?;
        tasks = tasks.with(language.as_str(), BATCHES_PER_TURN, task);
    }
    trial.fit(STUDENT, &recipe.student, &base.model.named_parameters(), tasks)?;
    save(&base, recipe, trial.dir("model"))
}

/// Returns the folder of the arm's teacher.
fn teacher_model(trial: &Trial<Recipe>) -> std::path::PathBuf {
    let kind = trial.arm.teacher.expect("`validate` checks that each arm has a teacher");
    trial.seed_dir(teacher_folder(kind)).join("model")
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
