//! AdamW over groups of parameters.
mod adamw_slot;
mod gradients;
mod loss_scaler;
mod schedule;
mod sharding;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{
    AdamWStep, Gradient, ProcessGroup, TensorMap, TouchedRows, clear_grads, fused_adamw, scale_all,
    set_grad, total_norm, total_norm_tensor,
};

pub use loss_scaler::LossScaler;
pub(crate) use schedule::LearningRateSchedule;

use crate::optimizer::adamw_slot::Slot;
use crate::optimizer::gradients::{GradientKind, gradient_kinds, sum_rows};
use crate::optimizer::sharding::{OptimizerShards, concatenate};
use crate::{Error, Result, TrainConfig};

/// Parameters that share a learning rate and a weight decay.
struct ParameterGroup {
    /// Peak learning rate.
    learning_rate: f64,
    /// Decoupled weight decay.
    weight_decay: f64,
}

/// AdamW (Loshchilov and Hutter 2019). The moments of a parameter are created at its first
/// gradient, as in PyTorch.
///
/// # Example
/// ```
/// use tch::Tensor;
/// use trainer::{AdamW, TrainConfig};
///
/// let weight = Tensor::from_slice(&[1f32]).set_requires_grad(true);
/// let parameters = [("weight".to_string(), weight.shallow_clone())];
/// let config = TrainConfig { learning_rate: 0.1, weight_decay: 0.0, ..TrainConfig::default() };
/// let mut optimizer = AdamW::new(&parameters, &config)?;
/// (&weight * 3.0).backward();
/// // The first update has the size of the learning rate for any gradient.
/// assert_eq!(optimizer.step(1.0)?, 3.0);
/// assert!((weight.double_value(&[0]) - 0.9).abs() < 1e-6);
/// # Ok::<(), trainer::Error>(())
/// ```
pub struct AdamW {
    slots: BTreeMap<String, Slot>,
    groups: Vec<ParameterGroup>,
    frozen: Vec<(String, Tensor)>,
    betas: (f64, f64),
    eps: f64,
    max_grad_norm: Option<f64>,
    process_group: Option<Rc<ProcessGroup>>,
}

/// Returns whether weight decay applies to a parameter. Vectors (biases, normalisation weights,
/// learned candidate weights) and normalisation weights stored as a matrix with one row per domain
/// have no weight decay.
fn has_weight_decay(name: &str, parameter: &Tensor) -> bool {
    parameter.dim() > 1 && !name.to_ascii_lowercase().contains("norm")
}

impl AdamW {
    /// Assigns the parameters to groups and freezes the parameters of frozen groups.
    ///
    /// # Errors
    /// [`Error::Config`] if no parameter's name starts with a group's prefix, roles are not
    /// resolved, or all parameters are frozen.
    pub fn new(parameters: &[(String, Tensor)], config: &TrainConfig) -> Result<Self> {
        for group in &config.groups {
            if let Some(role) = group.roles.first() {
                return Err(Error::Config {
                    key: "groups.roles".into(),
                    value: format!("{role:?}"),
                    rule: "must be resolved first, by TrainConfig::resolve_roles".into(),
                });
            }
            for prefix in &group.prefixes {
                if !parameters.iter().any(|(name, _)| name.starts_with(prefix)) {
                    let examples: Vec<&str> =
                        parameters.iter().map(|(name, _)| name.as_str()).take(3).collect();
                    return Err(Error::Config {
                        key: "groups.prefixes".into(),
                        value: format!("{prefix:?}"),
                        rule: format!(
                            "must be a prefix of a parameter's name (such as {})",
                            examples.join(", ")
                        ),
                    });
                }
            }
        }
        let mut groups: Vec<ParameterGroup> = Vec::new();
        let mut slots = BTreeMap::new();
        let mut frozen = Vec::new();
        for (name, parameter) in parameters {
            let group_config = config
                .groups
                .iter()
                .find(|group| group.prefixes.iter().any(|prefix| name.starts_with(prefix)));
            if group_config.is_some_and(|group| group.frozen) {
                let _ = parameter.shallow_clone().f_requires_grad_(false)?;
                frozen.push((name.clone(), parameter.shallow_clone()));
                continue;
            }
            let _ = parameter.shallow_clone().f_requires_grad_(true)?;
            let learning_rate =
                group_config.and_then(|group| group.learning_rate).unwrap_or(config.learning_rate);
            let weight_decay = if has_weight_decay(name, parameter) {
                group_config.and_then(|group| group.weight_decay).unwrap_or(config.weight_decay)
            } else {
                0.0
            };
            let position = groups.iter().position(|group| {
                group.learning_rate == learning_rate && group.weight_decay == weight_decay
            });
            let group_index = position.unwrap_or_else(|| {
                groups.push(ParameterGroup { learning_rate, weight_decay });
                groups.len() - 1
            });
            let slot = Slot {
                parameter: parameter.shallow_clone(),
                group_index,
                exp_avg: None,
                exp_avg_sq: None,
                touched_rows: None,
                update_count: 0,
                local_grads: None,
                sharded: false,
                replicated: false,
            };
            slots.insert(name.clone(), slot);
        }
        if slots.is_empty() {
            return Err(Error::Config {
                key: "groups".into(),
                value: "all frozen".into(),
                rule: "must leave at least one parameter trainable".into(),
            });
        }
        Ok(Self {
            slots,
            groups,
            frozen,
            betas: config.betas,
            eps: config.eps,
            max_grad_norm: config.max_grad_norm,
            process_group: None,
        })
    }

    /// Creates the optimiser of one rank of a group. Gradients are summed over all ranks. Each rank
    /// updates its shard of the elements and stores only the moments of this shard.
    pub(crate) fn with_process_group(mut self, process_group: Option<Rc<ProcessGroup>>) -> Self {
        self.process_group = process_group;
        self
    }

    /// Clears all gradients.
    ///
    /// # Errors
    /// [`Error::TorchExt`] if a libtorch operation fails.
    pub fn clear_grads(&self) -> Result<()> {
        let parameters: Vec<&Tensor> = self.slots.values().map(|slot| &slot.parameter).collect();
        Ok(clear_grads(&parameters)?)
    }

    /// Clips gradients and updates every parameter that has a gradient. `factor` scales each
    /// group's peak learning rate.
    ///
    /// Returns the total gradient norm before clipping. Without gradients, the norm is 0 and no
    /// parameter changes.
    ///
    /// # Errors
    /// [`Error::TorchExt`] if a gradient does not match its parameter.
    pub fn step(&mut self, factor: f64) -> Result<f64> {
        let Some(norm) = self.grad_norm()? else { return Ok(0.0) };
        let norm = norm.f_double_value(&[])?;
        if norm.is_finite() {
            self.update(factor, norm, 1.0)?;
        }
        Ok(norm)
    }

    /// Sums the gradients over all ranks, if there are several. Each rank stores the sums of its
    /// shard and, for sparse gradients, the sums of all rows. Returns the maximum of `signal` over
    /// the ranks.
    pub(crate) fn sum_gradients(&mut self, signal: i32) -> Result<i32> {
        let Some(group) = &self.process_group else { return Ok(signal) };
        let shards = OptimizerShards::new(group);
        let parameters: Vec<&Tensor> = self.slots.values().map(|slot| &slot.parameter).collect();
        let (kinds, signal) = gradient_kinds(group, &parameters, signal)?;
        let mut dense_slots = Vec::new();
        for (slot, kind) in self.slots.values_mut().zip(kinds) {
            slot.local_grads = None;
            match kind {
                GradientKind::None => {}
                GradientKind::Sparse => {
                    sum_rows(group, &slot.parameter)?;
                    slot.replicate(&shards)?;
                }
                GradientKind::Dense => dense_slots.push(slot),
            }
        }
        let (mut parameters, mut grads) = (Vec::new(), Vec::new());
        for slot in &dense_slots {
            let grad = slot.parameter.f_grad()?;
            let grad = grad.defined().then(|| Gradient::new(grad)?.to_dense(&slot.parameter));
            grads.push(grad.transpose()?);
            parameters.push(&slot.parameter);
        }
        let sums = shards.reduce_scatter(&parameters, grads)?;
        clear_grads(&parameters)?;
        for (slot, sums) in dense_slots.into_iter().zip(sums) {
            if slot.replicated {
                let local_sums = concatenate(&sums, &slot.parameter)?;
                set_grad(&slot.parameter, &shards.gather(&slot.parameter, &local_sums)?)?;
            }
            slot.local_grads = Some(sums);
        }
        Ok(signal)
    }

    /// Returns the total norm of the gradients, `[]`; `None` if there is no gradient.
    ///
    /// This method replaces repeated rows of sparse gradients by their sum, which the update
    /// requires.
    pub(crate) fn grad_norm(&self) -> Result<Option<Tensor>> {
        let mut grads = Vec::with_capacity(self.slots.len());
        for slot in self.slots.values().filter(|slot| slot.local_grads.is_none()) {
            let mut grad = slot.parameter.f_grad()?;
            if !grad.defined() {
                continue;
            }
            if grad.is_sparse() {
                grad = grad.f_coalesce()?;
                set_grad(&slot.parameter, &grad)?;
            }
            grads.push(Gradient::new(grad)?);
        }
        let grads: Vec<&Tensor> = grads.iter().map(Gradient::values).collect();
        let local_grads: Vec<&Vec<Tensor>> =
            self.slots.values().filter_map(|slot| slot.local_grads.as_ref()).collect();
        let (Some(group), false) = (&self.process_group, local_grads.is_empty()) else {
            return if grads.is_empty() { Ok(None) } else { Ok(Some(total_norm_tensor(&grads)?)) };
        };
        let square = |tensors: &[&Tensor]| -> Result<f64> {
            let norm = if tensors.is_empty() { 0.0 } else { total_norm(tensors)? };
            Ok(norm * norm)
        };
        let local_square = square(&local_grads.into_iter().flatten().collect::<Vec<_>>())?;
        let squares = group.all_gather(&Tensor::f_from_slice(&[local_square])?)?;
        let total = squares.f_sum(Kind::Double)?.f_add_scalar(square(&grads)?)?;
        Ok(Some(total.f_sqrt()?))
    }

    /// Returns the first trained parameter whose norm is not finite, because an element is not
    /// finite or the sum of squares overflows.
    pub(crate) fn non_finite_parameter(&self) -> Result<Option<&str>> {
        let parameters: Vec<&Tensor> = self.slots.values().map(|slot| &slot.parameter).collect();
        let is_finite = |parameters: &[&Tensor]| -> Result<bool> {
            Ok(total_norm_tensor(parameters)?.f_double_value(&[])?.is_finite())
        };
        if no_grad(|| is_finite(&parameters))? {
            return Ok(None);
        }
        for (name, slot) in &self.slots {
            if !no_grad(|| is_finite(&[&slot.parameter]))? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Returns the sorted names of the parameters whose gradients have a non-finite element. With
    /// several ranks, every rank must call this method.
    pub(crate) fn non_finite_gradients(&self) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for (name, slot) in &self.slots {
            for grad in slot.grads()? {
                if grad.values().f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                    names.insert(name.clone());
                }
            }
        }
        if let Some(group) = &self.process_group {
            let local_names: Vec<&str> = names.iter().map(String::as_str).collect();
            for bytes in group.all_gather_bytes(local_names.join("\n").as_bytes())? {
                let text = String::from_utf8_lossy(&bytes);
                names.extend(text.lines().map(str::to_owned));
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Divides the gradients by the loss scale `scale`, clips them and updates every parameter that
    /// has a gradient. `norm` is the gradient norm after the division.
    pub(crate) fn update(&mut self, factor: f64, norm: f64, scale: f64) -> Result<()> {
        let process_group = self.process_group.clone();
        let mut updated: Vec<(&mut Slot, Vec<Gradient>)> = Vec::with_capacity(self.slots.len());
        for slot in self.slots.values_mut() {
            let grads = slot.grads()?;
            if slot.local_grads.is_some() || !grads.is_empty() {
                updated.push((slot, grads));
            }
        }
        // As in `torch.nn.utils.clip_grad_norm_`.
        let clip_factor = self.max_grad_norm.map_or(1.0, |max| (max / (norm + 1e-6)).min(1.0));
        // On a GPU, scaling is part of the fused update. On the CPU, a separate pass costs little,
        // and its rounding is that of the published results.
        let on_gpu = updated.first().is_some_and(|(slot, _)| slot.parameter.device().is_cuda());
        let grad_scale = if on_gpu { scale / clip_factor } else { 1.0 };
        if !on_gpu && (clip_factor < 1.0 || scale != 1.0) {
            let grads = updated.iter().flat_map(|(_, grads)| grads);
            scale_all(&grads.map(Gradient::values).collect::<Vec<_>>(), clip_factor / scale)?;
        }
        for (slot, grads) in &mut updated {
            slot.update_count += 1;
            if grads.iter().any(Gradient::is_sparse) && slot.exp_avg.is_none() {
                slot.touched_rows = Some(TouchedRows::empty(&slot.parameter)?);
            }
            slot.create_moments(process_group.as_deref())?;
        }
        for (index, group) in self.groups.iter().enumerate() {
            let step = AdamWStep {
                lr: group.learning_rate * factor,
                beta1: self.betas.0,
                beta2: self.betas.1,
                weight_decay: group.weight_decay,
                eps: self.eps,
                grad_scale,
            };
            let mut update_counts: BTreeMap<u64, Tensor> = BTreeMap::new();
            for (slot, _) in updated.iter().filter(|(slot, _)| slot.group_index == index) {
                if let Entry::Vacant(entry) = update_counts.entry(slot.update_count) {
                    let options = (Kind::Float, slot.parameter.device());
                    entry.insert(Tensor::f_full([0i64; 0], slot.update_count as f64, options)?);
                }
            }
            let mut updates: Vec<[Tensor; 5]> = Vec::new();
            for (slot, grads) in updated.iter_mut().filter(|(slot, _)| slot.group_index == index) {
                let count = &update_counts[&slot.update_count];
                if let [grad] = grads.as_slice()
                    && grad.is_sparse()
                {
                    slot.step_rows(grad, count, &step)?;
                    continue;
                }
                slot.touched_rows = None;
                let tensors = slot.updated_tensors(process_group.as_deref())?;
                assert_eq!(
                    tensors.len(),
                    grads.len(),
                    "each gradient has its parameter's elements"
                );
                for ([parameter, first, second], grad) in tensors.into_iter().zip(grads) {
                    let grad = grad.values().shallow_clone();
                    updates.push([parameter, grad, first, second, count.shallow_clone()]);
                }
            }
            let column = |index: usize| updates.iter().map(|row| &row[index]).collect();
            let columns: [Vec<&Tensor>; 5] = std::array::from_fn(column);
            let [params, grads, exp_avgs, exp_avg_sqs, steps] = &columns;
            fused_adamw(params, grads, exp_avgs, exp_avg_sqs, steps, &step)?;
        }
        let sharded_slots = updated.iter().filter(|(slot, _)| slot.sharded);
        let sharded: Vec<&Tensor> = sharded_slots.map(|(slot, _)| &slot.parameter).collect();
        process_group.map_or(Ok(()), |group| OptimizerShards::new(&group).all_gather(&sharded))
    }

    /// Returns the moments and update counts by name: `<parameter>.exp_avg`, `.exp_avg_sq` and
    /// `.updates` (i64).
    ///
    /// With several ranks, each rank stores moments of some elements. Every rank must call this
    /// method; only rank 0 returns the complete state.
    ///
    /// # Errors
    /// [`Error::TorchExt`] if another process ended.
    pub fn state(&self) -> Result<TensorMap> {
        let mut state = TensorMap::new();
        for (name, slot) in &self.slots {
            let (Some(exp_avg), Some(exp_avg_sq)) = (&slot.exp_avg, &slot.exp_avg_sq) else {
                continue;
            };
            let mut moments = [exp_avg, exp_avg_sq].map(Tensor::shallow_clone);
            if let Some(group) = self.process_group.as_ref().filter(|_| slot.sharded) {
                let shards = OptimizerShards::new(group);
                for moment in &mut moments {
                    *moment = shards.gather(&slot.parameter, moment)?.f_to_device(Device::Cpu)?;
                }
                if group.rank() > 0 {
                    continue;
                }
            }
            let [exp_avg, exp_avg_sq] = moments;
            state.insert(format!("{name}.exp_avg"), exp_avg);
            state.insert(format!("{name}.exp_avg_sq"), exp_avg_sq);
            let updates = i64::try_from(slot.update_count).expect("fewer than 2^63 updates");
            state.insert(format!("{name}.updates"), Tensor::from(updates));
        }
        Ok(state)
    }

    /// Restores a state returned by [`AdamW::state`].
    ///
    /// # Errors
    /// A message naming the entry that is missing, unused or of another shape.
    pub(crate) fn load_state(&mut self, state: &TensorMap) -> std::result::Result<(), String> {
        let mut used_entries = 0;
        for (name, slot) in &mut self.slots {
            let keys = ["exp_avg", "exp_avg_sq", "updates"].map(|part| format!("{name}.{part}"));
            if !keys.iter().any(|key| state.contains_key(key)) {
                continue;
            }
            let updates = state
                .get(&format!("{name}.updates"))
                .ok_or_else(|| format!("{name}.updates is missing"))?;
            let moment = |suffix: &str| -> std::result::Result<Tensor, String> {
                let key = format!("{name}.{suffix}");
                let stored = state.get(&key).ok_or_else(|| format!("{key} is missing"))?;
                if stored.size() != slot.parameter.size() || stored.kind() != slot.parameter.kind()
                {
                    return Err(format!(
                        "{key}: shape {:?} {:?}, the parameter has {:?} {:?}",
                        stored.size(),
                        stored.kind(),
                        slot.parameter.size(),
                        slot.parameter.kind()
                    ));
                }
                // The fused kernel requires moments in the memory layout of the parameter.
                let mut moment =
                    slot.parameter.f_zeros_like().map_err(|error| error.to_string())?;
                moment.f_copy_(stored).map_err(|error| error.to_string())?;
                Ok(moment.detach())
            };
            let exp_avg = no_grad(|| moment("exp_avg"))?;
            let exp_avg_sq = no_grad(|| moment("exp_avg_sq"))?;
            let count = updates
                .f_to_kind(Kind::Int64)
                .and_then(|count| count.f_int64_value(&[]))
                .map_err(|error| format!("{name}.updates: {error}"))?;
            slot.update_count =
                u64::try_from(count).map_err(|_| format!("{name}.updates: {count} is negative"))?;
            (slot.exp_avg, slot.exp_avg_sq) = (Some(exp_avg), Some(exp_avg_sq));
            (slot.touched_rows, slot.sharded) = (None, false);
            used_entries += 3;
        }
        if used_entries == state.len() {
            return Ok(());
        }
        let unused = state.keys().find(|key| {
            !self.slots.keys().any(|name| {
                key.strip_prefix(name.as_str())
                    .is_some_and(|suffix| [".exp_avg", ".exp_avg_sq", ".updates"].contains(&suffix))
            })
        });
        Err(format!("{} belongs to no parameter", unused.map_or("an entry", String::as_str)))
    }
}

impl Drop for AdamW {
    fn drop(&mut self) {
        for (_, parameter) in &self.frozen {
            let _ = parameter.shallow_clone().f_requires_grad_(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(shape: &[i64]) -> Tensor {
        Tensor::ones(shape, (Kind::Float, Device::Cpu))
    }

    #[test]
    fn vectors_and_normalisations_have_no_weight_decay() {
        let shapes: [(&str, &[i64]); 7] = [
            ("roberta.pooler.dense.weight", &[3, 3]),
            ("roberta.pooler.dense.bias", &[3]),
            ("roberta.embeddings.LayerNorm.weight", &[3]),
            ("lm_head.layer_norm.weight", &[3]),
            ("hard_learning.weights", &[5]),
            ("knowledge.mep_query.norm_0.weight", &[3]),
            ("knowledge.domains.norm_0.weight", &[4, 3]),
        ];
        let parameters: Vec<(String, Tensor)> =
            shapes.iter().map(|(name, shape)| ((*name).to_owned(), parameter(shape))).collect();
        let config = TrainConfig { weight_decay: 0.5, ..TrainConfig::default() };
        let optimizer = AdamW::new(&parameters, &config).unwrap();
        let has_decay = |slot: &Slot| optimizer.groups[slot.group_index].weight_decay > 0.0;
        let decayed_names = optimizer.slots.iter().filter(|(_, slot)| has_decay(slot));
        let decayed_names: Vec<&String> = decayed_names.map(|(name, _)| name).collect();
        assert_eq!(decayed_names, ["roberta.pooler.dense.weight"]);
        assert_eq!(optimizer.groups.len(), 2);
    }

    #[test]
    fn a_step_without_a_gradient_changes_nothing() {
        let weight = parameter(&[2, 2]);
        let parameters = [("weight".to_owned(), weight.shallow_clone())];
        let mut optimizer = AdamW::new(&parameters, &TrainConfig::default()).unwrap();
        assert_eq!(optimizer.step(1.0).unwrap(), 0.0);
        assert_eq!(weight, parameter(&[2, 2]));
        assert!(optimizer.state().unwrap().is_empty());
    }

    #[test]
    fn sparse_and_dense_gradients_give_equal_updates_also_after_loading() {
        let config = TrainConfig { learning_rate: 0.1, weight_decay: 0.1, ..Default::default() };
        let train_embedding = |sparse: bool| {
            let embedding = Tensor::arange(640, (Kind::Float, Device::Cpu)).view([40, 16]) / 100.0;
            let embedding = embedding.detach().set_requires_grad(true);
            let parameters = [("embedding".to_owned(), embedding.shallow_clone())];
            let mut optimizer = AdamW::new(&parameters, &config).unwrap();
            let batches = [[3i64, 3, 9], [9, 30, 1], [0, 7, 12], [5, 3, 2]];
            for (step, ids) in batches.iter().enumerate() {
                if step == 2 {
                    let state = optimizer.state().unwrap();
                    optimizer = AdamW::new(&parameters, &config).unwrap();
                    optimizer.load_state(&state).unwrap();
                }
                optimizer.clear_grads().unwrap();
                let embeddings =
                    Tensor::embedding(&embedding, &Tensor::from_slice(ids), -1, false, sparse);
                // The gradient of the third step is dense, as with a tied decoder. The ids of this
                // step do not repeat, because the sum of repeated rows would depend on the order of
                // additions.
                let dense_term =
                    if step == 2 { embedding.sum(Kind::Float) } else { Tensor::from(0f32) };
                (embeddings.square().sum(Kind::Float) * 1e-3 + dense_term * 1e-4).backward();
                assert_eq!(embedding.grad().is_sparse(), sparse && step != 2);
                optimizer.step(1.0).unwrap();
            }
            (embedding, optimizer.state().unwrap())
        };
        assert_eq!(train_embedding(true), train_embedding(false));
    }
}
