//! Masked training sequences from triples: monolingual, mixed and concatenated.
//!
//! With the default configuration, the triple (Germany, official language, German) yields these
//! sequences for the language pair (i, j) = (en, de). The target of a sequence is printed after
//! `->`. Each `▢` stands for one `<mask>` per sub-token of the masked entity. All other positions
//! are excluded from the loss.
//!
//! ```text
//! monolingual, 4   <s> Germany official language ▢ </s>                   -> German
//!                  <s> ▢ official language German </s>                    -> Germany
//!                  <s> Deutschland Amtssprache ▢ </s>                     -> Deutsch
//!                  <s> ▢ Amtssprache Deutsch </s>                         -> Deutschland
//!
//! mixed, 4         <s> ▢ official language German </s>                    -> Deutschland
//!                  <s> Germany official language ▢ </s>                   -> Deutsch
//!                  <s> ▢ Amtssprache Deutsch </s>                         -> Germany
//!                  <s> Deutschland Amtssprache ▢ </s>                     -> German
//!
//! concatenated, 2  <s> ▢ official language German ▢ Amtssprache Deutsch </s>
//!                                                                 -> Germany, Deutschland
//!                  <s> Germany official language ▢ Deutschland Amtssprache ▢ </s>
//!                                                                 -> German, Deutsch
//! ```
//!
//! Head, relation and tail are encoded separately, each as the beginning of a word, so no token
//! belongs to two of them. Sequences that are too long are dropped and counted, not truncated. With
//! [`MixedTarget::ForeignEntity`], a mixed sequence has the input of a monolingual sequence but a
//! different target, as in the paper. With [`MixedTarget::NativeEntity`], the inputs differ.
mod build;
mod config;
mod layout;
mod pieces;

use serde::{Deserialize, Serialize};

use crate::Language;
use crate::jsonl::Record;

pub use build::{BuildReport, build_sequences, visit_sequences};
pub use config::{ConcatSeparator, Directions, Masking, MixedTarget, SequenceConfig, TripleStyle};

/// Label of a position that is excluded from the loss. The crate `objectives` and PyTorch use the
/// same value.
pub const IGNORE_INDEX: i64 = -100;

/// The three kinds of sequences of *Bridging the Language Gap*, section III-A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceKind {
    /// (h, r, t) in one language.
    Monolingual,
    /// (h, r, t) with one entity in another language than the relation and the other entity.
    Mixed,
    /// (h, r, t) in one language, followed by (h, r, t) in another language.
    Concatenated,
}

impl SequenceKind {
    /// All kinds, in the order of `mix_weights`.
    pub const ALL: [Self; 3] = [Self::Monolingual, Self::Mixed, Self::Concatenated];

    /// Returns the name used in files: `monolingual`, `mixed`, `concatenated`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monolingual => "monolingual",
            Self::Mixed => "mixed",
            Self::Concatenated => "concatenated",
        }
    }
}

/// Whether the masked entity of a triple is the head or the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// h in (h, r, t).
    Head,
    /// t in (h, r, t).
    Tail,
}

/// A masked entity. The positions `start..end` of `input_ids` are masks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MaskedEntity {
    /// First masked position.
    pub start: usize,
    /// Index after the last masked position.
    pub end: usize,
    /// Number of sub-tokens of the entity. Positions from `start + pieces` predict padding
    /// ([`Masking::FixedLength`] only).
    pub pieces: usize,
    /// Head or tail.
    pub role: Role,
    /// Language of the label to be predicted.
    pub language: Language,
}

/// A training sequence with special tokens and without padding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// Fact number: position of the triple in
    /// [`KnowledgeGraph::triples`](crate::KnowledgeGraph::triples).
    pub fact: u32,
    /// The kind.
    pub kind: SequenceKind,
    /// The languages (i, j). In a monolingual sequence, both are the language of the sequence. In a
    /// mixed sequence, one entity is in j, and the relation and the other entity are in i. In a
    /// concatenated sequence, the triple in i is followed by the triple in j.
    pub languages: (Language, Language),
    /// Token ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// Target token at each position, or [`IGNORE_INDEX`] for positions that are excluded from the
    /// loss, `[L]`.
    pub labels: Vec<i64>,
    /// The masked entities, in order of position. A concatenated sequence has two, which are both
    /// heads or both tails; any other sequence has one.
    pub entities: Vec<MaskedEntity>,
}

impl Record for Sequence {
    const NAME: &'static str = "sequence";

    fn invalid_reason(&self) -> Option<String> {
        let length = self.input_ids.len();
        if self.labels.len() != length {
            return Some(format!("{length} input_ids and {} labels", self.labels.len()));
        }
        if let Some(label) = self
            .labels
            .iter()
            .find(|label| **label != IGNORE_INDEX && u32::try_from(**label).is_err())
        {
            return Some(format!(
                "the label {label}, which is neither a token id nor {IGNORE_INDEX}"
            ));
        }
        let mut next = 0;
        for entity in &self.entities {
            let MaskedEntity { start, end, pieces, .. } = *entity;
            if start < next || start >= end || end > length || pieces == 0 || pieces > end - start {
                return Some(format!(
                    "a masked entity at {start}..{end} of {pieces} pieces in {length} tokens"
                ));
            }
            next = end;
        }
        let is_masked =
            |at: usize| self.entities.iter().any(|entity| (entity.start..entity.end).contains(&at));
        let inconsistent_label = self
            .labels
            .iter()
            .enumerate()
            .find(|(at, label)| is_masked(*at) == (**label == IGNORE_INDEX));
        inconsistent_label.map(|(at, label)| {
            format!("the label {label} at position {at}, which contradicts the masked entities")
        })
    }
}
