//! Parameters and modules of EuroBERT.
use crate::family::eurobert::layer::EuroLayer;
use crate::family::layer::Layer;
use crate::family::layout::Layout;
use crate::family::post_norm::{sequence_head_specs, token_head_specs};
use crate::heads::{LmHead, PredictionHead, SequenceHead, SequenceLayer, TokenHead};
use crate::layers::embeddings::{EmbeddingParts, Embeddings};
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::parameters::{Init, Spec, Specs};
use crate::{Activation, Config, EuroBert, Head, Result};

/// Layout of a EuroBERT. The span head, which does not exist in transformers, has the layers of
/// ModernBERT's span head.
pub(crate) struct EuroLayout<'a> {
    pub(crate) config: &'a Config,
    pub(crate) euro: &'a EuroBert,
}

/// Names of the token classification head's layer.
const TOKEN_CLASSIFIER: &str = "token_head.classifier";

/// Names of the sequence classification head's layers.
const SEQUENCE_LAYERS: [&str; 2] = ["sequence_head.dense", "sequence_head.classifier"];

impl EuroLayout<'_> {
    fn norm(&self, get: Lookup, name: &str) -> Result<LayerNorm> {
        let (width, eps) = (self.config.hidden_size, self.config.layer_norm_eps);
        LayerNorm::root_mean_square(get, name, width, eps)
    }
}

impl Layout for EuroLayout<'_> {
    fn encoder_specs(&self) -> Vec<Spec> {
        let (config, euro) = (self.config, self.euro);
        let names = config.architecture.names();
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let heads = config.num_attention_heads.max(1);
        let kv_size = hidden / heads * euro.key_value_heads(heads);
        let mut specs = Specs::default();
        let pad_init = Init::NormalWithZeroRow(config.pad_token_id);
        specs.add(names.word_embeddings, &[config.vocab_size, hidden], pad_init);
        for index in 0..config.num_hidden_layers {
            let layer = names.layer_name(index);
            specs.add_norm(&format!("{layer}.input_layernorm"), hidden, false);
            for (part, outputs) in [("q", hidden), ("k", kv_size), ("v", kv_size), ("o", hidden)] {
                let name = format!("{layer}.self_attn.{part}_proj");
                specs.add_dense(&name, [outputs, hidden], Init::Normal, euro.attention_bias);
            }
            specs.add_norm(&format!("{layer}.post_attention_layernorm"), hidden, false);
            let wide = [intermediate, hidden];
            for (part, shape) in [("gate", wide), ("up", wide), ("down", [hidden, intermediate])] {
                let name = format!("{layer}.mlp.{part}_proj");
                specs.add_dense(&name, shape, Init::Normal, euro.mlp_bias);
            }
        }
        specs.add_norm("model.norm", hidden, false);
        specs.list
    }

    fn head_specs(&self, head: Head) -> Vec<Spec> {
        let hidden = self.config.hidden_size;
        match head {
            Head::None => Vec::new(),
            Head::MaskedLm => {
                let mut specs = Specs::default();
                specs.add_decoder(self.config, hidden, self.euro.mlp_bias, Init::Normal);
                specs.list
            }
            Head::Span => {
                let mut dense_and_norm = Specs::with_prefixes("qa_head.", "head.");
                dense_and_norm.add_dense("qa_head.dense", [hidden, hidden], Init::Normal, false);
                dense_and_norm.add_norm("qa_head.norm", hidden, false);
                let mut specs = Specs::with_prefixes("qa_head.", "");
                specs.add_linear("qa_head.classifier", 2, hidden);
                specs.list.extend(dense_and_norm.list);
                specs.list
            }
            Head::TokenClassification { labels } => {
                token_head_specs(TOKEN_CLASSIFIER, labels, hidden)
            }
            Head::SequenceClassification { labels } => {
                sequence_head_specs(SEQUENCE_LAYERS, "", labels, hidden)
            }
        }
    }

    fn embeddings(&self, get: Lookup) -> Result<Embeddings> {
        let parts = EmbeddingParts {
            position_embeddings: None,
            norm: None,
            unused_position: None,
            dropout: 0.0,
            projection: None,
        };
        Embeddings::new(get, self.config, parts)
    }

    fn layer(&self, get: Lookup, index: i64) -> Result<Layer> {
        Ok(Layer::Euro(EuroLayer::new(get, self.config, self.euro, index)?))
    }

    fn final_norm(&self, get: Lookup) -> Result<Option<LayerNorm>> {
        Ok(Some(self.norm(get, "model.norm")?))
    }

    fn lm_head(&self, get: Lookup) -> Result<LmHead> {
        LmHead::new(get, self.config, None, self.euro.mlp_bias)
    }

    fn span_head(&self, get: Lookup) -> Result<TokenHead> {
        let head = PredictionHead {
            dense: Linear::with_bias(get, "qa_head.dense", false)?,
            activation: Activation::Gelu,
            norm: self.norm(get, "qa_head.norm")?,
        };
        let output = Linear::new(get, "qa_head.classifier")?;
        Ok(TokenHead { head: Some(head), dropout: self.config.head_dropout(), output })
    }

    fn token_head(&self, get: Lookup) -> Result<TokenHead> {
        let output = Linear::new(get, TOKEN_CLASSIFIER)?;
        Ok(TokenHead { head: None, dropout: self.config.head_dropout(), output })
    }

    fn sequence_head(&self, get: Lookup) -> Result<SequenceHead> {
        let [dense, output] = SEQUENCE_LAYERS;
        let dense = Linear::new(get, dense)?;
        let layer = SequenceLayer::Pooled(dense, self.euro.classifier_pooling);
        let output = Linear::new(get, output)?;
        Ok(SequenceHead { layer, output, dropout: self.config.head_dropout() })
    }
}
