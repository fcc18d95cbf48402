//! BERT's layout of parameters and modules, which BERT, RoBERTa, DeBERTa, DistilBERT, ELECTRA,
//! RemBERT and MPNet share: absolute positions, and layers that normalise the sums of inputs and
//! outputs.
pub(crate) mod layer;

use crate::family::deberta;
use crate::family::layer::Layer;
use crate::family::layout::Layout;
use crate::family::mpnet::attention::add_position_biases;
use crate::family::names::Names;
use crate::family::post_norm::layer::PostNormLayer;
use crate::heads::{LmHead, PredictionHead, SequenceHead, SequenceLayer, TokenHead};
use crate::layers::embeddings::{EmbeddingParts, Embeddings};
use crate::layers::linear::{LayerNorm, Linear, Lookup};
use crate::parameters::{Init, Spec, Specs};
use crate::{Activation, Config, DebertaV2, Head, LoraTarget, MpNet, Result};

/// The properties in which architectures with BERT's layout differ.
#[derive(Clone, Debug)]
pub(crate) struct PostNorm<'a> {
    pub(crate) config: &'a Config,
    pub(crate) names: Names,
    /// Initialisation of position embeddings; absent if there are none.
    pub(crate) position_init: Option<Init>,
    /// Index of the position embedding that receives no gradient, if there is one.
    pub(crate) unused_position: Option<i64>,
    pub(crate) attention: AttentionKind<'a>,
    /// Names of the norms after attention and at the end of a layer, without the layer's prefix.
    pub(crate) norms: [&'static str; 2],
    /// Dropout after the output projection of attention.
    pub(crate) attention_output_dropout: f64,
    /// Name of the linear layer from the embeddings' width to the hidden size; absent if the
    /// embeddings are the input of the first layer.
    pub(crate) projection: Option<&'static str>,
    pub(crate) lm_head: LmHeadLayout,
    /// Dropout before the span head.
    pub(crate) span_dropout: f64,
    pub(crate) token_head: TokenHeadLayout,
    pub(crate) sequence_head: SequenceHeadLayout,
}

/// Attention of a layer with BERT's layout.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttentionKind<'a> {
    Standard,
    /// DeBERTa's attention.
    Disentangled(&'a DebertaV2),
    /// MPNet's attention.
    Biased(&'a MpNet),
}

/// The masked-LM head: a dense layer, an activation, a norm and the decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LmHeadLayout {
    /// Name of the dense layer.
    pub(crate) dense: &'static str,
    pub(crate) activation: Activation,
    /// Name of the norm.
    pub(crate) norm: &'static str,
    /// Width of the dense layer's output and of the decoder's rows.
    pub(crate) width: i64,
}

/// The token classification head: dropout and a linear layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenHeadLayout {
    /// Name of the linear layer: `classifier`, or `token_head.classifier` if `classifier` in the
    /// model's folder is a linear layer of the sequence classification head, too.
    pub(crate) classifier: &'static str,
    pub(crate) dropout: f64,
}

/// The sequence classification head: dropout, a dense layer and an activation, then dropout and a
/// linear layer. Names start with `sequence_head.`, which is not a part of names in a model folder,
/// if the names in the model folder are equal to names of the token classification head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceHeadLayout {
    /// Name of the dense layer.
    pub(crate) dense: &'static str,
    /// Prefix of the dense layer's name in a model folder, which replaces `sequence_head.`.
    pub(crate) dense_prefix: &'static str,
    /// Name of the last linear layer.
    pub(crate) output: &'static str,
    /// Dropout before the dense layer.
    pub(crate) input_dropout: f64,
    /// Activation after the dense layer; tanh if absent.
    pub(crate) activation: Option<Activation>,
}

impl PostNorm<'_> {
    /// Returns the prefix of the embeddings' parameters, without a trailing dot.
    fn embeddings_name(&self) -> String {
        format!("{}embeddings", self.names.prefix)
    }

    /// Adds the tables of token, position and token type embeddings.
    pub(crate) fn add_embedding_tables(&self, specs: &mut Specs) {
        let config = self.config;
        let width = config.embedding_size();
        let pad_init = Init::NormalWithZeroRow(config.pad_token_id);
        specs.add(self.names.word_embeddings, &[config.vocab_size, width], pad_init);
        if let Some(init) = self.position_init {
            let name = format!("{}.position_embeddings.weight", self.embeddings_name());
            specs.add(&name, &[config.max_position_embeddings, width], init);
        }
        if let Some(types) = self.names.token_type_embeddings {
            specs.add(types, &[config.type_vocab_size, width], Init::Normal);
        }
    }

    /// Builds the embeddings with another norm, or without a norm.
    pub(crate) fn embeddings_with_norm(
        &self,
        get: Lookup,
        norm: Option<LayerNorm>,
    ) -> Result<Embeddings> {
        let config = self.config;
        let position_embeddings = match self.position_init {
            Some(_) => {
                Some(get(&format!("{}.position_embeddings.weight", self.embeddings_name()))?)
            }
            None => None,
        };
        let projection = match self.projection {
            None => None,
            Some(projection) => Some(Linear::new(get, projection)?),
        };
        let parts = EmbeddingParts {
            position_embeddings,
            norm,
            unused_position: self.unused_position,
            dropout: config.hidden_dropout_prob,
            projection,
        };
        Embeddings::new(get, config, parts)
    }

    /// Adds linear layers and norms of all encoder layers.
    pub(crate) fn add_layers(&self, specs: &mut Specs) {
        let (hidden, intermediate) = (self.config.hidden_size, self.config.intermediate_size);
        for index in 0..self.config.num_hidden_layers {
            let layer = self.names.layer_name(index);
            for (linear_name, targets) in self.names.linear_layers {
                let [target] = targets else {
                    unreachable!("each linear layer of BERT's layout has one target");
                };
                let (outputs, inputs) = match target {
                    LoraTarget::Query
                    | LoraTarget::Key
                    | LoraTarget::Value
                    | LoraTarget::AttentionOutput => (hidden, hidden),
                    LoraTarget::Intermediate => (intermediate, hidden),
                    LoraTarget::Output => (hidden, intermediate),
                };
                specs.add_linear(&format!("{layer}.{linear_name}"), outputs, inputs);
            }
            for norm in self.norms {
                specs.add_norm(&format!("{layer}.{norm}"), hidden, true);
            }
        }
    }
}

impl Layout for PostNorm<'_> {
    fn encoder_specs(&self) -> Vec<Spec> {
        let config = self.config;
        let (hidden, width) = (config.hidden_size, config.embedding_size());
        let mut specs = Specs::default();
        self.add_embedding_tables(&mut specs);
        specs.add_norm(&format!("{}.LayerNorm", self.embeddings_name()), width, true);
        if let Some(projection) = self.projection {
            specs.add_linear(projection, hidden, width);
        }
        self.add_layers(&mut specs);
        match self.attention {
            AttentionKind::Standard => {}
            AttentionKind::Disentangled(deberta) => {
                deberta::add_relative_positions(&mut specs, config, deberta, self.names);
            }
            AttentionKind::Biased(options) => add_position_biases(&mut specs, config, options),
        }
        specs.list
    }

    fn head_specs(&self, head: Head) -> Vec<Spec> {
        let hidden = self.config.hidden_size;
        match head {
            Head::None => Vec::new(),
            Head::MaskedLm => {
                let LmHeadLayout { dense, norm, width, .. } = self.lm_head;
                let mut specs = Specs::default();
                specs.add_linear(dense, width, hidden);
                specs.add_norm(norm, width, true);
                specs.add_decoder(self.config, width, true, Init::Normal);
                specs.list
            }
            Head::Span => {
                let mut specs = Specs::default();
                specs.add_linear("qa_outputs", 2, hidden);
                specs.list
            }
            Head::TokenClassification { labels } => {
                token_head_specs(self.token_head.classifier, labels, hidden)
            }
            Head::SequenceClassification { labels } => {
                let SequenceHeadLayout { dense, dense_prefix, output, .. } = self.sequence_head;
                sequence_head_specs([dense, output], dense_prefix, labels, hidden)
            }
        }
    }

    fn embeddings(&self, get: Lookup) -> Result<Embeddings> {
        let (width, eps) = (self.config.embedding_size(), self.config.layer_norm_eps);
        let name = format!("{}.LayerNorm", self.embeddings_name());
        self.embeddings_with_norm(get, Some(LayerNorm::new(get, &name, width, eps)?))
    }

    fn layer(&self, get: Lookup, index: i64) -> Result<Layer> {
        Ok(Layer::PostNorm(PostNormLayer::new(get, self, index)?))
    }

    fn final_norm(&self, _: Lookup) -> Result<Option<LayerNorm>> {
        Ok(None)
    }

    fn lm_head(&self, get: Lookup) -> Result<LmHead> {
        let LmHeadLayout { dense, activation, norm, width } = self.lm_head;
        let head = PredictionHead {
            dense: Linear::new(get, dense)?,
            activation,
            norm: LayerNorm::new(get, norm, width, self.config.layer_norm_eps)?,
        };
        LmHead::new(get, self.config, Some(head), true)
    }

    fn span_head(&self, get: Lookup) -> Result<TokenHead> {
        let output = Linear::new(get, "qa_outputs")?;
        Ok(TokenHead { head: None, dropout: self.span_dropout, output })
    }

    fn token_head(&self, get: Lookup) -> Result<TokenHead> {
        let TokenHeadLayout { classifier, dropout } = self.token_head;
        Ok(TokenHead { head: None, dropout, output: Linear::new(get, classifier)? })
    }

    fn sequence_head(&self, get: Lookup) -> Result<SequenceHead> {
        let SequenceHeadLayout { dense, output, input_dropout, activation, .. } =
            self.sequence_head;
        let layer = SequenceLayer::Dense(input_dropout, Linear::new(get, dense)?, activation);
        let output = Linear::new(get, output)?;
        Ok(SequenceHead { layer, output, dropout: self.config.head_dropout() })
    }
}

/// Returns the parameters of a token classification head of one linear layer, see
/// [`TokenHeadLayout`].
pub(crate) fn token_head_specs(classifier: &str, labels: i64, hidden: i64) -> Vec<Spec> {
    let mut specs = Specs::with_prefixes("token_head.", "");
    specs.add_linear(classifier, labels, hidden);
    specs.list
}

/// Returns the parameters of a sequence classification head of two linear layers, see
/// [`SequenceHeadLayout`].
pub(crate) fn sequence_head_specs(
    [dense, output]: [&str; 2],
    dense_prefix: &'static str,
    labels: i64,
    hidden: i64,
) -> Vec<Spec> {
    let mut specs = Specs::with_prefixes("sequence_head.", "");
    specs.add_linear(output, labels, hidden);
    let mut dense_specs = Specs::with_prefixes("sequence_head.", dense_prefix);
    dense_specs.add_linear(dense, hidden, hidden);
    specs.list.extend(dense_specs.list);
    specs.list
}
