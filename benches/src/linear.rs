//! A float32 linear layer of bfloat16 parts beside libtorch's.
use std::rc::Rc;

use anyhow::Result;
use tch::{Device, Kind, Tensor};
use torch_ext::{MatmulPrecision, linear, set_float32_matmul_precision};

use crate::case::backward;
use crate::{Case, SEED, Spec, Step};

/// The comparisons of `linear`: the layers of an encoder of base size, on a batch's tokens. None
/// on a GPU, nor where the processor has no AMX.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    if device != Device::Cpu || !torch_ext::has_bf16_parts() {
        return Vec::new();
    }
    let rows = 4096;
    [(768, 768), (768, 3072), (3072, 768)]
        .into_iter()
        .flat_map(|(inputs, outputs)| {
            [(MatmulPrecision::Bf16x3, 1e-5), (MatmulPrecision::Bf16x2, 1e-3)].map(
                |(level, tolerance)| {
                    let size = format!("{},rows={rows},I={inputs},O={outputs}", level.name());
                    Spec::new("linear", size, move || case(rows, inputs, outputs, level, tolerance))
                },
            )
        })
        .collect()
}

fn case(
    rows: i64,
    inputs: i64,
    outputs: i64,
    level: MatmulPrecision,
    tolerance: f64,
) -> Result<Case> {
    let layer = Rc::new(Layer::random(rows, inputs, outputs)?);
    let step = |name, level| {
        let layer = Rc::clone(&layer);
        Step::new(name, move || layer.step(level))
    };
    Ok(Case {
        ours: step(level.name(), level),
        peers: vec![step("highest", MatmulPrecision::Highest)],
        unit: None,
        tolerance,
    })
}

struct Layer {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    weights_of_outputs: Tensor,
}

impl Layer {
    fn random(rows: i64, inputs: i64, outputs: i64) -> Result<Self> {
        tch::manual_seed(SEED);
        let random = |shape: &[i64]| Tensor::f_randn(shape, (Kind::Float, Device::Cpu));
        Ok(Self {
            x: random(&[rows, inputs])?.set_requires_grad(true),
            weight: random(&[outputs, inputs])?.set_requires_grad(true),
            bias: random(&[outputs])?.set_requires_grad(true),
            weights_of_outputs: random(&[rows, outputs])?,
        })
    }

    /// Forward and backward; a weighted mean of the outputs.
    fn step(&self, level: MatmulPrecision) -> Result<f64> {
        set_float32_matmul_precision(level)?;
        let out = linear(&self.x, &self.weight, Some(&self.bias))?;
        let loss = out.f_mul(&self.weights_of_outputs)?.f_mean(None::<Kind>)?;
        backward(loss, &[&self.x, &self.weight, &self.bias])
    }
}
