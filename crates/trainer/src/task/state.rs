//! State of a stage's task during training.
use std::rc::Rc;

use tch::{Device, Tensor};
use torch_ext::{Precision, ProcessGroup, StepContext, TensorMap, region};

use crate::task::batches::Epoch;
use crate::task::not_finite::{BatchRecord, IndexedExample};
use crate::task::reading_group::StageProcesses;
use crate::task::slot::{TaskSlot, slot_label, slot_seed};
use crate::{
    Batches, Error, Examples, ReadingGroup, Result, Stage, Step, StepLosses, StreamPosition,
    TaskError, TrainConfig,
};
use crate::{rng_for, seed_for};

/// Default of [`TrainConfig::bucket_batches`] for a task without negatives from the batch.
const BUCKET_BATCHES: usize = 50;

/// State of a task during training: its order of examples, batch options and finished epochs.
pub(crate) struct TaskState<'s, 't> {
    slot: &'s mut TaskSlot<'t>,
    order: Order,
    batch_size: usize,
    micro_batch: Option<usize>,
    group: Option<Rc<ProcessGroup>>,
    /// Number of batches in an epoch, if known.
    per_epoch: Option<u64>,
    seed: u64,
    /// Number of batches in the stage.
    pub(crate) total: u64,
    /// Epochs that ended in the current step.
    ended_epochs: Vec<u64>,
    /// The slot's name and `/`; empty if the stage has one slot.
    prefix: String,
    label: String,
}

/// Order of a task's examples.
enum Order {
    /// For examples in memory: the generator of each epoch's batches, and the index and batches of
    /// the current epoch.
    Indexed(Batches, Option<(u64, Epoch)>),
    Streamed(StreamPosition),
}

/// Losses and origin of a batch after its backward pass.
pub(crate) struct BatchLosses {
    /// `[]`, without a graph.
    pub(crate) loss: Tensor,
    /// Named parts, each `[]` without a graph.
    pub(crate) parts: Vec<(String, Tensor)>,
    pub(crate) tokens: u64,
    /// Identity of the batch, for error messages.
    pub(crate) origin: BatchOrigin,
}

/// Slot, index and examples of a batch.
pub(crate) struct BatchOrigin {
    pub(crate) slot: usize,
    number: u64,
    /// Epoch of the batch, for streams.
    epoch: Option<u64>,
    examples: Vec<usize>,
}

/// Precision, device and loss scale of a batch.
#[derive(Clone, Copy)]
pub(crate) struct ComputeOptions {
    pub(crate) precision: Precision,
    pub(crate) device: Device,
    /// Scale of the loss.
    pub(crate) scale: f64,
}

/// The examples of a batch.
struct Batch {
    examples: Vec<usize>,
    tokens: u64,
    /// Epoch of the batch, for streams.
    epoch: Option<u64>,
}

impl<'s, 't> TaskState<'s, 't> {
    /// Creates the state of `slot` in a stage with `slot_count` slots.
    pub(crate) fn new(
        stage: &Stage,
        config: &TrainConfig,
        slot: &'s mut TaskSlot<'t>,
        slot_count: usize,
    ) -> Self {
        let seed = slot_seed(config, slot_count, &slot.name);
        let batch_size = config.batch_size;
        let min_batch_size = slot.task.min_batch_size();
        let (order, per_epoch) = match slot.task.examples() {
            Examples::Indexed(lengths) => {
                let default = if min_batch_size > 1 { 1 } else { BUCKET_BATCHES };
                let bucket_batches = config.bucket_batches.unwrap_or(default);
                let batches = Batches::new(lengths, batch_size, bucket_batches, seed)
                    .with_min_batch_size(min_batch_size);
                let per_epoch = batches.batches_per_epoch();
                (Order::Indexed(batches, None), Some(per_epoch))
            }
            Examples::Streamed(stream) => {
                let per_epoch =
                    stream.example_count().map(|count| count.div_ceil(batch_size as u64).max(1));
                (Order::Streamed(StreamPosition::default()), per_epoch)
            }
        };
        let prefix = if slot_count == 1 { String::new() } else { format!("{}/", slot.name) };
        let label = slot_label(&stage.name, slot_count, &slot.name);
        let (micro_batch, group) = (config.micro_batch, stage.group.clone());
        let (total, ended_epochs) = (0, Vec::new());
        Self {
            slot,
            order,
            batch_size,
            micro_batch,
            group,
            per_epoch,
            seed,
            total,
            ended_epochs,
            prefix,
            label,
        }
    }

    /// Number of batches in an epoch, if known.
    pub(crate) fn per_epoch(&self) -> Option<u64> {
        self.per_epoch
    }

    /// Returns the number of passes over the examples after `batches` batches, as a fraction. For a
    /// stream of unknown length, returns the number of completed passes.
    pub(crate) fn epochs(&self, batches: u64) -> f64 {
        match (&self.order, self.per_epoch) {
            (Order::Indexed(..), Some(per_epoch)) => batches as f64 / per_epoch as f64,
            (Order::Streamed(stream_position), Some(per_epoch)) => {
                stream_position.epoch as f64 + stream_position.batches as f64 / per_epoch as f64
            }
            (Order::Streamed(stream_position), None) => stream_position.epoch as f64,
            (Order::Indexed(..), None) => 0.0,
        }
    }

    fn task_error(&self, step: u64) -> impl Fn(TaskError) -> Error + use<> {
        let stage = self.label.clone();
        move |cause| Error::Task { stage: stage.clone(), step, cause }
    }

    /// Selects the examples of batch `number`, or reads them from the stream.
    fn next_batch(&mut self, step: u64, number: u64) -> Result<Batch> {
        let task_error = self.task_error(step);
        match &mut self.order {
            Order::Indexed(batches, current) => {
                let per_epoch = batches.batches_per_epoch();
                let (epoch, index) = (number / per_epoch, number % per_epoch);
                if current.as_ref().is_none_or(|(current_epoch, _)| *current_epoch != epoch) {
                    *current = Some((epoch, batches.epoch(epoch)));
                }
                let (_, order) = current.as_ref().expect("the order of this epoch");
                let examples = order[index as usize].clone();
                if (number + 1).is_multiple_of(per_epoch) {
                    self.ended_epochs.push(epoch);
                }
                Ok(Batch { tokens: batches.tokens(&examples), examples, epoch: None })
            }
            Order::Streamed(stream_position) => {
                let Examples::Streamed(stream) = self.slot.task.examples() else {
                    return Err(task_error(
                        "examples() returned a stream before, but not now".into(),
                    ));
                };
                stream.share(self.group.as_ref().map(|group| {
                    Rc::new(StageProcesses(Rc::clone(group))) as Rc<dyn ReadingGroup>
                }));
                if stream_position.position.is_none() {
                    let rng = rng_for(self.seed, "order", stream_position.epoch);
                    stream.start_epoch(stream_position.epoch, rng).map_err(&task_error)?;
                }
                let epoch = Some(stream_position.epoch);
                let batch = stream.next_batch(self.batch_size).map_err(&task_error)?;
                if batch.lengths.is_empty() {
                    return Err(Error::NoExamples { stage: self.label.clone() });
                }
                if batch.is_last {
                    self.ended_epochs.push(stream_position.epoch);
                    *stream_position = StreamPosition {
                        epoch: stream_position.epoch + 1,
                        ..StreamPosition::default()
                    };
                } else {
                    stream_position.batches += 1;
                    stream_position.position = Some(stream.position().map_err(&task_error)?);
                }
                let tokens = batch.lengths.iter().map(|&length| length as u64).sum();
                Ok(Batch { examples: (0..batch.lengths.len()).collect(), tokens, epoch })
            }
        }
    }

    /// Runs the forward and backward pass of the slot's batch `number` and accumulates the
    /// parameters' gradients, multiplied by the loss scale; `step` is used in errors only.
    pub(crate) fn backward(
        &mut self,
        step: u64,
        slot: usize,
        number: u64,
        compute: ComputeOptions,
    ) -> Result<BatchLosses> {
        let Batch { examples, tokens, epoch } = self.next_batch(step, number)?;
        tch::manual_seed(seed_for(self.seed, "torch", number));
        let rng = rng_for(self.seed, "task", number);
        let ComputeOptions { precision, device, scale } = compute;
        let weight = self.slot.weight;
        let mut inputs = Step {
            batch: &examples,
            batch_index: number,
            batch_count: self.total,
            micro_batch: self.micro_batch_size(),
            rng,
            // Gradients are multiplied by the loss scale and the task's weight.
            context: StepContext::new(scale * weight, self.group.clone()),
        };
        let losses = {
            let _region = region(c"losses");
            precision.run(device, || self.slot.task.losses(&mut inputs))?
        }
        .map_err(self.task_error(step))?;
        let context = inputs.context;
        check_backward(&context, &losses).map_err(self.task_error(step))?;
        // If the task does not split the batch, all ranks compute the same loss, so only rank 0
        // adds its gradients.
        if !losses.is_accumulated && self.group.as_ref().is_none_or(|group| group.rank() == 0) {
            let _region = region(c"backward");
            context.backward(&losses.total)?;
        }
        let part = |(name, part): &(&str, Tensor)| {
            let prefix = if *name == self.slot.name { "" } else { self.prefix.as_str() };
            Ok((format!("loss/{prefix}{name}"), part.f_detach()?))
        };
        let mut loss = losses.total.f_detach()?;
        if weight != 1.0 {
            loss = loss.f_mul_scalar(weight)?;
        }
        Ok(BatchLosses {
            loss,
            parts: losses.parts.iter().map(part).collect::<Result<_>>()?,
            tokens: losses.tokens.unwrap_or(tokens),
            origin: BatchOrigin { slot, number, epoch, examples },
        })
    }

    /// Returns the size of micro-batches: at most the configured size, and at most the batch size
    /// divided by the number of ranks, rounded up. Shorter batches use the same size, so that
    /// dropout on a GPU does not depend on the number of ranks.
    fn micro_batch_size(&self) -> Option<usize> {
        let Some(group) = &self.group else { return self.micro_batch };
        let rank_size = self.batch_size.div_ceil(group.size()).max(1);
        Some(self.micro_batch.map_or(rank_size, |size| size.min(rank_size)))
    }

    /// Returns the record of a batch for `not-finite.json`. For streams, the record has the
    /// contents of examples only if the batch is the task's last batch in this step.
    pub(crate) fn record(&self, origin: &BatchOrigin, is_last: bool) -> BatchRecord {
        let has_examples = is_last || matches!(self.order, Order::Indexed(..));
        let example = |&index: &usize| IndexedExample {
            index,
            example: if has_examples { self.slot.task.example(index) } else { Default::default() },
        };
        BatchRecord {
            task: self.label.clone(),
            number: origin.number,
            epoch: origin.epoch,
            examples: origin.examples.iter().map(example).collect(),
        }
    }

    /// Calls `epoch_ended` for each epoch that ended in this step. The last step of the stage also
    /// ends an incomplete epoch. If no epoch ended but an evaluation is due, calls `evaluate`.
    pub(crate) fn end_step(
        &mut self,
        step: u64,
        batches: u64,
        stage_ends: bool,
        evaluation_due: bool,
    ) -> Result<()> {
        let mut ended_epochs = std::mem::take(&mut self.ended_epochs);
        if stage_ends {
            ended_epochs.extend(match (&self.order, self.per_epoch) {
                (Order::Streamed(stream_position), _) => {
                    (stream_position.batches > 0).then_some(stream_position.epoch)
                }
                (Order::Indexed(..), Some(per_epoch)) => {
                    (!batches.is_multiple_of(per_epoch)).then_some(batches / per_epoch)
                }
                (Order::Indexed(..), None) => None,
            });
        }
        if evaluation_due && ended_epochs.is_empty() {
            self.slot.task.evaluate().map_err(self.task_error(step))?;
        }
        for epoch in ended_epochs {
            self.slot.task.epoch_ended(epoch).map_err(self.task_error(step))?;
        }
        Ok(())
    }

    /// See [`Task::evaluations_since_best`](crate::Task::evaluations_since_best).
    pub(crate) fn evaluations_since_best(&self) -> Option<u64> {
        self.slot.task.evaluations_since_best()
    }

    /// Returns the task's state; names have the slot's prefix.
    pub(crate) fn state(&self, step: u64) -> Result<Vec<(String, tch::Tensor)>> {
        let state = self.slot.task.state().map_err(self.task_error(step))?;
        let prefixed =
            state.into_iter().map(|(name, tensor)| (format!("{}{name}", self.prefix), tensor));
        Ok(prefixed.collect())
    }

    /// Returns the position of the task's stream; `None` for examples in memory.
    pub(crate) fn stream_position(&self) -> Option<StreamPosition> {
        match &self.order {
            Order::Indexed(..) => None,
            Order::Streamed(stream_position) => Some(stream_position.clone()),
        }
    }

    /// Restores the task's state from the tensors of all slots, and the position of the task's
    /// stream from `stream`.
    pub(crate) fn restore(
        &mut self,
        state: &TensorMap,
        stream: Option<&StreamPosition>,
    ) -> std::result::Result<(), TaskError> {
        let tensors: TensorMap = state
            .iter()
            .filter_map(|(name, tensor)| {
                let name = name.strip_prefix(self.prefix.as_str())?;
                Some((name.to_owned(), tensor.shallow_clone()))
            })
            .collect();
        self.slot.task.restore(&tensors)?;
        let Order::Streamed(stream_position) = &mut self.order else { return Ok(()) };
        *stream_position =
            stream.cloned().ok_or("the position in the example stream is missing")?;
        let Examples::Streamed(stream) = self.slot.task.examples() else { return Ok(()) };
        // The processes restore their positions one after another.
        stream.share(None);
        if let Some(position) = &stream_position.position {
            stream.start_epoch(
                stream_position.epoch,
                rng_for(self.seed, "order", stream_position.epoch),
            )?;
            stream.seek(position)?;
        }
        Ok(())
    }
}

/// Checks that a task accumulates gradients only with the step's context, because gradients of
/// `Tensor::backward` lack the loss scale and the task's weight.
fn check_backward(
    context: &StepContext,
    losses: &StepLosses,
) -> std::result::Result<(), TaskError> {
    match (losses.is_accumulated, context.has_backward()) {
        (true, false) => Err("the losses are marked as accumulated, but the task did not call \
                              `Step::backward` or `accumulate`; `Tensor::backward` ignores the \
                              loss scale and the task's weight. In a step without gradients, call \
                              `step.context.skip_backward()`"
            .into()),
        (false, true) => {
            Err("the task called `Step::backward` or `accumulate`, but the losses are \
                              not marked as accumulated; set `StepLosses::is_accumulated`"
                .into())
        }
        _ => Ok(()),
    }
}
