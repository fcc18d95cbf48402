//! Masked training sequences from triples: monolingual, mixed and concatenated.
//!
//! The sequences of the triple (Germany, official language, German) for (i, j) = (en, de). Each `▢`
//! is one `<mask>` per sub-token of the masked entity, which is the target. All other positions are
//! excluded from the loss.
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
//! Head, relation and tail are encoded separately, each as the beginning of a word, so the spans
//! are exact. Sequences that are too long are dropped and counted, not truncated. With
//! [`MixedTarget::ForeignEntity`], mixed and monolingual sequences have the same inputs but
//! different targets, as in the paper's layouts; [`MixedTarget::NativeEntity`] avoids this.
mod build;
mod config;
mod layout;
mod pieces;

use serde::{Deserialize, Serialize};

use crate::Language;
use crate::jsonl::Record;

pub use build::{BuildReport, build_sequences, visit_sequences};
pub use config::{ConcatSeparator, Directions, Masking, MixedTarget, SequenceConfig, TripleStyle};

/// Label of a position that is excluded from the loss, as in `objectives` and PyTorch.
pub const IGNORE_INDEX: i64 = -100;

/// The three kinds of sequences of *Bridging the Language Gap*, section III-A.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceKind {
    /// (h, r, t) in one language.
    Monolingual,
    /// (h, r, t) with one entity in the other language.
    Mixed,
    /// (h, r, t) in both languages, concatenated.
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

/// The masked entity of a triple.
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
    /// The languages (i, j). Monolingual sequences have (i, i). Mixed sequences have one entity in
    /// j and all other elements in i. Concatenated sequences have the triple in i, followed by the
    /// triple in j.
    pub languages: (Language, Language),
    /// Token ids, `[L]`.
    pub input_ids: Vec<u32>,
    /// Target token at each position, or [`IGNORE_INDEX`] for positions that are excluded from the
    /// loss, `[L]`.
    pub labels: Vec<i64>,
    /// The masked entities, in order of position: one, or two with the same role in a concatenated
    /// sequence.
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
