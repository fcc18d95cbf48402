//! Seeded samples of facts that have labels in every language asked for.
mod blocks;
mod folder;
mod ids;
mod rules;

use std::collections::{BTreeMap, HashSet};

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use folder::sample_folder;
pub use rules::Coverage;
use rules::{MOST_FOR_PAIRS, Rules, Verdict};

use crate::{GraphBuilder, KgError, KnowledgeGraph, LabelKind, Language, each_once, seed};

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
    /// Labels in all languages, or head and tail in two that differ.
    pub coverage: Coverage,
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
            coverage: Coverage::All,
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
        each_once("languages", &self.languages)?;
        if self.count == 0 {
            return Err(KgError::Config { key: "count", value: "0".into(), rule: "1 or more" });
        }
        if self.coverage == Coverage::Pairs && !(2..=MOST_FOR_PAIRS).contains(&self.languages.len())
        {
            let (value, rule) =
                (self.languages.join(","), "2 to 31 languages for coverage by pairs");
            return Err(KgError::Config { key: "languages", value, rule });
        }
        Ok(())
    }
}

impl SampleReport {
    /// Adds the counts of other triples.
    fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.read, other.read),
            (&mut self.self_loops, other.self_loops),
            (&mut self.filtered, other.filtered),
            (&mut self.short_labels, other.short_labels),
            (&mut self.without_head_label, other.without_head_label),
            (&mut self.without_tail_label, other.without_tail_label),
            (&mut self.without_relation_label, other.without_relation_label),
            (&mut self.available, other.available),
        ] {
            *sum += count;
        }
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
    /// Dropped: no label of the head in one of the languages; in pairs: in any.
    pub without_head_label: usize,
    /// Dropped: head labelled, but not the tail; in pairs: not in another language.
    pub without_tail_label: usize,
    /// Dropped: head and tail labelled, but not the relation; in pairs: not in both languages.
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
    let languages = known_languages(config, graph.languages())?;
    let (mut ranked, report) = ranked(graph, &languages, config);
    checked(&report, config, &languages)?;
    if config.stratified {
        ranked = stratified(graph, ranked, config.count);
    } else if config.count < ranked.len() {
        ranked.select_nth_unstable(config.count);
        ranked.truncate(config.count);
    }
    let mut triples: Vec<_> = ranked.into_iter().map(|(_, triple)| triple).collect();
    triples.sort_unstable();
    finish(graph, &triples, (&languages, config), report)
}

/// The languages asked for, all of which must have a label.
fn known_languages(config: &SampleConfig, all: &[Language]) -> Result<Vec<Language>, KgError> {
    let same = |known: &Language, code: &str| known.as_str().eq_ignore_ascii_case(code);
    let known = |code: &String| all.iter().copied().find(|known| same(known, code));
    let languages = config.languages.iter();
    languages.map(|code| known(code).ok_or_else(|| KgError::unknown_language(code, all))).collect()
}

/// Says if too few triples can be sampled.
fn checked(
    report: &SampleReport,
    config: &SampleConfig,
    languages: &[Language],
) -> Result<(), KgError> {
    if report.available == 0 {
        let codes: Vec<_> = languages.iter().map(Language::as_str).collect();
        let which = match config.coverage {
            Coverage::All => "all",
            Coverage::Pairs => "two",
        };
        return Err(KgError::Empty {
            what: format!("triples with labels in {which} of {}", codes.join(", ")),
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
    if config.strict && report.available < config.count {
        return Err(KgError::TooFew { requested: config.count, available: report.available });
    }
    Ok(())
}

/// The sampled triples, sorted, with their labels.
fn finish(
    graph: &KnowledgeGraph,
    triples: &[[u32; 3]],
    (languages, config): (&[Language], &SampleConfig),
    mut report: SampleReport,
) -> Result<(KnowledgeGraph, SampleReport), KgError> {
    report.kept = triples.len();
    let mut sampled = graph.subgraph(triples, |language| languages.contains(&language));
    if config.missing_relation == MissingRelation::English {
        (sampled, report.english_relation_labels) =
            with_english_relations(graph, sampled, triples, languages)?;
    }
    Ok((sampled, report))
}

/// A triple of interned ids with its random rank.
type Ranked = (u64, [u32; 3]);

/// The triples that have the labels asked for, each with its rank, and the counts of the others.
fn ranked(
    graph: &KnowledgeGraph,
    languages: &[Language],
    config: &SampleConfig,
) -> (Vec<Ranked>, SampleReport) {
    let rules = Rules::new(config, languages);
    let bits = graph.labels.iter().map(|labels| {
        let labels: Vec<_> = labels.iter().map(|(code, label)| (*code, &**label)).collect();
        rules.bits(&labels)
    });
    let bits: Vec<u64> = bits.collect();
    let bits =
        |id: u32| usize::try_from(id).ok().and_then(|id| bits.get(id)).copied().unwrap_or_default();
    let wanted = Wanted::new(graph, config);
    let ranks = Ranks::new(config.seed);
    let mut report =
        SampleReport { read: graph.len(), requested: config.count, ..SampleReport::default() };
    let mut ranked = Vec::new();
    for triple in &graph.triples {
        let [head, _, tail] = *triple;
        if head == tail {
            report.self_loops += 1;
        } else if !wanted.takes(*triple) {
            report.filtered += 1;
        } else {
            let verdict = rules.judge(triple.map(bits));
            report.count(verdict);
            if verdict == Verdict::Usable {
                ranked.push((ranks.rank(triple.map(|id| graph.id_at(id))), *triple));
            }
        }
    }
    (ranked, report)
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

/// At most `count` triples, of each relation those with the smallest ranks.
fn stratified(graph: &KnowledgeGraph, ranked: Vec<Ranked>, count: usize) -> Vec<Ranked> {
    let mut groups: BTreeMap<&str, Vec<Ranked>> = BTreeMap::new();
    for (rank, triple) in ranked {
        let [_, relation, _] = triple;
        groups.entry(graph.id_at(relation)).or_default().push((rank, triple));
    }
    let sizes = groups.iter().map(|(relation, group)| (*relation, group.len())).collect();
    let mut taken = Vec::new();
    for (relation, quota) in share(sizes, count) {
        let mut group = groups.remove(relation).unwrap_or_default();
        group.sort_unstable();
        group.truncate(quota);
        taken.extend(group);
    }
    taken
}

/// How many triples each relation gives, by how many it has. Relations with few triples give all of
/// them, the others share the rest evenly.
fn share<T: Ord>(mut sizes: Vec<(T, usize)>, count: usize) -> Vec<(T, usize)> {
    sizes.sort_unstable_by(|(a, few), (b, many)| (few, a).cmp(&(many, b)));
    let (mut left, mut taken) = (sizes.len(), 0);
    let share = |(relation, size): (T, usize)| {
        let quota = size.min((count - taken) / left.max(1));
        (left, taken) = (left.saturating_sub(1), taken + quota);
        (relation, quota)
    };
    sizes.into_iter().map(share).collect()
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

/// Random numbers that depend on the seed and the three ids of a triple alone.
struct Ranks {
    key: u64,
}

impl Ranks {
    fn new(seed: u64) -> Self {
        Self { key: ChaCha8Rng::seed_from_u64(seed).next_u64() }
    }

    /// Two ChaCha steps: equal facts under two seeds, or two facts under one, share nothing that
    /// shows.
    fn rank(&self, ids: [&str; 3]) -> u64 {
        ChaCha8Rng::seed_from_u64(seed::hash(&ids) ^ self.key).next_u64()
    }
}
