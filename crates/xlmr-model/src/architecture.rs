//! Supported architectures and their names of parts.
use crate::{DebertaV2, EuroBert, ModernBert};

/// Encoder architecture, given by `model_type` in `config.json`.
///
/// All have the heads of [`Head`](crate::Head), and their folders are read and written by the same
/// code; they differ in layers, positions and the names of their parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Architecture {
    /// XLM-R (Conneau et al. 2020): `model_type` "xlm-roberta", positions after `<pad>`'s id.
    #[default]
    XlmRoberta,
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
}

/// The values of `model_type` that are read and written.
pub(crate) const MODEL_TYPES: [&str; 5] =
    ["xlm-roberta", "bert", "modernbert", "eurobert", "deberta-v2"];

/// What an architecture calls the parameters that are spoken of one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Before the encoder's parameters, with its dot.
    pub(crate) prefix: &'static str,
    /// What stands after the prefix: a checkpoint of the bare encoder begins so.
    pub(crate) parts: &'static [&'static str],
    /// Known tensors of the encoder that are not used.
    pub(crate) unused: &'static [&'static str],
    /// `[V, H]`
    pub(crate) words: &'static str,
    /// `[S, H]`; absent where there are no segments.
    pub(crate) types: Option<&'static str>,
    /// One past it, the number of a layer.
    pub(crate) layer: &'static str,
    /// `[V, H]`
    pub(crate) decoder: &'static str,
    /// `[V]`
    pub(crate) lm_bias: &'static str,
    /// The second name of the bias, in use where the decoder is not tied.
    pub(crate) decoder_bias: &'static str,
}

const XLM_ROBERTA: Names = Names {
    prefix: "roberta.",
    parts: &["embeddings.", "encoder.", "pooler."],
    unused: &["roberta.pooler."],
    words: "roberta.embeddings.word_embeddings.weight",
    types: Some("roberta.embeddings.token_type_embeddings.weight"),
    layer: "roberta.encoder.layer.",
    decoder: "lm_head.decoder.weight",
    lm_bias: "lm_head.bias",
    decoder_bias: "lm_head.decoder.bias",
};

const BERT: Names = Names {
    prefix: "bert.",
    parts: &["embeddings.", "encoder.", "pooler."],
    // Pre-training also learned whether two sentences follow each other.
    unused: &["bert.pooler.", "cls.seq_relationship."],
    words: "bert.embeddings.word_embeddings.weight",
    types: Some("bert.embeddings.token_type_embeddings.weight"),
    layer: "bert.encoder.layer.",
    decoder: "cls.predictions.decoder.weight",
    lm_bias: "cls.predictions.bias",
    decoder_bias: "cls.predictions.decoder.bias",
};

const MODERN_BERT: Names = Names {
    prefix: "model.",
    parts: &["embeddings.", "layers.", "final_norm."],
    unused: &[],
    words: "model.embeddings.tok_embeddings.weight",
    types: None,
    layer: "model.layers.",
    decoder: "decoder.weight",
    lm_bias: "decoder.bias",
    decoder_bias: "decoder.bias",
};

const EURO_BERT: Names = Names {
    prefix: "model.",
    parts: &["embed_tokens.", "layers.", "norm."],
    unused: &[],
    words: "model.embed_tokens.weight",
    types: None,
    layer: "model.layers.",
    decoder: "lm_head.weight",
    lm_bias: "lm_head.bias",
    decoder_bias: "lm_head.bias",
};

/// With BERT's masked-LM head.
const DEBERTA_V2: Names = Names {
    prefix: "deberta.",
    parts: &["embeddings.", "encoder."],
    // The published models keep positions that are not added, and a head of their training.
    unused: &["deberta.embeddings.position_embeddings.", "mask_predictions."],
    words: "deberta.embeddings.word_embeddings.weight",
    types: Some("deberta.embeddings.token_type_embeddings.weight"),
    layer: "deberta.encoder.layer.",
    ..BERT
};

/// Those of every architecture.
pub(crate) const NAMES: [Names; 5] = [XLM_ROBERTA, BERT, MODERN_BERT, EURO_BERT, DEBERTA_V2];

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
        let [xlm_roberta, bert, modern_bert, euro_bert, deberta_v2] = MODEL_TYPES;
        match self {
            Self::XlmRoberta => xlm_roberta,
            Self::Bert => bert,
            Self::ModernBert(_) => modern_bert,
            Self::EuroBert(_) => euro_bert,
            Self::DebertaV2(_) => deberta_v2,
        }
    }

    /// How the names of its transformers classes begin.
    pub(crate) fn class_prefix(&self) -> &'static str {
        match self {
            Self::XlmRoberta => "XLMRoberta",
            Self::Bert => "Bert",
            Self::ModernBert(_) => "ModernBert",
            Self::EuroBert(_) => "EuroBert",
            Self::DebertaV2(_) => "DebertaV2",
        }
    }

    /// Rotary positions, of the architectures that have them.
    pub(crate) fn rotary(&self) -> Option<Rotary> {
        match self {
            Self::XlmRoberta | Self::Bert | Self::DebertaV2(_) => None,
            Self::ModernBert(modern) => Some(Rotary {
                theta: modern.global_rope_theta,
                local: Some((modern.local_rope_theta, modern.local_attention / 2)),
            }),
            Self::EuroBert(euro) => Some(Rotary { theta: euro.rope_theta, local: None }),
        }
    }

    pub(crate) fn names(&self) -> Names {
        match self {
            Self::XlmRoberta => XLM_ROBERTA,
            Self::Bert => BERT,
            Self::ModernBert(_) => MODERN_BERT,
            Self::EuroBert(_) => EURO_BERT,
            Self::DebertaV2(deberta) => {
                let types = DEBERTA_V2.types.filter(|_| deberta.token_types);
                match deberta.legacy {
                    true => Names { types, ..DEBERTA_V2 },
                    false => Names {
                        types,
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

/// Angles of rotary positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    /// θ of the layers that see the whole row.
    pub(crate) theta: f64,
    /// θ of the others, and how far they see to either side.
    pub(crate) local: Option<(f64, i64)>,
}

impl Names {
    /// The name of a layer, without a dot after it.
    pub(crate) fn layer(&self, index: i64) -> String {
        format!("{}{index}", self.layer)
    }

    /// What stands after the layer's number and its dot in a parameter's name, if it is a layer's.
    pub(crate) fn within_layer<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.layer)?.split_once('.').map(|(_, rest)| rest)
    }

    /// The name with the encoder's prefix, which a checkpoint of the bare encoder leaves out.
    pub(crate) fn prefixed(&self, name: &str) -> String {
        let bare = self.parts.iter().any(|part| name.starts_with(part));
        if bare { format!("{}{name}", self.prefix) } else { name.to_owned() }
    }
}
