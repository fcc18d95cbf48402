//! The kinds of head that a model may hold.

/// What sits on top of the encoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Head {
    /// Nothing: the encoder alone (`XLMRobertaModel`).
    #[default]
    None,
    /// Masked language model (`XLMRobertaForMaskedLM`).
    MaskedLm,
    /// Start and end of an answer span (`XLMRobertaForQuestionAnswering`).
    Span,
    /// One label per token (`XLMRobertaForTokenClassification`).
    TokenClassification {
        /// Number of labels.
        labels: i64,
    },
    /// One label per sequence (`XLMRobertaForSequenceClassification`).
    SequenceClassification {
        /// Number of labels.
        labels: i64,
    },
}

impl Head {
    /// The transformers class with this head.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::None => "XLMRobertaModel",
            Self::MaskedLm => "XLMRobertaForMaskedLM",
            Self::Span => "XLMRobertaForQuestionAnswering",
            Self::TokenClassification { .. } => "XLMRobertaForTokenClassification",
            Self::SequenceClassification { .. } => "XLMRobertaForSequenceClassification",
        }
    }

    /// The head of a transformers class, with `labels` labels where it classifies; nothing for an
    /// unknown class.
    pub fn from_architecture(name: &str, labels: i64) -> Option<Self> {
        [
            Self::None,
            Self::MaskedLm,
            Self::Span,
            Self::TokenClassification { labels },
            Self::SequenceClassification { labels },
        ]
        .into_iter()
        .find(|head| head.architecture() == name)
    }

    /// A word for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "encoder",
            Self::MaskedLm => "masked-language-model",
            Self::Span => "span",
            Self::TokenClassification { .. } => "token classification",
            Self::SequenceClassification { .. } => "sequence classification",
        }
    }

    /// Number of labels of the classification heads.
    pub fn labels(self) -> Option<i64> {
        match self {
            Self::TokenClassification { labels } | Self::SequenceClassification { labels } => {
                Some(labels)
            }
            _ => None,
        }
    }
}
