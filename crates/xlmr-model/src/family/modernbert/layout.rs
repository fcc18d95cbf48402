//! Parameters and modules of ModernBERT.
use crate::family::layer::Layer;
use crate::family::layout::Layout;
use crate::family::modernbert::layer::ModernLayer;
use crate::heads::{LmHead, PredictionHead, SequenceHead, SequenceLayer, TokenHead};
use crate::layers::embeddings::{EmbeddingParts, Embeddings};
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::parameters::{Init, Spec, Specs};
use crate::{Config, Head, ModernBert, Result};

/// Layout of a ModernBERT.
pub(crate) struct ModernLayout<'a> {
    pub(crate) config: &'a Config,
    pub(crate) modern: &'a ModernBert,
}

impl ModernLayout<'_> {
    /// Returns the initialisation of embeddings and of layers whose input is the hidden states.
    fn input_init(&self) -> Init {
        let cutoff = self.modern.initializer_cutoff_factor;
        Init::Truncated { std: self.config.initializer_range, cutoff }
    }

    /// Returns the initialisation of layers whose output is added to the hidden states. The more
    /// layers the model has, the smaller are these weights.
    fn residual_init(&self) -> Init {
        let n_layers = self.config.num_hidden_layers as f64;
        let std = self.config.initializer_range / (2.0 * n_layers).sqrt();
        Init::Truncated { std, cutoff: self.modern.initializer_cutoff_factor }
    }

    fn norm(&self, get: Lookup, name: &str) -> Result<LayerNorm> {
        let (width, eps) = (self.config.hidden_size, self.config.layer_norm_eps);
        LayerNorm::with_bias(get, name, width, eps, self.modern.norm_bias)
    }

    fn prediction_head(&self, get: Lookup, name: &str) -> Result<PredictionHead> {
        let bias = self.modern.classifier_bias;
        Ok(PredictionHead {
            dense: Linear::with_bias(get, &format!("{name}.dense"), bias)?,
            activation: self.modern.classifier_activation,
            norm: self.norm(get, &format!("{name}.norm"))?,
        })
    }

    /// Builds a head whose last layer is `name.classifier`.
    fn classifier(&self, get: Lookup, name: &str) -> Result<TokenHead> {
        let head = Some(self.prediction_head(get, name)?);
        let output = Linear::new(get, &format!("{name}.classifier"))?;
        Ok(TokenHead { head, dropout: self.config.head_dropout(), output })
    }
}

impl Layout for ModernLayout<'_> {
    fn encoder_specs(&self) -> Vec<Spec> {
        let (config, modern) = (self.config, self.modern);
        let names = config.architecture.names();
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let (input_init, residual_init) = (self.input_init(), self.residual_init());
        let mut specs = Specs::default();
        specs.add(names.word_embeddings, &[config.vocab_size, hidden], input_init);
        specs.add_norm("model.embeddings.norm", hidden, modern.norm_bias);
        for index in 0..config.num_hidden_layers {
            let layer = names.layer_name(index);
            // The first layer has no norm before attention, because the embeddings are already
            // normalised.
            if index > 0 {
                specs.add_norm(&format!("{layer}.attn_norm"), hidden, modern.norm_bias);
            }
            let bias = modern.attention_bias;
            specs.add_dense(&format!("{layer}.attn.Wqkv"), [3 * hidden, hidden], input_init, bias);
            specs.add_dense(&format!("{layer}.attn.Wo"), [hidden, hidden], residual_init, bias);
            specs.add_norm(&format!("{layer}.mlp_norm"), hidden, modern.norm_bias);
            let bias = modern.mlp_bias;
            let (wi, wo) = (format!("{layer}.mlp.Wi"), format!("{layer}.mlp.Wo"));
            specs.add_dense(&wi, [2 * intermediate, hidden], input_init, bias);
            specs.add_dense(&wo, [hidden, intermediate], residual_init, bias);
        }
        specs.add_norm("model.final_norm", hidden, modern.norm_bias);
        specs.list
    }

    /// Each head has its own dense layer and norm.
    fn head_specs(&self, head: Head) -> Vec<Spec> {
        let (config, modern) = (self.config, self.modern);
        let hidden = config.hidden_size;
        let (model_prefix, labels) = match head {
            Head::None => return Vec::new(),
            Head::MaskedLm => ("lm_head.", None),
            Head::Span => ("qa_head.", Some(2)),
            Head::TokenClassification { labels } => ("token_head.", Some(labels)),
            Head::SequenceClassification { labels } => ("sequence_head.", Some(labels)),
        };
        let mut specs = Specs::with_prefixes(model_prefix, "head.");
        let (init, bias) = (self.residual_init(), modern.classifier_bias);
        specs.add_dense(&format!("{model_prefix}dense"), [hidden, hidden], init, bias);
        specs.add_norm(&format!("{model_prefix}norm"), hidden, modern.norm_bias);
        match labels {
            None => specs.add_decoder(config, hidden, modern.decoder_bias, init),
            Some(labels) => {
                let mut classifier = Specs::with_prefixes(model_prefix, "");
                let std = (hidden as f64).sqrt().recip();
                let init = Init::Truncated { std, cutoff: modern.initializer_cutoff_factor };
                let name = format!("{model_prefix}classifier");
                classifier.add_dense(&name, [labels, hidden], init, true);
                specs.list.extend(classifier.list);
            }
        }
        specs.list
    }

    fn embeddings(&self, get: Lookup) -> Result<Embeddings> {
        let parts = EmbeddingParts {
            position_embeddings: None,
            norm: Some(self.norm(get, "model.embeddings.norm")?),
            unused_position: None,
            dropout: self.modern.embedding_dropout,
            projection: None,
        };
        Embeddings::new(get, self.config, parts)
    }

    fn layer(&self, get: Lookup, index: i64) -> Result<Layer> {
        Ok(Layer::Modern(ModernLayer::new(get, self.config, self.modern, index)?))
    }

    fn final_norm(&self, get: Lookup) -> Result<Option<LayerNorm>> {
        Ok(Some(self.norm(get, "model.final_norm")?))
    }

    fn lm_head(&self, get: Lookup) -> Result<LmHead> {
        let head = self.prediction_head(get, "lm_head")?;
        LmHead::new(get, self.config, Some(head), self.modern.decoder_bias)
    }

    fn span_head(&self, get: Lookup) -> Result<TokenHead> {
        self.classifier(get, "qa_head")
    }

    fn token_head(&self, get: Lookup) -> Result<TokenHead> {
        self.classifier(get, "token_head")
    }

    fn sequence_head(&self, get: Lookup) -> Result<SequenceHead> {
        let head = self.prediction_head(get, "sequence_head")?;
        let layer = SequenceLayer::Prediction(head, self.modern.classifier_pooling);
        let output = Linear::new(get, "sequence_head.classifier")?;
        Ok(SequenceHead { layer, output, dropout: self.config.head_dropout() })
    }
}
