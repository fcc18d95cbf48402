//! Passages as token ids, with the positions of their mentions.
use std::ops::Range;

use rand::Rng;
use tokenizers::Tokenizer;

use super::description::text_budget;
use super::{EncodedDescriptions, MentionConfig, MentionExample, TokenSpan};
use crate::entity_linking::{Mention, Passage};
use crate::tokens::{Specials, Tokens, without_limits};
use crate::{Error, Language};

/// A passage whose mentions are aligned with its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlignedPassage {
    /// Index of the passage in its source, from 0.
    pub(super) number: u64,
    /// Id of the text.
    pub(super) id: String,
    pub(super) language: Language,
    /// Token ids of the whole passage, without special tokens.
    pub(super) ids: Vec<u32>,
    /// Mentions that can be used, as token ranges; see [`PassageAligner::align`].
    pub(super) mentions: Vec<AlignedMention>,
}

/// A mention in an [`AlignedPassage`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AlignedMention {
    pub(super) span: Range<usize>,
    pub(super) entity: String,
}

/// The reason why a passage has no example.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SkipReason {
    WithoutMention,
    WithoutDescription,
    WithoutLanguage,
    HeldOut,
    Unaligned,
}

/// Aligns mentions with tokens, and creates examples.
#[derive(Clone, Debug)]
pub(super) struct PassageAligner {
    tokenizer: Tokenizer,
    specials: Specials,
    /// Maximum number of passage tokens, without `<s>` and `</s>`.
    text_budget: usize,
    pub(super) config: MentionConfig,
}

impl PassageAligner {
    /// # Errors
    /// [`Error::Config`] if `max_tokens` is below 3; [`Error::Tokenizer`] if a special token is
    /// missing.
    pub(super) fn new(tokenizer: &Tokenizer, config: MentionConfig) -> Result<Self, Error> {
        let text_budget = text_budget(config.max_tokens, "max_tokens")?;
        let specials = Specials::find(tokenizer)?;
        Ok(Self { tokenizer: without_limits(tokenizer)?, specials, text_budget, config })
    }

    /// Finds the tokens of the mentions whose entity is described and that `can_use` accepts.
    /// Returns a [`SkipReason`] if no such mention can be aligned with tokens.
    pub(super) fn align(
        &self,
        number: u64,
        (id, language): (&str, Language),
        passage: &Passage<'_>,
        descriptions: &EncodedDescriptions,
        can_use: impl Fn(&Mention) -> bool,
    ) -> Result<Result<AlignedPassage, SkipReason>, Error> {
        if passage.mentions.is_empty() {
            return Ok(Err(SkipReason::WithoutMention));
        }
        let is_described = |mention: &&Mention| !descriptions.get(&mention.entity).is_empty();
        let described: Vec<&Mention> = passage.mentions.iter().filter(is_described).collect();
        if described.is_empty() {
            return Ok(Err(SkipReason::WithoutDescription));
        }
        let suitable: Vec<&Mention> =
            described.into_iter().filter(|mention| can_use(mention)).collect();
        if suitable.is_empty() {
            return Ok(Err(SkipReason::WithoutLanguage));
        }
        let tokens = Tokens::encode(&self.tokenizer, passage.text)?;
        let aligned = suitable.into_iter().filter_map(|mention| {
            let span = self.token_span(&tokens, mention)?;
            Some(AlignedMention { span, entity: mention.entity.clone() })
        });
        let mentions: Vec<AlignedMention> = aligned.collect();
        if mentions.is_empty() {
            return Ok(Err(SkipReason::Unaligned));
        }
        Ok(Ok(AlignedPassage { number, id: id.to_owned(), language, ids: tokens.ids, mentions }))
    }

    /// Returns the token range of a mention. Returns `None` if the mention has no tokens, has an
    /// unknown or special token, or exceeds the text budget.
    fn token_span(&self, tokens: &Tokens, mention: &Mention) -> Option<Range<usize>> {
        let span = tokens.overlapping(mention.start, mention.end)?;
        // A mention with an unknown token is excluded, because this token does not identify the
        // entity.
        let is_excluded =
            |id: &u32| self.specials.is_control(*id) || Some(*id) == self.specials.unknown;
        if tokens.ids[span.clone()].iter().any(is_excluded) || span.len() > self.text_budget {
            return None;
        }
        Some(span)
    }

    /// Returns the first token of a window that contains the mention at `span`. If the passage is
    /// too long, the window is drawn uniformly from all such windows; otherwise it begins at 0.
    pub(super) fn draw_window_start(
        &self,
        passage: &AlignedPassage,
        span: &Range<usize>,
        rng: &mut impl Rng,
    ) -> usize {
        match passage.ids.len().checked_sub(self.text_budget) {
            Some(excess @ 1..) => {
                let first = span.end.saturating_sub(self.text_budget);
                rng.random_range(first..=span.start.min(excess))
            }
            _ => 0,
        }
    }

    /// Creates the example of a mention in the window at `window_start`.
    pub(super) fn create_example(
        &self,
        passage: &AlignedPassage,
        mention: &AlignedMention,
        window_start: usize,
        (description_language, description_ids): &(Language, Vec<u32>),
    ) -> MentionExample {
        let ids = &passage.ids[window_start..];
        let ids = &ids[..ids.len().min(self.text_budget)];
        // The positions increase by one, because the example begins with `<s>`.
        let Range { start, end } = mention.span;
        MentionExample {
            passage: passage.number,
            id: passage.id.clone(),
            language: passage.language,
            input_ids: self.specials.enclose(ids),
            mention: TokenSpan { start: start - window_start + 1, end: end - window_start + 1 },
            entity: mention.entity.clone(),
            description_language: *description_language,
            description_ids: description_ids.clone(),
        }
    }
}
