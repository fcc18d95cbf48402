//! Seeded samples of facts that have labels in every language asked for.
use std::collections::{BTreeMap, HashSet};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{GraphBuilder, KgError, KnowledgeGraph, LabelKind, Language, seed};

/// What to do with a relation that has no label in one of the languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingRelation {
    /// Drop its triples.
    Drop,
    /// Use the English label in that language too; without an English label, drop its triples.
    English,
}

/// How to sample; the defaults are the values of *Bridging the Language Gap* (section III-A).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SampleConfig {
    /// Head, relation and tail must have labels in all of these; the seven languages of MLQA.
    pub languages: Vec<String>,
    /// Facts to take.
    pub count: usize,
    /// Seed of the sample.
    pub seed: u64,
    /// Relations without a label in one of the languages.
    pub missing_relation: MissingRelation,
    /// Fewer facts than `count` are an error instead of a smaller sample.
    pub strict: bool,
    /// Only triples of these relations; empty: all.
    pub relations: Vec<String>,
    /// Only triples whose head is an instance (`P31`) of one of these; empty: all.
    pub types: Vec<String>,
    /// Shortest label of head and tail, in code points.
    pub min_label_chars: usize,
    /// As many triples of each relation as of each other, as far as it has them, instead of all
    /// triples alike.
    pub stratified: bool,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            languages: ["en", "de", "es", "ar", "hi", "vi", "zh"].map(String::from).into(),
            count: 20_000,
            seed: 42,
            missing_relation: MissingRelation::Drop,
            strict: false,
            relations: Vec::new(),
            types: Vec::new(),
            min_label_chars: 1,
            stratified: false,
        }
    }
}

/// What an item is an instance of, in Wikidata.
const INSTANCE_OF: &str = "P31";

impl SampleConfig {
    /// The same with labels asked for in `languages`, unless the configuration names others than
    /// the default's.
    ///
    /// ```
    /// use kg_triples::{Language, SampleConfig};
    ///
    /// let config = SampleConfig::default().or_languages(&[Language::EN, Language::DE]);
    /// assert_eq!(config.languages, ["en", "de"]);
    /// assert_eq!(config.clone().or_languages(&[Language::ZH]), config);
    /// ```
    pub fn or_languages(mut self, languages: &[Language]) -> Self {
        if self.languages == Self::default().languages {
            self.languages = languages.iter().map(ToString::to_string).collect();
        }
        self
    }

    fn validate(&self) -> Result<(), KgError> {
        if self.languages.is_empty() {
            let rule = "one language or more";
            return Err(KgError::Config { key: "languages", value: "[]".into(), rule });
        }
        if self.count == 0 {
            return Err(KgError::Config { key: "count", value: "0".into(), rule: "1 or more" });
        }
        Ok(())
    }
}

/// What became of the triples of the graph; `read` is the sum of `self_loops`, `filtered`, the
/// three `without_…`, `short_labels` and `available`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct SampleReport {
    /// Distinct triples of the graph.
    pub read: usize,
    /// Dropped: head and tail are one entity.
    #[serde(default)]
    pub self_loops: usize,
    /// Dropped: of another relation or type than those asked for.
    #[serde(default)]
    pub filtered: usize,
    /// Dropped: labelled, but with a label of head or tail that is too short.
    #[serde(default)]
    pub short_labels: usize,
    /// Dropped: no label of the head in one of the languages.
    pub without_head_label: usize,
    /// Dropped: head labelled, but not the tail.
    pub without_tail_label: usize,
    /// Dropped: head and tail labelled, but not the relation.
    pub without_relation_label: usize,
    /// Triples that could be sampled.
    pub available: usize,
    /// Triples wanted, `count`.
    pub requested: usize,
    /// Triples sampled: the smaller of `available` and `requested`.
    pub kept: usize,
    /// Labels of relations taken from English for another language.
    pub english_relation_labels: usize,
}

/// Samples facts uniformly without replacement; returns their graph, with labels in
/// `config.languages` only.
///
/// A fact is taken for its ids: each gets a random rank from (seed, head, relation, tail) and the
/// lowest ranks win. So the sample depends neither on the order of files nor on the text of labels,
/// a smaller sample is part of a larger one, and samples for other languages share every fact that
/// both allow.
///
/// # Errors
/// [`KgError::Config`] without languages or with `count` 0, [`KgError::UnknownLanguage`],
/// [`KgError::TooFew`] in strict mode, [`KgError::Empty`] if no triple has all labels.
///
/// ```
/// use kg_triples::{GraphBuilder, LabelKind, SampleConfig, sample};
///
/// let mut builder = GraphBuilder::default();
/// builder.add_triple("Q183", "P36", "Q64")?; // labelled in English and German
/// builder.add_triple("Q142", "P36", "Q90")?; // without a German label of Q90
/// let all = [("Q183", "Germany", "Deutschland"), ("Q64", "Berlin", "Berlin")];
/// for (id, en, de) in all.into_iter().chain([("Q142", "France", "Frankreich")]) {
///     builder.add_label(id, "en", en, LabelKind::Entity)?;
///     builder.add_label(id, "de", de, LabelKind::Entity)?;
/// }
/// builder.add_label("P36", "en", "capital", LabelKind::Relation)?;
/// builder.add_label("P36", "de", "Hauptstadt", LabelKind::Relation)?;
///
/// let languages = vec!["en".into(), "de".into()];
/// let config = SampleConfig { languages, ..SampleConfig::default() };
/// let (sampled, report) = sample(&builder.build(), &config)?;
/// assert_eq!((report.read, report.without_tail_label, sampled.len()), (2, 1, 1));
/// # Ok::<(), kg_triples::KgError>(())
/// ```
pub fn sample(
    graph: &KnowledgeGraph,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), KgError> {
    config.validate()?;
    let known = config.languages.iter().map(|language| graph.known_language(language));
    let languages = known.collect::<Result<Vec<_>, _>>()?;
    let (mut ranked, mut report) = ranked(graph, &languages, config)?;
    if config.strict && ranked.len() < config.count {
        return Err(KgError::TooFew { requested: config.count, available: ranked.len() });
    }
    if config.stratified {
        ranked = stratified(ranked, config.count);
    } else if config.count < ranked.len() {
        ranked.select_nth_unstable(config.count);
        ranked.truncate(config.count);
    }
    report.kept = ranked.len();
    let mut triples: Vec<_> = ranked.into_iter().map(|(_, triple)| triple).collect();
    triples.sort_unstable();
    let mut sampled = graph.subgraph(&triples, |language| languages.contains(&language));
    if config.missing_relation == MissingRelation::English {
        (sampled, report.english_relation_labels) =
            with_english_relations(graph, sampled, &triples, &languages)?;
    }
    Ok((sampled, report))
}

/// A triple of interned ids with its random rank.
type Ranked = (u64, [u32; 3]);

/// The triples that have all labels, each with its rank, and the counts of the others.
fn ranked(
    graph: &KnowledgeGraph,
    languages: &[Language],
    config: &SampleConfig,
) -> Result<(Vec<Ranked>, SampleReport), KgError> {
    let english = Language::new("en")?;
    let fallback = config.missing_relation == MissingRelation::English;
    let labelled = |id: u32, fall_back: bool| {
        languages.iter().all(|language| graph.label_at(id, *language).is_some())
            || (fall_back && graph.label_at(id, english).is_some())
    };
    let long = |id: u32| {
        let label = |language: &Language| graph.label_at(id, *language).unwrap_or_default();
        languages.iter().all(|language| label(language).chars().count() >= config.min_label_chars)
    };
    let wanted = Wanted::new(graph, config);
    let mut report =
        SampleReport { read: graph.len(), requested: config.count, ..SampleReport::default() };
    let mut ranked = Vec::new();
    for triple in &graph.triples {
        let [head, relation, tail] = *triple;
        if head == tail {
            report.self_loops += 1;
        } else if !wanted.takes(*triple) {
            report.filtered += 1;
        } else if !labelled(head, false) {
            report.without_head_label += 1;
        } else if !labelled(tail, false) {
            report.without_tail_label += 1;
        } else if !labelled(relation, fallback) {
            report.without_relation_label += 1;
        } else if !long(head) || !long(tail) {
            report.short_labels += 1;
        } else {
            ranked.push((rank(graph, *triple, config.seed), *triple));
        }
    }
    report.available = ranked.len();
    if ranked.is_empty() {
        let codes: Vec<_> = languages.iter().map(Language::as_str).collect();
        return Err(KgError::Empty {
            what: format!("triples with labels in all of {}", codes.join(", ")),
            hint: format!(
                "of {} triples, {} are filtered out, {} lack a label of the head, {} of the tail, \
                 {} of the relation, {} have short labels; ask for fewer languages or add labels",
                report.read,
                report.filtered,
                report.without_head_label,
                report.without_tail_label,
                report.without_relation_label,
                report.short_labels
            ),
        });
    }
    Ok((ranked, report))
}

/// The relations and heads that are asked for.
struct Wanted {
    /// `None`: all.
    relations: Option<HashSet<u32>>,
    heads: Option<HashSet<u32>>,
}

impl Wanted {
    fn new(graph: &KnowledgeGraph, config: &SampleConfig) -> Self {
        let listed = |id: u32, all: &[String]| all.iter().any(|known| *known == graph.id_at(id));
        let relations = graph.triples.iter().map(|[_, relation, _]| *relation);
        let relations: HashSet<u32> = relations.collect();
        let instances = graph.triples.iter().filter(|[_, relation, tail]| {
            graph.id_at(*relation) == INSTANCE_OF && listed(*tail, &config.types)
        });
        Self {
            relations: (!config.relations.is_empty()).then(|| {
                relations.into_iter().filter(|id| listed(*id, &config.relations)).collect()
            }),
            heads: (!config.types.is_empty())
                .then(|| instances.map(|[head, _, _]| *head).collect()),
        }
    }

    fn takes(&self, [head, relation, _]: [u32; 3]) -> bool {
        self.relations.as_ref().is_none_or(|relations| relations.contains(&relation))
            && self.heads.as_ref().is_none_or(|heads| heads.contains(&head))
    }
}

/// At most `count` triples, of each relation those with the smallest ranks. Relations with few
/// triples give all of them, the others share the rest evenly.
fn stratified(ranked: Vec<Ranked>, count: usize) -> Vec<Ranked> {
    let mut groups: BTreeMap<u32, Vec<Ranked>> = BTreeMap::new();
    for (rank, triple) in ranked {
        let [_, relation, _] = triple;
        groups.entry(relation).or_default().push((rank, triple));
    }
    let mut groups: Vec<Vec<Ranked>> = groups.into_values().collect();
    // Stable: equal sizes stay in the order of the relations' ids.
    groups.sort_by_key(Vec::len);
    let (mut left, mut taken) = (groups.len(), Vec::new());
    for mut group in groups {
        group.sort_unstable();
        group.truncate((count - taken.len()) / left.max(1));
        left -= 1;
        taken.extend(group);
    }
    taken
}

/// `sampled` with the English label of each relation in the languages in which it has none, and how
/// many labels that makes.
fn with_english_relations(
    graph: &KnowledgeGraph,
    sampled: KnowledgeGraph,
    triples: &[[u32; 3]],
    languages: &[Language],
) -> Result<(KnowledgeGraph, usize), KgError> {
    let english = Language::new("en")?;
    let mut builder = GraphBuilder::from(sampled);
    let mut relations: Vec<_> = triples.iter().map(|[_, relation, _]| *relation).collect();
    relations.sort_unstable();
    relations.dedup();
    let mut added = 0;
    for relation in relations {
        for language in languages {
            if let (None, Some(label)) =
                (graph.label_at(relation, *language), graph.label_at(relation, english))
            {
                let id = graph.id_at(relation);
                builder.add_label(id, language.as_str(), label, LabelKind::Relation)?;
                added += 1;
            }
        }
    }
    Ok((builder.build(), added))
}

/// A random number that depends on the seed and the three ids alone.
fn rank(graph: &KnowledgeGraph, triple: [u32; 3], seed: u64) -> u64 {
    let fact = seed::hash(&triple.map(|id| graph.id_at(id)));
    // Two ChaCha steps: equal facts under two seeds, or two facts under one, share nothing that
    // shows.
    let key = ChaCha8Rng::seed_from_u64(seed).next_u64();
    ChaCha8Rng::seed_from_u64(fact ^ key).next_u64()
}
