//! Training one task, or several in turn.
use tch::Tensor;

use crate::left_out::tell;
use crate::training::Training;
use crate::{Result, Stage, Task, TaskSlot, TrainConfig};

/// What a stage did.
#[derive(Clone, Debug, PartialEq)]
pub struct FitReport {
    /// Updates made.
    pub steps: u64,
    /// Tokens seen, padding left out.
    pub tokens: u64,
    /// Seconds of training, earlier parts of a resumed run included.
    pub seconds: f64,
    /// Mean loss of the last line of metrics.
    pub final_loss: f64,
    /// Whether the stage ended, rather than being interrupted.
    pub finished: bool,
}

/// Trains `parameters` on `task`, from the newest checkpoint of the stage's folder where there is
/// one. The crate's first page has an example.
///
/// Steps are seeded one by one (see the crate's text on resuming). A checkpoint is written every
/// `checkpoint_steps` and at the end.
///
/// # Errors
/// [`Error`](crate::Error): a setting out of range, no examples, a loss that is not
/// finite, a file that cannot be read or written, or the task's own error.
pub fn fit(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    task: &mut dyn Task,
) -> Result<FitReport> {
    fit_tasks(stage, config, parameters, &mut [TaskSlot::new(stage.name.as_str(), task)])
}

/// Trains `parameters` on several tasks in turn, with one optimiser, one schedule and one
/// checkpoint.
///
/// A round goes through `slots` in their order, each with its `batches_per_round`. Under
/// [`Updates::Sequential`](crate::Updates::Sequential) each batch is a step with an update of its
/// own, as in mixMRC + LAKM (Yuan et al. 2020, §4.3); under
/// [`Updates::Summed`](crate::Updates::Summed) a round is a step, whose gradient is the sum of its
/// batches' gradients.
///
/// - `config.epochs` counts passes over the first slot's examples, to the end of the last round;
///   every other slot begins anew when its examples are used up. `config.steps` counts updates.
/// - Each task sees its own batches, counted from 0 ([`Step::number`](crate::Step::number)), with
///   an order and a generator that depend on the seed, the slot's name and that number: not on what
///   the other slots do.
/// - `metrics.jsonl` names the parts `loss/<slot>/<part>`, means over the batches that had them;
///   `loss` is the mean over steps, of whichever slot.
/// - One slot is the same as [`fit`], bit for bit.
///
/// # Errors
/// As [`fit`]; [`Error::Config`](crate::Error::Config) also for slots without a name of
/// their own, or without a batch in a round.
///
/// # Example
/// ```no_run
/// use tch::Tensor;
/// use trainer::{Stage, Task, TaskSlot, TrainConfig, fit_tasks};
///
/// fn train(
///     stage: &Stage,
///     parameters: &[(String, Tensor)],
///     questions: &mut dyn Task,
///     phrases: &mut dyn Task,
/// ) -> trainer::Result<()> {
///     let mut slots = [
///         TaskSlot { batches_per_round: 2, ..TaskSlot::new("questions", questions) },
///         TaskSlot { batch_size: Some(8), ..TaskSlot::new("phrases", phrases) },
///     ];
///     fit_tasks(stage, &TrainConfig::default(), parameters, &mut slots)?;
///     Ok(())
/// }
/// ```
pub fn fit_tasks(
    stage: &Stage,
    config: &TrainConfig,
    parameters: &[(String, Tensor)],
    slots: &mut [TaskSlot<'_>],
) -> Result<FitReport> {
    tell(stage, slots)?;
    Training::start(stage, config, parameters, slots)?.run()
}
