//! XLM-R (Conneau et al. 2020) and the architectures that equal XLM-R except for names: RoBERTa,
//! CamemBERT and data2vec for text.
use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::fields::Fields;
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

/// An architecture that equals XLM-R except for names.
#[derive(Debug)]
pub(crate) struct Roberta {
    architecture: Architecture,
    names: Names,
    /// transformers' default of `vocab_size`.
    vocab_size: i64,
}

pub(crate) static XLM_ROBERTA: Roberta =
    Roberta { architecture: Architecture::XlmRoberta, names: NAMES, vocab_size: 30_522 };

pub(crate) static ROBERTA: Roberta = Roberta {
    architecture: Architecture::Roberta,
    names: Names { model_type: "roberta", class_prefix: "Roberta", ..NAMES },
    vocab_size: 50_265,
};

pub(crate) static CAMEMBERT: Roberta = Roberta {
    architecture: Architecture::Camembert,
    names: Names { model_type: "camembert", class_prefix: "Camembert", ..NAMES },
    vocab_size: 30_522,
};

pub(crate) static DATA2VEC_TEXT: Roberta = Roberta {
    architecture: Architecture::Data2VecText,
    names: Names {
        model_type: "data2vec-text",
        class_prefix: "Data2VecText",
        prefix: "data2vec_text.",
        unused_prefixes: &["data2vec_text.pooler."],
        word_embeddings: "data2vec_text.embeddings.word_embeddings.weight",
        token_type_embeddings: Some("data2vec_text.embeddings.token_type_embeddings.weight"),
        layer_prefix: "data2vec_text.encoder.layer.",
        ..NAMES
    },
    vocab_size: 30_522,
};

/// Names of XLM-R.
pub(crate) const NAMES: Names = Names {
    model_type: "xlm-roberta",
    class_prefix: "XLMRoberta",
    keys: &[],
    prefix: "roberta.",
    modules: &["embeddings.", "encoder.", "pooler."],
    unused_prefixes: &["roberta.pooler."],
    word_embeddings: "roberta.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("roberta.embeddings.token_type_embeddings.weight"),
    layer_prefix: "roberta.encoder.layer.",
    linear_layers: BERT_LINEAR,
    decoder: "lm_head.decoder.weight",
    lm_bias: "lm_head.bias",
    decoder_bias: "lm_head.decoder.bias",
    vocabulary_prefixes: &[],
    adapter_position: "output",
    replaces_tokenizer_class: false,
};

impl Family for Roberta {
    fn names(&self) -> Names {
        self.names
    }

    fn default_config(&self) -> Config {
        Config {
            architecture: self.architecture.clone(),
            vocab_size: self.vocab_size,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            ..Config::base()
        }
    }

    fn read_options(&self, _: &mut Config, _: &mut Fields) -> Result<Architecture> {
        Ok(self.architecture.clone())
    }

    fn write_options(&self, _: &mut Config, _: &mut BTreeMap<String, Value>) {}

    fn check(&self, _: &Config, _: &str) -> Result<()> {
        Ok(())
    }

    fn embedding_size(&self, config: &Config) -> i64 {
        config.hidden_size
    }

    fn positions(&self) -> Positions<'_> {
        Positions::AfterPad
    }

    fn packing(&self) -> PackingRule {
        PackingRule::TrainingAndCpu
    }

    fn of_checkpoint(&self, _: &dyn Fn(&str) -> bool) -> Option<Architecture> {
        None
    }

    fn layout<'a>(&'a self, config: &'a Config) -> Box<dyn Layout + 'a> {
        Box::new(roberta_layout(config, self.names))
    }
}

/// Returns XLM-R's layout with other names.
pub(crate) fn roberta_layout(config: &Config, names: Names) -> PostNorm<'_> {
    PostNorm {
        config,
        names,
        position_init: Some(Init::NormalWithZeroRow(config.pad_token_id)),
        unused_position: Some(config.pad_token_id),
        attention: AttentionKind::Standard,
        norms: BERT_NORMS,
        attention_output_dropout: config.hidden_dropout_prob,
        projection: None,
        lm_head: LmHeadLayout {
            dense: "lm_head.dense",
            activation: Activation::Gelu,
            norm: "lm_head.layer_norm",
            width: config.embedding_size(),
        },
        span_dropout: 0.0,
        token_head: TokenHeadLayout { classifier: "classifier", dropout: config.head_dropout() },
        sequence_head: SequenceHeadLayout {
            dense: "classifier.dense",
            dense_prefix: "",
            output: "classifier.out_proj",
            input_dropout: config.head_dropout(),
            activation: None,
        },
    }
}

impl Config {
    /// Returns the configuration of `xlm-roberta-base`: 12 layers, hidden size 768, vocabulary of
    /// 250,002.
    pub fn base() -> Self {
        Self {
            architecture: Architecture::XlmRoberta,
            vocab_size: 250_002,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout: None,
            max_position_embeddings: 514,
            type_vocab_size: 1,
            initializer_range: 0.02,
            layer_norm_eps: 1e-5,
            pad_token_id: 1,
            bos_token_id: Some(0),
            eos_token_id: Some(2),
            tie_word_embeddings: true,
            architectures: Vec::new(),
            id2label: None,
            extra: BTreeMap::new(),
        }
    }

    /// Returns the configuration of `xlm-roberta-large`: 24 layers, hidden size 1024.
    pub fn large() -> Self {
        Self {
            hidden_size: 1024,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            intermediate_size: 4096,
            ..Self::base()
        }
    }

    /// Returns the configuration of a small model: 3 layers, hidden size 128, 4 heads, feed-forward
    /// width 256, otherwise as [`Config::base`].
    pub fn tiny(vocab_size: i64) -> Self {
        Self {
            vocab_size,
            hidden_size: 128,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            intermediate_size: 256,
            ..Self::base()
        }
    }
}
