//! Training of an arm in two phases; phase two uses soft labels of the model of phase one.
use anyhow::Result;
use experiment::Trial;
use tasks::fusion::{
    ClassPair, FusedClassificationTask, FusedHead, FusedQaTask, FusedTask, PairCounts, StudentStart,
};
use xlmr_model::{Head, Pretrained};

use crate::data::{Questions, SentencePairs};
use crate::recipe::{Recipe, Source};

/// Classification head for entailment, neutral and contradiction.
pub const CLASS_HEAD: Head = Head::SequenceClassification { labels: 3 };

/// Trains a reader on the arm's question pairs.
pub fn train_reader(trial: &Trial<Recipe>, input: &Questions) -> Result<PairCounts> {
    let (recipe, arm, config) = (trial.recipe, trial.arm, trial.recipe.qa(trial.arm));
    let source = match arm.source {
        Source::Translation => &input.pairs.source,
        Source::Unrelated => &input.unrelated,
    };
    let target = &input.pairs.target;
    let reader = start_model(trial, Head::Span)?;
    train(
        trial,
        reader,
        Head::Span,
        |Pretrained { model, tokenizer, .. }| {
            Ok(FusedQaTask::new(model, tokenizer, target, source, &recipe.windows, &config)?)
        },
        |task| *task.counts(),
    )
}

/// Trains a classifier on the arm's sentence pairs; returns the number of pairs.
pub fn train_classifier(trial: &Trial<Recipe>, input: &SentencePairs) -> Result<usize> {
    let config = &trial.recipe.classification;
    let classifier = start_model(trial, CLASS_HEAD)?;
    let mut pairs = input.train_pairs(&classifier.tokenizer, &config.encoding)?;
    if trial.arm.source == Source::Unrelated {
        pairs = ClassPair::with_unrelated_sources(&pairs)?;
    }
    let fusion = trial.recipe.fusion(trial.arm);
    train(
        trial,
        classifier,
        CLASS_HEAD,
        |Pretrained { model, .. }| {
            Ok(FusedClassificationTask::new(model, pairs.clone(), fusion, &config.soft)?)
        },
        |_| pairs.len(),
    )
}

fn start_model(trial: &Trial<Recipe>, head: Head) -> Result<Pretrained> {
    let model = &trial.recipe.model;
    let mut loaded = trial.load_model(&model.path, &[head], model.segments)?;
    if head == Head::Span && trial.recipe.windows.segment_ids {
        loaded.enable_pair_segments()?;
    }
    Ok(loaded)
}

/// Trains and saves an arm's model; returns the result of `count_pairs` for the task.
fn train<H: FusedHead, T>(
    trial: &Trial<Recipe>,
    mut model: Pretrained,
    head: Head,
    new_task: impl Fn(&Pretrained) -> Result<FusedTask<'_, H>>,
    count_pairs: impl Fn(&FusedTask<'_, H>) -> T,
) -> Result<T> {
    let recipe = trial.recipe;
    // Section 3, self-teaching: trains a first model, and computes its logits for the target texts.
    let mut logits = None;
    if trial.arm.soft {
        let mut teacher_task = new_task(&model)?;
        trial.fit(
            "teacher",
            &recipe.teacher,
            &model.model.named_parameters(),
            &mut teacher_task,
        )?;
        model.save(trial.dir("teacher-model"), head)?;
        let (path, size) = (trial.dir("teacher-scores.safetensors"), recipe.evaluation.batch_size);
        logits = Some(teacher_task.teacher_logits(&path, &model.model, size)?.0);
        if recipe.student == StudentStart::Base {
            model = start_model(trial, head)?;
        }
    }

    // The losses of both texts and, with a teacher, the divergence from the teacher's logits.
    let mut student_task = new_task(&model)?;
    if let Some(logits) = logits {
        student_task = student_task.with_teacher(logits)?;
    }
    let training = recipe.training(trial.arm);
    trial.fit("train", &training, &model.model.named_parameters(), &mut student_task)?;
    let pair_counts = count_pairs(&student_task);
    drop(student_task);
    trial.save(&mut model, head, trial.dir("model"))?;
    Ok(pair_counts)
}
