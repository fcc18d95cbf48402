//! Parameters and modules of XLM-R XL.
use crate::family::layer::Layer;
use crate::family::layout::Layout;
use crate::family::post_norm::PostNorm;
use crate::family::roberta::roberta_layout;
use crate::family::xlm_roberta_xl::layer::PreNormLayer;
use crate::heads::{LmHead, SequenceHead, TokenHead};
use crate::layers::embeddings::Embeddings;
use crate::layers::linear::{LayerNorm, Lookup};
use crate::parameters::{Spec, Specs};
use crate::{Config, Head, Result};

/// Norms before attention and before the feed-forward layer.
pub(crate) const NORMS: [&str; 2] = ["attention.self_attn_layer_norm", "LayerNorm"];

/// Name of the norm after the last layer.
const FINAL_NORM: &str = "roberta.encoder.LayerNorm";

/// Layout of an XLM-R XL: embeddings without a norm, and XLM-R's heads.
pub(crate) struct XlLayout<'a>(PostNorm<'a>);

impl<'a> XlLayout<'a> {
    pub(crate) fn new(config: &'a Config) -> Self {
        let names = config.architecture.names();
        Self(PostNorm { norms: NORMS, ..roberta_layout(config, names) })
    }
}

impl Layout for XlLayout<'_> {
    fn encoder_specs(&self) -> Vec<Spec> {
        let mut specs = Specs::default();
        self.0.add_embedding_tables(&mut specs);
        self.0.add_layers(&mut specs);
        specs.add_norm(FINAL_NORM, self.0.config.hidden_size, true);
        specs.list
    }

    fn head_specs(&self, head: Head) -> Vec<Spec> {
        self.0.head_specs(head)
    }

    fn embeddings(&self, get: Lookup) -> Result<Embeddings> {
        self.0.embeddings_with_norm(get, None)
    }

    fn layer(&self, get: Lookup, index: i64) -> Result<Layer> {
        Ok(Layer::PreNorm(PreNormLayer::new(get, self.0.config, index)?))
    }

    fn final_norm(&self, get: Lookup) -> Result<Option<LayerNorm>> {
        let Config { hidden_size, layer_norm_eps, .. } = self.0.config;
        Ok(Some(LayerNorm::new(get, FINAL_NORM, *hidden_size, *layer_norm_eps)?))
    }

    fn lm_head(&self, get: Lookup) -> Result<LmHead> {
        self.0.lm_head(get)
    }

    fn span_head(&self, get: Lookup) -> Result<TokenHead> {
        self.0.span_head(get)
    }

    fn token_head(&self, get: Lookup) -> Result<TokenHead> {
        self.0.token_head(get)
    }

    fn sequence_head(&self, get: Lookup) -> Result<SequenceHead> {
        self.0.sequence_head(get)
    }
}
