//! Pairs of texts that refer to one entity, for contrastive training.
use std::collections::{BTreeSet, HashSet};

use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::Descriptions;
use super::pair_sentence::{RemoveObject, without_object};
use crate::entity_linking::LinkedText;
use crate::jsonl::Record;
use crate::switch::sentences;
use crate::{Error, KnowledgeGraph, Language, check_unique_languages, seed};

/// Kind of a pair, named after the adapter that it trains in *Adapters for Enhanced Modeling of
/// Multilingual Knowledge and Text* (Hou et al. 2022).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PairKind {
    /// Entity, phrases: two labels, in different languages, of the subject or object of a triple.
    Ep,
    /// Triple, phrases: the query is the labels of subject and relation, the key is a label of the
    /// object. The languages of the three labels are drawn independently.
    Tp,
    /// Entity, sentences: the query is a description of an entity, the key is a label of this
    /// entity.
    Es,
    /// Triple, sentences: the query is a sentence in which subject and object of a triple are
    /// mentioned, without the object. The key is a label of the object.
    Ts,
}

impl PairKind {
    /// Returns the name used in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ep => "ep",
            Self::Tp => "tp",
            Self::Es => "es",
            Self::Ts => "ts",
        }
    }
}

/// A query text and its key text.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TextPair {
    /// The kind of the pair.
    pub kind: PairKind,
    /// The query text.
    pub query: String,
    /// Language of the query. For [`PairKind::Tp`], it is the language of the subject's label; the
    /// relation's label may be in another language.
    pub query_language: Language,
    /// The key text, which is a label.
    pub key: String,
    /// Language of the key.
    pub key_language: Language,
    /// The entity that the key names. Two pairs with the same entity are not used as negatives of
    /// each other in a batch.
    pub entity: String,
    /// The target of a regression of the texts' cosine similarity, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
}

impl Record for TextPair {
    const NAME: &'static str = "pair of texts";

    fn invalid_reason(&self) -> Option<String> {
        let texts = [("query", &self.query), ("key", &self.key), ("entity", &self.entity)];
        let blank = texts.into_iter().find(|(_, text)| text.trim().is_empty());
        let similarity = self.similarity.filter(|value| !(0.0..=1.0).contains(value));
        blank
            .map(|(name, _)| format!("a blank {name}"))
            .or_else(|| similarity.map(|value| format!("similarity {value}, not from 0 to 1")))
    }
}

/// Options of the pairs and their held-out set.
#[derive(Clone, Debug, PartialEq)]
pub struct PairConfig {
    /// Languages of all texts, or an empty list for all languages in which the graph has labels.
    pub languages: Vec<Language>,
    /// Words of the object that are removed from the sentences of [`PairKind::Ts`].
    pub remove_object: RemoveObject,
    /// Fraction of held-out entities, from 0 to below 1, selected by id. A held-out entity is not
    /// the [`entity`](TextPair::entity) of a training pair, but the query text of a training pair
    /// may be about it.
    pub hold_out: f64,
    /// Seed of the held-out set and all draws.
    pub seed: u64,
}

impl Default for PairConfig {
    fn default() -> Self {
        let (languages, remove_object) = (Vec::new(), RemoveObject::default());
        Self { languages, remove_object, hold_out: 0.0, seed: 42 }
    }
}

impl PairConfig {
    /// Validates every value that does not depend on a graph.
    ///
    /// # Errors
    /// [`Error::Config`] if `hold_out` is out of its range or a language is duplicated.
    pub fn validate(&self) -> Result<(), Error> {
        if !(0.0..1.0).contains(&self.hold_out) {
            let value = self.hold_out.to_string();
            return Err(Error::Config { key: "hold_out", value, rule: "from 0 to below 1" });
        }
        check_unique_languages("languages", &self.languages)
    }
}

/// Counts of the sources of pairs.
///
/// A source yields at most one pair. For EP, it is the subject or object of a triple; for TP, a
/// triple; for ES, a described entity. For TS, it is a triple's object that a sentence mentions
/// together with the triple's subject, or a sentence without such objects. `sources` is the sum of
/// `without_label`, `without_triple`, `bare`, `train` and `held_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PairCounts {
    /// All sources.
    pub sources: usize,
    /// Sources skipped because an entity has too few labels in the requested languages: fewer than
    /// two for EP, or none for the other kinds.
    pub without_label: usize,
    /// Sentences skipped because they do not mention both subject and object of a triple.
    pub without_triple: usize,
    /// Sources skipped because the sentence has no letter or number besides the removed words of
    /// the object.
    pub bare: usize,
    /// Training pairs.
    pub train: usize,
    /// Pairs about a held-out entity.
    pub held_out: usize,
    /// Training and held-out pairs of TP whose relation has no label in the requested languages. As
    /// in the released code, the query of such a pair is only the subject's label.
    pub without_relation: usize,
}

/// The source of a pair. Entities are stored as interned ids.
enum Source {
    Entity(u32),
    Triple([u32; 3]),
    Sentence(Box<str>, Language, u32),
}

/// Pairs of one kind, split by entity into training pairs and held-out pairs.
///
/// The languages of query and key are drawn uniformly from the languages in which the text exists.
/// The draw depends on the seed, the kind and the index of the pair.
///
/// ```
/// use kg_triples::knowledge::{PairConfig, TextPairs};
/// use kg_triples::{GraphBuilder, LabelKind};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?;
/// builder.add_label("Q183", "de", "Deutschland", LabelKind::Entity)?;
/// builder.add_label("P36", "en", "capital", LabelKind::Relation)?;
/// builder.add_label("Q64", "zh", "柏林", LabelKind::Entity)?;
/// let graph = builder.build();
/// let pairs = TextPairs::from_triples(&graph, &PairConfig::default())?;
/// let pair = pairs.train_pairs().next().expect("one triple");
/// assert_eq!((&*pair.query, &*pair.key), ("Deutschland capital", "柏林"));
/// assert_eq!(pair.entity, "Q64");
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub struct TextPairs<'a> {
    kind: PairKind,
    graph: &'a KnowledgeGraph,
    descriptions: Option<&'a Descriptions>,
    languages: Vec<Language>,
    config: PairConfig,
    train: Vec<Source>,
    held_out: Vec<Source>,
    counts: PairCounts,
}

impl<'a> TextPairs<'a> {
    /// Creates a [`PairKind::Ep`] pair for the subject and another for the object of each triple.
    /// An entity in several triples has several pairs.
    ///
    /// # Errors
    /// As [`PairConfig::validate`]; [`Error::UnknownLanguage`].
    pub fn from_labels(graph: &'a KnowledgeGraph, config: &PairConfig) -> Result<Self, Error> {
        let mut pairs = Self::new(PairKind::Ep, graph, config)?;
        for &[head, _, tail] in &graph.triples {
            for id in [head, tail] {
                pairs.add(Source::Entity(id), &[(id, 2)]);
            }
        }
        Ok(pairs)
    }

    /// Creates a [`PairKind::Tp`] pair from each triple.
    ///
    /// # Errors
    /// As [`Self::from_labels`].
    pub fn from_triples(graph: &'a KnowledgeGraph, config: &PairConfig) -> Result<Self, Error> {
        let mut pairs = Self::new(PairKind::Tp, graph, config)?;
        for &[head, relation, tail] in &graph.triples {
            let stored = pairs.add(Source::Triple([head, relation, tail]), &[(head, 1), (tail, 1)]);
            let is_unlabelled = stored && pairs.labels(relation).is_empty();
            pairs.counts.without_relation += usize::from(is_unlabelled);
        }
        Ok(pairs)
    }

    /// Creates a [`PairKind::Es`] pair from each entity that is described in one of the languages.
    ///
    /// # Errors
    /// As [`Self::from_labels`].
    pub fn from_descriptions(
        graph: &'a KnowledgeGraph,
        descriptions: &'a Descriptions,
        config: &PairConfig,
    ) -> Result<Self, Error> {
        let mut pairs = Self::new(PairKind::Es, graph, config)?;
        pairs.descriptions = Some(descriptions);
        for entity in descriptions.entities() {
            if pairs.descriptions_of(entity).is_empty() {
                continue;
            }
            match graph.interned(entity) {
                Some(id) => {
                    pairs.add(Source::Entity(id), &[(id, 1)]);
                }
                None => {
                    pairs.counts.sources += 1;
                    pairs.counts.without_label += 1;
                }
            }
        }
        Ok(pairs)
    }

    /// Creates [`PairKind::Ts`] pairs from sentences that mention the subject and the object of a
    /// triple.
    ///
    /// A sentence yields a pair for each such object. [`RemoveObject`] is applied to all linked
    /// mentions of the object. The sentences are held in memory.
    ///
    /// # Errors
    /// As [`Self::from_labels`]; errors of `texts`.
    pub fn from_sentences(
        graph: &'a KnowledgeGraph,
        texts: impl Iterator<Item = Result<LinkedText, Error>>,
        config: &PairConfig,
    ) -> Result<Self, Error> {
        let mut pairs = Self::new(PairKind::Ts, graph, config)?;
        let edges: HashSet<[u32; 2]> =
            graph.triples.iter().map(|[head, _, tail]| [*head, *tail]).collect();
        for text in texts {
            let text = text?;
            if !pairs.languages.contains(&text.language) {
                continue;
            }
            for sentence in sentences(&text).0 {
                // Entities that the graph lacks have no triples.
                let ids = sentence.mentions.iter().filter_map(|m| graph.interned(&m.entity));
                let ids: BTreeSet<u32> = ids.collect();
                let is_object = |object: &u32| {
                    ids.iter().any(|head| head != object && edges.contains(&[*head, *object]))
                };
                let objects: Vec<u32> = ids.iter().copied().filter(is_object).collect();
                pairs.counts.sources += usize::from(objects.is_empty());
                pairs.counts.without_triple += usize::from(objects.is_empty());
                for object in objects {
                    let query =
                        without_object(&sentence, graph.id_at(object), config.remove_object);
                    if query.chars().any(char::is_alphanumeric) {
                        let source = Source::Sentence(query.into(), text.language, object);
                        pairs.add(source, &[(object, 1)]);
                    } else {
                        pairs.counts.sources += 1;
                        pairs.counts.bare += 1;
                    }
                }
            }
        }
        Ok(pairs)
    }

    fn new(kind: PairKind, graph: &'a KnowledgeGraph, config: &PairConfig) -> Result<Self, Error> {
        config.validate()?;
        for language in &config.languages {
            graph.known_language(language.as_str())?;
        }
        let use_all = config.languages.is_empty();
        let languages = if use_all { graph.languages() } else { &config.languages }.to_vec();
        let (config, counts) = (config.clone(), PairCounts::default());
        let (train, held_out) = (Vec::new(), Vec::new());
        Ok(Self { kind, graph, descriptions: None, languages, config, train, held_out, counts })
    }

    /// Counts a source, and stores it if its entities have enough labels. `required_labels`
    /// contains each entity with the required number of labels. The last entity is the
    /// [`entity`](TextPair::entity) of the pair.
    fn add(&mut self, source: Source, required_labels: &[(u32, usize)]) -> bool {
        self.counts.sources += 1;
        if required_labels.iter().any(|(id, count)| self.labels(*id).len() < *count) {
            self.counts.without_label += 1;
            return false;
        }
        let (entity, _) = required_labels[required_labels.len() - 1];
        let entity = self.graph.id_at(entity);
        if seed::hash_to_unit(self.config.seed, &format!("entity {entity}")) < self.config.hold_out
        {
            self.counts.held_out += 1;
            self.held_out.push(source);
        } else {
            self.counts.train += 1;
            self.train.push(source);
        }
        true
    }

    fn labels(&self, id: u32) -> Vec<(Language, &str)> {
        let label = |language: &Language| Some((*language, self.graph.label_at(id, *language)?));
        self.languages.iter().filter_map(label).collect()
    }

    fn descriptions_of(&self, entity: &str) -> Vec<(Language, &str)> {
        let text =
            |language: &Language| Some((*language, self.descriptions?.get(entity, *language)?));
        self.languages.iter().filter_map(text).collect()
    }

    /// Returns the counts.
    pub fn counts(&self) -> PairCounts {
        self.counts
    }

    /// Iterates over all training pairs, one per source.
    pub fn train_pairs(&self) -> impl Iterator<Item = TextPair> + '_ {
        self.pairs_from_sources(&self.train, "once")
    }

    /// Iterates over all held-out pairs, one per source.
    pub fn held_out(&self) -> impl Iterator<Item = TextPair> + '_ {
        self.pairs_from_sources(&self.held_out, "held out")
    }

    /// Draws `count` training pairs with replacement. The iterator is empty if there are no
    /// training pairs.
    pub fn draw(&self, count: u64) -> impl Iterator<Item = TextPair> + '_ {
        let count = if self.train.is_empty() { 0 } else { count };
        (0..count).map(|index| {
            let mut rng = self.rng("drawn", index);
            self.pair(self.train.choose(&mut rng).expect("training pairs"), &mut rng)
        })
    }

    fn pairs_from_sources(
        &self,
        sources: &'a [Source],
        stream: &'static str,
    ) -> impl Iterator<Item = TextPair> {
        let sources = (0u64..).zip(sources);
        sources.map(move |(index, source)| self.pair(source, &mut self.rng(stream, index)))
    }

    fn rng(&self, stream: &str, index: u64) -> impl Rng + use<> {
        let name = format!("pairs {} {stream}", self.kind.name());
        seed::item_rng(&name, self.config.seed, index)
    }

    /// Creates the pair of a stored source in randomly drawn languages.
    fn pair(&self, source: &Source, rng: &mut impl Rng) -> TextPair {
        let (query, query_language, entity, excluded_language) = match source {
            Source::Entity(id) => {
                let (texts, is_excluded) = match self.kind {
                    PairKind::Es => (self.descriptions_of(self.graph.id_at(*id)), false),
                    _ => (self.labels(*id), true),
                };
                let (language, text) = *texts.choose(rng).expect("a stored entity has texts");
                (text.to_owned(), language, *id, is_excluded.then_some(language))
            }
            Source::Triple([head, relation, tail]) => {
                let labels = self.labels(*head);
                let (language, subject) = *labels.choose(rng).expect("a stored head has labels");
                let query = match self.labels(*relation).choose(rng) {
                    Some((_, relation)) => format!("{subject} {relation}"),
                    None => subject.to_owned(),
                };
                (query, language, *tail, None)
            }
            Source::Sentence(text, language, object) => {
                (text.to_string(), *language, *object, None)
            }
        };
        let mut keys = self.labels(entity);
        keys.retain(|(language, _)| Some(*language) != excluded_language);
        let (key_language, key) = *keys.choose(rng).expect("a stored entity has enough labels");
        let (kind, key) = (self.kind, key.to_owned());
        let entity = self.graph.id_at(entity).to_owned();
        TextPair { kind, query, query_language, key, key_language, entity, similarity: None }
    }
}
