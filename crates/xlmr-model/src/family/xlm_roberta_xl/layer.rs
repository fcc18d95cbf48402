//! Layers of XLM-R XL (Goyal et al. 2021; the layout of transformers' `XLMRobertaXLModel`).
use tch::Tensor;
use torch_ext::Attention;

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::family::xlm_roberta_xl::layout::NORMS;
use crate::layers::attention::attend;
use crate::layers::linear::{JoinedLinear, LayerNorm, Linear, Lookup};
use crate::layers::parameters::LayerParameters;
use crate::{Activation, Config, Result};

/// Self-attention and feed-forward layer. The inputs of both are normalised, and their outputs are
/// added to the hidden states.
#[derive(Clone, Debug)]
pub(crate) struct PreNormLayer {
    attention_norm: LayerNorm,
    /// Query, key and value.
    projections: JoinedLinear<3>,
    attention_dense: Linear,
    feed_forward_norm: LayerNorm,
    intermediate: Linear,
    output_dense: Linear,
    activation: Activation,
    heads: i64,
    attention_dropout: f64,
    /// Dropout after `attention_dense`. There is none after `output_dense`.
    hidden_dropout: f64,
    output_adapter: Option<OutputAdapter>,
}

impl PreNormLayer {
    pub(crate) fn new(get: Lookup, config: &Config, index: i64) -> Result<Self> {
        let name = config.architecture.names().layer_name(index);
        let linear = |part: &str| Linear::new(get, &format!("{name}.{part}"));
        let [attention_norm, feed_forward_norm] = NORMS.map(|norm| {
            let name = format!("{name}.{norm}");
            LayerNorm::new(get, &name, config.hidden_size, config.layer_norm_eps)
        });
        Ok(Self {
            attention_norm: attention_norm?,
            projections: JoinedLinear::new([
                linear("attention.self.query")?,
                linear("attention.self.key")?,
                linear("attention.self.value")?,
            ]),
            attention_dense: linear("attention.output.dense")?,
            feed_forward_norm: feed_forward_norm?,
            intermediate: linear("intermediate.dense")?,
            output_dense: linear("output.dense")?,
            activation: config.hidden_act,
            heads: config.num_attention_heads,
            attention_dropout: config.attention_probs_dropout_prob,
            hidden_dropout: config.hidden_dropout_prob,
            output_adapter: None,
        })
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        let joined = vec![self.projections.weights_mut()];
        let linear =
            vec![&mut self.attention_dense, &mut self.intermediate, &mut self.output_dense];
        let norms = vec![&mut self.attention_norm, &mut self.feed_forward_norm];
        LayerParameters { joined, linear, norms, output_adapter: &mut self.output_adapter }
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let seeds = &batch.seeds;
        let normed = self.attention_norm.apply_to_states(hidden)?;
        let [query, key, value] = &self.projections.apply(&normed, seeds)?;
        let attention =
            Attention { heads: self.heads, window: None, dropout: self.attention_dropout };
        let attended = attend([query, key, value], batch, attention, batch.rows.mask.as_ref())?;
        let attended = self.attention_dense.apply_adapted(&attended, seeds)?;
        let hidden = seeds.dropout(attended, self.hidden_dropout)?.f_add(hidden)?;
        let normed = self.feed_forward_norm.apply_to_states(&hidden)?;
        let intermediate = self.intermediate.apply_activated(&normed, self.activation, seeds)?;
        let output = self.output_dense.apply_adapted(&intermediate, seeds)?;
        let output =
            OutputAdapter::apply(self.output_adapter.as_ref(), output, &hidden, None, seeds)?;
        Ok(output.f_add(&hidden)?)
    }
}
