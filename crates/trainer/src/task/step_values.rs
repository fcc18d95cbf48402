//! Losses and gradient norm of a step, read from the device in one transfer.
use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::task::state::{BatchLosses, BatchOrigin};

/// Values of a step for a line of metrics.
pub(crate) struct StepResult {
    /// Factor of the peak learning rate.
    pub(crate) factor: f64,
    /// Total gradient norm, before clipping.
    pub(crate) grad_norm: f64,
    /// Whether scaled losses or gradients overflowed, so that no parameter changed.
    pub(crate) skipped: bool,
}

/// A loss, part of a loss or gradient norm that is not finite.
pub(crate) struct NonFinite {
    /// Name of the value.
    pub(crate) what: String,
    pub(crate) value: f64,
}

/// Losses of a batch.
pub(crate) struct BatchValues {
    pub(crate) loss: f64,
    pub(crate) parts: Vec<(String, f64)>,
    pub(crate) origin: BatchOrigin,
}

/// Losses and gradient norm of a step.
pub(crate) struct StepValues {
    pub(crate) batches: Vec<BatchValues>,
    /// The total norm of the gradients, without the loss scale; 0 without gradients.
    pub(crate) grad_norm: f64,
    pub(crate) has_gradient: bool,
}

impl StepValues {
    /// Reads all values of a step; `norm` is the norm of the gradients, which are still multiplied
    /// by the loss scale `scale`.
    pub(crate) fn read(
        batches: Vec<BatchLosses>,
        norm: Option<Tensor>,
        scale: f64,
    ) -> Result<Self> {
        let mut tensors: Vec<&Tensor> = Vec::new();
        for batch in &batches {
            tensors.extend(batch.parts.iter().map(|(_, part)| part));
            tensors.push(&batch.loss);
        }
        tensors.extend(&norm);
        let mut values = read_scalars(&tensors)?.into_iter();
        let mut next_value = || values.next().expect("each tensor has a value");
        let batches = batches.into_iter().map(|batch| {
            let parts = batch.parts.into_iter().map(|(name, _)| (name, next_value())).collect();
            BatchValues { parts, loss: next_value(), origin: batch.origin }
        });
        let batches = batches.collect();
        let has_gradient = norm.is_some();
        let grad_norm = if has_gradient { next_value() / scale } else { 0.0 };
        Ok(Self { batches, grad_norm, has_gradient })
    }

    /// Returns name and value of each loss and each part of a loss.
    fn all_losses(&self) -> impl Iterator<Item = (&str, f64)> {
        self.batches.iter().flat_map(|batch| {
            let parts = batch.parts.iter().map(|(name, value)| (name.as_str(), *value));
            parts.chain([("loss", batch.loss)])
        })
    }

    /// Returns whether every loss is finite.
    pub(crate) fn has_finite_losses(&self) -> bool {
        self.all_losses().all(|(_, value)| value.is_finite())
    }

    /// Returns the first non-finite loss, part or gradient norm.
    pub(crate) fn first_non_finite(&self) -> Option<NonFinite> {
        let mut values = self.all_losses().chain([("gradient norm", self.grad_norm)]);
        values
            .find(|(_, value)| !value.is_finite())
            .map(|(name, value)| NonFinite { what: name.to_owned(), value })
    }

    /// Returns every loss as text, by name. For several batches, the name includes the index of the
    /// batch.
    pub(crate) fn loss_texts(&self) -> BTreeMap<String, String> {
        let mut losses = BTreeMap::new();
        for (number, batch) in self.batches.iter().enumerate() {
            let suffix = match self.batches.len() {
                1 => String::new(),
                _ => format!(" of batch {number}"),
            };
            losses.insert(format!("loss{suffix}"), batch.loss.to_string());
            for (name, value) in &batch.parts {
                losses.insert(format!("{name}{suffix}"), value.to_string());
            }
        }
        losses
    }
}

/// Reads the values of scalar tensors `[]`. Tensors on a GPU are read in one transfer.
fn read_scalars(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let is_on_cpu = |tensor: &Tensor| tensor.device() == Device::Cpu;
    let device_tensors: Vec<Tensor> = tensors
        .iter()
        .filter(|tensor| !is_on_cpu(tensor))
        .map(|tensor| tensor.f_to_kind(Kind::Double))
        .collect::<std::result::Result<_, _>>()?;
    let mut device_values = match device_tensors.is_empty() {
        true => Vec::new(),
        false => {
            Vec::<f64>::try_from(Tensor::f_stack(&device_tensors, 0)?.f_to_device(Device::Cpu)?)?
        }
    }
    .into_iter();
    let value = |tensor: &&Tensor| match is_on_cpu(tensor) {
        true => Ok(tensor.f_double_value(&[])?),
        false => Ok(device_values.next().expect("each tensor on the GPU has a value")),
    };
    tensors.iter().map(value).collect()
}
