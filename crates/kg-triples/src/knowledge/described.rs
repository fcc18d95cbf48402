//! Descriptions of entities in object entailment: given texts, or synthetic texts that are
//! generated from triples.
use std::borrow::Cow;
use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;
use tokenizers::Tokenizer;

use super::EncodedDescriptions;
use crate::tokens::{Specials, encode};
use crate::{Error, KnowledgeGraph, Language};

/// Descriptions of the entities of a graph, as token ids.
pub(super) enum DescriptionSource {
    Texts(EncodedDescriptions),
    Triples(Box<SyntheticDescriptions>),
}

impl DescriptionSource {
    /// Whether the entity `id` has a description in `language`.
    pub(super) fn has_text(&self, graph: &KnowledgeGraph, id: &str, language: Language) -> bool {
        match self {
            Self::Texts(texts) => texts.get(id).iter().any(|(code, _)| *code == language),
            Self::Triples(_) => graph.label(id, language.as_str()).is_some(),
        }
    }

    /// Returns the description of `entity` in `language` as token ids, `<s> … </s>`. A synthetic
    /// description does not contain the triple `excluded_fact`.
    ///
    /// # Errors
    /// [`Error::Value`] if there is no description; [`Error::Tokenizer`] if it cannot be encoded.
    pub(super) fn token_ids(
        &self,
        graph: &KnowledgeGraph,
        entity: &str,
        language: Language,
        excluded_fact: Option<u32>,
        rng: &mut impl Rng,
    ) -> Result<Cow<'_, [u32]>, Error> {
        match self {
            Self::Texts(texts) => {
                let description = texts.get(entity).iter().find(|(code, _)| *code == language);
                let ids = description.map(|(_, ids)| Cow::Borrowed(ids.as_slice()));
                ids.ok_or_else(|| missing_error("description", entity, language))
            }
            Self::Triples(triples) => {
                Ok(triples.describe(graph, entity, language, excluded_fact, rng)?.into())
            }
        }
    }

    /// Whether `entity` can be a candidate of the probe. With texts, the entity must have a
    /// description; with synthetic descriptions, it must be in a training triple.
    pub(super) fn can_be_candidate(&self, entity: &str) -> bool {
        match self {
            Self::Texts(texts) => !texts.get(entity).is_empty(),
            Self::Triples(triples) => triples.facts_about.contains_key(entity),
        }
    }
}

/// Descriptions that are generated from the training triples.
pub(super) struct SyntheticDescriptions {
    pub(super) tokenizer: Tokenizer,
    pub(super) specials: Specials,
    /// Maximum number of tokens of a description, excluding the two special tokens.
    pub(super) text_budget: usize,
    /// Fact numbers of the training triples about each entity.
    pub(super) facts_about: BTreeMap<String, Vec<u32>>,
}

impl SyntheticDescriptions {
    /// Returns the token ids of `label . relation entity . relation entity …`, where `label` is the
    /// label of `entity`. The text contains the training triples about `entity` except
    /// `excluded_fact`, in random order. It is truncated to the token budget.
    pub(super) fn describe(
        &self,
        graph: &KnowledgeGraph,
        entity: &str,
        language: Language,
        excluded_fact: Option<u32>,
        rng: &mut impl Rng,
    ) -> Result<Vec<u32>, Error> {
        let label = |id: &str| graph.label(id, language.as_str());
        // An entity whose triples are all held out has no facts.
        let facts = self.facts_about.get(entity).into_iter().flatten().copied();
        let mut facts: Vec<u32> = facts.filter(|fact| Some(*fact) != excluded_fact).collect();
        facts.shuffle(rng);
        let mut text =
            label(entity).ok_or_else(|| missing_error("label", entity, language))?.to_owned();
        // Each triple adds at least two tokens, so at most `text_budget / 2` triples fit.
        let labelled_facts = facts.into_iter().filter_map(|fact| {
            let triple = graph.fact(fact);
            let other_entity = if triple.head == entity { triple.tail } else { triple.head };
            Some((label(triple.relation)?, label(other_entity)?))
        });
        for (relation, other) in labelled_facts.take(self.text_budget / 2) {
            text.push_str(&format!(" . {relation} {other}"));
        }
        let mut ids = encode(&self.tokenizer, &text)?;
        ids.truncate(self.text_budget);
        Ok(self.specials.enclose(&ids))
    }
}

fn missing_error(field: &'static str, entity: &str, language: Language) -> Error {
    Error::Value {
        field,
        expected: format!("a {field} of {entity:?} in language {language:?}"),
        got: "none".into(),
    }
}
