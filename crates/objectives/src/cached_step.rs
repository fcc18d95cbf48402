//! Gradient caching for contrastive batches that do not fit in memory.
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{MicroBatch, MicroBatchSeeds, current_group};

use crate::Error;

/// Computes the gradients of a large contrastive batch in micro-batches (GradCache, Gao et al.
/// 2021).
///
/// The gradients equal those of the whole batch. Gradient accumulation gives different gradients,
/// because the negatives of a row come from its micro-batch only. Here
/// 1. every micro-batch is embedded without a graph,
/// 2. `loss` receives all embeddings together, and its backward pass stops at them,
/// 3. every micro-batch is embedded again, with a graph and the same dropout masks, and its part of
///    the cached gradient is backpropagated through it.
///
/// This needs one more forward pass, and memory for the graph of one micro-batch and for all
/// embeddings. Gradients are added to the parameters' gradients, as `backward` does; the caller
/// runs the optimiser step.
///
/// - `embed` maps a micro-batch to tensors `[b, …]` (such as queries and keys), always in the same
///   number and order. It must use `device`'s random generator only. Batch norm uses the statistics
///   of the micro-batch, and updates its running statistics in both passes.
/// - `loss` receives each of these tensors over the whole batch, `[B, …]`, and is called once,
///   so it can push keys to a queue. Parameters used in `loss` receive their gradient too.
///
/// Each micro-batch starts from the random state of the whole batch and the index of its first row
/// ([`MicroBatchSeeds`]). If several processes share the step ([`torch_ext::with_group`]), each
/// process embeds every size-th micro-batch, and all processes receive all embeddings and call
/// `loss`. The gradient of parameters used in `loss` is divided by the number of processes, so that
/// the sum over processes is the full gradient.
///
/// Returns the loss, without a graph.
///
/// # Errors
/// [`Error::Empty`] without a micro-batch or an embedding; [`Error::Count`] if the number of
/// tensors returned by `embed` changes; errors of `embed` and `loss`.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ContrastRows, InfoNceConfig, Error, MicroBatch, cached_step, info_nce};
///
/// let weight = Tensor::eye(8, (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let rows = || Tensor::ones([16, 8], (Kind::Float, Device::Cpu));
/// let part = |number: usize| MicroBatch { first: 16 * number, rows: rows() };
/// let micro_batches: Vec<MicroBatch<Tensor>> = (0..4).map(part).collect();
/// let embed = |rows: &Tensor| -> Result<Vec<Tensor>, Error> {
///     Ok(vec![rows.f_matmul(&weight)?, rows.f_mul_scalar(0.5)?])
/// };
/// let config = InfoNceConfig::default();
/// let loss = cached_step(&micro_batches, Device::Cpu, embed, |embeddings| {
///     info_nce(&embeddings[0], &embeddings[1], None, 0, &ContrastRows::default(), &config)
/// })?;
/// assert!((loss.double_value(&[]) - 64_f64.ln()).abs() < 1e-5);
/// assert!(weight.grad().defined());
/// # Ok::<(), Error>(())
/// ```
pub fn cached_step<T, E: From<Error>>(
    micro_batches: &[MicroBatch<T>],
    device: Device,
    mut embed: impl FnMut(&T) -> Result<Vec<Tensor>, E>,
    loss: impl FnOnce(&[Tensor]) -> Result<Tensor, E>,
) -> Result<Tensor, E> {
    let (group, seeds) = (current_group(), MicroBatchSeeds::new().map_err(Error::from)?);
    let (rank, size) = group.as_ref().map_or((0, 1), |group| (group.rank(), group.size()));
    let is_local = |number: &usize| number % size == rank;
    let mut cached: Vec<Option<Vec<Tensor>>> = Vec::with_capacity(micro_batches.len());
    for (number, MicroBatch { first, rows }) in micro_batches.iter().enumerate() {
        if !is_local(&number) {
            cached.push(None);
            continue;
        }
        seeds.enter(*first).map_err(Error::from)?;
        let embeddings = no_grad(|| embed(rows))?;
        let first = cached.iter().flatten().next();
        check_count(first.map(Vec::len), embeddings.len())?;
        cached.push(Some(embeddings));
    }
    let cached = match &group {
        Some(group) => group.gather_parts(cached, device).map_err(Error::from)?,
        None => cached.into_iter().flatten().collect(),
    };
    let leaves = concatenate(&cached)?;
    seeds.enter(0).map_err(Error::from)?;
    let total = loss(&leaves)?;
    let local_loss = match size {
        1 => total.shallow_clone(),
        _ => total.f_div_scalar(size as f64).map_err(Error::from)?,
    };
    torch_ext::backward(&local_loss).map_err(Error::from)?;

    let mut first_rows = vec![0; leaves.len()];
    for (number, (part, cached_part)) in micro_batches.iter().zip(&cached).enumerate() {
        if !is_local(&number) {
            for (first_row, embedding) in first_rows.iter_mut().zip(cached_part) {
                *first_row += embedding.size().first().copied().unwrap_or(0);
            }
            continue;
        }
        seeds.enter(part.first).map_err(Error::from)?;
        let embeddings = embed(&part.rows)?;
        check_count(Some(cached_part.len()), embeddings.len())?;
        if let Some(surrogate) = surrogate(&embeddings, &leaves, &mut first_rows, size as f64)? {
            // The cached gradients already include the loss scale.
            let result = torch_ext::without_autocast(|| surrogate.f_backward());
            result.map_err(Error::from)?.map_err(Error::from)?;
        }
    }
    seeds.enter(0).map_err(Error::from)?;
    Ok(total.f_detach().map_err(Error::from)?)
}

fn check_count(expected: Option<usize>, got: usize) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != got => {
            Err(Error::Count { what: "tensors from embed", expected, got })
        }
        _ => Ok(()),
    }
}

/// Concatenates each embedding over the whole batch, as a leaf.
fn concatenate(cached: &[Vec<Tensor>]) -> Result<Vec<Tensor>, Error> {
    let count = cached.first().map_or(0, Vec::len);
    if count == 0 {
        return Err(Error::Empty { tensor: "micro_batches", reason: "there are no micro-batches" });
    }
    (0..count)
        .map(|index| {
            let parts: Vec<&Tensor> = cached.iter().filter_map(|parts| parts.get(index)).collect();
            Ok(Tensor::f_cat(&parts, 0)?.f_detach()?.f_set_requires_grad(true)?)
        })
        .collect()
}

/// A scalar whose gradient with respect to the embeddings is the cached gradient times `factor`;
/// `None` if no embedding has a gradient.
fn surrogate(
    embeddings: &[Tensor],
    leaves: &[Tensor],
    first_rows: &mut [i64],
    factor: f64,
) -> Result<Option<Tensor>, Error> {
    let mut sum: Option<Tensor> = None;
    for ((embedding, leaf), first_row) in embeddings.iter().zip(leaves).zip(first_rows) {
        let rows = embedding.size().first().copied().unwrap_or(0);
        let grad = leaf.f_grad()?;
        if grad.defined() && embedding.requires_grad() {
            let mut grad = grad.f_narrow(0, *first_row, rows)?;
            if factor != 1.0 {
                grad = grad.f_mul_scalar(factor)?;
            }
            let part = embedding.f_mul(&grad)?.f_sum(None::<Kind>)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&part)?,
                None => part,
            });
        }
        *first_row += rows;
    }
    Ok(sum)
}
