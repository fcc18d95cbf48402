//! A large contrastive batch in the memory of a small one.
use tch::{Device, Kind, Tensor, no_grad};

use crate::LossError;

/// One step over a contrastive batch too large for memory, cut into micro-batches whose gradients
/// equal the whole batch's (GradCache, Gao et al. 2021).
///
/// Accumulating gradients does not widen the pool of negatives: a micro-batch only sees itself.
/// Here
/// 1. every micro-batch is embedded without a graph,
/// 2. `loss` sees all embeddings together, and its gradient stops at them,
/// 3. every micro-batch is embedded again, with a graph and with the dropout it had, and passes its
///    part of that gradient on.
///
/// It costs one more forward pass, and memory for one micro-batch's graph and all embeddings.
/// Gradients are added to the parameters' own, as `backward` does; the optimiser's step stays with
/// the caller.
///
/// - `embed` turns a micro-batch into tensors `[b, …]`, as many and in the same order every time
///   (queries and keys, say), and must draw randomness from `device`'s generator alone. Batch norm
///   over a micro-batch sees that micro-batch only, and moves its running statistics in both
///   passes.
/// - `loss` gets each of them over the whole batch, `[B, …]`, and is called once: push into a queue
///   there. Parameters that it uses itself receive their gradient too.
///
/// Returns the loss, without a graph.
///
/// # Errors
/// [`LossError::Empty`] without a micro-batch or an embedding; [`LossError::Count`] if `embed`
/// returns another number of tensors than before; whatever `embed` and `loss` return.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ContrastRows, InfoNceConfig, LossError, cached_step, info_nce};
///
/// let weight = Tensor::eye(8, (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let rows = || Tensor::ones([16, 8], (Kind::Float, Device::Cpu));
/// let micro_batches: Vec<Tensor> = (0..4).map(|_| rows()).collect();
/// let embed = |rows: &Tensor| -> Result<Vec<Tensor>, LossError> {
///     Ok(vec![rows.f_matmul(&weight)?, rows.f_mul_scalar(0.5)?])
/// };
/// let config = InfoNceConfig::default();
/// let loss = cached_step(&micro_batches, Device::Cpu, embed, |all| {
///     info_nce(&all[0], &all[1], None, 0, &ContrastRows::default(), &config) // 64 rows
/// })?;
/// assert!((loss.double_value(&[]) - 64_f64.ln()).abs() < 1e-5);
/// assert!(weight.grad().defined());
/// # Ok::<(), LossError>(())
/// ```
pub fn cached_step<T, E: From<LossError>>(
    micro_batches: &[T],
    device: Device,
    mut embed: impl FnMut(&T) -> Result<Vec<Tensor>, E>,
    loss: impl FnOnce(&[Tensor]) -> Result<Tensor, E>,
) -> Result<Tensor, E> {
    let mut states = Vec::with_capacity(micro_batches.len());
    let mut cached: Vec<Vec<Tensor>> = Vec::with_capacity(micro_batches.len());
    for micro_batch in micro_batches {
        states.push(torch_ext::rng_state(device).map_err(LossError::from)?);
        let embeddings = no_grad(|| embed(micro_batch))?;
        expect_count(cached.first().map(Vec::len), embeddings.len())?;
        cached.push(embeddings);
    }
    let leaves = concatenate(&cached)?;
    let total = loss(&leaves)?;
    torch_ext::backward(&total).map_err(LossError::from)?;
    let after = torch_ext::rng_state(device).map_err(LossError::from)?;

    let mut first = vec![0; leaves.len()];
    for (micro_batch, (state, before)) in micro_batches.iter().zip(states.iter().zip(&cached)) {
        torch_ext::set_rng_state(device, state).map_err(LossError::from)?;
        let embeddings = embed(micro_batch)?;
        expect_count(Some(before.len()), embeddings.len())?;
        if let Some(surrogate) = surrogate(&embeddings, &leaves, &mut first)? {
            // The cached gradients carry the scale of the loss already.
            let passed_on = torch_ext::without_autocast(|| surrogate.f_backward());
            passed_on.map_err(LossError::from)?.map_err(LossError::from)?;
        }
    }
    torch_ext::set_rng_state(device, &after).map_err(LossError::from)?;
    Ok(total.f_detach().map_err(LossError::from)?)
}

fn expect_count(expected: Option<usize>, got: usize) -> Result<(), LossError> {
    match expected {
        Some(expected) if expected != got => {
            Err(LossError::Count { what: "tensors from embed", expected, got })
        }
        _ => Ok(()),
    }
}

/// Each embedding over the whole batch, as a leaf.
fn concatenate(cached: &[Vec<Tensor>]) -> Result<Vec<Tensor>, LossError> {
    let count = cached.first().map_or(0, Vec::len);
    if count == 0 {
        return Err(LossError::Empty { tensor: "micro_batches", reason: "nothing was embedded" });
    }
    (0..count)
        .map(|which| {
            let parts: Vec<&Tensor> = cached.iter().filter_map(|parts| parts.get(which)).collect();
            Ok(Tensor::f_cat(&parts, 0)?.f_detach()?.f_set_requires_grad(true)?)
        })
        .collect()
}

/// A number whose gradient with respect to the embeddings is the cached one; nothing if no
/// embedding has one.
fn surrogate(
    embeddings: &[Tensor],
    leaves: &[Tensor],
    first: &mut [i64],
) -> Result<Option<Tensor>, LossError> {
    let mut sum: Option<Tensor> = None;
    for ((embedding, leaf), first) in embeddings.iter().zip(leaves).zip(first) {
        let rows = embedding.size().first().copied().unwrap_or(0);
        let grad = leaf.f_grad()?;
        if grad.defined() && embedding.requires_grad() {
            let part = embedding.f_mul(&grad.f_narrow(0, *first, rows)?)?.f_sum(None::<Kind>)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&part)?,
                None => part,
            });
        }
        *first += rows;
    }
    Ok(sum)
}
