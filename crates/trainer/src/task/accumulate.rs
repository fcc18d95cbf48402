//! Gradient accumulation over micro-batches and processes.
use tch::{Kind, Tensor};
use torch_ext::{MicroBatch, MicroBatchSeeds, ProcessGroup, StepContext};

use crate::{StepLosses, TaskError};

/// Contribution of a micro-batch to a named loss of the full batch.
pub struct WeightedLoss {
    /// Name of the loss in the log.
    pub name: &'static str,
    /// Weight of the loss in the sum of losses.
    pub weight: f64,
    /// Contribution to the loss of the full batch: a scalar, `[]`, with its autograd graph.
    pub loss: Tensor,
}

/// Runs forward and backward passes of a step's micro-batches sequentially, so that only one graph
/// exists at a time.
///
/// `contributions` computes a micro-batch's contributions to the losses of the full batch. For a
/// mean over the n targets of the full batch, the contribution is the micro-batch's *sum* divided
/// by n, not the micro-batch's mean. A mean of means would weight targets unequally if
/// micro-batches have different numbers of targets. The number n must be known before the first
/// forward pass, so mask the full batch first.
///
/// Backward passes use [`StepContext::backward`], which applies the loss scale and the task's
/// weight; `context` is [`Step::context`](crate::Step::context).
///
/// Each micro-batch starts with the random state of the whole batch and the index of its first row
/// ([`MicroBatchSeeds`]). On the CPU, dropout thus does not depend on where the batch is split.
/// Processes that share a step ([`StepContext::group`]) distribute the micro-batches round-robin. Each process returns the losses of the whole batch; the caller must sum the
/// gradients.
///
/// A contrastive loss with in-batch negatives cannot be split into micro-batches; see
/// `objectives::cached_step`.
///
/// # Errors
/// The errors of `contributions` and of libtorch.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
/// use trainer::{MicroBatch, StepContext, WeightedLoss, accumulate};
///
/// let weight = Tensor::from(2f64).set_requires_grad(true);
/// let rows = [1.0, 2.0, 3.0, 6.0];
/// let context = StepContext::default();
/// let losses = accumulate(&context, &MicroBatch::cut(&rows, 3), |part: &&[f64]| {
///     let sum = (Tensor::from_slice(part) * &weight).sum(Kind::Double);
///     Ok(vec![WeightedLoss { name: "mean", weight: 1.0, loss: sum / 4.0 }])
/// })?;
/// assert_eq!((losses.total.double_value(&[]), weight.grad().double_value(&[])), (6.0, 3.0));
/// # Ok::<(), trainer::TaskError>(())
/// ```
pub fn accumulate<T>(
    context: &StepContext,
    micro_batches: &[MicroBatch<T>],
    mut contributions: impl FnMut(&T) -> Result<Vec<WeightedLoss>, TaskError>,
) -> Result<StepLosses, TaskError> {
    let mut total = Tensor::f_zeros([], (Kind::Double, tch::Device::Cpu))?;
    let mut parts: Vec<(&'static str, Tensor)> = Vec::new();
    let (rank, size) = context.rank_and_size();
    let seeds = MicroBatchSeeds::new()?;
    // A process may have no micro-batch, and a micro-batch may have no loss with a graph.
    context.skip_backward();
    for (number, MicroBatch { first, rows }) in micro_batches.iter().enumerate() {
        if number % size != rank {
            continue;
        }
        seeds.enter(*first)?;
        let mut sum: Option<Tensor> = None;
        for WeightedLoss { name, weight, loss } in contributions(rows)? {
            let value = loss.f_detach()?.f_to_kind(Kind::Double)?;
            total = total.f_add(&value.f_mul_scalar(weight)?)?;
            match parts.iter_mut().find(|(part_name, _)| *part_name == name) {
                Some((_, part)) => *part = part.f_add(&value)?,
                None => parts.push((name, value)),
            }
            let weighted = loss.f_mul_scalar(weight)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&weighted)?,
                None => weighted,
            });
        }
        if let Some(sum) = sum.filter(Tensor::requires_grad) {
            let _region = torch_ext::region(c"backward");
            context.backward(&sum)?;
        }
    }
    seeds.enter(0)?;
    let losses = StepLosses { total, parts, tokens: None, is_accumulated: true };
    match context.group() {
        Some(group) => sum_losses(group, losses),
        None => Ok(losses),
    }
}

/// Sums the losses over all ranks. If no micro-batch of a rank has a named loss, the rank does not
/// send this loss. The first rank has every named loss.
fn sum_losses(group: &ProcessGroup, losses: StepLosses) -> Result<StepLosses, TaskError> {
    let mut rank_parts = vec![(String::new(), losses.total.f_double_value(&[])?)];
    for (name, part) in &losses.parts {
        rank_parts.push(((*name).to_owned(), part.f_double_value(&[])?));
    }
    // Losses are sent as bits, because JSON has no infinity.
    let bits: Vec<(&str, u64)> =
        rank_parts.iter().map(|(name, value)| (name.as_str(), value.to_bits())).collect();
    let rank_losses: Vec<Vec<(String, u64)>> = group.all_gather_json(&bits)?;
    let sum = |name: &str| {
        let values = rank_losses.iter().flatten().filter(|(part_name, _)| part_name == name);
        Tensor::from(values.map(|(_, bits)| f64::from_bits(*bits)).sum::<f64>())
    };
    let parts = losses.parts.into_iter().map(|(name, _)| (name, sum(name))).collect();
    Ok(StepLosses { total: sum(""), parts, ..losses })
}
