//! Training of teachers and students.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use experiment::Trial;
use mlqa_eval::Language;
use tasks::token_classification::{
    AlignedTaggingTask, StudentTask, TokenClassificationTask, class_log_probabilities,
    write_label_names,
};
use trainer::Alternating;
use transfer_eval::ner::NerInput;
use xlmr_model::{Pretrained, Segments};

use crate::recipe::{Recipe, STUDENT, Sentences, TEACHER, Targets, Teacher};

/// Returns the name of the folder of a teacher, which the arms share.
pub fn teacher_folder(kind: Teacher) -> &'static str {
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
pub fn train_teacher(
    trial: &Trial<Recipe, ()>,
    kind: Teacher,
    sentences: &Sentences,
) -> Result<()> {
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

fn save(tagger: &Pretrained, recipe: &Recipe, folder: PathBuf) -> Result<()> {
    tagger.save(&folder, recipe.head())?;
    Ok(write_label_names(folder, &recipe.labels())?)
}

/// Trains the student of an arm, which starts as the encoder before the teacher's training; one
/// target language per batch, each with its own prototypes.
pub fn train_student(trial: &Trial<Recipe>, sentences: &Sentences) -> Result<()> {
    let recipe = trial.recipe;
    let Some(targets) = trial.arm.student else { return Ok(()) };
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
pub fn teacher_model(trial: &Trial<Recipe>) -> PathBuf {
    let kind = trial.arm.teacher.expect("`validate` checks that each arm has a teacher");
    trial.seed_dir(teacher_folder(kind)).join("model")
}
