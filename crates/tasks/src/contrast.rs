//! Contrastive loss over all rows of a step, and conversion of entities to ids.
use objectives::cached_step;
use tch::Tensor;
use torch_ext::MicroBatch;
use trainer::{Step, StepLosses};

use crate::{Error, Result};

/// Computes the contrastive loss of one training step, logged as `name`.
///
/// `embed` computes the hidden states of the queries and of the keys of some rows, `[b, H]` each.
/// `loss` receives the hidden states of all rows. With micro-batches, `embed` is called twice for
/// each row, and the gradients equal the gradients without micro-batches.
pub(crate) fn step_losses<T>(
    step: &Step<'_>,
    name: &'static str,
    rows: &[T],
    device: tch::Device,
    embed: impl Fn(&[T]) -> Result<[Tensor; 2]>,
    loss: impl FnOnce(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<StepLosses> {
    let Some(size) = step.micro_batch.filter(|&size| size < rows.len()) else {
        let [queries, keys] = embed(rows)?;
        return Ok(StepLosses::single(name, loss(&queries, &keys)?));
    };
    let micro_batches = MicroBatch::cut(rows, size);
    let embed = |rows: &&[T]| embed(rows).map(Vec::from);
    let loss = cached_step(&step.context, &micro_batches, device, embed, |states| match states {
        [queries, keys] => loss(queries, keys),
        _ => Err(Error::data("hidden states", "two kinds", states.len())),
    })?;
    Ok(StepLosses { is_accumulated: true, ..StepLosses::single(name, loss) })
}

/// Derives the id of an entity from its name.
pub(crate) fn entity_id(entity: &str) -> i64 {
    trainer::seed_for(0, entity, 0) & i64::MAX
}

/// Converts integers to an i64 tensor on `device`.
pub(crate) fn id_tensor(values: &[i64], device: tch::Device) -> Result<Tensor> {
    Ok(torch_ext::upload(&Tensor::f_from_slice(values)?, device)?)
}
