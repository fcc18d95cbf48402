//! RemBERT (Chung et al. 2021), multilingual: BERT with decoupled input and output embeddings.
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
use crate::{Architecture, Config, Error, Result};

/// RemBERT-specific options, which complement [`Config`](crate::Config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemBert {
    /// Width of the input embeddings. A linear layer maps them to H, also if the widths are equal.
    pub input_embedding_size: i64,
    /// Width of the output embeddings, the decoder of the masked-LM head.
    pub output_embedding_size: i64,
}

impl Default for RemBert {
    /// Returns the defaults of transformers' `RemBertConfig`.
    fn default() -> Self {
        Self { input_embedding_size: 256, output_embedding_size: 1664 }
    }
}

impl RemBert {
    fn visit_keys(&mut self, keys: &mut impl Keys) {
        keys.visit("input_embedding_size", INTEGER, &mut self.input_embedding_size);
        keys.visit("output_embedding_size", INTEGER, &mut self.output_embedding_size);
    }
}

impl Family for RemBert {
    fn names(&self) -> Names {
        Names {
            model_type: "rembert",
            class_prefix: "RemBert",
            keys: &[
                ("classifier_dropout", Some("classifier_dropout_prob")),
                ("embedding_size", Some("input_embedding_size")),
            ],
            prefix: "rembert.",
            modules: &["embeddings.", "encoder.", "pooler."],
            unused_prefixes: &["rembert.pooler."],
            word_embeddings: "rembert.embeddings.word_embeddings.weight",
            token_type_embeddings: Some("rembert.embeddings.token_type_embeddings.weight"),
            layer_prefix: "rembert.encoder.layer.",
            linear_layers: BERT_LINEAR,
            decoder: "cls.predictions.decoder.weight",
            lm_bias: "cls.predictions.decoder.bias",
            decoder_bias: "cls.predictions.decoder.bias",
            vocabulary_prefixes: &[],
            adapter_position: "output_adapters",
            // The class of transformers 5 replaces the normaliser and the unknown token.
            replaces_tokenizer_class: true,
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::RemBert(self.clone()),
            vocab_size: 250_300,
            hidden_size: 1152,
            num_hidden_layers: 32,
            num_attention_heads: 18,
            intermediate_size: 4608,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout: Some(0.1),
            bos_token_id: Some(312),
            eos_token_id: Some(313),
            tie_word_embeddings: false,
            ..Config::bert_base_multilingual()
        }
    }

    fn read_options(&self, config: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        // transformers never ties RemBERT's decoder, whatever the file's value is.
        config.tie_word_embeddings = false;
        let mut options = self.clone();
        options.visit_keys(fields);
        Ok(Architecture::RemBert(options))
    }

    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>) {
        config.classifier_dropout.get_or_insert(config.hidden_dropout_prob);
        self.clone().visit_keys(json);
    }

    fn check(&self, config: &Config, file: &str) -> Result<()> {
        let (key, size) = ("output_embedding_size", self.output_embedding_size);
        if !(1..=1 << 20).contains(&size) {
            return Err(Error::config(file, key, "an integer from 1 to 1048576", size));
        }
        if config.tie_word_embeddings {
            let expected = "false; RemBERT's input and output embeddings are separate";
            return Err(Error::config(file, "tie_word_embeddings", expected, true));
        }
        Ok(())
    }

    fn embedding_size(&self, _: &Config) -> i64 {
        self.input_embedding_size
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
            projection: Some("rembert.encoder.embedding_hidden_mapping_in"),
            lm_head: LmHeadLayout {
                dense: "cls.predictions.dense",
                activation: config.hidden_act,
                norm: "cls.predictions.LayerNorm",
                width: self.output_embedding_size,
            },
            span_dropout: 0.0,
            token_head: TokenHeadLayout {
                classifier: "token_head.classifier",
                dropout: config.head_dropout(),
            },
            sequence_head: SequenceHeadLayout {
                dense: "sequence_head.pooler.dense",
                // As in BERT's folders, the names of the pooler start with the encoder's prefix.
                dense_prefix: "rembert.",
                output: "sequence_head.classifier",
                input_dropout: 0.0,
                activation: None,
            },
        })
    }
}
