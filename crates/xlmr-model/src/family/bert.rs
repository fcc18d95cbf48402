//! BERT (Devlin et al. 2019), also multilingual.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::Fields;
use crate::family::Family;
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::post_norm::{
    AttentionKind, LmHeadLayout, PostNorm, SequenceHeadLayout, TokenHeadLayout,
};
use crate::layers::names::LinearLayers;
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::parameters::Init;
use crate::{Architecture, Config, Result};

#[derive(Debug)]
pub(crate) struct Bert;

pub(crate) static BERT: Bert = Bert;

/// Linear layers of BERT's encoder layers.
pub(crate) const BERT_LINEAR: LinearLayers = &[
    ("attention.self.query", &[Query]),
    ("attention.self.key", &[Key]),
    ("attention.self.value", &[LoraTarget::Value]),
    ("attention.output.dense", &[AttentionOutput]),
    ("intermediate.dense", &[Intermediate]),
    ("output.dense", &[Output]),
];

/// Norms of BERT's encoder layers.
pub(crate) const BERT_NORMS: [&str; 2] = ["attention.output.LayerNorm", "output.LayerNorm"];

/// Returns the layout of BERT's masked-LM head.
pub(crate) fn bert_lm_head(config: &Config) -> LmHeadLayout {
    LmHeadLayout {
        dense: "cls.predictions.transform.dense",
        activation: config.hidden_act,
        norm: "cls.predictions.transform.LayerNorm",
        width: config.embedding_size(),
    }
}

impl Family for Bert {
    fn names(&self) -> Names {
        Names {
            model_type: "bert",
            class_prefix: "Bert",
            keys: &[],
            prefix: "bert.",
            modules: &["embeddings.", "encoder.", "pooler."],
            // `seq_relationship` is the head for next sentence prediction.
            unused_prefixes: &["bert.pooler.", "cls.seq_relationship."],
            word_embeddings: "bert.embeddings.word_embeddings.weight",
            token_type_embeddings: Some("bert.embeddings.token_type_embeddings.weight"),
            layer_prefix: "bert.encoder.layer.",
            linear_layers: BERT_LINEAR,
            decoder: "cls.predictions.decoder.weight",
            lm_bias: "cls.predictions.bias",
            decoder_bias: "cls.predictions.decoder.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output",
            replaces_tokenizer_class: false,
        }
    }

    fn default_config(&self) -> Config {
        Config { vocab_size: 30_522, ..Config::bert_base_multilingual() }
    }

    fn read_options(&self, _: &mut Config, _: &mut Fields) -> Result<Architecture> {
        Ok(Architecture::Bert)
    }

    fn write_options(&self, _: &mut Config, _: &mut BTreeMap<String, Value>) {}

    fn check(&self, _: &Config, _: &str) -> Result<()> {
        Ok(())
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
        Box::new(PostNorm {
            config,
            names: self.names(),
            position_init: Some(Init::Normal),
            unused_position: None,
            attention: AttentionKind::Standard,
            norms: BERT_NORMS,
            attention_output_dropout: config.hidden_dropout_prob,
            projection: None,
            lm_head: bert_lm_head(config),
            span_dropout: 0.0,
            token_head: TokenHeadLayout {
                classifier: "token_head.classifier",
                dropout: config.head_dropout(),
            },
            sequence_head: SequenceHeadLayout {
                dense: "sequence_head.pooler.dense",
                // In BERT's folders, the names of the pooler start with the encoder's prefix.
                dense_prefix: "bert.",
                output: "sequence_head.classifier",
                input_dropout: 0.0,
                activation: None,
            },
        })
    }
}

impl Config {
    /// Returns the configuration of `bert-base-multilingual-cased` (mBERT): 12 layers, hidden size
    /// 768, vocabulary of 119,547.
    pub fn bert_base_multilingual() -> Self {
        Self {
            architecture: Architecture::Bert,
            vocab_size: 119_547,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            bos_token_id: None,
            eos_token_id: None,
            ..Self::base()
        }
    }
}
