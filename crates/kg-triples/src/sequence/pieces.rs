//! Token ids of labels, each of which is encoded once.
use std::collections::HashMap;

use rayon::prelude::*;
use tokenizer_file::Spacing;
use tokenizers::Tokenizer;

use super::TripleStyle;
use crate::tokens::{Specials, encode};
use crate::{Error, KnowledgeGraph, Language};

/// The token ids of a label.
pub(super) struct Pieces {
    pub(super) ids: Vec<u32>,
    /// Whether the label can be part of a sequence: it has tokens, but no special token such as
    /// `<s>` or `<mask>`.
    pub(super) is_valid: bool,
    /// Whether the label has no unknown token. This is required only for a masked entity.
    pub(super) is_predictable: bool,
}

/// The encoded labels of all ids in the triples of a graph, by interned id and language.
pub(super) struct PieceTable {
    table: HashMap<(u32, Language), Pieces>,
}

impl PieceTable {
    pub(super) fn encode(
        graph: &KnowledgeGraph,
        languages: &[Language],
        tokenizer: &Tokenizer,
        specials: &Specials,
    ) -> Result<Self, Error> {
        let encoder = WordEncoder::new(tokenizer)?;
        let mut used_ids: Vec<u32> = graph.triples.iter().flatten().copied().collect();
        used_ids.par_sort_unstable();
        used_ids.dedup();
        let mut labels = Vec::new();
        for id in used_ids {
            for language in languages {
                if let Some(label) = graph.label_at(id, *language) {
                    labels.push(((id, *language), label));
                }
            }
        }
        let encoded = labels.into_par_iter().map(|(key, label)| {
            let ids = encoder.encode_word(label)?;
            let is_valid = !ids.is_empty() && !ids.iter().any(|id| specials.is_control(*id));
            let is_predictable = !ids.iter().any(|id| Some(*id) == specials.unknown);
            Ok((key, Pieces { ids, is_valid, is_predictable }))
        });
        Ok(Self { table: encoded.collect::<Result<_, Error>>()? })
    }

    pub(super) fn get(&self, id: u32, language: Language) -> Option<&Pieces> {
        self.table.get(&(id, language))
    }
}

/// Returns the tokens between head, relation and tail.
pub(super) fn separator_ids(style: TripleStyle, tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
    match style {
        TripleStyle::Space => Ok(Vec::new()),
        TripleStyle::Comma => {
            // The token of the comma is taken from "a,", because a comma at the beginning of a word
            // may be a different token.
            let encoder = WordEncoder::new(tokenizer)?;
            let (word, word_with_comma) = (encoder.encode_word("a")?, encoder.encode_word("a,")?);
            match word_with_comma.strip_prefix(word.as_slice()) {
                Some(comma) if !comma.is_empty() => Ok(comma.into()),
                _ => encode(tokenizer, ","),
            }
        }
    }
}

/// Encodes a text like words inside a sentence, which follow a space.
struct WordEncoder<'t> {
    tokenizer: &'t Tokenizer,
    spacing: Spacing,
}

impl<'t> WordEncoder<'t> {
    fn new(tokenizer: &'t Tokenizer) -> Result<Self, Error> {
        let spacing = Spacing::of(tokenizer);
        let spacing = spacing.map_err(|error| Error::Tokenizer(error.to_string()))?;
        Ok(Self { tokenizer, spacing })
    }

    fn encode_word(&self, text: &str) -> Result<Vec<u32>, Error> {
        encode(self.tokenizer, &self.spacing.after_space(text.trim()))
    }
}
