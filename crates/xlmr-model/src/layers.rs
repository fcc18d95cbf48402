//! The two layers everything is made of.
use std::ops::Deref;

use tch::{Device, Kind, Tensor};

use crate::dropout::DropoutSeeds;
use crate::{Error, Result};

/// Where the parts of a model take their parameters from: a shallow clone by full name.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Tensor>;

/// Values that train; a clone is another handle to the same ones.
#[derive(Debug)]
pub(crate) struct Parameter(Tensor);

/// Puts the parameters into `kind`: all that train at once, then all that are frozen, which need no
/// gradient on the way back.
pub(crate) fn cast_all(parameters: Vec<&mut Parameter>, kind: Kind) -> Result<()> {
    let (trained, frozen): (Vec<_>, Vec<_>) =
        parameters.into_iter().partition(|parameter| parameter.0.requires_grad());
    for parameters in [trained, frozen] {
        let tensors: Vec<&Tensor> = parameters.iter().map(|parameter| &parameter.0).collect();
        let cast = torch_ext::cast_all(&tensors, kind)?;
        for (parameter, cast) in parameters.into_iter().zip(cast) {
            parameter.0 = cast;
        }
    }
    Ok(())
}

impl Parameter {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        get(name).map(Self)
    }

    /// `name.weight` and, where there is one, `name.bias`.
    fn weight_and_bias(get: Lookup, name: &str, bias: bool) -> Result<(Self, Option<Self>)> {
        let weight = get(&format!("{name}.weight"))?;
        let bias = bias.then(|| get(&format!("{name}.bias"))).transpose()?;
        Ok((Self(weight), bias.map(Self)))
    }
}

impl Clone for Parameter {
    fn clone(&self) -> Self {
        Self(self.0.shallow_clone())
    }
}

impl Deref for Parameter {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

/// `(α / r) B A drop(x)`, which LoRA adds to a linear layer (Hu et al. 2022, Eq. 3).
#[derive(Clone, Debug)]
pub(crate) struct Lora {
    /// A, `[r, inputs]`
    pub(crate) down: Parameter,
    /// B, `[outputs, r]`
    pub(crate) up: Parameter,
    /// α / r
    pub(crate) scale: f64,
    pub(crate) dropout: f64,
}

impl Lora {
    fn apply(&self, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        let low = seeds.dropout(x.shallow_clone(), self.dropout)?;
        let low = low.f_linear(&self.down, None::<&Tensor>)?;
        Ok(low.f_linear(&self.up, None::<&Tensor>)?.f_mul_scalar(self.scale)?)
    }

    /// Adds `(α / r) B A` to a weight, `[outputs, inputs]`.
    pub(crate) fn merge_into(&self, weight: &Tensor) -> Result<()> {
        let change = self.up.f_matmul(&self.down)?.f_mul_scalar(self.scale)?;
        let _ = tch::no_grad(|| weight.shallow_clone().f_add_(&change))?;
        Ok(())
    }
}

/// `x Wᵀ + b`, or without b; in an encoder's layer with what active adapters add.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Parameter,
    pub(crate) bias: Option<Parameter>,
    pub(crate) loras: Vec<Lora>,
}

impl Linear {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        Self::with_bias(get, name, true)
    }

    pub(crate) fn with_bias(get: Lookup, name: &str, bias: bool) -> Result<Self> {
        let (weight, bias) = Parameter::weight_and_bias(get, name, bias)?;
        Ok(Self { weight, bias, loras: Vec::new() })
    }

    pub(crate) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        let loras = self.loras.iter_mut().flat_map(|lora| [&mut lora.down, &mut lora.up]);
        std::iter::once(&mut self.weight).chain(&mut self.bias).chain(loras)
    }

    /// Without adapters.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, self.bias.as_deref())?)
    }

    pub(crate) fn apply_adapted(&self, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        self.with_loras(self.apply(x)?, x, seeds)
    }

    fn with_loras(&self, out: Tensor, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        let mut loras = self.loras.iter();
        loras.try_fold(out, |out, lora| Ok(out.f_add(&lora.apply(x, seeds)?)?))
    }

    /// Layers of one input. On a GPU they are one product: fewer kernels, and in half precision the
    /// input is rounded once and its gradient summed in one go.
    pub(crate) fn apply_all<const N: usize>(
        layers: [&Self; N],
        x: &Tensor,
        seeds: &DropoutSeeds,
    ) -> Result<[Tensor; N]> {
        let biases = layers.iter().filter(|layer| layer.bias.is_some()).count();
        let outs: Vec<Tensor> = if x.device() == Device::Cpu || (biases > 0 && biases < N) {
            layers.iter().map(|layer| layer.apply(x)).collect::<Result<_>>()?
        } else {
            Self::apply_joined(&layers, x)?
        };
        let outs = layers.iter().zip(outs).map(|(layer, out)| layer.with_loras(out, x, seeds));
        let outs = outs.collect::<Result<Vec<_>>>()?;
        let count = outs.len().to_string();
        outs.try_into().map_err(|_| Error::input("layers", format!("{N} outputs"), count))
    }

    /// The layers with their weights one below the other.
    fn apply_joined(layers: &[&Self], x: &Tensor) -> Result<Vec<Tensor>> {
        let weights: Vec<&Tensor> = layers.iter().map(|layer| &*layer.weight).collect();
        let biases: Option<Vec<&Tensor>> =
            layers.iter().map(|layer| layer.bias.as_deref()).collect();
        let sizes: Vec<i64> =
            weights.iter().map(|weight| weight.size().first().copied().unwrap_or(0)).collect();
        let bias = biases.map(|biases| Tensor::f_cat(&biases, 0)).transpose()?;
        let out = x.f_linear(&Tensor::f_cat(&weights, 0)?, bias.as_ref())?;
        Ok(out.f_split_with_sizes(sizes, -1)?)
    }
}

/// LayerNorm over the last dimension, or a norm by the root of the mean square (Zhang and Sennrich
/// 2019).
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Parameter,
    bias: Option<Parameter>,
    width: [i64; 1],
    eps: f64,
    /// Whether the mean is taken off first.
    centred: bool,
}

impl LayerNorm {
    pub(crate) fn new(get: Lookup, name: &str, width: i64, eps: f64) -> Result<Self> {
        Self::with_bias(get, name, width, eps, true)
    }

    pub(crate) fn with_bias(
        get: Lookup,
        name: &str,
        width: i64,
        eps: f64,
        bias: bool,
    ) -> Result<Self> {
        let (weight, bias) = Parameter::weight_and_bias(get, name, bias)?;
        Ok(Self { weight, bias, width: [width], eps, centred: true })
    }

    pub(crate) fn root_mean_square(get: Lookup, name: &str, width: i64, eps: f64) -> Result<Self> {
        Ok(Self { centred: false, ..Self::with_bias(get, name, width, eps, false)? })
    }

    pub(crate) fn parameters(&mut self) -> impl Iterator<Item = &mut Parameter> {
        std::iter::once(&mut self.weight).chain(&mut self.bias)
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.apply_with(x, &self.weight, self.bias.as_deref())
    }

    fn apply_with(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(match self.centred {
            true => x.f_layer_norm(self.width, Some(weight), bias, self.eps, true)?,
            false => x.f_rms_norm(self.width, Some(weight), self.eps)?,
        })
    }

    /// Of what layers hand on: bfloat16 stays so, with sums in float32.
    pub(crate) fn apply_to_states(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.f_kind()?;
        if kind != Kind::BFloat16 {
            return self.apply(x);
        }
        let weight = self.weight.f_to_kind(kind)?;
        let bias = self.bias.as_ref().map(|bias| bias.f_to_kind(kind)).transpose()?;
        torch_ext::without_autocast(|| self.apply_with(x, &weight, bias.as_ref()))?
    }

    /// Of `x`, after dropout, plus `residual`: `[N, H]` each, while training.
    pub(crate) fn apply_to_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        seeds: &DropoutSeeds,
        p: f64,
    ) -> Result<Tensor> {
        let weight = &self.weight;
        match &self.bias {
            Some(bias) if x.device() == Device::Cpu && residual.kind() == Kind::Float => {
                let (places, eps) = (&seeds.places, self.eps);
                Ok(torch_ext::dropout_add_norm(x, residual, weight, bias, places, eps, p)?)
            }
            _ => self.apply_to_states(&seeds.dropout(x.shallow_clone(), p)?.f_add(residual)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_layers_are_each_layer_alone() {
        tch::manual_seed(3);
        let draw = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        let leaf = |size: &[i64]| draw(size).set_requires_grad(true);
        let seeds = DropoutSeeds::new(2, 6, Device::Cpu, false).unwrap();
        for biased in [true, false] {
            let layer = |outputs: i64| Linear {
                weight: Parameter(leaf(&[outputs, 5])),
                bias: biased.then(|| Parameter(leaf(&[outputs]))),
                loras: Vec::new(),
            };
            let layers = [layer(4), layer(4), layer(3)];
            let [first, second, third] = &layers;
            let x = leaf(&[2, 6, 5]);
            let ahead = draw(&[2, 6, 11]);
            let mut leaves = vec![&x];
            for layer in &layers {
                leaves.push(&layer.weight);
                leaves.extend(layer.bias.as_deref());
            }
            let of = |outs: &[Tensor]| {
                let out = Tensor::cat(outs, -1);
                let loss = (&out * &ahead).sum(Kind::Double);
                let mut all = Tensor::run_backward(&[loss], &leaves, false, false);
                all.push(out);
                all
            };
            let joined = of(&Linear::apply_joined(&[first, second, third], &x).unwrap());
            let alone = of(&Linear::apply_all([first, second, third], &x, &seeds).unwrap());
            assert_eq!(joined.len(), alone.len());
            for (joined, alone) in joined.iter().zip(&alone) {
                assert!((joined - alone).abs().max().double_value(&[]) < 1e-12);
            }
        }
    }
}
