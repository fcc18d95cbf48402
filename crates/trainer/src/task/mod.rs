//! The interface between trainer and task: examples and their losses.
mod accumulate;
mod batches;
mod collate;
mod fingerprint_ext;
mod not_finite;
mod reading_group;
mod round_robin;
mod skipped_data;
mod slot;
mod state;
mod step_values;

use std::rc::Rc;

use rand_chacha::ChaCha8Rng;
use tch::Tensor;
use torch_ext::{ProcessGroup, StepContext, TensorMap};

pub use accumulate::{WeightedLoss, accumulate};
pub use batches::Batches;
pub use collate::{pad_mask, pad_rows};
pub use fingerprint_ext::FingerprintExt;
pub use not_finite::ExampleRecord;
pub(crate) use not_finite::NotFiniteReport;
pub(crate) use round_robin::RoundRobin;
pub use skipped_data::SkippedData;
pub(crate) use skipped_data::write_skipped_data;
pub use slot::{Alternating, Tasks, WeightedSum};
pub(crate) use slot::{
    TaskSlot, check_batch_sizes, check_evaluation, check_micro_batches, check_slots,
    stage_fingerprint,
};
pub(crate) use state::{ComputeOptions, TaskState};
pub(crate) use step_values::{NonFinite, StepResult, StepValues};

use crate::{BatchStream, Fingerprint};

/// The total loss of a batch, and its named parts for the log.
pub struct StepLosses {
    /// Total loss, `[]`, with a graph unless `is_accumulated`.
    pub total: Tensor,
    /// Named parts, each `[]`, in logging order. Their names in the metrics are `loss/<name>` or,
    /// for several tasks, `loss/<task>/<name>`; see [`Tasks`](crate::Tasks).
    pub parts: Vec<(&'static str, Tensor)>,
    /// Number of tokens without padding; `None` for the sum of the examples' lengths.
    pub tokens: Option<u64>,
    /// Whether the task has already accumulated the gradients of `total`, with [`Step::backward`]
    /// or [`accumulate`](crate::accumulate). The trainer rejects a step in which this value does
    /// not agree with the task's calls.
    pub is_accumulated: bool,
}

impl StepLosses {
    /// Creates losses with one named part, which is the total.
    ///
    /// ```
    /// use tch::Tensor;
    /// use trainer::StepLosses;
    ///
    /// let losses = StepLosses::single("masked_lm", Tensor::from(2.5));
    /// assert_eq!(losses.parts[0].0, "masked_lm");
    /// ```
    pub fn single(name: &'static str, loss: Tensor) -> Self {
        Self {
            parts: vec![(name, loss.detach())],
            total: loss,
            tokens: None,
            is_accumulated: false,
        }
    }
}

/// An error of a task.
pub type TaskError = Box<dyn std::error::Error + Send + Sync>;

/// Inputs of a task for one step.
pub struct Step<'a> {
    /// Indices of the batch's examples, in the task's examples or, for streams, in the current
    /// batch.
    pub batch: &'a [usize],
    /// Index of the batch in this task, from 0. In a stage with one task, this index equals the
    /// step.
    pub batch_index: u64,
    /// Number of batches of this task in the stage.
    pub batch_count: u64,
    /// Number of examples per forward pass, see [`TrainConfig::micro_batch`]; `None` for the whole
    /// batch.
    ///
    /// [`TrainConfig::micro_batch`]: crate::TrainConfig::micro_batch
    pub micro_batch: Option<usize>,
    /// Random generator of the step. libtorch's generator has also been seeded for the step.
    pub rng: ChaCha8Rng,
    /// Scale of the losses, which includes the task's weight, and the processes that share the step.
    pub context: StepContext,
}

impl<'a> Step<'a> {
    /// Creates the only step of a stage, without micro-batches, loss scale and other processes.
    pub fn new(batch: &'a [usize], rng: ChaCha8Rng) -> Self {
        let context = StepContext::default();
        Self { batch, batch_index: 0, batch_count: 1, micro_batch: None, rng, context }
    }

    /// Accumulates the gradients of a loss `[]`, multiplied by the loss scale and the task's weight.
    ///
    /// A task that calls this method instead of returning the loss's graph must set
    /// [`StepLosses::is_accumulated`]. `Tensor::backward` would ignore scale and weight.
    ///
    /// # Errors
    /// The errors of [`StepContext::backward`].
    pub fn backward(&self, loss: &Tensor) -> Result<(), TaskError> {
        Ok(self.context.backward(loss)?)
    }

    /// Returns the processes that share the step; `None` for a single process.
    pub fn group(&self) -> Option<&Rc<ProcessGroup>> {
        self.context.group()
    }
}

/// Examples of a task, in memory or streamed.
///
/// ```
/// use trainer::Examples;
///
/// let lengths = [7, 12, 5];
/// assert_eq!(Examples::Indexed(&lengths).lengths(), Some(lengths.as_slice()));
/// ```
///
/// The following task streams JSONL files. Batches have the source's order; they are not sorted by
/// length. A source of unknown size requires `TrainConfig::steps`, because the learning-rate
/// schedule depends on the number of steps.
///
/// ```no_run
/// use serde::Deserialize;
/// use trainer::{
///     Examples, ExampleStream, Fingerprint, ShardedJsonl, Shards, ShuffleConfig, Step, StepLosses,
///     Task, TaskError,
/// };
///
/// #[derive(Deserialize)]
/// struct Row {
///     input_ids: Vec<u32>,
/// }
///
/// struct Rows {
///     stream: ExampleStream<ShardedJsonl<Row>>,
/// }
///
/// impl Task for Rows {
///     fn examples(&mut self) -> Examples<'_> {
///         Examples::Streamed(&mut self.stream)
///     }
///
///     fn fingerprint(&self, fingerprint: &mut Fingerprint) {
///         self.stream.fingerprint(fingerprint);
///     }
///
///     fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
///         let rows: &[Row] = self.stream.batch();
///         assert_eq!(rows.len(), step.batch.len());
///         todo!("the model's losses of these rows")
///     }
/// }
///
/// let source = ShardedJsonl::new(Shards::open(["train.jsonl"])?, ShuffleConfig::default())?;
/// let mut task = Rows { stream: ExampleStream::new(source, |row: &Row| row.input_ids.len()) };
/// # Ok::<(), trainer::Error>(())
/// ```
pub enum Examples<'a> {
    /// Lengths in tokens of examples in memory. They are used to form batches of similar length and
    /// to count tokens. Each epoch has a new order, drawn from the seed.
    Indexed(&'a [usize]),
    /// Examples streamed batch by batch, for data that does not fit in memory.
    Streamed(&'a mut dyn BatchStream),
}

impl<'a> Examples<'a> {
    /// Returns the lengths of examples in memory; `None` for streams.
    pub fn lengths(&self) -> Option<&'a [usize]> {
        match self {
            Self::Indexed(lengths) => Some(lengths),
            Self::Streamed(_) => None,
        }
    }
}

/// A training task: examples and their losses.
///
/// The task owns the model; the trainer accesses only the parameters. See the crate documentation
/// for a complete task.
pub trait Task {
    /// Returns the examples, which must not change between calls.
    fn examples(&mut self) -> Examples<'_>;

    /// Adds all data and options that determine the losses to the fingerprint, except paths. A
    /// resumed run must have an equal fingerprint.
    fn fingerprint(&self, fingerprint: &mut Fingerprint);

    /// Computes the losses of one batch.
    ///
    /// # Errors
    /// Any error of the task; the error ends training.
    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError>;

    /// Returns whether [`losses`](Self::losses) supports [`Step::micro_batch`] and then computes
    /// the losses and gradients of the whole batch. If it returns false,
    /// [`TrainConfig::micro_batch`](crate::TrainConfig::micro_batch) must not be set.
    fn supports_micro_batches(&self) -> bool {
        false
    }

    /// Returns the smallest number of examples with which a batch has a gradient. A loss that takes
    /// its negatives from the batch returns 2: a row without a negative has the loss 0.
    ///
    /// A smaller [`batch_size`](crate::TrainConfig::batch_size), or fewer examples in memory, is an
    /// error. If an epoch's short batch is smaller, its examples are added to another batch. The last
    /// batch of a stream's epoch may be smaller.
    fn min_batch_size(&self) -> usize {
        1
    }

    /// Returns an example of the last batch for `not-finite.json`; `index` is an element of
    /// [`Step::batch`]. By default the record is empty, and the file contains only the example's
    /// index.
    fn example(&self, index: usize) -> ExampleRecord {
        let _ = index;
        ExampleRecord::default()
    }

    /// Returns counts of skipped, truncated or invalid data. A stage prints a line for each count
    /// above 0 at its start, and writes all counts to `left-out.json` in its folder.
    fn skipped_data(&self) -> Vec<SkippedData> {
        Vec::new()
    }

    /// Handles the end of an epoch of this task; `epoch` is counted from 0.
    ///
    /// The end of the stage also ends an epoch. The trainer calls this method after the parameters
    /// are updated and before a checkpoint is written. The checkpoint contains the resulting
    /// [`state`](Self::state), so a resumed run does not repeat the call.
    ///
    /// # Errors
    /// Any error of the task; the error ends training.
    fn epoch_ended(&mut self, epoch: u64) -> Result<(), TaskError> {
        let _ = epoch;
        Ok(())
    }

    /// Returns the number of evaluations since the best score; `None` if the task does not score
    /// models. If no task scores models, `evaluation_steps` and `patience` of
    /// [`TrainConfig`](crate::TrainConfig) are errors.
    fn evaluations_since_best(&self) -> Option<u64> {
        None
    }

    /// Scores the model. The trainer calls this method every `evaluation_steps` steps, unless an
    /// epoch ended in that step. The method must not draw random numbers.
    ///
    /// # Errors
    /// Any error of the task; the error ends training.
    fn evaluate(&mut self) -> Result<(), TaskError> {
        Ok(())
    }

    /// Returns the task's state: tensors changed by training that are not parameters, such as a
    /// queue of negatives or running statistics. Checkpoints contain these tensors.
    ///
    /// # Errors
    /// Any error of the task.
    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        Ok(Vec::new())
    }

    /// Restores the tensors that [`state`](Self::state) returned when the checkpoint was written.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        match state.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("{name}: this task has no state").into()),
        }
    }
}

/// A borrowed task, for wrappers such as [`BestEpoch`](crate::selection::BestEpoch).
impl<T: Task + ?Sized> Task for &mut T {
    fn examples(&mut self) -> Examples<'_> {
        (**self).examples()
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        (**self).fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        (**self).losses(step)
    }

    fn supports_micro_batches(&self) -> bool {
        (**self).supports_micro_batches()
    }

    fn min_batch_size(&self) -> usize {
        (**self).min_batch_size()
    }

    fn example(&self, index: usize) -> ExampleRecord {
        (**self).example(index)
    }

    fn skipped_data(&self) -> Vec<SkippedData> {
        (**self).skipped_data()
    }

    fn epoch_ended(&mut self, epoch: u64) -> Result<(), TaskError> {
        (**self).epoch_ended(epoch)
    }

    fn evaluations_since_best(&self) -> Option<u64> {
        (**self).evaluations_since_best()
    }

    fn evaluate(&mut self) -> Result<(), TaskError> {
        (**self).evaluate()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        (**self).state()
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        (**self).restore(state)
    }
}
