//! Seeded samples of facts that have labels in every requested language.
mod blocks;
mod draw;
mod folder;
mod ids;
mod rules;

use std::convert::Infallible;

pub use folder::sample_folder;
pub use rules::Coverage;

use crate::{Error, KnowledgeGraph, LabelSource, Language, Triple, check_unique_languages};
use draw::{FactFilter, Ranks, draw};
use ids::IdMap;
pub(crate) use ids::Redirects;
use rules::{LabelRules, MAX_PAIR_LANGUAGES};

/// Options of [`sample`]; the defaults are the values of *Bridging the Language Gap* (section
/// III-A).
#[derive(Clone, Debug, PartialEq)]
pub struct SampleConfig {
    /// Languages in which head, relation and tail must have labels, subject to `coverage`. The
    /// default is the seven languages of MLQA.
    pub languages: Vec<String>,
    /// Whether a fact needs labels in all of these languages, or only in two of them.
    pub coverage: Coverage,
    /// Sources of labels that are used. Other labels count as missing. If `labels.tsv` has no
    /// column `source`, all sources must be listed, which is the default.
    pub label_sources: Vec<LabelSource>,
    /// Number of facts to sample.
    pub count: usize,
    /// Seed of the sample.
    pub seed: u64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self {
            languages: ["en", "de", "es", "ar", "hi", "vi", "zh"].map(String::from).into(),
            coverage: Coverage::All,
            label_sources: LabelSource::ALL.to_vec(),
            count: 20_000,
            seed: 42,
        }
    }
}

impl SampleConfig {
    fn validate(&self) -> Result<(), Error> {
        if self.languages.is_empty() {
            let rule = "one language or more";
            return Err(Error::Config { key: "languages", value: "[]".into(), rule });
        }
        check_unique_languages("languages", &self.languages)?;
        if self.count == 0 {
            return Err(Error::Config { key: "count", value: "0".into(), rule: "1 or more" });
        }
        if self.label_sources.is_empty() {
            let rule = "one source or more";
            return Err(Error::Config { key: "label_sources", value: "[]".into(), rule });
        }
        if self.coverage == Coverage::Pairs
            && !(2..=MAX_PAIR_LANGUAGES).contains(&self.languages.len())
        {
            let (value, rule) =
                (self.languages.join(","), "2 to 31 languages for coverage by pairs");
            return Err(Error::Config { key: "languages", value, rule });
        }
        Ok(())
    }

    /// Checks that sources of labels are known if only some are requested.
    fn check_sources(&self, has_label_sources: bool) -> Result<(), Error> {
        let is_missing = |source: &&LabelSource| !self.label_sources.contains(source);
        if has_label_sources || !LabelSource::ALL.iter().any(|source| is_missing(&source)) {
            return Ok(());
        }
        let names: Vec<_> = self.label_sources.iter().map(|source| source.name()).collect();
        let rule = "all sources if labels.tsv has no column `source` (extract the dump again)";
        Err(Error::Config { key: "label_sources", value: names.join(","), rule })
    }
}

/// Counts of sampled and dropped triples; `read` is the sum of `self_loops`, the three `without_…`
/// counts and `available`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleReport {
    /// Distinct triples of the graph.
    pub read: usize,
    /// Duplicate triples, which were removed and are not included in `read`.
    pub repeated: usize,
    /// Triples dropped because head and tail are the same entity.
    pub self_loops: usize,
    /// Triples dropped because the head lacks labels. With [`Coverage::All`], it lacks a label in
    /// one of the languages; with [`Coverage::Pairs`], it has no label in any of them.
    pub without_head_label: usize,
    /// Triples dropped because the head has the required labels, but the tail does not. With
    /// [`Coverage::Pairs`], this means that no label of the tail is in another language than a
    /// label of the head.
    pub without_tail_label: usize,
    /// Triples dropped because head and tail have the required labels, but the relation does not.
    /// With [`Coverage::Pairs`], this means that the relation lacks a label in one of the two
    /// languages, for every pair of languages of head and tail.
    pub without_relation_label: usize,
    /// Triples from which the sample is drawn.
    pub available: usize,
    /// Requested number of triples, `count`.
    pub requested: usize,
    /// Sampled triples: the smaller of `available` and `requested`.
    pub sampled: usize,
}

/// Samples facts uniformly without replacement. The returned graph contains these facts and their
/// labels in `config.languages`.
///
/// Each fact has a random rank that depends on the seed and the ids of head, relation and tail. The
/// facts with the lowest ranks are selected. The sample therefore depends neither on the order of
/// files nor on the text of labels, and with the same seed, a smaller sample is a subset of a
/// larger sample.
///
/// # Errors
/// [`Error::Config`] for invalid options; [`Error::UnknownLanguage`]; [`Error::Empty`] if no triple
/// has the required labels.
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
/// # Ok::<(), kg_triples::Error>(())
/// ```
pub fn sample(
    graph: &KnowledgeGraph,
    config: &SampleConfig,
) -> Result<(KnowledgeGraph, SampleReport), Error> {
    config.validate()?;
    config.check_sources(graph.has_label_sources())?;
    let languages = known_languages(config, graph.languages())?;
    let rules = LabelRules::new(config, &languages);
    let mut labels = IdMap::new(rules.bit_count());
    for (id, id_labels) in graph.ids.iter().zip(&graph.labels) {
        let id_labels = id_labels.iter().map(|label| (label.language, &*label.text, label.source));
        let id_labels: Vec<_> = id_labels.collect();
        labels.set_bits(id, rules.label_bits(&id_labels));
    }
    let filter = FactFilter { rules, labels, ranks: Ranks::new(config.seed) };
    let Ok((mut report, drawn)) = draw(config, |bound, collect| {
        let facts = graph.triples().map(|Triple { head, relation, tail }| [head, relation, tail]);
        let Ok(selected) = filter.select(facts.map(Ok::<_, Infallible>), bound);
        collect(selected);
        Ok::<_, Infallible>(())
    });
    report.repeated = graph.repeated_triples();
    check_available(&report, config, &languages)?;
    let interned = |id: Box<str>| graph.interned(&id).expect("a drawn id is in the graph");
    let triples = drawn.into_iter().map(|fact| fact.map(interned));
    let mut triples: Vec<[u32; 3]> = triples.collect();
    triples.sort_unstable();
    Ok(build_sample(graph, &triples, &languages, config, report))
}

/// Parses the requested languages and checks that each is in `available`.
fn known_languages(config: &SampleConfig, available: &[Language]) -> Result<Vec<Language>, Error> {
    let find = |code: &String| {
        available.iter().copied().find(|language| language.as_str().eq_ignore_ascii_case(code))
    };
    let languages = config.languages.iter();
    languages
        .map(|code| find(code).ok_or_else(|| Error::unknown_language(code, available)))
        .collect()
}

/// Returns an error if no triple is available.
fn check_available(
    report: &SampleReport,
    config: &SampleConfig,
    languages: &[Language],
) -> Result<(), Error> {
    if report.available == 0 {
        let codes: Vec<_> = languages.iter().map(Language::as_str).collect();
        let required = match config.coverage {
            Coverage::All => "all",
            Coverage::Pairs => "two",
        };
        return Err(Error::Empty {
            what: format!("triples with labels in {required} of {}", codes.join(", ")),
            hint: format!(
                "of {} distinct triples ({} duplicates were removed), {} have the same head and \
                 tail, {} lack a label of the head, {} of the tail, {} of the relation; request \
                 fewer languages or add labels",
                report.read,
                report.repeated,
                report.self_loops,
                report.without_head_label,
                report.without_tail_label,
                report.without_relation_label
            ),
        });
    }
    Ok(())
}

/// Builds the graph of the sampled triples, which must be sorted.
fn build_sample(
    graph: &KnowledgeGraph,
    triples: &[[u32; 3]],
    languages: &[Language],
    config: &SampleConfig,
    report: SampleReport,
) -> (KnowledgeGraph, SampleReport) {
    let sampled = graph.subgraph(triples, |language, source| {
        languages.contains(&language) && config.label_sources.contains(&source)
    });
    (sampled, SampleReport { sampled: triples.len(), ..report })
}
