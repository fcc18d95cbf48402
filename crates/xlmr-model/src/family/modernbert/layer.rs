//! Layers of ModernBERT (Warner et al. 2024; the layout of transformers'
//! `ModernBertModel`).
use tch::Tensor;
use torch_ext::to_usize;

use crate::adapters::output::OutputAdapter;
use crate::batch::Batch;
use crate::layers::last_size;
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::layers::parameters::LayerParameters;
use crate::layers::rotary_attention::RotaryAttention;
use crate::{Activation, Config, ModernBert, Result};

/// Self-attention and gated feed-forward layer. The inputs of attention and of the feed-forward
/// layer are normalised, and the outputs of both are added to the hidden states.
#[derive(Clone, Debug)]
pub(crate) struct ModernLayer {
    /// Absent in the first layer.
    attention_norm: Option<LayerNorm>,
    query_key_value: Linear,
    attention_out: Linear,
    mlp_norm: LayerNorm,
    mlp_in: Linear,
    mlp_out: Linear,
    activation: Activation,
    attention: RotaryAttention,
    mlp_dropout: f64,
    output_adapter: Option<OutputAdapter>,
}

impl ModernLayer {
    pub(crate) fn new(
        get: Lookup,
        config: &Config,
        modern: &ModernBert,
        index: i64,
    ) -> Result<Self> {
        let name = config.architecture.names().layer_name(index);
        let (attention, mlp) = (modern.attention_bias, modern.mlp_bias);
        let linear = |part: &str, bias| Linear::with_bias(get, &format!("{name}.{part}"), bias);
        let norm = |part: &str| {
            let (width, eps) = (config.hidden_size, config.layer_norm_eps);
            LayerNorm::with_bias(get, &format!("{name}.{part}"), width, eps, modern.norm_bias)
        };
        Ok(Self {
            attention_norm: if index > 0 { Some(norm("attn_norm")?) } else { None },
            query_key_value: linear("attn.Wqkv", attention)?,
            attention_out: linear("attn.Wo", attention)?,
            mlp_norm: norm("mlp_norm")?,
            mlp_in: linear("mlp.Wi", mlp)?,
            mlp_out: linear("mlp.Wo", mlp)?,
            activation: config.hidden_act,
            attention: RotaryAttention {
                heads: config.num_attention_heads,
                window_radius: modern.window_radius(to_usize(index)),
                dropout: config.attention_probs_dropout_prob,
            },
            mlp_dropout: config.hidden_dropout_prob,
            output_adapter: None,
        })
    }

    pub(crate) fn parameters(&mut self) -> LayerParameters<'_> {
        let linear = vec![
            &mut self.query_key_value,
            &mut self.attention_out,
            &mut self.mlp_in,
            &mut self.mlp_out,
        ];
        let norms = self.attention_norm.iter_mut().chain([&mut self.mlp_norm]).collect();
        let output_adapter = &mut self.output_adapter;
        LayerParameters { joined: Vec::new(), linear, norms, output_adapter }
    }

    /// Computes the layer's output, packed or padded as in `batch`.
    pub(crate) fn forward(&self, hidden: &Tensor, batch: &Batch) -> Result<Tensor> {
        let seeds = &batch.seeds;
        let normed = match &self.attention_norm {
            Some(norm) => norm.apply_to_states(hidden)?,
            None => hidden.shallow_clone(),
        };
        let attended =
            self.attention.apply(&self.query_key_value.apply_adapted(&normed, seeds)?, batch)?;
        let attended = seeds
            .dropout(self.attention_out.apply_adapted(&attended, seeds)?, self.attention.dropout)?;
        let hidden = attended.f_add(hidden)?;
        let intermediate =
            self.mlp_in.apply_adapted(&self.mlp_norm.apply_to_states(&hidden)?, seeds)?;
        let gated = seeds.dropout(self.apply_gate(&intermediate)?, self.mlp_dropout)?;
        let output = self.mlp_out.apply_adapted(&gated, seeds)?;
        let output =
            OutputAdapter::apply(self.output_adapter.as_ref(), output, &hidden, None, seeds)?;
        Ok(output.f_add(&hidden)?)
    }

    /// Splits the last dimension into halves, and multiplies the activation of the first half by
    /// the second half.
    fn apply_gate(&self, intermediate: &Tensor) -> Result<Tensor> {
        if self.activation == Activation::Gelu {
            return Ok(torch_ext::gated_gelu(intermediate)?);
        }
        let half = last_size(intermediate) / 2;
        let (input, gate) =
            (intermediate.f_narrow(-1, 0, half)?, intermediate.f_narrow(-1, half, half)?);
        Ok(self.activation.apply(&input)?.f_mul(&gate)?)
    }
}
