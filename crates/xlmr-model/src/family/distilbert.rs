//! DistilBERT (Sanh et al. 2019).
use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::{BOOLEAN, Fields, Keys, NUMBER, check_probability};
use crate::family::Family;
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::post_norm::{
    AttentionKind, LmHeadLayout, PostNorm, SequenceHeadLayout, TokenHeadLayout,
};
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::parameters::Init;
use crate::{Activation, Architecture, Config, Result};

/// DistilBERT-specific options.
///
/// [`Config`](crate::Config) holds all other options. In DistilBERT's `config.json`, some of these
/// options have other keys than in BERT's: `dim`, `n_layers`, `n_heads`, `hidden_dim`,
/// `activation`, `dropout`, `attention_dropout`, and `seq_classif_dropout` for
/// `classifier_dropout`, which applies to the sequence classification head. `layer_norm_eps` is
/// always 1e-12.
#[derive(Clone, Debug, PartialEq)]
pub struct DistilBert {
    /// Dropout before the span head.
    pub qa_dropout: f64,
    /// Whether new position embeddings are initialised with sinusoids. Training changes position
    /// embeddings in either case.
    pub sinusoidal_pos_embds: bool,
}

impl Default for DistilBert {
    /// Returns the defaults of transformers' `DistilBertConfig`.
    fn default() -> Self {
        Self { qa_dropout: 0.1, sinusoidal_pos_embds: false }
    }
}

impl DistilBert {
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        keys.visit("qa_dropout", NUMBER, &mut self.qa_dropout);
        keys.visit("sinusoidal_pos_embds", BOOLEAN, &mut self.sinusoidal_pos_embds);
    }
}

impl Family for DistilBert {
    fn names(&self) -> Names {
        Names {
            model_type: "distilbert",
            class_prefix: "DistilBert",
            keys: &[
                ("hidden_size", Some("dim")),
                ("num_hidden_layers", Some("n_layers")),
                ("num_attention_heads", Some("n_heads")),
                ("intermediate_size", Some("hidden_dim")),
                ("hidden_act", Some("activation")),
                ("hidden_dropout_prob", Some("dropout")),
                ("attention_probs_dropout_prob", Some("attention_dropout")),
                ("classifier_dropout", Some("seq_classif_dropout")),
                ("type_vocab_size", None),
                ("layer_norm_eps", None),
            ],
            prefix: "distilbert.",
            modules: &["embeddings.", "transformer."],
            unused_prefixes: &[],
            word_embeddings: "distilbert.embeddings.word_embeddings.weight",
            token_type_embeddings: None,
            layer_prefix: "distilbert.transformer.layer.",
            linear_layers: &[
                ("attention.q_lin", &[Query]),
                ("attention.k_lin", &[Key]),
                ("attention.v_lin", &[LoraTarget::Value]),
                ("attention.out_lin", &[AttentionOutput]),
                ("ffn.lin1", &[Intermediate]),
                ("ffn.lin2", &[Output]),
            ],
            decoder: "vocab_projector.weight",
            lm_bias: "vocab_projector.bias",
            decoder_bias: "vocab_projector.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output_adapters",
            replaces_tokenizer_class: false,
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::DistilBert(self.clone()),
            vocab_size: 30_522,
            num_hidden_layers: 6,
            classifier_dropout: Some(0.2),
            type_vocab_size: 1,
            ..Config::bert_base_multilingual()
        }
    }

    fn read_options(&self, _: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        let mut options = self.clone();
        options.visit_keys(fields);
        Ok(Architecture::DistilBert(options))
    }

    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>) {
        config.classifier_dropout.get_or_insert(config.hidden_dropout_prob);
        self.clone().visit_keys(json);
    }

    fn check(&self, _: &Config, file: &str) -> Result<()> {
        check_probability(file, "qa_dropout", self.qa_dropout)
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::FromZero
    }

    fn packing(&self) -> PackingRule {
        PackingRule::TrainingAndCpu
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        let position_init = if self.sinusoidal_pos_embds { Init::Sinusoids } else { Init::Normal };
        Box::new(PostNorm {
            config,
            names: self.names(),
            position_init: Some(position_init),
            unused_position: None,
            attention: AttentionKind::Standard,
            norms: ["sa_layer_norm", "output_layer_norm"],
            attention_output_dropout: 0.0,
            projection: None,
            lm_head: LmHeadLayout {
                dense: "vocab_transform",
                activation: config.hidden_act,
                norm: "vocab_layer_norm",
                width: config.embedding_size(),
            },
            span_dropout: self.qa_dropout,
            token_head: TokenHeadLayout {
                classifier: "token_head.classifier",
                dropout: config.hidden_dropout_prob,
            },
            sequence_head: SequenceHeadLayout {
                dense: "sequence_head.pre_classifier",
                dense_prefix: "",
                output: "sequence_head.classifier",
                input_dropout: 0.0,
                activation: Some(Activation::Relu),
            },
        })
    }
}
