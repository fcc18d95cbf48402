//! Layers of XLM-R, BERT, DeBERTa, DistilBERT, ELECTRA, RemBERT and MPNet (Conneau et al. 2020; the
//! layout of transformers' `XLMRobertaModel`, `BertModel`, `DebertaV2Model`, `DistilBertModel`,
//! `ElectraModel`, `RemBertModel` and `MPNetModel`).
use tch::{Device, Kind, Tensor};
use torch_ext::{Attention, EncoderLayer, LayerShape, LayerWeights};

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::batch::dropout::DropoutSeeds;
use crate::family::deberta::attention::{Disentangled, Projected};
use crate::family::mpnet::attention::BiasedAttention;
use crate::family::post_norm::{AttentionKind, PostNorm};
use crate::layers::attention::attend;
use crate::layers::linear::{JoinedLinear, LayerNorm, Linear, Lookup};
use crate::layers::parameters::LayerParameters;
use crate::{Activation, LoraTarget, Result};

/// Self-attention and feed-forward layer, each followed by the addition of its input and a
/// LayerNorm.
#[derive(Clone, Debug)]
pub(crate) struct PostNormLayer {
    /// Query, key and value.
    projections: JoinedLinear<3>,
    attention_dense: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output_dense: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i64,
    attention_dropout: f64,
    /// Attention over padded rows; if absent, the layer uses standard attention.
    padded_attention: Option<PaddedAttention>,
    /// Dropout after `attention_dense`.
    attention_output_dropout: f64,
    hidden_dropout: f64,
    output_adapter: Option<OutputAdapter>,
    /// A copy of the weights for inference in bfloat16 on the CPU.
    packed: Option<EncoderLayer>,
}

/// Attention that needs the padded layout, because its scores depend on positions.
#[derive(Clone, Debug)]
enum PaddedAttention {
    /// DeBERTa's attention.
    Disentangled(Box<Disentangled>),
    /// MPNet's attention.
    Biased(BiasedAttention),
}

impl PostNormLayer {
    #[expect(clippy::expect_used, reason = "an invariant of the families' names")]
    pub(crate) fn new(get: Lookup, layout: &PostNorm, index: i64) -> Result<Self> {
        let PostNorm { config, names, .. } = layout;
        let name = names.layer_name(index);
        let linear = |target: LoraTarget| {
            let layer = names.linear_layers.iter().find(|(_, targets)| targets.contains(&target));
            let (linear_name, _) = layer.expect("a layer with BERT's layout has every target");
            Linear::new(get, &format!("{name}.{linear_name}"))
        };
        let [attention_norm, output_norm] = layout.norms.map(|norm| {
            let name = format!("{name}.{norm}");
            LayerNorm::new(get, &name, config.hidden_size, config.layer_norm_eps)
        });
        let padded_attention = match layout.attention {
            AttentionKind::Standard => None,
            AttentionKind::Disentangled(deberta) => {
                let disentangled = Disentangled::new(get, config, deberta, &name)?;
                Some(PaddedAttention::Disentangled(Box::new(disentangled)))
            }
            AttentionKind::Biased(_) => {
                Some(PaddedAttention::Biased(BiasedAttention::new(get, config)?))
            }
        };
        Ok(Self {
            projections: JoinedLinear::new([
                linear(LoraTarget::Query)?,
                linear(LoraTarget::Key)?,
                linear(LoraTarget::Value)?,
            ]),
            attention_dense: linear(LoraTarget::AttentionOutput)?,
            attention_norm: attention_norm?,
            intermediate: linear(LoraTarget::Intermediate)?,
            output_dense: linear(LoraTarget::Output)?,
            output_norm: output_norm?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            attention_dropout: config.attention_probs_dropout_prob,
            attention_output_dropout: layout.attention_output_dropout,
            hidden_dropout: config.hidden_dropout_prob,
            padded_attention,
            output_adapter: None,
            packed: None,
        })
    }

    /// Returns whether attention scores are dot products of queries and keys without further terms.
    pub(crate) fn has_standard_attention(&self) -> bool {
        self.padded_attention.is_none()
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        let (mut joined, mut linear) = (Vec::new(), Vec::new());
        match &self.padded_attention {
            None | Some(PaddedAttention::Biased(_)) => joined.push(self.projections.weights_mut()),
            // Disentangled attention uses the weights of queries and keys separately.
            Some(PaddedAttention::Disentangled(_)) => linear.extend(&mut self.projections.layers),
        }
        linear.extend([&mut self.attention_dense, &mut self.intermediate, &mut self.output_dense]);
        if let Some(PaddedAttention::Disentangled(disentangled)) = &mut self.padded_attention {
            linear.extend(disentangled.linear_layers());
        }
        let norms = vec![&mut self.attention_norm, &mut self.output_norm];
        LayerParameters { joined, linear, norms, output_adapter: &mut self.output_adapter }
    }

    /// Copies the weights for inference in bfloat16 on the CPU if `packed` and a kernel supports the
    /// layer, otherwise removes the copy.
    pub(crate) fn set_packed(&mut self, packed: bool) -> Result<()> {
        self.packed = if packed { self.pack()? } else { None };
        Ok(())
    }

    fn pack(&self) -> Result<Option<EncoderLayer>> {
        let (intermediate, hidden) = self.intermediate.weight.size2()?;
        let eps = self.output_norm.eps;
        let shape = LayerShape { hidden, heads: self.heads, intermediate, eps };
        let is_standard = self.has_standard_attention() && self.activation == Activation::Gelu;
        if !is_standard || self.attention_norm.eps != eps || !EncoderLayer::supports(&shape) {
            return Ok(None);
        }
        let [query, key, value] = self.projections.layers.each_ref().map(Linear::weights);
        let weights = LayerWeights {
            projections: [query, key, value],
            attention_output: self.attention_dense.weights(),
            attention_norm: self.attention_norm.weights(),
            intermediate: self.intermediate.weights(),
            output: self.output_dense.weights(),
            output_norm: self.output_norm.weights(),
        };
        Ok(Some(EncoderLayer::new(shape, &weights)?))
    }

    /// Returns the copy of the weights and the lengths of the rows, if the copy's kernel computes
    /// the layer's output for `hidden`.
    fn packed_for<'a>(
        &'a self,
        hidden: &Tensor,
        batch: &'a Batch,
    ) -> Result<Option<(&'a EncoderLayer, &'a [i64])>> {
        let (Some(packed), Some(packing)) = (&self.packed, &batch.packing) else { return Ok(None) };
        let linear = self.projections.layers.iter().chain([
            &self.attention_dense,
            &self.intermediate,
            &self.output_dense,
        ]);
        let has_adapters = self.output_adapter.is_some()
            || linear.into_iter().any(|layer| !layer.loras.is_empty());
        let is_inference = !batch.seeds.train && !hidden.requires_grad();
        let applies = is_inference && !has_adapters && hidden.f_kind()? == Kind::BFloat16;
        Ok(applies.then_some((packed, &packing.lengths)))
    }

    /// Computes attention; queries, keys, values and the result are packed or padded as in `batch`.
    fn attend(&self, projected: [Tensor; 3], batch: &Batch) -> Result<Tensor> {
        let Some(attention) = &self.padded_attention else {
            let (heads, dropout) = (self.heads, self.attention_dropout);
            let attention = Attention { heads, window: None, dropout };
            return attend(projected.each_ref(), batch, attention, batch.rows.mask.as_ref());
        };
        let Some(packing) = &batch.packing else {
            return self.attend_padded(attention, projected.each_ref(), batch, &batch.seeds);
        };
        // The rest of the layer is computed without padding.
        let [query, key, value] = projected.map(|x| packing.unpack(&x));
        let (projected, seeds) = ([&query?, &key?, &value?], batch.seeds.to_padded(packing)?);
        packing.pack(&self.attend_padded(attention, projected, batch, &seeds)?)
    }

    /// Computes attention of padded queries, keys and values, `[B, L, H]`.
    fn attend_padded(
        &self,
        attention: &PaddedAttention,
        [query, key, value]: [&Tensor; 3],
        batch: &Batch,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        match attention {
            PaddedAttention::Disentangled(disentangled) => {
                let [query_layer, key_layer, _] = &self.projections.layers;
                let projected = Projected { query, key, value, query_layer, key_layer };
                disentangled.apply(&projected, batch.distances(), &batch.rows, seeds)
            }
            PaddedAttention::Biased(biased) => {
                biased.apply([query, key, value], batch.buckets(), &batch.rows, seeds)
            }
        }
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        if let Some((packed, lengths)) = self.packed_for(hidden, batch)? {
            return Ok(packed.apply(hidden, lengths)?);
        }
        let (seeds, is_packed) = (&batch.seeds, batch.packing.is_some());
        let [hidden, input] = &residual_and_input(hidden, is_packed)?;
        let attended = self.attend(self.projections.apply(input, seeds)?, batch)?;
        let attended = self.attention_dense.apply_adapted(&attended, seeds)?;
        let dropout = self.attention_output_dropout;
        let hidden =
            self.attention_norm.apply_to_sum(&attended, hidden, seeds, dropout, is_packed)?;
        let [hidden, input] = &residual_and_input(&hidden, is_packed)?;
        let intermediate = self.intermediate.apply_activated(input, self.activation, seeds)?;
        let mut output = self.output_dense.apply_adapted(&intermediate, seeds)?;
        let mut dropout = self.hidden_dropout;
        if self.output_adapter.is_some() {
            let (output_adapter, norm) = (self.output_adapter.as_ref(), Some(&self.output_norm));
            output = seeds.dropout(output, dropout)?;
            output = OutputAdapter::apply(output_adapter, output, hidden, norm, seeds)?;
            dropout = 0.0;
        }
        self.output_norm.apply_to_sum(&output, hidden, seeds, dropout, is_packed)
    }
}

/// Returns hidden states twice: as the residual, and as the input of matmuls. On a GPU in half
/// precision, the input is a half-precision copy of packed float32 hidden states, so that linear
/// layers need not cast them.
fn residual_and_input(hidden: &Tensor, is_packed: bool) -> Result<[Tensor; 2]> {
    let device = hidden.device();
    if is_packed
        && device != Device::Cpu
        && let (Kind::Float, Some(half)) = (hidden.f_kind()?, torch_ext::autocast_dtype(device)?)
    {
        return Ok(torch_ext::with_cast(hidden, half)?);
    }
    Ok([hidden.shallow_clone(), hidden.shallow_clone()])
}
