//! ELECTRA (Clark et al. 2020), discriminators and generators.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::{Fields, INTEGER, Keys};
use crate::family::Family;
use crate::family::bert::{BERT_LINEAR, BERT_NORMS};
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::post_norm::{
    AttentionKind, LmHeadLayout, PostNorm, SequenceHeadLayout, TokenHeadLayout,
};
use crate::parameters::Init;
use crate::{Activation, Architecture, Config, Result};

/// ELECTRA-specific options, which complement [`Config`](crate::Config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electra {
    /// E, the width of the embeddings. If it differs from `hidden_size`, a linear layer maps the
    /// embeddings to H.
    pub embedding_size: i64,
}

impl Default for Electra {
    /// Returns the defaults of transformers' `ElectraConfig`.
    fn default() -> Self {
        Self { embedding_size: 128 }
    }
}

impl Electra {
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        keys.visit("embedding_size", INTEGER, &mut self.embedding_size);
    }
}

impl Family for Electra {
    fn names(&self) -> Names {
        Names {
            model_type: "electra",
            class_prefix: "Electra",
            keys: &[],
            prefix: "electra.",
            modules: &["embeddings.", "embeddings_project.", "encoder."],
            // Head that is used only in pre-training of discriminators.
            unused_prefixes: &["discriminator_predictions."],
            word_embeddings: "electra.embeddings.word_embeddings.weight",
            token_type_embeddings: Some("electra.embeddings.token_type_embeddings.weight"),
            layer_prefix: "electra.encoder.layer.",
            linear_layers: BERT_LINEAR,
            decoder: "generator_lm_head.weight",
            lm_bias: "generator_lm_head.bias",
            decoder_bias: "generator_lm_head.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output",
            replaces_tokenizer_class: false,
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::Electra(self.clone()),
            vocab_size: 30_522,
            hidden_size: 256,
            num_attention_heads: 4,
            intermediate_size: 1024,
            ..Config::bert_base_multilingual()
        }
    }

    fn read_options(&self, _: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        let mut options = self.clone();
        options.visit_keys(fields);
        Ok(Architecture::Electra(options))
    }

    fn write_options(&self, _: &mut Config, json: &mut BTreeMap<String, Value>) {
        self.clone().visit_keys(json);
    }

    fn check(&self, _: &Config, _: &str) -> Result<()> {
        Ok(())
    }

    fn embedding_size(&self, _: &Config) -> i64 {
        self.embedding_size
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
        let is_projected = self.embedding_size != config.hidden_size;
        Box::new(PostNorm {
            config,
            names: self.names(),
            position_init: Some(Init::Normal),
            unused_position: None,
            attention: AttentionKind::Standard,
            norms: BERT_NORMS,
            attention_output_dropout: config.hidden_dropout_prob,
            projection: is_projected.then_some("electra.embeddings_project"),
            lm_head: LmHeadLayout {
                dense: "generator_predictions.dense",
                activation: Activation::Gelu,
                norm: "generator_predictions.LayerNorm",
                width: config.embedding_size(),
            },
            span_dropout: 0.0,
            token_head: TokenHeadLayout {
                classifier: "classifier",
                dropout: config.head_dropout(),
            },
            sequence_head: SequenceHeadLayout {
                dense: "classifier.dense",
                dense_prefix: "",
                output: "classifier.out_proj",
                input_dropout: config.head_dropout(),
                activation: Some(Activation::Gelu),
            },
        })
    }
}
