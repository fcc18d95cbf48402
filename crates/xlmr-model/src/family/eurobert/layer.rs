//! Layers of EuroBERT (Boizard et al. 2025; the layout of transformers' `EuroBertModel`).
use tch::Tensor;

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::layers::linear::{JoinedLinear, LayerNorm, Linear, Lookup};
use crate::layers::parameters::LayerParameters;
use crate::layers::rotary_attention::RotaryAttention;
use crate::{Activation, Config, EuroBert, Result};

/// Grouped-query self-attention and a gated feed-forward layer. The inputs of attention and of the
/// feed-forward layer are normalised, and the outputs of both are added to the hidden states.
#[derive(Clone, Debug)]
pub(crate) struct EuroLayer {
    attention_norm: LayerNorm,
    /// Query, key and value.
    projections: JoinedLinear<3>,
    attention_out: Linear,
    mlp_norm: LayerNorm,
    gate_up: JoinedLinear<2>,
    down: Linear,
    activation: Activation,
    attention: RotaryAttention,
    key_value_heads: i64,
    output_adapter: Option<OutputAdapter>,
}

impl EuroLayer {
    pub(crate) fn new(get: Lookup, config: &Config, euro: &EuroBert, index: i64) -> Result<Self> {
        let name = config.architecture.names().layer_name(index);
        let linear = |part: &str, bias| Linear::with_bias(get, &format!("{name}.{part}"), bias);
        let norm = |part: &str| {
            let (width, eps) = (config.hidden_size, config.layer_norm_eps);
            LayerNorm::root_mean_square(get, &format!("{name}.{part}"), width, eps)
        };
        let heads = config.num_attention_heads;
        Ok(Self {
            attention_norm: norm("input_layernorm")?,
            projections: JoinedLinear::new([
                linear("self_attn.q_proj", euro.attention_bias)?,
                linear("self_attn.k_proj", euro.attention_bias)?,
                linear("self_attn.v_proj", euro.attention_bias)?,
            ]),
            attention_out: linear("self_attn.o_proj", euro.attention_bias)?,
            mlp_norm: norm("post_attention_layernorm")?,
            gate_up: JoinedLinear::new([
                linear("mlp.gate_proj", euro.mlp_bias)?,
                linear("mlp.up_proj", euro.mlp_bias)?,
            ]),
            down: linear("mlp.down_proj", euro.mlp_bias)?,
            activation: config.hidden_act,
            attention: RotaryAttention {
                heads,
                window_radius: None,
                dropout: config.attention_probs_dropout_prob,
            },
            key_value_heads: euro.key_value_heads(heads),
            output_adapter: None,
        })
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        let joined = vec![self.projections.weights_mut(), self.gate_up.weights_mut()];
        let linear = vec![&mut self.attention_out, &mut self.down];
        let norms = vec![&mut self.attention_norm, &mut self.mlp_norm];
        LayerParameters { joined, linear, norms, output_adapter: &mut self.output_adapter }
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let seeds = &batch.seeds;
        let normed = self.attention_norm.apply_to_states(hidden)?;
        let [query, key, value] = self.projections.apply(&normed, seeds)?;
        let (key, value) = (self.repeat_for_queries(key)?, self.repeat_for_queries(value)?);
        let projected = Tensor::f_cat(&[query, key, value], -1)?;
        let attended = self.attention.apply(&projected, batch)?;
        let hidden = self.attention_out.apply_adapted(&attended, seeds)?.f_add(hidden)?;
        let normed = self.mlp_norm.apply_to_states(&hidden)?;
        let [gate, up] = self.gate_up.apply(&normed, seeds)?;
        let gated = self.activation.apply(&gate)?.f_mul(&up)?;
        let output = self.down.apply_adapted(&gated, seeds)?;
        let output =
            OutputAdapter::apply(self.output_adapter.as_ref(), output, &hidden, None, seeds)?;
        Ok(output.f_add(&hidden)?)
    }

    /// Repeats keys or values, `[.., key_value_heads * D]`, so that each query head has keys and
    /// values.
    fn repeat_for_queries(&self, shared: Tensor) -> Result<Tensor> {
        let group_size = self.attention.heads / self.key_value_heads;
        if group_size == 1 {
            return Ok(shared);
        }
        let heads = shared.f_unflatten(-1, [self.key_value_heads, -1])?;
        Ok(heads.f_repeat_interleave_self_int(group_size, -2, None)?.f_flatten(-2, -1)?)
    }
}
