//! Supported architectures and the names of their parameters.
pub(crate) mod deberta;
pub(crate) mod eurobert;
pub(crate) mod modernbert;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::fields::Keys;
use crate::layers::names::{
    BERT_LINEAR, DEBERTA_LINEAR, DISTIL_LINEAR, EURO_LINEAR, LinearLayers, MODERN_LINEAR,
};
use crate::{DebertaV2, EuroBert, ModernBert};

/// Encoder architecture, given by `model_type` in `config.json`.
///
/// Every architecture supports all heads of [`Head`](crate::Head). Architectures differ in layers,
/// positions and parameter names.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Architecture {
    /// XLM-R (Conneau et al. 2020): `model_type` "xlm-roberta", position ids that start after the
    /// id of `<pad>`.
    #[default]
    XlmRoberta,
    /// RoBERTa (Liu et al. 2019): `model_type` "roberta", XLM-R's layers and positions.
    Roberta,
    /// CamemBERT (Martin et al. 2020): `model_type` "camembert", otherwise like RoBERTa.
    Camembert,
    /// data2vec for text (Baevski et al. 2022): `model_type` "data2vec-text", otherwise like
    /// RoBERTa.
    Data2VecText,
    /// BERT (Devlin et al. 2019), also multilingual: `model_type` "bert", two segments, positions
    /// from 0.
    Bert,
    /// ModernBERT (Warner et al. 2024), also mmBERT (Marone et al. 2025): `model_type`
    /// "modernbert".
    ModernBert(ModernBert),
    /// EuroBERT (Boizard et al. 2025): `model_type` "eurobert".
    EuroBert(EuroBert),
    /// DeBERTa v2 and v3 (He et al. 2021), also mDeBERTa: `model_type` "deberta-v2".
    DebertaV2(DebertaV2),
    /// DistilBERT (Sanh et al. 2019): `model_type` "distilbert", BERT without segments.
    DistilBert(DistilBert),
    /// ELECTRA (Clark et al. 2020), discriminators and generators: `model_type` "electra", BERT
    /// with other heads and, in some sizes, narrower embeddings.
    Electra {
        /// E, the width of the embeddings. If it differs from `hidden_size`, a linear layer maps
        /// the embeddings to H.
        embedding_size: i64,
    },
}

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

/// Names of an architecture's configuration keys and parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) model_type: &'static str,
    /// Prefix of the architecture's class names in transformers.
    pub(crate) class_prefix: &'static str,
    /// Pairs of XLM-R's key in `config.json` and this architecture's key, which is `None` if the
    /// architecture has no such key. Keys that are equal in both architectures are not listed.
    keys: &'static [(&'static str, Option<&'static str>)],
    /// Whether position ids start after the id of `<pad>`.
    pub(crate) positions_after_pad: bool,
    /// Prefix of the encoder's parameters, including the dot.
    pub(crate) prefix: &'static str,
    /// The possible beginnings of an encoder parameter's name after the prefix. They identify the
    /// encoder's parameters in checkpoints that omit the prefix.
    pub(crate) modules: &'static [&'static str],
    /// Prefixes of known tensors that are not used.
    pub(crate) unused_prefixes: &'static [&'static str],
    /// Name of the token embeddings, `[V, E]`.
    pub(crate) word_embeddings: &'static str,
    /// Name of the token type embeddings, `[S, E]`; absent without segments.
    pub(crate) token_type_embeddings: Option<&'static str>,
    /// Prefix of a layer's parameters; the layer's index follows.
    pub(crate) layer_prefix: &'static str,
    pub(crate) linear_layers: LinearLayers,
    /// Names of the norms after attention and at the end of a layer, without the layer's prefix.
    /// ModernBERT and EuroBERT do not use this field.
    pub(crate) norms: [&'static str; 2],
    /// Names of the dense layer and the norm of the masked-LM head. ModernBERT and EuroBERT do not
    /// use this field.
    pub(crate) lm_head: [&'static str; 2],
    /// Name of the weight of the masked-LM decoder, `[V, E]`.
    pub(crate) decoder: &'static str,
    /// Name of the bias of the masked-LM decoder, `[V]`.
    pub(crate) lm_bias: &'static str,
    /// Second name of the masked-LM bias, under which transformers stores it if the decoder is not
    /// tied to the token embeddings.
    pub(crate) decoder_bias: &'static str,
}

const XLM_ROBERTA: Names = Names {
    model_type: "xlm-roberta",
    class_prefix: "XLMRoberta",
    keys: &[],
    positions_after_pad: true,
    prefix: "roberta.",
    modules: &["embeddings.", "encoder.", "pooler."],
    unused_prefixes: &["roberta.pooler."],
    word_embeddings: "roberta.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("roberta.embeddings.token_type_embeddings.weight"),
    layer_prefix: "roberta.encoder.layer.",
    linear_layers: BERT_LINEAR,
    norms: ["attention.output.LayerNorm", "output.LayerNorm"],
    lm_head: ["lm_head.dense", "lm_head.layer_norm"],
    decoder: "lm_head.decoder.weight",
    lm_bias: "lm_head.bias",
    decoder_bias: "lm_head.decoder.bias",
};

const ROBERTA: Names = Names { model_type: "roberta", class_prefix: "Roberta", ..XLM_ROBERTA };
const CAMEMBERT: Names =
    Names { model_type: "camembert", class_prefix: "Camembert", ..XLM_ROBERTA };
const DATA2VEC_TEXT: Names = Names {
    model_type: "data2vec-text",
    class_prefix: "Data2VecText",
    prefix: "data2vec_text.",
    unused_prefixes: &["data2vec_text.pooler."],
    word_embeddings: "data2vec_text.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("data2vec_text.embeddings.token_type_embeddings.weight"),
    layer_prefix: "data2vec_text.encoder.layer.",
    ..XLM_ROBERTA
};

const BERT: Names = Names {
    model_type: "bert",
    class_prefix: "Bert",
    positions_after_pad: false,
    prefix: "bert.",
    modules: &["embeddings.", "encoder.", "pooler."],
    // `seq_relationship` is the head for next sentence prediction.
    unused_prefixes: &["bert.pooler.", "cls.seq_relationship."],
    word_embeddings: "bert.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("bert.embeddings.token_type_embeddings.weight"),
    layer_prefix: "bert.encoder.layer.",
    lm_head: ["cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"],
    decoder: "cls.predictions.decoder.weight",
    lm_bias: "cls.predictions.bias",
    decoder_bias: "cls.predictions.decoder.bias",
    ..XLM_ROBERTA
};

const MODERN_BERT: Names = Names {
    model_type: "modernbert",
    class_prefix: "ModernBert",
    keys: &[
        ("hidden_act", Some("hidden_activation")),
        ("hidden_dropout_prob", Some("mlp_dropout")),
        ("attention_probs_dropout_prob", Some("attention_dropout")),
        ("type_vocab_size", None),
        ("layer_norm_eps", Some("norm_eps")),
    ],
    prefix: "model.",
    modules: &["embeddings.", "layers.", "final_norm."],
    unused_prefixes: &[],
    word_embeddings: "model.embeddings.tok_embeddings.weight",
    token_type_embeddings: None,
    layer_prefix: "model.layers.",
    linear_layers: MODERN_LINEAR,
    decoder: "decoder.weight",
    lm_bias: "decoder.bias",
    decoder_bias: "decoder.bias",
    ..BERT
};

const EURO_BERT: Names = Names {
    model_type: "eurobert",
    class_prefix: "EuroBert",
    keys: &[
        ("hidden_dropout_prob", None),
        ("attention_probs_dropout_prob", Some("attention_dropout")),
        ("classifier_dropout", None),
        ("type_vocab_size", None),
        ("layer_norm_eps", Some("rms_norm_eps")),
    ],
    prefix: "model.",
    modules: &["embed_tokens.", "layers.", "norm."],
    unused_prefixes: &[],
    word_embeddings: "model.embed_tokens.weight",
    token_type_embeddings: None,
    layer_prefix: "model.layers.",
    linear_layers: EURO_LINEAR,
    decoder: "lm_head.weight",
    lm_bias: "lm_head.bias",
    decoder_bias: "lm_head.bias",
    ..BERT
};

/// DeBERTa with BERT's masked-LM head ([`DebertaV2::legacy`]).
const DEBERTA_V2: Names = Names {
    model_type: "deberta-v2",
    class_prefix: "DebertaV2",
    keys: &[("classifier_dropout", Some("cls_dropout"))],
    prefix: "deberta.",
    modules: &["embeddings.", "encoder."],
    // The published models contain unused position embeddings and a head used in pre-training.
    unused_prefixes: &["deberta.embeddings.position_embeddings.", "mask_predictions."],
    word_embeddings: "deberta.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("deberta.embeddings.token_type_embeddings.weight"),
    layer_prefix: "deberta.encoder.layer.",
    linear_layers: DEBERTA_LINEAR,
    ..BERT
};

const DISTIL_BERT: Names = Names {
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
    linear_layers: DISTIL_LINEAR,
    norms: ["sa_layer_norm", "output_layer_norm"],
    lm_head: ["vocab_transform", "vocab_layer_norm"],
    decoder: "vocab_projector.weight",
    lm_bias: "vocab_projector.bias",
    decoder_bias: "vocab_projector.bias",
    ..BERT
};

const ELECTRA: Names = Names {
    model_type: "electra",
    class_prefix: "Electra",
    prefix: "electra.",
    modules: &["embeddings.", "embeddings_project.", "encoder."],
    // Head that is used only in pre-training of discriminators.
    unused_prefixes: &["discriminator_predictions."],
    word_embeddings: "electra.embeddings.word_embeddings.weight",
    token_type_embeddings: Some("electra.embeddings.token_type_embeddings.weight"),
    layer_prefix: "electra.encoder.layer.",
    lm_head: ["generator_predictions.dense", "generator_predictions.LayerNorm"],
    decoder: "generator_lm_head.weight",
    lm_bias: "generator_lm_head.bias",
    decoder_bias: "generator_lm_head.bias",
    ..BERT
};

/// The [`Names`] of every architecture.
pub(crate) const NAMES: [Names; 10] = [
    XLM_ROBERTA,
    BERT,
    MODERN_BERT,
    EURO_BERT,
    DEBERTA_V2,
    ROBERTA,
    CAMEMBERT,
    DATA2VEC_TEXT,
    DISTIL_BERT,
    ELECTRA,
];

impl Architecture {
    /// Returns the value of `model_type` in `config.json`.
    ///
    /// ```
    /// use xlmr_model::Architecture;
    ///
    /// assert_eq!(Architecture::default().model_type(), "xlm-roberta");
    /// assert_eq!(Architecture::Bert.model_type(), "bert");
    /// ```
    pub fn model_type(&self) -> &'static str {
        self.names().model_type
    }

    /// Returns whether the architecture is XLM-R or equals XLM-R except for names, as RoBERTa,
    /// CamemBERT and data2vec do. In these architectures, positions start after `pad_token_id`.
    pub fn is_roberta(&self) -> bool {
        self.names().positions_after_pad
    }

    /// Returns the constants of rotary positions, if the architecture has rotary positions.
    pub(crate) fn rotary(&self) -> Option<Rotary> {
        match self {
            Self::ModernBert(modern) => Some(Rotary {
                theta: modern.global_rope_theta,
                local: Some((modern.local_rope_theta, modern.local_attention / 2)),
            }),
            Self::EuroBert(euro) => Some(Rotary { theta: euro.rope_theta, local: None }),
            _ => None,
        }
    }

    pub(crate) fn names(&self) -> Names {
        match self {
            Self::XlmRoberta => XLM_ROBERTA,
            Self::Roberta => ROBERTA,
            Self::Camembert => CAMEMBERT,
            Self::Data2VecText => DATA2VEC_TEXT,
            Self::DistilBert(_) => DISTIL_BERT,
            Self::Electra { .. } => ELECTRA,
            Self::Bert => BERT,
            Self::ModernBert(_) => MODERN_BERT,
            Self::EuroBert(_) => EURO_BERT,
            Self::DebertaV2(deberta) => {
                let token_type_embeddings =
                    DEBERTA_V2.token_type_embeddings.filter(|_| deberta.has_token_types);
                match deberta.legacy {
                    true => Names { token_type_embeddings, ..DEBERTA_V2 },
                    false => Names {
                        token_type_embeddings,
                        lm_head: [
                            "lm_predictions.lm_head.dense",
                            "lm_predictions.lm_head.LayerNorm",
                        ],
                        decoder: "lm_predictions.lm_head.decoder.weight",
                        lm_bias: "lm_predictions.lm_head.bias",
                        decoder_bias: "lm_predictions.lm_head.bias",
                        ..DEBERTA_V2
                    },
                }
            }
        }
    }
}

/// Constants of rotary positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    /// θ of layers with global attention.
    pub(crate) theta: f64,
    /// θ of layers with local attention, and the maximum distance to an attended token; absent if
    /// there are no such layers.
    pub(crate) local: Option<(f64, i64)>,
}

impl Names {
    /// Returns this architecture's name in `config.json` for XLM-R's `key`; `None` if this
    /// architecture has no such key.
    pub(crate) fn translate_key<'a>(&self, key: &'a str) -> Option<&'a str> {
        self.keys
            .iter()
            .find(|(xlm_r_key, _)| *xlm_r_key == key)
            .map_or(Some(key), |(_, translated_key)| *translated_key)
    }

    /// Returns the name of a layer, without a trailing dot.
    pub(crate) fn layer_name(&self, index: i64) -> String {
        format!("{}{index}", self.layer_prefix)
    }

    /// Returns the part of a parameter's name after the layer index and a dot; `None` if the
    /// parameter is not in a layer.
    pub(crate) fn name_in_layer<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.layer_prefix)?.split_once('.').map(|(_, suffix)| suffix)
    }

    /// Adds the encoder's prefix, which checkpoints of the bare encoder omit. A name that is not in
    /// [`modules`](Self::modules) stays unchanged.
    pub(crate) fn add_prefix(&self, name: &str) -> String {
        let is_bare = self.modules.iter().any(|module| name.starts_with(module));
        if is_bare { format!("{}{name}", self.prefix) } else { name.to_owned() }
    }
}

/// Translates XLM-R's names of keys to an architecture's names.
pub(crate) struct TranslatedKeys<'a, K>(pub(crate) &'a mut K, pub(crate) Names);

impl<K: Keys> Keys for TranslatedKeys<'_, K> {
    fn visit<T: DeserializeOwned + Serialize>(&mut self, key: &str, expected: &str, value: &mut T) {
        if let Some(key) = self.1.translate_key(key) {
            self.0.visit(key, expected, value);
        }
    }
}
