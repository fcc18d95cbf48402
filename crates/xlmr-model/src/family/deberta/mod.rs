//! DeBERTa v2 and v3 (He et al. 2021), also mDeBERTa: BERT's layout with disentangled attention.
pub(crate) mod attention;
pub(crate) mod config;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::Fields;
use crate::family::Family;
use crate::family::bert::{BERT_NORMS, bert_lm_head};
use crate::family::layout::Layout;
use crate::family::names::Names;
use crate::family::positions::{PackingRule, Positions};
use crate::family::post_norm::{
    AttentionKind, LmHeadLayout, PostNorm, SequenceHeadLayout, TokenHeadLayout,
};
use crate::layers::names::LoraTarget::{self, AttentionOutput, Intermediate, Key, Output, Query};
use crate::parameters::{Init, Specs};
use crate::{Architecture, Config, DebertaV2, Result};

/// Returns the layout of the published models' masked-LM head ([`DebertaV2::legacy`] is false).
fn published_lm_head(config: &Config) -> LmHeadLayout {
    LmHeadLayout {
        dense: "lm_predictions.lm_head.dense",
        activation: config.hidden_act,
        norm: "lm_predictions.lm_head.LayerNorm",
        width: config.embedding_size(),
    }
}

impl Family for DebertaV2 {
    fn names(&self) -> Names {
        let (decoder, lm_bias, decoder_bias) = match self.legacy {
            true => (
                "cls.predictions.decoder.weight",
                "cls.predictions.bias",
                "cls.predictions.decoder.bias",
            ),
            false => (
                "lm_predictions.lm_head.decoder.weight",
                "lm_predictions.lm_head.bias",
                "lm_predictions.lm_head.bias",
            ),
        };
        Names {
            model_type: "deberta-v2",
            class_prefix: "DebertaV2",
            keys: &[("classifier_dropout", Some("cls_dropout"))],
            prefix: "deberta.",
            modules: &["embeddings.", "encoder."],
            // The published models contain unused position embeddings and a head used in
            // pre-training.
            unused_prefixes: &["deberta.embeddings.position_embeddings.", "mask_predictions."],
            word_embeddings: "deberta.embeddings.word_embeddings.weight",
            token_type_embeddings: self
                .has_token_types
                .then_some("deberta.embeddings.token_type_embeddings.weight"),
            layer_prefix: "deberta.encoder.layer.",
            linear_layers: &[
                ("attention.self.query_proj", &[Query]),
                ("attention.self.key_proj", &[Key]),
                ("attention.self.value_proj", &[LoraTarget::Value]),
                ("attention.output.dense", &[AttentionOutput]),
                ("intermediate.dense", &[Intermediate]),
                ("output.dense", &[Output]),
            ],
            decoder,
            lm_bias,
            decoder_bias,
            vocabulary_prefixes: &["lm_predictions.lm_head."],
            adapter_position: "output",
            // In transformers 5, the class `DebertaV2Tokenizer` normalises characters in a way
            // that does not fit the model's vocabulary.
            replaces_tokenizer_class: true,
        }
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: Architecture::DebertaV2(self.clone()),
            vocab_size: 128_100,
            hidden_size: 1536,
            num_hidden_layers: 24,
            num_attention_heads: 24,
            intermediate_size: 6144,
            // In the file, 0 stands for no token types.
            type_vocab_size: 0,
            ..Config::mdeberta_v3_base()
        }
    }

    fn read_options(&self, config: &mut Config, fields: &mut Fields) -> Result<Architecture> {
        let mut options = self.clone();
        options.has_token_types = config.type_vocab_size != 0;
        if !options.has_token_types {
            config.type_vocab_size = 1;
        }
        options.read(fields)?;
        Ok(Architecture::DebertaV2(options))
    }

    fn write_options(&self, config: &mut Config, json: &mut BTreeMap<String, Value>) {
        if !self.has_token_types {
            config.type_vocab_size = 0;
        }
        self.clone().write(json);
    }

    fn check(&self, config: &Config, file: &str) -> Result<()> {
        self.validate(config, file)
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::Relative(self)
    }

    fn packing(&self) -> PackingRule {
        PackingRule::Training
    }

    /// In published models, `config.json` does not specify the form of the masked-LM head.
    fn of_checkpoint(&self, has_tensor: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        let is_legacy =
            !has_tensor("lm_predictions.lm_head.bias") || has_tensor("cls.predictions.bias");
        let legacy = self.legacy && is_legacy;
        Some(Architecture::DebertaV2(Self { legacy, ..self.clone() }))
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(PostNorm {
            config,
            names: self.names(),
            position_init: self.position_biased_input.then_some(Init::Normal),
            unused_position: None,
            attention: AttentionKind::Disentangled(self),
            norms: BERT_NORMS,
            attention_output_dropout: config.hidden_dropout_prob,
            projection: None,
            lm_head: match self.legacy {
                true => bert_lm_head(config),
                false => published_lm_head(config),
            },
            span_dropout: 0.0,
            token_head: TokenHeadLayout {
                classifier: "token_head.classifier",
                dropout: config.hidden_dropout_prob,
            },
            sequence_head: SequenceHeadLayout {
                dense: "sequence_head.pooler.dense",
                dense_prefix: "",
                output: "sequence_head.classifier",
                input_dropout: self.pooler_dropout,
                activation: Some(self.pooler_hidden_act),
            },
        })
    }
}

/// Adds the parameters of relative positions: distance embeddings with their norm, and separate
/// projections.
pub(crate) fn add_relative_positions(
    specs: &mut Specs,
    config: &Config,
    deberta: &DebertaV2,
    names: Names,
) {
    let hidden = config.hidden_size;
    if deberta.relative_attention {
        let rows = 2 * deberta.distances_per_side(config.max_position_embeddings);
        specs.add("deberta.encoder.rel_embeddings.weight", &[rows, hidden], Init::Normal);
    }
    if deberta.norm_rel_ebd {
        specs.add_norm("deberta.encoder.LayerNorm", hidden, true);
    }
    let is_separate = deberta.relative_attention && !deberta.share_att_key;
    for (part, enabled) in [
        ("pos_key_proj", deberta.content_to_position),
        ("pos_query_proj", deberta.position_to_content),
    ] {
        for index in (0..config.num_hidden_layers).filter(|_| is_separate && enabled) {
            let layer = names.layer_name(index);
            specs.add_linear(&format!("{layer}.attention.self.{part}"), hidden, hidden);
        }
    }
}

impl Config {
    /// Returns the configuration of mDeBERTa v3 base (He et al. 2023): DeBERTa's architecture, 12
    /// layers, hidden size 768, vocabulary of 251,000.
    pub fn mdeberta_v3_base() -> Self {
        Self {
            architecture: Architecture::DebertaV2(DebertaV2::v3()),
            vocab_size: 251_000,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-7,
            pad_token_id: 0,
            bos_token_id: None,
            eos_token_id: None,
            ..Self::base()
        }
    }
}
