use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::MentionExample;
use crate::{KgError, Language, seed};

/// What is never trained, and how many queries are made of it.
///
/// What is held out depends on `seed` and on the name of the text, entity or language pair alone:
/// not on other texts, the order of files or the number of threads.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeldOut {
    /// Fraction of the texts, above 0 and below 1. All languages of one text id go together.
    pub texts: f64,
    /// Fraction of the triples (entity, passage language, description language), from 0 to below 1.
    pub pairs: f64,
    /// Fraction of the entities, from 0 to below 1.
    pub entities: f64,
    /// Most queries of each test set.
    pub queries: usize,
    /// Most queries about one entity in each test set, so that always answering the most frequent
    /// entities does not pay; absent: any number.
    pub per_entity: Option<usize>,
    /// Decides what is held out, and which queries are kept.
    pub seed: u64,
}

impl Default for HeldOut {
    fn default() -> Self {
        Self { texts: 0.1, pairs: 0.2, entities: 0.1, queries: 1000, per_entity: None, seed: 0 }
    }
}

/// Where an example belongs, see [`HeldOut::split_of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// To be trained: text, entity and language pair are not held out.
    Train,
    /// A held-out text; its entity and its language pair are not held out.
    TestSeenPairs,
    /// A held-out text and a held-out language pair; the entity is not held out.
    TestUnseenPairs,
    /// A held-out text and a held-out entity.
    TestUnseenEntities,
    /// Neither: something of it is held out, but its text is not.
    Unused,
}

/// Examples divided into one training set and three test sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MentionSplits {
    /// Of [`Split::Train`], in the order of the input.
    pub train: Vec<MentionExample>,
    /// Of [`Split::TestSeenPairs`]: the text is new, the entity is trained.
    pub test_seen_pairs: Vec<MentionExample>,
    /// Of [`Split::TestUnseenPairs`]: the entity is trained, but never with this pair of languages.
    pub test_unseen_pairs: Vec<MentionExample>,
    /// Of [`Split::TestUnseenEntities`]: the entity is never trained.
    pub test_unseen_entities: Vec<MentionExample>,
}

impl HeldOut {
    /// Checks every key; the names in errors begin with `held_out.`.
    ///
    /// # Errors
    /// [`KgError::Config`] naming the first key out of its range.
    ///
    /// ```
    /// use kg_triples::knowledge::HeldOut;
    ///
    /// let error = HeldOut { texts: 0.0, ..HeldOut::default() }.validate().unwrap_err();
    /// assert!(error.to_string().starts_with("held_out.texts = 0: must be above 0"));
    /// ```
    pub fn validate(&self) -> Result<(), KgError> {
        let refuse = |key, value: String, rule| Err::<(), _>(KgError::Config { key, value, rule });
        if !(self.texts > 0.0 && self.texts < 1.0) {
            let rule = "above 0 and below 1: the queries of the probes come from held-out texts";
            return refuse("held_out.texts", self.texts.to_string(), rule);
        }
        for (key, fraction) in
            [("held_out.pairs", self.pairs), ("held_out.entities", self.entities)]
        {
            if !(0.0..1.0).contains(&fraction) {
                return refuse(key, fraction.to_string(), "from 0 to below 1");
            }
        }
        if self.queries == 0 {
            return refuse("held_out.queries", "0".into(), "1 or more");
        }
        if self.per_entity == Some(0) {
            return refuse(
                "held_out.per_entity",
                "0".into(),
                "1 or more; leave it out for any number",
            );
        }
        Ok(())
    }

    /// Where `example` belongs, by its text, entity and pair of languages.
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
    /// assert_eq!(held_out.split_of(&example), Split::TestSeenPairs);
    /// # Ok::<(), kg_triples::KgError>(())
    /// ```
    pub fn split_of(&self, example: &MentionExample) -> Split {
        let MentionExample { id, entity, language, description_language, .. } = example;
        let pair = self.holds_out_pair(entity, *language, *description_language);
        match (self.holds_out_text(id), self.holds_out_entity(entity), pair) {
            (false, false, false) => Split::Train,
            (true, false, false) => Split::TestSeenPairs,
            (true, false, true) => Split::TestUnseenPairs,
            (true, true, _) => Split::TestUnseenEntities,
            _ => Split::Unused,
        }
    }

    /// Whether the text of this id, in all languages, is never trained.
    pub fn holds_out_text(&self, id: &str) -> bool {
        seed::hash_to_unit(self.seed, &format!("text {id}")) < self.texts
    }

    /// Whether the entity is never trained.
    pub fn holds_out_entity(&self, entity: &str) -> bool {
        seed::hash_to_unit(self.seed, &format!("entity {entity}")) < self.entities
    }

    /// Whether mentions of the entity in `language` are never trained with its description in
    /// `description_language`.
    pub fn holds_out_pair(
        &self,
        entity: &str,
        language: Language,
        description_language: Language,
    ) -> bool {
        let name = format!("pair {entity} {language} {description_language}");
        seed::hash_to_unit(self.seed, &name) < self.pairs
    }

    /// Divides examples: `trainable` gives the training set, `queries` the test sets. They are the
    /// same list where training is multilingual; where passages are trained with descriptions in
    /// their own language, `queries` still asks for descriptions in another one.
    ///
    /// A passage gives one query at most. Queries are shuffled by `seed`, then cut to `per_entity`
    /// and `queries`.
    ///
    /// # Errors
    /// [`KgError::Config`] as [`validate`](Self::validate); [`KgError::Empty`], naming the keys
    /// that decide it, if there is no example, none is left to train on, or none is left as a
    /// query.
    pub fn divide(
        &self,
        trainable: &[MentionExample],
        queries: &[MentionExample],
    ) -> Result<MentionSplits, KgError> {
        self.validate()?;
        if trainable.is_empty() {
            return Err(nothing_mentioned());
        }
        let train: Vec<MentionExample> = trainable
            .iter()
            .filter(|example| self.split_of(example) == Split::Train)
            .cloned()
            .collect();
        if train.is_empty() {
            return Err(self.nothing_to_train_on(trainable.len()));
        }
        let trained: BTreeSet<&str> = train.iter().map(|example| example.entity.as_str()).collect();
        let [test_seen_pairs, test_unseen_pairs, test_unseen_entities] =
            self.queries(queries, &trained)?;
        Ok(MentionSplits { train, test_seen_pairs, test_unseen_pairs, test_unseen_entities })
    }

    /// The test sets of `candidates`, in the order of [`MentionSplits`]; `trained` are the entities
    /// that are trained.
    ///
    /// # Errors
    /// [`KgError::Empty`] if no query is left.
    pub(super) fn queries(
        &self,
        candidates: &[MentionExample],
        trained: &BTreeSet<&str>,
    ) -> Result<[Vec<MentionExample>; 3], KgError> {
        let splits = [Split::TestSeenPairs, Split::TestUnseenPairs, Split::TestUnseenEntities];
        let queries = splits.map(|split| self.test_set(split, candidates, trained));
        if queries.iter().all(Vec::is_empty) {
            return Err(KgError::Empty {
                what: "queries for the probes".into(),
                hint: format!(
                    "held_out.texts = {} leaves no text with a fitting mention for them; hold out \
                     more, or give more texts",
                    self.texts
                ),
            });
        }
        Ok(queries)
    }

    pub(super) fn nothing_to_train_on(&self, examples: usize) -> KgError {
        let Self { texts, pairs, entities, .. } = self;
        KgError::Empty {
            what: "mentions to train on".into(),
            hint: format!(
                "held_out.texts = {texts}, held_out.pairs = {pairs} and held_out.entities = \
                 {entities} hold out all {examples} examples; hold out less, or give more texts"
            ),
        }
    }

    /// The queries of one test set. Those about unseen entities must not be trained, all others
    /// must be.
    fn test_set(
        &self,
        split: Split,
        examples: &[MentionExample],
        trained: &BTreeSet<&str>,
    ) -> Vec<MentionExample> {
        let unseen = split == Split::TestUnseenEntities;
        let mut passages = BTreeSet::new();
        let mut queries: Vec<MentionExample> = examples
            .iter()
            .filter(|example| self.split_of(example) == split)
            .filter(|example| unseen != trained.contains(example.entity.as_str()))
            .filter(|example| passages.insert(example.passage))
            .cloned()
            .collect();
        queries.shuffle(&mut seed::stream_rng(self.seed, "queries", 0));
        if let Some(most) = self.per_entity {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            queries.retain(|query| {
                let count = counts.entry(query.entity.clone()).or_default();
                *count += 1;
                *count <= most
            });
        }
        queries.truncate(self.queries);
        queries
    }
}

/// The error for texts that mention no described entity.
pub(super) fn nothing_mentioned() -> KgError {
    KgError::Empty {
        what: "mentions of described entities".into(),
        hint: "see the keys `pages`, `text`, `languages` and `most_mentioned`: texts have to \
               mention entities that have a description in a wanted language"
            .into(),
    }
}
