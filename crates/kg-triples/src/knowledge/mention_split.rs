use super::MentionExample;
use crate::{Error, Language, seed};

/// Options of the held-out set: fractions of held-out data and numbers of queries.
///
/// Texts, entities and language pairs are held out by a hash of `seed` and their ids and languages.
/// The result depends neither on other texts nor on the order of files or the number of threads.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOut {
    /// Fraction of held-out texts, above 0 and below 1. A text is selected by its id, so texts in
    /// several languages with one id are all held out or all used.
    pub texts: f64,
    /// Fraction of held-out language pairs, from 0 to below 1. A pair is held out for one entity:
    /// it is a triple (entity, passage language, description language).
    pub pairs: f64,
    /// Fraction of held-out entities, from 0 to below 1.
    pub entities: f64,
    /// Maximum number of queries per probe. The probes are unseen texts, pairs and entities.
    pub queries: usize,
    /// Maximum number of queries about one entity per probe, or `None` for no limit. A limit lowers
    /// the score of a baseline that always predicts frequent entities.
    pub per_entity: Option<usize>,
    /// Seed of the held-out set and the selected queries.
    pub seed: u64,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { texts: 0.1, pairs: 0.2, entities: 0.1, queries: 1000, per_entity: None, seed: 0 }
    }
}

/// The split of an example; see [`HeldOut::split_of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Training: neither the text nor the entity nor the language pair is held out.
    Train,
    /// Only the text is held out.
    UnseenTexts,
    /// The text and the language pair are held out; the entity is not.
    UnseenPairs,
    /// The text and the entity are held out.
    UnseenEntities,
    /// Unused, because the entity or the language pair is held out but the text is not.
    Unused,
}

impl HeldOut {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] with the first key whose value is out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::HeldOut;
    ///
    /// let error = HeldOut { texts: 0.0, ..HeldOut::default() }.validate().unwrap_err();
    /// assert!(error.to_string().starts_with("hold_out.texts = 0: must be above 0"));
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |key, value: String, rule| Err::<(), _>(Error::Config { key, value, rule });
        if !(self.texts > 0.0 && self.texts < 1.0) {
            let rule = "above 0 and below 1: the queries of the probes come from held-out texts";
            return invalid("hold_out.texts", self.texts.to_string(), rule);
        }
        for (key, fraction) in
            [("hold_out.pairs", self.pairs), ("hold_out.entities", self.entities)]
        {
            if !(0.0..1.0).contains(&fraction) {
                return invalid(key, fraction.to_string(), "from 0 to below 1");
            }
        }
        if self.queries == 0 {
            return invalid("queries", "0".into(), "1 or more");
        }
        if self.per_entity == Some(0) {
            return invalid("queries_per_entity", "0".into(), "1 or more; omit it for no limit");
        }
        Ok(())
    }

    /// Returns the split of `example` by its text, entity and language pair.
    ///
    /// ```
    /// use kg_triples::Language;
    /// use kg_triples::knowledge::{HeldOut, MentionExample, Split, TokenSpan};
    ///
    /// let example = MentionExample {
    ///     passage: 0,
    ///     id: "Q70".into(),
    ///     language: Language::new("de")?,
    ///     input_ids: vec![0, 7, 2],
    ///     mention: TokenSpan { start: 1, end: 2 },
    ///     entity: "Q39".into(),
    ///     description_language: Language::new("en")?,
    ///     description_ids: vec![0, 9, 2],
    /// };
    /// let held_out = HeldOut { texts: 1.0, pairs: 0.0, entities: 0.0, ..HeldOut::default() };
    /// assert_eq!(held_out.split_of(&example), Split::UnseenTexts);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn split_of(&self, example: &MentionExample) -> Split {
        let MentionExample { id, entity, language, description_language, .. } = example;
        let pair = self.holds_out_pair(entity, *language, *description_language);
        match (self.holds_out_text(id), self.holds_out_entity(entity), pair) {
            (false, false, false) => Split::Train,
            (true, false, false) => Split::UnseenTexts,
            (true, false, true) => Split::UnseenPairs,
            (true, true, _) => Split::UnseenEntities,
            _ => Split::Unused,
        }
    }

    /// Returns whether texts with this id are held out, in any language.
    pub fn holds_out_text(&self, id: &str) -> bool {
        seed::hash_to_unit(self.seed, &format!("text {id}")) < self.texts
    }

    /// Returns whether the entity is held out.
    pub fn holds_out_entity(&self, entity: &str) -> bool {
        seed::hash_to_unit(self.seed, &format!("entity {entity}")) < self.entities
    }

    /// Returns whether the triple (entity, `language`, `description_language`) is held out.
    pub fn holds_out_pair(
        &self,
        entity: &str,
        language: Language,
        description_language: Language,
    ) -> bool {
        let name = format!("pair {entity} {language} {description_language}");
        seed::hash_to_unit(self.seed, &name) < self.pairs
    }
}
