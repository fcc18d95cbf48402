//! Gradient caching for contrastive batches that do not fit in memory.
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{MicroBatch, MicroBatchSeeds, StepContext};

use crate::Error;

/// Computes the gradients of a large contrastive batch in micro-batches (GradCache, Gao et al.
/// 2021).
///
/// The gradients equal those of the whole batch. Gradient accumulation would compute other
/// gradients, because the negatives of a row would come from its micro-batch only. The steps are:
/// 1. Embed every micro-batch without a graph.
/// 2. Compute `loss` of all embeddings, and backpropagate it to the embeddings.
/// 3. Embed every micro-batch again, with a graph and the same dropout masks, and backpropagate the
///    cached gradient of its embeddings.
///
/// Compared with one large batch, these steps require one more forward pass, but memory only for
/// the graph of one micro-batch and for all embeddings. Gradients are added to the parameters'
/// gradients, as `backward` does; the caller runs the optimiser step.
///
/// - `embed` maps a micro-batch to tensors `[b, …]` (such as queries and keys), with the same
///   number and order of tensors in every call. If `embed` draws random numbers, it must use only
///   the random generator of `device`. Batch norm uses the statistics of the micro-batch, and
///   updates its running statistics in steps 1 and 3.
/// - `loss` takes the tensors of all micro-batches, concatenated to `[B, …]`. `loss` is called
///   once, so it can push keys to a queue. Parameters used in `loss` also receive gradients.
///
/// The random state of each micro-batch is derived from the random state of the whole batch and the
/// index of the micro-batch's first row ([`MicroBatchSeeds`]). The backward pass of `loss` is
/// [`StepContext::backward`], which applies the step's loss scale. If n processes share the step
/// ([`StepContext::group`]), each process embeds every n-th micro-batch, and all processes receive
/// all embeddings and call `loss`. The gradient of parameters used in `loss` is divided by the
/// number of processes, so that the sum over processes is the full gradient.
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
/// use objectives::{
///     ContrastRowInfo, Error, InfoNceConfig, MicroBatch, StepContext, cached_step, info_nce,
/// };
///
/// let weight = Tensor::eye(8, (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let rows = || Tensor::ones([16, 8], (Kind::Float, Device::Cpu));
/// let micro_batch = |index: usize| MicroBatch { first: 16 * index, rows: rows() };
/// let micro_batches: Vec<MicroBatch<Tensor>> = (0..4).map(micro_batch).collect();
/// let embed = |rows: &Tensor| -> Result<Vec<Tensor>, Error> {
///     Ok(vec![rows.f_matmul(&weight)?, rows.f_mul_scalar(0.5)?])
/// };
/// let config = InfoNceConfig::default();
/// let context = StepContext::default();
/// let loss = cached_step(&context, &micro_batches, Device::Cpu, embed, |embeddings| {
///     info_nce(&embeddings[0], &embeddings[1], None, 0, &ContrastRowInfo::default(), &config)
/// })?;
/// assert!((loss.double_value(&[]) - 64_f64.ln()).abs() < 1e-5);
/// assert!(weight.grad().defined());
/// # Ok::<(), Error>(())
/// ```
pub fn cached_step<T, E: From<Error>>(
    context: &StepContext,
    micro_batches: &[MicroBatch<T>],
    device: Device,
    mut embed: impl FnMut(&T) -> Result<Vec<Tensor>, E>,
    loss: impl FnOnce(&[Tensor]) -> Result<Tensor, E>,
) -> Result<Tensor, E> {
    let seeds = MicroBatchSeeds::new().map_err(Error::from)?;
    let (rank, size) = context.rank_and_size();
    let is_local = |index: &usize| index % size == rank;
    let mut cached: Vec<Option<Vec<Tensor>>> = Vec::with_capacity(micro_batches.len());
    for (index, MicroBatch { first, rows }) in micro_batches.iter().enumerate() {
        if !is_local(&index) {
            cached.push(None);
            continue;
        }
        seeds.enter(*first).map_err(Error::from)?;
        let embeddings = no_grad(|| embed(rows))?;
        let first_embeddings = cached.iter().flatten().next();
        check_count(first_embeddings.map(Vec::len), embeddings.len())?;
        cached.push(Some(embeddings));
    }
    let cached = match context.group() {
        Some(group) => group.all_gather_parts(cached, device).map_err(Error::from)?,
        None => cached.into_iter().flatten().collect(),
    };
    let leaves = concatenate(&cached)?;
    seeds.enter(0).map_err(Error::from)?;
    let total_loss = loss(&leaves)?;
    let local_loss = match size {
        1 => total_loss.shallow_clone(),
        _ => total_loss.f_div_scalar(size as f64).map_err(Error::from)?,
    };
    context.backward(&local_loss).map_err(Error::from)?;

    let mut first_rows = vec![0; leaves.len()];
    assert_eq!(cached.len(), micro_batches.len(), "each micro-batch has cached embeddings");
    for (index, (micro_batch, cached_embeddings)) in micro_batches.iter().zip(&cached).enumerate() {
        if !is_local(&index) {
            for (first_row, embedding) in first_rows.iter_mut().zip(cached_embeddings) {
                *first_row += embedding.size()[0];
            }
            continue;
        }
        seeds.enter(micro_batch.first).map_err(Error::from)?;
        let embeddings = embed(&micro_batch.rows)?;
        check_count(Some(cached_embeddings.len()), embeddings.len())?;
        if let Some(surrogate) = surrogate(&embeddings, &leaves, &mut first_rows, size as f64)? {
            // The cached gradients already include the loss scale.
            let result = torch_ext::without_autocast(|| surrogate.f_backward());
            result.map_err(Error::from)?.map_err(Error::from)?;
        }
    }
    seeds.enter(0).map_err(Error::from)?;
    Ok(total_loss.f_detach().map_err(Error::from)?)
}

fn check_count(expected: Option<usize>, got: usize) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != got => {
            Err(Error::Count { items: "tensors from embed", expected, got })
        }
        _ => Ok(()),
    }
}

/// Concatenates each embedding over all micro-batches into a leaf tensor.
fn concatenate(cached: &[Vec<Tensor>]) -> Result<Vec<Tensor>, Error> {
    let count = cached.first().map_or(0, Vec::len);
    if count == 0 {
        return Err(Error::Empty { tensor: "micro_batches", reason: "there are no micro-batches" });
    }
    (0..count)
        .map(|index| {
            let slices: Vec<&Tensor> = cached.iter().map(|all| &all[index]).collect();
            Ok(Tensor::f_cat(&slices, 0)?.f_detach()?.f_set_requires_grad(true)?)
        })
        .collect()
}

/// A scalar whose gradient with respect to the embeddings is the cached gradient times
/// `process_count`; `None` if no embedding has a gradient.
fn surrogate(
    embeddings: &[Tensor],
    leaves: &[Tensor],
    first_rows: &mut [i64],
    process_count: f64,
) -> Result<Option<Tensor>, Error> {
    let mut sum: Option<Tensor> = None;
    for ((embedding, leaf), first_row) in embeddings.iter().zip(leaves).zip(first_rows) {
        let rows = embedding.size()[0];
        let grad = leaf.f_grad()?;
        if grad.defined() && embedding.requires_grad() {
            let mut grad = grad.f_narrow(0, *first_row, rows)?;
            if process_count != 1.0 {
                grad = grad.f_mul_scalar(process_count)?;
            }
            let product = embedding.f_mul(&grad)?.f_sum(None::<Kind>)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&product)?,
                None => product,
            });
        }
        *first_row += rows;
    }
    Ok(sum)
}
