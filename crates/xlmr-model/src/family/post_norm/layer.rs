//! Layers of XLM-R, BERT, DeBERTa, DistilBERT, ELECTRA and RemBERT (Conneau et al. 2020; the layout
//! of transformers' `XLMRobertaModel`, `BertModel`, `DebertaV2Model`, `DistilBertModel`,
//! `ElectraModel` and `RemBertModel`).
use tch::{Device, Kind, Tensor};
use torch_ext::Attention;

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::family::deberta::attention::{Disentangled, Projected};
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
    /// DeBERTa's attention; if absent, the layer uses standard attention.
    disentangled: Option<Disentangled>,
    /// Dropout after `attention_dense`.
    attention_output_dropout: f64,
    hidden_dropout: f64,
    output_adapter: Option<OutputAdapter>,
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
        let disentangled = match layout.attention {
            AttentionKind::Standard => None,
            AttentionKind::Disentangled(deberta) => {
                Some(Disentangled::new(get, config, deberta, &name)?)
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
            disentangled,
            output_adapter: None,
        })
    }

    /// Returns the dtype of queries, keys and values if the layer computes in 8 bits.
    pub(crate) fn int8_output(&self) -> Kind {
        // They are bfloat16 if the processor is fast in bfloat16, because attention then takes half
        // the time.
        match self.disentangled.is_none() && torch_ext::bf16_is_fast() {
            true => Kind::BFloat16,
            false => Kind::Float,
        }
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        let (mut joined, mut linear) = (Vec::new(), Vec::new());
        match &self.disentangled {
            None => joined.push(self.projections.weights_mut()),
            // Disentangled attention uses the weights of queries and keys separately.
            Some(_) => linear.extend(&mut self.projections.layers),
        }
        linear.extend([&mut self.attention_dense, &mut self.intermediate, &mut self.output_dense]);
        linear.extend(self.disentangled.iter_mut().flat_map(Disentangled::linear_layers));
        let norms = vec![&mut self.attention_norm, &mut self.output_norm];
        LayerParameters { joined, linear, norms, output_adapter: &mut self.output_adapter }
    }

    /// Computes attention; queries, keys, values and the result are packed or padded as in `batch`.
    fn attend(&self, projected: [Tensor; 3], batch: &Batch) -> Result<Tensor> {
        let [query, key, value] = &projected;
        let Some(disentangled) = &self.disentangled else {
            let (heads, dropout) = (self.heads, self.attention_dropout);
            let attention = Attention { heads, window: None, dropout };
            return attend([query, key, value], batch, attention, batch.rows.mask.as_ref());
        };
        let [query_layer, key_layer, _] = &self.projections.layers;
        let (distances, rows) = (batch.distances(), &batch.rows);
        let Some(packing) = &batch.packing else {
            let projected = Projected { query, key, value, query_layer, key_layer };
            return disentangled.apply(&projected, distances, rows, &batch.seeds);
        };
        // Disentangled attention needs the padded layout; the rest of the layer is computed without
        // padding.
        let [query, key, value] = projected.map(|x| packing.unpack(&x));
        let (query, key, value) = (&query?, &key?, &value?);
        let projected = Projected { query, key, value, query_layer, key_layer };
        let seeds = batch.seeds.to_padded(packing)?;
        packing.pack(&disentangled.apply(&projected, distances, rows, &seeds)?)
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
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
