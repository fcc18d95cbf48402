//! Heads of a model.
use crate::Architecture;

/// A head on top of the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// No head, only the encoder (`XLMRobertaModel`, `BertModel`, …).
    #[default]
    None,
    /// Masked language model (`…ForMaskedLM`).
    MaskedLm,
    /// Start and end of an answer span (`…ForQuestionAnswering`).
    Span,
    /// One label per token (`…ForTokenClassification`).
    TokenClassification {
        /// Number of labels.
        labels: i64,
    },
    /// One label per sequence (`…ForSequenceClassification`).
    SequenceClassification {
        /// Number of labels.
        labels: i64,
    },
}

impl Head {
    /// Returns the transformers class of an architecture with this head.
    ///
    /// ```
    /// use xlmr_model::{Architecture, Head};
    ///
    /// assert_eq!(Head::Span.class(&Architecture::XlmRoberta), "XLMRobertaForQuestionAnswering");
    /// assert_eq!(Head::MaskedLm.class(&Architecture::Bert), "BertForMaskedLM");
    /// ```
    pub fn class(self, architecture: &Architecture) -> String {
        let suffix = match self {
            Self::None => "Model",
            Self::MaskedLm => "ForMaskedLM",
            Self::Span => "ForQuestionAnswering",
            Self::TokenClassification { .. } => "ForTokenClassification",
            Self::SequenceClassification { .. } => "ForSequenceClassification",
        };
        format!("{}{suffix}", architecture.names().class_prefix)
    }

    /// Returns one head of each kind; its classification heads have `labels` labels.
    pub(crate) fn kinds(labels: i64) -> [Self; 5] {
        [
            Self::None,
            Self::MaskedLm,
            Self::Span,
            Self::TokenClassification { labels },
            Self::SequenceClassification { labels },
        ]
    }

    /// Returns the name used in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "encoder",
            Self::MaskedLm => "masked-language-model",
            Self::Span => "span",
            Self::TokenClassification { .. } => "token classification",
            Self::SequenceClassification { .. } => "sequence classification",
        }
    }

    /// Returns the number of labels of a classification head.
    pub fn labels(self) -> Option<i64> {
        match self {
            Self::TokenClassification { labels } | Self::SequenceClassification { labels } => {
                Some(labels)
            }
            _ => None,
        }
    }
}
