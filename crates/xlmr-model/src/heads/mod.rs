//! The heads on top of the encoder.
pub(crate) mod kind;
pub(crate) mod knowledge;
pub(crate) mod projection;

use tch::{Kind, Tensor};

use crate::batch::dropout::DropoutSeeds;
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::{Activation, Architecture, Config, EuroBert, EuroPooling, ModernBert, Pooling, Result};

/// A dense layer, an activation and a LayerNorm. A prediction head precedes the decoder of a
/// masked-LM head, and is a part of every ModernBERT head.
#[derive(Debug)]
struct PredictionHead {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
}

impl PredictionHead {
    /// Creates the prediction head of a masked-LM head; returns `None` for EuroBERT, whose decoder
    /// is applied directly to the hidden states.
    fn for_lm(get: Lookup, config: &Config) -> Result<Option<Self>> {
        let names = config.architecture.names();
        let activation = match &config.architecture {
            Architecture::ModernBert(modern) => {
                return Ok(Some(Self::for_modern(get, config, modern, "lm_head")?));
            }
            Architecture::EuroBert(_) => return Ok(None),
            Architecture::Electra { .. } => Activation::Gelu,
            architecture if architecture.is_roberta() => Activation::Gelu,
            _ => config.hidden_act,
        };
        let [dense, norm] = names.lm_head;
        let norm = LayerNorm::new(get, norm, config.embedding_size(), config.layer_norm_eps)?;
        Ok(Some(Self { dense: Linear::new(get, dense)?, activation, norm }))
    }

    fn for_euro_spans(get: Lookup, config: &Config) -> Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        Ok(Self {
            dense: Linear::with_bias(get, "qa_head.dense", false)?,
            activation: Activation::Gelu,
            norm: LayerNorm::root_mean_square(get, "qa_head.norm", width, eps)?,
        })
    }

    fn for_modern(get: Lookup, config: &Config, modern: &ModernBert, name: &str) -> Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let norm = format!("{name}.norm");
        Ok(Self {
            dense: Linear::with_bias(get, &format!("{name}.dense"), modern.classifier_bias)?,
            activation: modern.classifier_activation,
            norm: LayerNorm::with_bias(get, &norm, width, eps, modern.norm_bias)?,
        })
    }

    fn apply(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.apply(&self.activation.apply(&self.dense.apply(hidden)?)?)
    }
}

/// Masked-LM head: a prediction head (except in EuroBERT), then the decoder `[V, H]` with its bias
/// `[V]`.
#[derive(Debug)]
pub(crate) struct LmHead {
    head: Option<PredictionHead>,
    pub(crate) decoder: Tensor,
    /// Zeros without gradient if the configuration has no bias.
    pub(crate) bias: Tensor,
}

impl LmHead {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let names = config.architecture.names();
        let decoder =
            get(if config.tie_word_embeddings { names.word_embeddings } else { names.decoder })?;
        let bias = match &config.architecture {
            Architecture::ModernBert(ModernBert { decoder_bias: false, .. })
            | Architecture::EuroBert(EuroBert { mlp_bias: false, .. }) => {
                let options = (decoder.f_kind()?, decoder.device());
                Tensor::f_zeros(config.vocab_size, options)?
            }
            _ => get(names.lm_bias)?,
        };
        Ok(Self { head: PredictionHead::for_lm(get, config)?, decoder, bias })
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
    /// Present in ModernBERT's heads and in EuroBERT's span head.
    head: Option<PredictionHead>,
    /// Dropout before the output layer.
    dropout: f64,
    output: Linear,
}

impl TokenHead {
    /// Creates the head of start and end logits.
    pub(crate) fn for_spans(get: Lookup, config: &Config) -> Result<Self> {
        let (head, dropout, output) = match &config.architecture {
            Architecture::ModernBert(modern) => {
                let head = PredictionHead::for_modern(get, config, modern, "qa_head")?;
                (Some(head), head_dropout(config), "qa_head.classifier")
            }
            Architecture::EuroBert(_) => {
                let head = PredictionHead::for_euro_spans(get, config)?;
                (Some(head), head_dropout(config), "qa_head.classifier")
            }
            Architecture::DistilBert(distil) => (None, distil.qa_dropout, "qa_outputs"),
            _ => (None, 0.0, "qa_outputs"),
        };
        Ok(Self { head, dropout, output: Linear::new(get, output)? })
    }

    /// Creates the head of label logits.
    pub(crate) fn for_labels(get: Lookup, config: &Config) -> Result<Self> {
        let (head, output) = match &config.architecture {
            Architecture::Electra { .. } => (None, "classifier"),
            architecture if architecture.is_roberta() => (None, "classifier"),
            Architecture::ModernBert(modern) => {
                let head = PredictionHead::for_modern(get, config, modern, "token_head")?;
                (Some(head), "token_head.classifier")
            }
            _ => (None, "token_head.classifier"),
        };
        let dropout = match &config.architecture {
            Architecture::DebertaV2(_) | Architecture::DistilBert(_) => config.hidden_dropout_prob,
            _ => head_dropout(config),
        };
        Ok(Self { head, dropout, output: Linear::new(get, output)? })
    }

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
    layer: SequenceLayer,
    output: Linear,
    dropout: f64,
}

/// Layer between the hidden states of a row and the output layer.
#[derive(Debug)]
enum SequenceLayer {
    /// Dropout, a dense layer and an activation (tanh if absent), applied to the first token's
    /// hidden state.
    Dense(f64, Linear, Option<Activation>),
    /// A prediction head, applied to the first token's hidden state or to the mean of all tokens'
    /// hidden states.
    Modern(PredictionHead, Pooling),
    /// A dense layer and its activation, applied to the hidden state of the first token, to the
    /// mean of all tokens' hidden states or, with late pooling, to each token's hidden state.
    Euro(Linear, EuroPooling),
}

impl SequenceHead {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        let [dense, output] = Self::layer_names(&config.architecture);
        let dense = || Linear::new(get, dense);
        let layer = match &config.architecture {
            Architecture::ModernBert(modern) => {
                let head = PredictionHead::for_modern(get, config, modern, "sequence_head")?;
                SequenceLayer::Modern(head, modern.classifier_pooling)
            }
            Architecture::EuroBert(euro) => SequenceLayer::Euro(dense()?, euro.classifier_pooling),
            Architecture::DebertaV2(deberta) => {
                let (dropout, activation) = (deberta.pooler_dropout, deberta.pooler_hidden_act);
                SequenceLayer::Dense(dropout, dense()?, Some(activation))
            }
            Architecture::DistilBert(_) => {
                SequenceLayer::Dense(0.0, dense()?, Some(Activation::Relu))
            }
            Architecture::Electra { .. } => {
                SequenceLayer::Dense(head_dropout(config), dense()?, Some(Activation::Gelu))
            }
            Architecture::Bert => SequenceLayer::Dense(0.0, dense()?, None),
            _ => SequenceLayer::Dense(head_dropout(config), dense()?, None),
        };
        Ok(Self { layer, output: Linear::new(get, output)?, dropout: head_dropout(config) })
    }

    /// Returns the names of the dense layer and of the output layer.
    pub(crate) fn layer_names(architecture: &Architecture) -> [&'static str; 2] {
        match architecture {
            Architecture::Bert | Architecture::DebertaV2(_) => {
                ["sequence_head.pooler.dense", "sequence_head.classifier"]
            }
            Architecture::DistilBert(_) => {
                ["sequence_head.pre_classifier", "sequence_head.classifier"]
            }
            Architecture::ModernBert(_) | Architecture::EuroBert(_) => {
                ["sequence_head.dense", "sequence_head.classifier"]
            }
            _ => ["classifier.dense", "classifier.out_proj"],
        }
    }

    /// Computes label logits of hidden states `[B, L, H]`; `mask`, `[B, L]`, is 1 for a token.
    pub(crate) fn logits(
        &self,
        hidden: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let pooled = match &self.layer {
            SequenceLayer::Modern(_, Pooling::Mean) | SequenceLayer::Euro(_, EuroPooling::Mean) => {
                masked_mean(hidden, mask)?
            }
            // Late pooling is the mean of all tokens' logits. The output layer is linear, so it can
            // be applied to the mean of its inputs instead.
            SequenceLayer::Euro(dense, EuroPooling::Late) => {
                masked_mean(&Activation::Gelu.apply(&dense.apply(hidden)?)?, mask)?
            }
            _ => hidden.f_select(1, 0)?,
        };
        let seeds = DropoutSeeds::for_states(&pooled, train)?;
        let features = match &self.layer {
            SequenceLayer::Modern(head, _) => head.apply(&pooled)?,
            SequenceLayer::Euro(_, EuroPooling::Late) => pooled,
            SequenceLayer::Dense(dropout, dense, activation) => {
                let features = dense.apply(&seeds.dropout(pooled, *dropout)?)?;
                match activation {
                    Some(activation) => activation.apply(&features)?,
                    None => features.f_tanh()?,
                }
            }
            SequenceLayer::Euro(dense, _) => Activation::Gelu.apply(&dense.apply(&pooled)?)?,
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

fn head_dropout(config: &Config) -> f64 {
    config.classifier_dropout.unwrap_or(config.hidden_dropout_prob)
}
