//! The heads on top of the encoder.
use tch::Tensor;

use crate::dropout::Draws;
use crate::layers::{LayerNorm, Linear, Lookup};
use crate::parameters::{DECODER, LM_BIAS, WORDS};
use crate::{Config, Result};

/// `Linear -> GELU -> LayerNorm`, then the decoder `[V, H]` with its bias `[V]`.
#[derive(Debug)]
pub(crate) struct LmHead {
    dense: Linear,
    norm: LayerNorm,
    pub(crate) decoder: Tensor,
    pub(crate) bias: Tensor,
}

impl LmHead {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            dense: Linear::new(get, "lm_head.dense")?,
            norm: LayerNorm::new(get, "lm_head.layer_norm", width, eps)?,
            decoder: get(if config.tie_word_embeddings { WORDS } else { DECODER })?,
            bias: get(LM_BIAS)?,
        })
    }

    pub(crate) fn transform(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.apply(&self.dense.apply(hidden)?.f_gelu("none")?)
    }

    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(self.transform(hidden)?.f_linear(&self.decoder, Some(&self.bias))?)
    }
}

/// Dropout, then one linear layer for each token.
#[derive(Debug)]
pub(crate) struct TokenHead {
    classifier: Linear,
    dropout: f64,
}

impl TokenHead {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let classifier = Linear::new(get, "classifier")?;
        Ok(Self { classifier, dropout: head_dropout(config) })
    }

    pub(crate) fn logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor> {
        let draws = Draws::for_states(hidden, train)?;
        self.classifier.apply(&draws.dropout(hidden.shallow_clone(), self.dropout)?)
    }
}

/// The state of `<s>` through a tanh layer, with dropout before and after it.
#[derive(Debug)]
pub(crate) struct SequenceHead {
    dense: Linear,
    output: Linear,
    dropout: f64,
}

impl SequenceHead {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        Ok(Self {
            dense: Linear::new(get, "classifier.dense")?,
            output: Linear::new(get, "classifier.out_proj")?,
            dropout: head_dropout(config),
        })
    }

    pub(crate) fn logits(&self, hidden: &Tensor, train: bool) -> Result<Tensor> {
        let first = hidden.f_select(1, 0)?;
        let draws = Draws::for_states(&first, train)?;
        let first = draws.dropout(first, self.dropout)?;
        let inner = draws.dropout(self.dense.apply(&first)?.f_tanh()?, self.dropout)?;
        self.output.apply(&inner)
    }
}

fn head_dropout(config: &Config) -> f64 {
    config.classifier_dropout.unwrap_or(config.hidden_dropout_prob)
}
