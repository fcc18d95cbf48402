//! Micro-batches whose losses add up to the batch's loss.
use tch::Tensor;
use torch_ext::MicroBatch;
use trainer::{Step, StepLosses, TaskError, WeightedLoss, accumulate};

use crate::Result;

/// Reduction of the losses of single targets to one loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Mean,
    Sum,
}

/// Computes the loss of `rows` in micro-batches of at most [`Step::micro_batch`] rows.
///
/// With [`Reduction::Mean`], the loss of a micro-batch is weighted by its share of the batch's
/// targets. `target_count` returns the number of targets of a row; `loss` computes the loss of some
/// rows, reduced by `reduction`.
pub(crate) fn losses<T>(
    step: &Step<'_>,
    name: &'static str,
    rows: &[T],
    reduction: Reduction,
    target_count: impl Fn(&T) -> usize,
    mut loss: impl FnMut(&[T]) -> Result<Tensor>,
) -> Result<StepLosses, TaskError> {
    let Some(size) = step.micro_batch.filter(|&size| size < rows.len()) else {
        return Ok(StepLosses::single(name, loss(rows)?));
    };
    let count_targets = |rows: &[T]| rows.iter().map(&target_count).sum::<usize>();
    let batch_targets = count_targets(rows) as f64;
    let mut micro_batches = MicroBatch::cut(rows, size);
    micro_batches.retain(|batch| count_targets(batch.rows) > 0);
    accumulate(&step.context, &micro_batches, |rows| {
        let loss = loss(rows)?;
        let loss = match reduction {
            Reduction::Mean => loss.f_mul_scalar(count_targets(rows) as f64 / batch_targets)?,
            Reduction::Sum => loss,
        };
        Ok(vec![WeightedLoss { name, weight: 1.0, loss }])
    })
}
