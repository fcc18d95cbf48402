//! Training of one or several tasks.
use tch::Tensor;

use crate::selection::{BestEpoch, BestEvaluation, CheckpointSelection};
use crate::task::TaskSlot;
use crate::task::write_skipped_data;
use crate::training::Training;
use crate::{Error, FitReport, Result, Stage, Tasks, TrainConfig};

/// Trains `parameters` on one or several [`Tasks`], resuming from the newest checkpoint of the
/// stage's folder.
///
/// See the crate documentation for an example.
///
/// Every step has a separate seed, so training can resume at any step. A checkpoint is written
/// every `checkpoint_steps` and at the end. In `metrics.jsonl`, each part of the loss
/// (`loss/<part>`) is averaged over the batches that have this part. The total `loss` is averaged
/// over the steps.
///
/// # Errors
/// [`Error`](crate::Error): a setting out of range, tasks without distinct names, no examples, a
/// loss that is not finite, a file that cannot be read or written, or an error of a task.
pub fn fit<'a>(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    tasks: impl Into<Tasks<'a>>,
) -> Result<FitReport> {
    let mut tasks = tasks.into();
    write_skipped_data(stage, &tasks.slots)?;
    Training::start(stage, config, parameters, &mut tasks)?.run()
}

/// Trains like [`fit`], scores the model at every evaluation, and restores the best parameters.
///
/// The model is scored after each epoch of the first task and every `evaluation_steps` steps;
/// `selection` determines the best evaluation (see [`BestEpoch`]).
///
/// # Errors
/// The errors of [`fit`], and errors of the scoring function.
pub fn fit_best<'a>(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    tasks: impl Into<Tasks<'a>>,
    selection: CheckpointSelection<'_>,
) -> Result<(FitReport, BestEvaluation)> {
    let Tasks { slots, updates } = tasks.into();
    let mut slots = slots.into_iter();
    let first_slot = slots.next().ok_or_else(|| Error::NoExamples { stage: stage.name.clone() })?;
    let TaskSlot { name, mut task, batches_per_round, weight } = first_slot;
    let mut best_epoch = BestEpoch::new(&mut *task, parameters, selection);
    let first_slot = TaskSlot { name, task: Box::new(&mut best_epoch), batches_per_round, weight };
    let slots = std::iter::once(first_slot).chain(slots).collect();
    let report = fit(stage, config, parameters, Tasks { slots, updates })?;
    let (evaluation, scores) = best_epoch.finish()?;
    Ok((report, BestEvaluation { evaluation, scores }))
}
