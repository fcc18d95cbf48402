//! Linear and normalisation layers.
use std::collections::BTreeMap;
use std::ops::Deref;

use tch::{Device, Kind, Tensor};
use torch_ext::{Int8Linear, LinearWeights};

use crate::batch::dropout::DropoutSeeds;
use crate::layers::lora::Lora;
use crate::{Activation, Error, Result};

/// Lookup of a model's parameters by full name; returns shallow clones.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Result<Tensor>;

/// Returns a shallow clone of the tensor with this name.
pub(crate) fn find(tensors: &BTreeMap<String, Tensor>, name: &str) -> Result<Tensor> {
    let missing_error = || Error::input("parameters", name, "no tensor of that name");
    tensors.get(name).map(Tensor::shallow_clone).ok_or_else(missing_error)
}

/// A trainable tensor; clones share its storage.
#[derive(Debug)]
pub(crate) struct Parameter(Tensor);

/// Parameters to cast and concatenate, and the parameter to which the result is assigned.
pub(crate) type Cast<'a> = (Vec<Parameter>, &'a mut Parameter);

/// Casts parameters to `kind`: first all trainable groups at once, then all frozen groups, which
/// have no backward pass.
pub(crate) fn cast_all(casts: Vec<Cast>, kind: Kind) -> Result<()> {
    let is_trainable =
        |(sources, _): &Cast| sources.iter().any(|parameter| parameter.requires_grad());
    let (trainable, frozen): (Vec<_>, Vec<_>) = casts.into_iter().partition(is_trainable);
    for casts in [trainable, frozen] {
        let groups: Vec<Vec<&Tensor>> =
            casts.iter().map(|(sources, _)| sources.iter().map(Deref::deref).collect()).collect();
        let cast = torch_ext::cast_all(&groups, kind)?;
        assert_eq!(cast.len(), casts.len(), "a cast returns a tensor for each group");
        for ((_, target), cast) in casts.into_iter().zip(cast) {
            target.0 = cast;
        }
    }
    Ok(())
}

impl Parameter {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        get(name).map(Self)
    }

    /// Returns `name.weight` and, if `bias`, `name.bias`.
    fn weight_and_bias(get: Lookup, name: &str, bias: bool) -> Result<(Self, Option<Self>)> {
        let weight = get(&format!("{name}.weight"))?;
        let bias = bias.then(|| get(&format!("{name}.bias"))).transpose()?;
        Ok((Self(weight), bias.map(Self)))
    }

    fn cast(&mut self) -> Cast<'_> {
        (vec![self.clone()], self)
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

/// A linear layer `x Wᵀ + b` with an optional bias b. In an encoder, the layer adds the updates of
/// its active LoRAs.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Parameter,
    pub(crate) bias: Option<Parameter>,
    pub(crate) loras: Vec<Lora>,
    /// Quantised weight and bias, used instead of the parameters.
    int8: Option<Int8Linear>,
}

impl Linear {
    pub(crate) fn new(get: Lookup, name: &str) -> Result<Self> {
        Self::with_bias(get, name, true)
    }

    pub(crate) fn with_bias(get: Lookup, name: &str, bias: bool) -> Result<Self> {
        let (weight, bias) = Parameter::weight_and_bias(get, name, bias)?;
        Ok(Self { weight, bias, loras: Vec::new(), int8: None })
    }

    /// Returns weight and bias.
    #[expect(clippy::expect_used, reason = "an invariant of the callers")]
    pub(crate) fn weights(&self) -> LinearWeights<'_> {
        let bias = self.bias.as_deref().expect("a linear layer of BERT's layout has a bias");
        LinearWeights { weight: &self.weight, bias }
    }

    /// Makes the layer compute in 8 bits if `int8`, otherwise with its parameters.
    pub(crate) fn set_int8(&mut self, int8: bool) -> Result<()> {
        let quantised = || Int8Linear::new(&self.weight, self.bias.as_deref());
        self.int8 = int8.then(quantised).transpose()?;
        Ok(())
    }

    pub(crate) fn casts(&mut self) -> impl Iterator<Item = Cast<'_>> {
        let parameter_casts =
            std::iter::once(&mut self.weight).chain(&mut self.bias).map(Parameter::cast);
        parameter_casts.chain(Self::lora_casts(&mut self.loras))
    }

    fn lora_casts(loras: &mut [Lora]) -> impl Iterator<Item = Cast<'_>> {
        // The logits of a mixture's gate stay float32, because there are few of them.
        loras.iter_mut().flat_map(|lora| [&mut lora.down, &mut lora.up]).map(Parameter::cast)
    }

    /// Applies the layer without adapters.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.apply_with_output(x, Kind::Float)
    }

    /// Applies the layer without adapters; 8-bit layers return the dtype `int8_output`.
    fn apply_with_output(&self, x: &Tensor, int8_output: Kind) -> Result<Tensor> {
        Ok(match &self.int8 {
            Some(int8) => int8.apply(x, false, int8_output)?,
            None => x.f_linear(&self.weight, self.bias.as_deref())?,
        })
    }

    /// Applies the layer with its adapters, then `activation`.
    ///
    /// In 8-bit layers without adapters, GELU is fused into the matmul. The output of such a layer
    /// is bfloat16, which is precise enough, because the next layer rounds it to 8 bits.
    pub(crate) fn apply_activated(
        &self,
        x: &Tensor,
        activation: Activation,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        match &self.int8 {
            Some(int8) if activation == Activation::Gelu && self.loras.is_empty() => {
                Ok(int8.apply(x, true, Kind::BFloat16)?)
            }
            _ => activation.apply(&self.apply_adapted(x, seeds)?),
        }
    }

    pub(crate) fn apply_adapted(&self, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        self.add_loras(self.apply(x)?, x, seeds)
    }

    fn add_loras(&self, out: Tensor, x: &Tensor, seeds: &DropoutSeeds) -> Result<Tensor> {
        let mut loras = self.loras.iter();
        loras.try_fold(out, |out, lora| Ok(out.f_add(&lora.apply(x, seeds)?)?))
    }
}

/// Linear layers that share an input, either all with biases or all without.
///
/// On a GPU, one matmul computes all layers, which takes fewer kernels. In half precision, the
/// shared input is rounded once, and this matmul's backward pass computes the input's whole
/// gradient.
#[derive(Clone, Debug)]
pub(crate) struct JoinedLinear<const N: usize> {
    pub(crate) layers: [Linear; N],
    /// The concatenation of all layers, if their weights are cast or quantised together.
    joined: Option<Linear>,
    /// Dtype of outputs if the layers compute in 8 bits.
    int8_output: Kind,
}

impl<const N: usize> JoinedLinear<N> {
    pub(crate) fn new(layers: [Linear; N]) -> Self {
        let n_biases = layers.iter().filter(|layer| layer.bias.is_some()).count();
        assert!([0, N].contains(&n_biases), "all joined layers have biases, or none has");
        Self { layers, joined: None, int8_output: Kind::Float }
    }

    pub(crate) fn weights_mut(&mut self) -> JoinedWeights<'_> {
        JoinedWeights {
            layers: &mut self.layers,
            joined: &mut self.joined,
            int8_output: &mut self.int8_output,
        }
    }

    #[expect(clippy::expect_used, reason = "the layers are an array of length N")]
    pub(crate) fn apply(&self, x: &Tensor, seeds: &DropoutSeeds) -> Result<[Tensor; N]> {
        let layers = self.layers.iter();
        // LoRAs add float32 tensors, so the layers' outputs must be float32 as well.
        let has_adapters = self.layers.iter().any(|layer| !layer.loras.is_empty());
        let int8_output = if has_adapters { Kind::Float } else { self.int8_output };
        let outputs: Vec<Tensor> = match &self.joined {
            None if x.device() == Device::Cpu => {
                layers.map(|layer| layer.apply(x)).collect::<Result<_>>()?
            }
            None => self.split(&concatenate(&self.layers)?.apply(x)?)?,
            Some(joined) => self.split(&joined.apply_with_output(x, int8_output)?)?,
        };
        let outputs =
            self.layers.iter().zip(outputs).map(|(layer, out)| layer.add_loras(out, x, seeds));
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        Ok(outputs.try_into().expect("each joined layer has an output"))
    }

    fn split(&self, out: &Tensor) -> Result<Vec<Tensor>> {
        let rows = |layer: &Linear| layer.weight.size()[0];
        let sizes: Vec<i64> = self.layers.iter().map(rows).collect();
        Ok(out.f_split_with_sizes(sizes, -1)?)
    }
}

/// Concatenates the weights and the biases of layers; the result has no adapters.
fn concatenate(layers: &[Linear]) -> Result<Linear> {
    let weights: Vec<&Tensor> = layers.iter().map(|layer| &*layer.weight).collect();
    let biases: Option<Vec<&Tensor>> = layers.iter().map(|layer| layer.bias.as_deref()).collect();
    let bias = biases.map(|biases| Tensor::f_cat(&biases, 0)).transpose()?.map(Parameter);
    let weight = Parameter(Tensor::f_cat(&weights, 0)?);
    Ok(Linear { weight, bias, loras: Vec::new(), int8: None })
}

/// Mutable references to the fields of [`JoinedLinear`].
pub(crate) struct JoinedWeights<'a> {
    pub(crate) layers: &'a mut [Linear],
    joined: &'a mut Option<Linear>,
    int8_output: &'a mut Kind,
}

impl<'a> JoinedWeights<'a> {
    /// Makes all layers compute in 8 bits if `int8`, otherwise with their parameters. In 8 bits,
    /// their outputs have the dtype `output_kind`.
    pub(crate) fn set_int8(self, int8: bool, output_kind: Kind) -> Result<()> {
        *self.joined = None;
        *self.int8_output = output_kind;
        if int8 && let Some(first) = self.layers.first() {
            let mut joined = concatenate(self.layers)?;
            joined.set_int8(true)?;
            // Only the concatenation's 8-bit weights are used, so its float weight is replaced to
            // free memory.
            joined.weight = first.weight.clone();
            *self.joined = Some(joined);
        }
        Ok(())
    }

    /// Returns the casts of weights and biases, concatenated if `join`, else separate.
    pub(crate) fn casts(self, join: bool) -> Vec<Cast<'a>> {
        let Some(first) = self.layers.first().filter(|_| join) else {
            return self.layers.iter_mut().flat_map(Linear::casts).collect();
        };
        let joined = self.joined.insert(Linear { loras: Vec::new(), ..first.clone() });
        let weights = self.layers.iter().map(|layer| layer.weight.clone()).collect();
        let biases = self.layers.iter().filter_map(|layer| layer.bias.clone()).collect();
        let mut casts = vec![(weights, &mut joined.weight)];
        casts.extend(joined.bias.as_mut().map(|bias| (biases, bias)));
        casts.extend(self.layers.iter_mut().flat_map(|layer| Linear::lora_casts(&mut layer.loras)));
        casts
    }
}

/// LayerNorm over the last dimension, or root mean square normalisation (Zhang and Sennrich 2019).
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    weight: Parameter,
    bias: Option<Parameter>,
    width: [i64; 1],
    pub(crate) eps: f64,
    /// Whether the mean is subtracted (LayerNorm) or not (root mean square normalisation).
    is_centred: bool,
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
        Ok(Self { weight, bias, width: [width], eps, is_centred: true })
    }

    pub(crate) fn root_mean_square(get: Lookup, name: &str, width: i64, eps: f64) -> Result<Self> {
        Ok(Self { is_centred: false, ..Self::with_bias(get, name, width, eps, false)? })
    }

    /// Returns weight and bias.
    #[expect(clippy::expect_used, reason = "an invariant of the callers")]
    pub(crate) fn weights(&self) -> LinearWeights<'_> {
        let bias = self.bias.as_deref().expect("a norm of BERT's layout has a bias");
        LinearWeights { weight: &self.weight, bias }
    }

    pub(crate) fn casts(&mut self) -> impl Iterator<Item = Cast<'_>> {
        std::iter::once(&mut self.weight).chain(&mut self.bias).map(Parameter::cast)
    }

    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        self.apply_with(x, &self.weight, self.bias.as_deref())
    }

    fn apply_with(&self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        Ok(match self.is_centred {
            true => x.f_layer_norm(self.width, Some(weight), bias, self.eps, true)?,
            false => x.f_rms_norm(self.width, Some(weight), self.eps)?,
        })
    }

    /// Normalises hidden states. If they are bfloat16, the result is bfloat16 too, but sums are
    /// computed in float32.
    pub(crate) fn apply_to_states(&self, x: &Tensor) -> Result<Tensor> {
        let kind = x.f_kind()?;
        if kind != Kind::BFloat16 {
            return self.apply(x);
        }
        let weight = self.weight.f_to_kind(kind)?;
        let bias = self.bias.as_ref().map(|bias| bias.f_to_kind(kind)).transpose()?;
        torch_ext::without_autocast(|| self.apply_with(x, &weight, bias.as_ref()))?
    }

    /// Applies dropout to `x` in training, adds `residual`, and normalises the sum. If the hidden
    /// states are packed on the CPU, `[N, H]`, one kernel computes all three steps.
    pub(crate) fn apply_to_sum(
        &self,
        x: &Tensor,
        residual: &Tensor,
        seeds: &DropoutSeeds,
        p: f64,
        is_packed: bool,
    ) -> Result<Tensor> {
        let weight = &self.weight;
        let is_fused = is_packed && x.device() == Device::Cpu && residual.kind() == Kind::Float;
        match &self.bias {
            Some(bias) if is_fused => {
                let (offsets, eps) = (&seeds.offsets, self.eps);
                let p = if seeds.train { p } else { 0.0 };
                Ok(torch_ext::dropout_add_norm(x, residual, weight, bias, offsets, eps, p)?)
            }
            _ => self.apply_to_states(&seeds.dropout(x.shallow_clone(), p)?.f_add(residual)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(size: &[i64], kind: Kind, seed: i64) -> Tensor {
        torch_ext::seeded_randn(size, seed).unwrap().to_kind(kind)
    }

    /// Creates three layers with 5 inputs and 11 outputs in total; the second has a LoRA.
    fn three_layers(with_bias: bool, kind: Kind) -> JoinedLinear<3> {
        let layer = |number: i64, outputs: i64, ranks: &[i64]| {
            let leaf = |size: &[i64], part: i64| {
                Parameter(draw(size, kind, 10 * number + part).set_requires_grad(true))
            };
            let lora = |&rank: &i64| Lora {
                down: leaf(&[rank, 5], 2),
                up: leaf(&[outputs, rank], 3),
                scale: 0.5,
                dropout: 0.0,
                gate: None,
            };
            Linear {
                weight: leaf(&[outputs, 5], 0),
                bias: with_bias.then(|| leaf(&[outputs], 1)),
                loras: ranks.iter().map(lora).collect(),
                int8: None,
            }
        };
        JoinedLinear::new([layer(1, 4, &[]), layer(2, 4, &[2]), layer(3, 3, &[])])
    }

    fn leaves(layers: &mut JoinedLinear<3>) -> Vec<Tensor> {
        let casts = layers.layers.iter_mut().flat_map(Linear::casts);
        casts.map(|(_, parameter)| parameter.shallow_clone()).collect()
    }

    /// Returns the output, and the gradients of `leaves` and of the input, `[2, 6, 5]`.
    fn run_backward(layers: &JoinedLinear<3>, leaves: &[Tensor], kind: Kind) -> Vec<Tensor> {
        let x = draw(&[2, 6, 5], kind, 4).set_requires_grad(true);
        let output_gradient = draw(&[2, 6, 11], kind, 5);
        let seeds = DropoutSeeds::new(2, 6, Device::Cpu, false).unwrap();
        let out = Tensor::cat(&layers.apply(&x, &seeds).unwrap(), -1);
        let loss = (&out * &output_gradient).sum(Kind::Double);
        let leaves: Vec<&Tensor> = leaves.iter().chain([&x]).collect();
        let gradients = Tensor::run_backward(&[loss], &leaves, false, false);
        [out].into_iter().chain(gradients).collect()
    }

    #[test]
    fn joined_layers_equal_separate_layers() {
        for with_bias in [true, false] {
            let mut separate = three_layers(with_bias, Kind::Double);
            let leaves = leaves(&mut separate);
            let concatenated = JoinedLinear {
                joined: Some(concatenate(&separate.layers).unwrap()),
                ..separate.clone()
            };
            let [separate, concatenated] =
                [separate, concatenated].map(|layers| run_backward(&layers, &leaves, Kind::Double));
            assert_eq!(concatenated.len(), separate.len());
            for (concatenated, separate) in concatenated.iter().zip(&separate) {
                assert!((concatenated - separate).abs().max().double_value(&[]) < 1e-12);
            }
        }
    }

    #[test]
    fn a_joined_cast_equals_separate_casts() {
        for (with_bias, is_frozen) in [(true, false), (false, false), (true, true)] {
            let mut layers = three_layers(with_bias, Kind::Float);
            if is_frozen {
                for layer in &layers.layers {
                    for parameter in
                        [Some(&layer.weight), layer.bias.as_ref()].into_iter().flatten()
                    {
                        let _ = parameter.set_requires_grad(false);
                    }
                }
            }
            let mut leaves = leaves(&mut layers);
            leaves.retain(Tensor::requires_grad);
            let [separate_pass, joined_pass] = [false, true].map(|join| {
                let mut cast = layers.clone();
                cast_all(cast.weights_mut().casts(join), Kind::BFloat16).unwrap();
                let joined = cast.joined.take();
                cast.joined = joined.or_else(|| Some(concatenate(&cast.layers).unwrap()));
                run_backward(&cast, &leaves, Kind::BFloat16)
            });
            assert_eq!(joined_pass, separate_pass);
        }
    }
}
