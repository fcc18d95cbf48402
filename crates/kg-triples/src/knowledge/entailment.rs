use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{EncodedDescriptions, SameLanguage};
use crate::jsonl::Record;
use crate::{KnowledgeGraph, Language, seed};

/// How examples of object entailment are made; the defaults are those of XLM-K (§3.3).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntailmentConfig {
    /// Subject and object are described in different languages; `false` takes one language for
    /// both.
    pub multilingual: bool,
    /// Triples whose two ends share their only language; not stated.
    pub same_language: SameLanguage,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for EntailmentConfig {
    fn default() -> Self {
        Self { multilingual: true, same_language: SameLanguage::Skip, seed: 42 }
    }
}

/// Dense numbers for the relations of a graph, 0 to R − 1, in order of id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationIds {
    ids: Vec<String>,
}

impl RelationIds {
    /// Numbers every relation that has a triple in `graph`.
    pub fn new(graph: &KnowledgeGraph) -> Self {
        let mut relations: Vec<u32> =
            graph.triples.iter().map(|[_, relation, _]| *relation).collect();
        relations.sort_unstable();
        relations.dedup();
        Self { ids: relations.into_iter().map(|at| graph.id_at(at).to_owned()).collect() }
    }

    /// R, the number of relations: rows of the table of relation embeddings.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The relations by number.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The number of a relation, such as `P36`.
    pub fn number(&self, id: &str) -> Option<u32> {
        let at = self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok()?;
        u32::try_from(at).ok()
    }
}

/// A triple with a description of its subject and one of its object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EntailmentExample {
    /// Fact number: position of the triple in [`KnowledgeGraph::triples`].
    pub fact: u32,
    /// Id of the subject.
    pub subject: String,
    /// Id of the relation, such as `P36`.
    pub relation_id: String,
    /// Number of the relation, r of Eq. 3, see [`RelationIds`].
    pub relation: u32,
    /// Id of the object.
    pub object: String,
    /// Language of the subject's description, u.
    pub subject_language: Language,
    /// Its token ids, `<s> … </s>`.
    pub subject_ids: Vec<u32>,
    /// Language of the object's description, t.
    pub object_language: Language,
    /// Its token ids, `<s> … </s>`.
    pub object_ids: Vec<u32>,
}

impl Record for EntailmentExample {
    const NAME: &'static str = "entailment example";

    fn fault(&self) -> Option<String> {
        let empty = self.subject_ids.is_empty() || self.object_ids.is_empty();
        empty.then(|| "a description without tokens".into())
    }
}

/// What became of the triples; `triples` is the sum of the three reasons and `usable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EntailmentReport {
    /// Triples of the graph.
    pub triples: usize,
    /// Left out: the subject is not described.
    pub without_subject: usize,
    /// Left out: the subject is described, the object is not.
    pub without_object: usize,
    /// Left out: both are described, but not in languages that are wanted.
    pub without_language: usize,
    /// Triples that examples are made of.
    pub usable: usize,
    /// Of these, with both descriptions in one language for want of another
    /// ([`SameLanguage::Allow`]).
    pub fallbacks: usize,
    /// Relations of the graph, R.
    pub relations: usize,
}

/// Makes examples of the triples of a graph (XLM-K §3.3, its OE task): any of them by its number,
/// without a state.
///
/// Reading: the languages of subject and object are "different where possible"; the pair is drawn
/// uniformly from all pairs of different languages in which the two are described.
///
/// ```
/// use kg_triples::knowledge::{Descriptions, EntailmentConfig, EntailmentExamples};
/// use kg_triples::{GraphBuilder, Language};
/// # let tokenizer = tokenizers::Tokenizer::from_file(
/// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
/// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
/// let (en, de) = (Language::new("en")?, Language::new("de")?);
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q39", "P36", "Q70")?;
/// let mut descriptions = Descriptions::default();
/// descriptions.add("Q39", en, "Switzerland is a country in Europe.")?;
/// descriptions.add("Q70", de, "Bern ist die Bundesstadt der Schweiz.")?;
///
/// let graph = builder.build();
/// let encoded = descriptions.encode(&tokenizer, 256)?;
/// let examples = EntailmentExamples::new(&graph, &encoded, EntailmentConfig::default());
/// let example = examples.example(0).expect("a usable triple");
/// assert_eq!((example.subject_language, example.object_language), (en, de));
/// assert_eq!((example.relation, example.relation_id.as_str()), (0, "P36"));
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub struct EntailmentExamples<'g> {
    graph: &'g KnowledgeGraph,
    descriptions: &'g EncodedDescriptions,
    /// Fact numbers.
    usable: Vec<(u32, [u32; 3])>,
    relations: RelationIds,
    config: EntailmentConfig,
    report: EntailmentReport,
}

impl<'g> EntailmentExamples<'g> {
    /// Finds the triples of `graph` whose subject and object are described as `config` wants.
    pub fn new(
        graph: &'g KnowledgeGraph,
        descriptions: &'g EncodedDescriptions,
        config: EntailmentConfig,
    ) -> Self {
        let relations = RelationIds::new(graph);
        let mut report = EntailmentReport {
            triples: graph.len(),
            relations: relations.len(),
            ..EntailmentReport::default()
        };
        let mut usable = Vec::new();
        for (fact, triple) in (0..).zip(graph.triples.iter().copied()) {
            let [subject, _, object] = triple.map(|at| descriptions.get(graph.id_at(at)));
            if subject.is_empty() {
                report.without_subject += 1;
                continue;
            }
            if object.is_empty() {
                report.without_object += 1;
                continue;
            }
            match pairs(subject, object, &config) {
                (_, pairs) if pairs.is_empty() => report.without_language += 1,
                (fallback, _) => {
                    report.fallbacks += usize::from(fallback);
                    usable.push((fact, triple));
                }
            }
        }
        report.usable = usable.len();
        Self { graph, descriptions, usable, relations, config, report }
    }

    /// Number of triples that examples are made of.
    pub fn len(&self) -> usize {
        self.usable.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.usable.is_empty()
    }

    /// What became of the triples.
    pub fn report(&self) -> EntailmentReport {
        self.report
    }

    /// The numbers of the relations.
    pub fn relations(&self) -> &RelationIds {
        &self.relations
    }

    /// Example `index` of an endless row: a triple drawn uniformly, with replacement, and its
    /// languages, by (seed, index) alone. `None` only if there is no usable triple.
    pub fn example(&self, index: u64) -> Option<EntailmentExample> {
        let mut rng = seed::use_rng("entailment", self.config.seed, index);
        let (fact, triple) = *self.usable.choose(&mut rng)?;
        self.make(fact, triple, &mut rng)
    }

    /// Every usable triple once, in order of fact number, its languages drawn by (seed, fact
    /// number).
    pub fn once(&self) -> impl Iterator<Item = EntailmentExample> + '_ {
        self.usable.iter().filter_map(|(fact, triple)| {
            let mut rng = seed::use_rng("entailment once", self.config.seed, u64::from(*fact));
            self.make(*fact, *triple, &mut rng)
        })
    }

    fn make(&self, fact: u32, triple: [u32; 3], rng: &mut ChaCha8Rng) -> Option<EntailmentExample> {
        let [subject, relation, object] = triple.map(|at| self.graph.id_at(at));
        let (_, pairs) =
            pairs(self.descriptions.get(subject), self.descriptions.get(object), &self.config);
        let ((subject_language, subject_ids), (object_language, object_ids)) =
            *pairs.choose(rng)?;
        Some(EntailmentExample {
            fact,
            subject: subject.to_owned(),
            relation_id: relation.to_owned(),
            relation: self.relations.number(relation)?,
            object: object.to_owned(),
            subject_language: *subject_language,
            subject_ids: subject_ids.clone(),
            object_language: *object_language,
            object_ids: object_ids.clone(),
        })
    }
}

type Described = (Language, Vec<u32>);

/// The pairs of descriptions that are wanted, and whether they are in one language for want of
/// another.
fn pairs<'d>(
    subject: &'d [Described],
    object: &'d [Described],
    config: &EntailmentConfig,
) -> (bool, Vec<(&'d Described, &'d Described)>) {
    let all = || subject.iter().flat_map(|one| object.iter().map(move |other| (one, other)));
    let same: Vec<_> = all().filter(|(one, other)| one.0 == other.0).collect();
    if !config.multilingual {
        return (false, same);
    }
    let different: Vec<_> = all().filter(|(one, other)| one.0 != other.0).collect();
    if different.is_empty() && config.same_language == SameLanguage::Allow {
        return (!same.is_empty(), same);
    }
    (false, different)
}
