//! Examples of object entailment, split into training triples and queries.
use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::IndexedRandom;
use tokenizers::Tokenizer;

use super::candidate::choose_candidates;
use super::described::{DescriptionSource, SyntheticDescriptions};
use super::description::text_budget;
use super::entailment_split::{TripleSplit, requested_languages, split_triples};
use super::facts_by_language::FactsByLanguage;
use super::{
    Candidate, EncodedDescriptions, EntailmentConfig, EntailmentExample, EntailmentReport,
};
use crate::tokens::{Specials, without_limits};
use crate::{Error, KnowledgeGraph, Language, seed};

/// Examples of object entailment (XLM-K, §3.3), split into training triples and queries.
///
/// The descriptions of subject and object are texts or synthetic. A synthetic description contains
/// the label of the entity and *training* triples about the entity, but no held-out triples. It
/// excludes the triple of the example itself, and triples without labels in the language of the
/// description.
///
/// ```
/// use kg_triples::knowledge::{EntailmentConfig, EntailmentExamples};
/// use kg_triples::{GraphBuilder, LabelKind};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// let mut builder = GraphBuilder::default();
/// for at in 0..30 {
///     let [country, city] = [format!("Q{at}"), format!("Q{}", 100 + at)];
///     builder.add_triple(&country, "P36", &city)?;
///     for language in ["de", "en"] {
///         builder.add_label(&country, language, &format!("Land {at}"), LabelKind::Entity)?;
///         builder.add_label(&city, language, &format!("Stadt {at}"), LabelKind::Entity)?;
///     }
/// }
/// let config = EntailmentConfig { hold_out: 0.2, ..EntailmentConfig::default() };
/// let data = EntailmentExamples::with_triples(builder.build(), &tokenizer, &config)?;
/// assert_eq!(data.report().train + data.report().test, 30);
/// let example = data.draw(1, 0)?; // determined by seed and index
/// assert_eq!((example.relation_id.as_str(), example.relation), ("P36", 0));
/// let (queries, candidates) = data.probe(32_768)?;
/// assert!(queries.len() <= candidates.len());
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct EntailmentExamples {
    graph: KnowledgeGraph,
    descriptions: DescriptionSource,
    languages: Vec<Language>,
    config: EntailmentConfig,
    /// Sorted ids of the relations that occur in a triple.
    relations: Vec<String>,
    /// Fact numbers of training triples.
    train: Vec<u32>,
    by_language: FactsByLanguage,
    /// Fact numbers of held-out triples whose subject and relation have one object.
    test: Vec<u32>,
    report: EntailmentReport,
}

impl EntailmentExamples {
    /// Splits the triples of a graph into training triples and queries. Entities are described by
    /// `texts`. The training set may be empty.
    ///
    /// # Errors
    /// [`Error::Config`] as [`EntailmentConfig::validate`]; [`Error::UnknownLanguage`].
    pub fn with_texts(
        graph: KnowledgeGraph,
        texts: EncodedDescriptions,
        config: &EntailmentConfig,
    ) -> Result<Self, Error> {
        let languages = texts.known_languages();
        Self::new(graph, DescriptionSource::Texts(texts), &languages, config)
    }

    /// Splits the triples of a graph into training triples and queries, with synthetic
    /// descriptions.
    ///
    /// # Errors
    /// As [`Self::with_texts`]; [`Error::Tokenizer`] if a special token is missing.
    pub fn with_triples(
        graph: KnowledgeGraph,
        tokenizer: &Tokenizer,
        config: &EntailmentConfig,
    ) -> Result<Self, Error> {
        let descriptions = DescriptionSource::Triples(Box::new(SyntheticDescriptions {
            specials: Specials::find(tokenizer)?,
            tokenizer: without_limits(tokenizer)?,
            text_budget: text_budget(config.description_tokens, "description_tokens")?,
            facts_about: BTreeMap::new(),
        }));
        let languages = graph.languages().to_vec();
        Self::new(graph, descriptions, &languages, config)
    }

    /// Splits the triples. `described_languages` are the languages in which entities have
    /// descriptions.
    fn new(
        graph: KnowledgeGraph,
        mut descriptions: DescriptionSource,
        described_languages: &[Language],
        config: &EntailmentConfig,
    ) -> Result<Self, Error> {
        config.validate()?;
        let languages = requested_languages(config, described_languages)?;
        let TripleSplit { train, test, facts_about, report } =
            split_triples(&graph, &descriptions, &languages, config);
        if let DescriptionSource::Triples(triples) = &mut descriptions {
            triples.facts_about = facts_about;
        }
        let relations: BTreeSet<&str> = graph.triples().map(|triple| triple.relation).collect();
        let relations: Vec<String> = relations.into_iter().map(str::to_owned).collect();
        let report = EntailmentReport { relations: relations.len(), ..report };
        let can_be_drawn = |fact: u32, language: Language| {
            let triple = graph.fact(fact);
            let has = |id: &str, code| descriptions.has_text(&graph, id, code);
            let has_other_language =
                || languages.iter().any(|code| *code != language && has(triple.tail, *code));
            has(triple.head, language)
                && match config.multilingual {
                    true => has_other_language(),
                    false => has(triple.tail, language),
                }
        };
        let by_language = FactsByLanguage::new(&languages, &train, config.smoothing, can_be_drawn);
        Ok(Self {
            by_language,
            relations,
            report,
            graph,
            descriptions,
            languages,
            config: config.clone(),
            train,
            test,
        })
    }

    /// Returns the counts.
    pub fn report(&self) -> EntailmentReport {
        self.report
    }

    /// Returns example `index` of an endless random sequence, which depends only on `seed` and
    /// `index`.
    ///
    /// The language of the subject is drawn with probability n^α / Σ n^α, where n is the number of
    /// training triples that can be drawn for the language, and α is
    /// [`EntailmentConfig::smoothing`]. Then one of these triples is drawn uniformly. With
    /// [`EntailmentConfig::multilingual`], the language of the object is drawn uniformly from the
    /// other languages of its descriptions; otherwise it is the language of the subject.
    ///
    /// # Errors
    /// [`Error::Value`] if there is no training triple; [`Error::Tokenizer`] if a description
    /// cannot be encoded.
    pub fn draw(&self, seed: u64, index: u64) -> Result<EntailmentExample, Error> {
        self.sample(&mut seed::item_rng("entailment", seed, index))
    }

    fn sample(&self, rng: &mut impl Rng) -> Result<EntailmentExample, Error> {
        let drawn = self.by_language.sample(rng);
        let (language, fact) = drawn.ok_or_else(|| Error::Value {
            field: "facts",
            expected: "a training triple".into(),
            got: "none".into(),
        })?;
        let object_language = if self.config.multilingual {
            let object = self.graph.fact(fact).tail;
            let object_languages = self.languages_of(object).filter(|other| *other != language);
            let object_languages: Vec<Language> = object_languages.collect();
            let drawn = object_languages.choose(rng).copied();
            drawn.expect("the object of a drawn triple is described in another language")
        } else {
            language
        };
        self.create_example(fact, language, object_language, rng)
    }

    /// Iterates over examples of all training triples, one per triple, in order of fact number.
    ///
    /// The languages of subject and object depend on `seed` and the fact number. With
    /// `multilingual`, they are drawn uniformly from all pairs of different languages in which
    /// subject and object are described. Without `multilingual`, subject and object have the same
    /// language, drawn uniformly from the languages in which both are described. Triples without
    /// such languages are skipped.
    ///
    /// The paper is interpreted as requiring different languages for subject and object.
    pub fn iter(&self, seed: u64) -> impl Iterator<Item = Result<EntailmentExample, Error>> + '_ {
        self.train.iter().filter_map(move |&fact| {
            let mut rng = seed::item_rng("entailment once", seed, u64::from(fact));
            let (subject, object) = *self.language_pairs(fact).choose(&mut rng)?;
            Some(self.create_example(fact, subject, object, &mut rng))
        })
    }

    /// Returns the pairs (subject language, object language) that an example of the triple can
    /// have.
    fn language_pairs(&self, fact: u32) -> Vec<(Language, Language)> {
        let triple = self.graph.fact(fact);
        let subject = self.languages_of(triple.head);
        let pairs = subject.flat_map(|subject| {
            let object = self.languages_of(triple.tail);
            object.map(move |object| (subject, object))
        });
        pairs.filter(|(subject, object)| (subject != object) == self.config.multilingual).collect()
    }

    /// Iterates over the languages in which `entity` is described.
    fn languages_of<'a>(&'a self, entity: &'a str) -> impl Iterator<Item = Language> + 'a {
        let is_described = |code: &Language| self.descriptions.has_text(&self.graph, entity, *code);
        self.languages.iter().copied().filter(is_described)
    }

    fn create_example(
        &self,
        fact: u32,
        subject_language: Language,
        object_language: Language,
        rng: &mut impl Rng,
    ) -> Result<EntailmentExample, Error> {
        let triple = self.graph.fact(fact);
        let index = self.relations.binary_search_by(|id| id.as_str().cmp(triple.relation));
        let index = index.expect("a relation of the graph");
        let mut ids = |entity, language| {
            let ids = self.descriptions.token_ids(&self.graph, entity, language, Some(fact), rng);
            ids.map(|ids| ids.into_owned())
        };
        Ok(EntailmentExample {
            fact,
            subject: triple.head.to_owned(),
            relation_id: triple.relation.to_owned(),
            relation: u32::try_from(index).expect("ids are numbered as u32"),
            object: triple.tail.to_owned(),
            subject_language,
            subject_ids: ids(triple.head, subject_language)?,
            object_language,
            object_ids: ids(triple.tail, object_language)?,
        })
    }

    /// Returns the queries and candidates of the probe (XLM-K, appendix B).
    ///
    /// Queries are held-out triples whose subject and relation have only one object. Candidates are
    /// the objects of the queries, followed by other objects of the graph up to `max_candidates` in
    /// total. The subject of a query is described in a different language than its object.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] if a description cannot be encoded.
    pub fn probe(
        &self,
        max_candidates: usize,
    ) -> Result<(Vec<EntailmentExample>, Vec<Candidate>), Error> {
        let objects = self.candidate_objects();
        let queries = self.create_queries(&objects)?;
        let gold_ids: BTreeSet<&str> = queries.iter().map(|query| query.object.as_str()).collect();
        let entities = objects.keys().map(String::as_str);
        let mut candidates = Vec::new();
        for object in choose_candidates(&gold_ids, entities, max_candidates, self.config.seed) {
            let language = objects[object];
            let input_ids = self.candidate_token_ids(object, language)?;
            candidates.push(Candidate { entity: object.to_owned(), language, input_ids });
        }
        Ok((queries, candidates))
    }

    /// Returns the candidate objects. Each has a language that is drawn from the languages of its
    /// description. With synthetic descriptions, only objects in training triples are returned.
    fn candidate_objects(&self) -> BTreeMap<String, Language> {
        let objects: BTreeSet<&str> = self.graph.triples().map(|triple| triple.tail).collect();
        let described_objects =
            objects.into_iter().filter(|object| self.descriptions.can_be_candidate(object));
        let draw_language = |object: &str| {
            let mut rng = seed::stream_rng(0, object, 0);
            let languages: Vec<Language> = self.languages_of(object).collect();
            languages.choose(&mut rng).copied()
        };
        described_objects
            .filter_map(|object| Some((object.to_owned(), draw_language(object)?)))
            .collect()
    }

    /// Returns the token ids of a candidate's description. Synthetic descriptions use only training
    /// triples.
    fn candidate_token_ids(&self, object: &str, language: Language) -> Result<Vec<u32>, Error> {
        let mut rng = seed::stream_rng(1, object, 0);
        let ids = self.descriptions.token_ids(&self.graph, object, language, None, &mut rng)?;
        Ok(ids.into_owned())
    }

    /// Returns the queries: held-out triples whose object is in `objects` and whose subject is
    /// described in a different language than the object.
    fn create_queries(
        &self,
        objects: &BTreeMap<String, Language>,
    ) -> Result<Vec<EntailmentExample>, Error> {
        let mut queries = Vec::new();
        for &fact in &self.test {
            let triple = self.graph.fact(fact);
            // Objects without a description are not candidates.
            let Some(&object_language) = objects.get(triple.tail) else { continue };
            let mut rng = seed::stream_rng(2, "query", u64::from(fact));
            let subject_languages =
                self.languages_of(triple.head).filter(|other| *other != object_language);
            let subject_languages: Vec<Language> = subject_languages.collect();
            let Some(&language) = subject_languages.choose(&mut rng) else { continue };
            queries.push(self.create_example(fact, language, object_language, &mut rng)?);
        }
        Ok(queries)
    }
}

#[cfg(test)]
mod tests;
