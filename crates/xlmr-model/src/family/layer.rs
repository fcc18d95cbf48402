//! Encoder layers of all architectures.
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::Result;
use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::family::eurobert::layer::EuroLayer;
use crate::family::modernbert::layer::ModernLayer;
use crate::family::post_norm::layer::PostNormLayer;
use crate::family::xlm_roberta_xl::layer::PreNormLayer;
use crate::layers::linear::{LayerNorm, Linear, cast_all};
use crate::layers::parameters::LayerParameters;

/// A layer of any architecture.
#[derive(Clone, Debug)]
pub(crate) enum Layer {
    PostNorm(PostNormLayer),
    PreNorm(PreNormLayer),
    Modern(ModernLayer),
    Euro(EuroLayer),
}

impl Layer {
    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        match self {
            Self::PostNorm(layer) => layer.parameters(),
            Self::PreNorm(layer) => layer.parameters(),
            Self::Modern(layer) => layer.parameters(),
            Self::Euro(layer) => layer.parameters(),
        }
    }

    /// Returns copies of encoder layers with weights in `kind`. The weights of norms are cast only
    /// if `cast_norms`. If `join`, the weights of linear layers that share an input are
    /// concatenated.
    pub(crate) fn cast_all(
        layers: &[Self],
        kind: Kind,
        cast_norms: bool,
        join: bool,
    ) -> Result<Vec<Self>> {
        let mut layers = layers.to_vec();
        let mut casts = Vec::new();
        for layer in layers.iter_mut().map(Self::parameters) {
            casts.extend(layer.joined.into_iter().flat_map(|joined| joined.casts(join)));
            let output_adapter =
                layer.output_adapter.iter_mut().flat_map(OutputAdapter::linear_layers);
            casts.extend(layer.linear.into_iter().chain(output_adapter).flat_map(Linear::casts));
            let norms = layer.norms.into_iter().filter(|_| cast_norms);
            casts.extend(norms.flat_map(LayerNorm::casts));
        }
        cast_all(casts, kind)?;
        Ok(layers)
    }

    /// Makes linear layers compute in 8 bits if `int8`, otherwise with their parameters.
    pub(crate) fn set_int8(&mut self, int8: bool) -> Result<()> {
        let has_standard_attention = match self {
            Self::PostNorm(layer) => layer.has_standard_attention(),
            Self::PreNorm(_) => true,
            Self::Modern(_) | Self::Euro(_) => false,
        };
        // Queries, keys and values are bfloat16 if the processor is fast in bfloat16, because
        // attention then takes half the time.
        let output_kind = match has_standard_attention && torch_ext::bf16_is_fast() {
            true => Kind::BFloat16,
            false => Kind::Float,
        };
        let parameters = self.parameters();
        parameters.joined.into_iter().try_for_each(|joined| joined.set_int8(int8, output_kind))?;
        parameters.linear.into_iter().try_for_each(|linear| linear.set_int8(int8))
    }

    /// Copies the weights for inference in bfloat16 on the CPU if `packed` and there is a kernel for
    /// the layer, otherwise removes the copy.
    pub(crate) fn set_packed(&mut self, packed: bool) -> Result<()> {
        match self {
            Self::PostNorm(layer) => layer.set_packed(packed),
            Self::PreNorm(_) | Self::Modern(_) | Self::Euro(_) => Ok(()),
        }
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        match self {
            Self::PostNorm(layer) => layer.forward(hidden, batch),
            Self::PreNorm(layer) => layer.forward(hidden, batch),
            Self::Modern(layer) => layer.forward(hidden, batch),
            Self::Euro(layer) => layer.forward(hidden, batch),
        }
    }

    /// Computes [`forward`](Self::forward), but stores only `hidden` for the backward pass.
    pub(crate) fn recomputed_forward(&self, hidden: &Tensor, batch: &Rc<Batch>) -> Result<Tensor> {
        let (layer, batch) = (self.clone(), Rc::clone(batch));
        Ok(torch_ext::recompute(hidden, move |hidden| {
            layer.forward(hidden, &batch).map_err(|error| error.to_string())
        })?)
    }
}
