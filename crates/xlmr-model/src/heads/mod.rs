//! The heads on top of the encoder.
pub(crate) mod kind;
pub(crate) mod knowledge;
pub(crate) mod projection;

use tch::{Kind, Tensor};

use crate::batch::dropout::DropoutSeeds;
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::{Activation, Config, EuroPooling, Pooling, Result};

/// A dense layer, an activation and a LayerNorm. A prediction head precedes the decoder of most
/// masked-LM heads, and is a part of every ModernBERT head.
#[derive(Debug)]
pub(crate) struct PredictionHead {
    pub(crate) dense: Linear,
    pub(crate) activation: Activation,
    pub(crate) norm: LayerNorm,
}

impl PredictionHead {
    fn apply(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.apply(&self.activation.apply(&self.dense.apply(hidden)?)?)
    }
}

/// Masked-LM head: a prediction head in most architectures, then the decoder `[V, E]` with its bias
/// `[V]`.
#[derive(Debug)]
pub(crate) struct LmHead {
    head: Option<PredictionHead>,
    pub(crate) decoder: Tensor,
    /// Zeros without gradient if the configuration has no bias.
    pub(crate) bias: Tensor,
}

impl LmHead {
    /// Builds the head from its prediction head and the decoder, whose bias is zero unless
    /// `has_bias`.
    pub(crate) fn new(
        get: Lookup,
        config: &Config,
        head: Option<PredictionHead>,
        has_bias: bool,
    ) -> Result<Self> {
        let names = config.architecture.names();
        let decoder =
            get(if config.tie_word_embeddings { names.word_embeddings } else { names.decoder })?;
        let bias = match has_bias {
            true => get(names.lm_bias)?,
            false => Tensor::f_zeros(config.vocab_size, (decoder.f_kind()?, decoder.device()))?,
        };
        Ok(Self { head, decoder, bias })
    }

    pub(crate) fn transform(&self, hidden: &Tensor) -> Result<Tensor> {
        self.head.as_ref().map_or(Ok(hidden.shallow_clone()), |head| head.apply(hidden))
    }

    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(self.transform(hidden)?.f_linear(&self.decoder, Some(&self.bias))?)
    }
}

/// Head with an output per token: a prediction head in some architectures, dropout and a linear
/// layer.
#[derive(Debug)]
pub(crate) struct TokenHead {
    pub(crate) head: Option<PredictionHead>,
    /// Dropout before the output layer.
    pub(crate) dropout: f64,
    pub(crate) output: Linear,
}

impl TokenHead {
    /// Computes the logits, `[.., 2]` or `[.., labels]`.
    pub(crate) fn logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor> {
        if self.head.is_none() && self.dropout == 0.0 {
            return self.output.apply(hidden);
        }
        let seeds = DropoutSeeds::for_states(hidden, train)?;
        let hidden =
            self.head.as_ref().map_or(Ok(hidden.shallow_clone()), |head| head.apply(hidden))?;
        self.output.apply(&seeds.dropout(hidden, self.dropout)?)
    }
}

/// Sequence classification head: a layer on one hidden state per row, dropout and a linear layer.
#[derive(Debug)]
pub(crate) struct SequenceHead {
    pub(crate) layer: SequenceLayer,
    pub(crate) output: Linear,
    /// Dropout before the output layer.
    pub(crate) dropout: f64,
}

/// Layer between the hidden states of a row and the output layer.
#[derive(Debug)]
pub(crate) enum SequenceLayer {
    /// Dropout, a dense layer and an activation (tanh if absent), applied to the first token's
    /// hidden state.
    Dense(f64, Linear, Option<Activation>),
    /// A prediction head, applied to the first token's hidden state or to the mean of all tokens'
    /// hidden states.
    Prediction(PredictionHead, Pooling),
    /// A dense layer and GELU, applied to the hidden state of the first token, to the
    /// mean of all tokens' hidden states or, with late pooling, to each token's hidden state.
    Pooled(Linear, EuroPooling),
}

impl SequenceHead {
    /// Computes label logits of hidden states `[B, L, H]`; `mask`, `[B, L]`, is 1 for a token.
    pub(crate) fn logits(
        &self,
        hidden: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let pooled = match &self.layer {
            SequenceLayer::Prediction(_, Pooling::Mean)
            | SequenceLayer::Pooled(_, EuroPooling::Mean) => masked_mean(hidden, mask)?,
            // Late pooling is the mean of all tokens' logits. The output layer is linear, so it can
            // be applied to the mean of its inputs instead.
            SequenceLayer::Pooled(dense, EuroPooling::Late) => {
                masked_mean(&Activation::Gelu.apply(&dense.apply(hidden)?)?, mask)?
            }
            SequenceLayer::Dense(..)
            | SequenceLayer::Prediction(_, Pooling::Cls)
            | SequenceLayer::Pooled(_, EuroPooling::Bos) => hidden.f_select(1, 0)?,
        };
        let seeds = DropoutSeeds::for_states(&pooled, train)?;
        let features = match &self.layer {
            SequenceLayer::Prediction(head, _) => head.apply(&pooled)?,
            SequenceLayer::Dense(dropout, dense, activation) => {
                let features = dense.apply(&seeds.dropout(pooled, *dropout)?)?;
                match activation {
                    Some(activation) => activation.apply(&features)?,
                    None => features.f_tanh()?,
                }
            }
            SequenceLayer::Pooled(_, EuroPooling::Late) => pooled,
            SequenceLayer::Pooled(dense, EuroPooling::Bos | EuroPooling::Mean) => {
                Activation::Gelu.apply(&dense.apply(&pooled)?)?
            }
        };
        self.output.apply(&seeds.dropout(features, self.dropout)?)
    }
}

/// Computes the mean over each row's tokens, `[B, H]`; zeros for a row without tokens.
fn masked_mean(hidden: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(hidden.f_mean_dim(1, false, None::<Kind>)?);
    };
    let mask = torch_ext::upload(mask, hidden.device())?.f_ne(0)?.f_unsqueeze(-1)?;
    let token_states = hidden.f_masked_fill(&mask.f_logical_not()?, 0.0)?;
    let token_counts = mask.f_sum_dim_intlist(1, false, Kind::Int64)?.f_clamp_min(1)?;
    Ok(token_states.f_sum_dim_intlist(1, false, None::<Kind>)?.f_div(&token_counts)?)
}
