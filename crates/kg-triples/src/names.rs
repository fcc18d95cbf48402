//! Ranking of entity names by the number of sources that propose them, as in M-NTA (Conia et al.
//! 2023).
//!
//! Sources of names are, for example, labels of the graph, translations of labels and answers of a
//! chat model. The support of a name is the number of its sources. Names that two or more sources
//! propose are usually correct. The paper's web search is not part of this crate.
//!
//! [`shuffled_questions`] and [`count_votes`] select the candidate that is the same entity as a
//! given entity. A chat model answers a multiple-choice question in several rounds with shuffled
//! options, and the answers are counted as votes.
//!
//! ```
//! use kg_triples::names::{NameCandidate, Votes};
//!
//! let mut votes = Votes::default();
//! for (name, source) in
//!     [("München", "labels"), ("Munich", "gpt-4:en"), ("München", "mt:en"), ("münchen", "mt:fr")]
//! {
//!     votes.add(NameCandidate {
//!         entity: "Q1726".into(),
//!         language: "de".parse()?,
//!         name: name.into(),
//!         source: source.into(),
//!         primary: source == "labels",
//!     });
//! }
//! let (names, _) = votes.rank(2);
//! assert_eq!(names[0].values, [(3, "München".into(), true)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
mod choices;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use language::fold;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

pub use choices::{Answer, Question, count_votes, shuffled_questions};

use crate::folder::{LABEL_COLUMNS, LABEL_HEADERS, write_table};
use crate::jsonl::{JsonlReader, Record};
use crate::table::{for_each_alias, for_each_row};
use crate::{Error, GraphBuilder, KnowledgeGraph, Language};

/// A name that a source proposes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NameCandidate {
    /// The entity's id.
    pub entity: String,
    /// The name's language.
    #[serde(rename = "lang")]
    pub language: Language,
    /// The name.
    pub name: String,
    /// The source that proposes the name. Its id consists of a method and the language of the
    /// method's input, such as `mt:en`. A source has one vote for each name.
    pub source: String,
    /// Whether the source prefers this name to its other names for the entity, as Wikidata prefers
    /// a label to aliases.
    #[serde(default)]
    pub primary: bool,
}

impl Record for NameCandidate {
    const NAME: &'static str = "candidate of a name";

    fn invalid_reason(&self) -> Option<String> {
        let is_blank = |text: &str| text.trim().is_empty();
        match () {
            () if is_blank(&self.source) => Some("an empty source".into()),
            () => invalid_name_reason(&self.entity, &self.name),
        }
    }
}

/// The names of an entity in a language, best first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RankedNames {
    /// The entity's id.
    pub entity: String,
    /// The language.
    #[serde(rename = "lang")]
    pub language: Language,
    /// Support, name, and whether the name is primary in a source. WikiKGE-10 has the same format.
    pub values: Vec<(usize, String, bool)>,
}

impl Record for RankedNames {
    const NAME: &'static str = "list of names";

    fn invalid_reason(&self) -> Option<String> {
        if self.values.is_empty() {
            return Some("no names".into());
        }
        self.values.iter().find_map(|(_, name, _)| invalid_name_reason(&self.entity, name))
    }
}

/// Returns the reason why a name cannot be written to a table, or `None` for a valid name.
fn invalid_name_reason(entity: &str, name: &str) -> Option<String> {
    [("entity", entity), ("name", name)].into_iter().find_map(|(field, text)| {
        let is_invalid = text.trim().is_empty() || text.contains(char::is_control);
        is_invalid.then(|| format!("an empty {field} or one with a control character: {text:?}"))
    })
}

/// Counts of candidates and names, returned by [`Votes::rank`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VoteReport {
    /// Candidates.
    pub candidates: usize,
    /// Candidates ignored because they contain no letter or number.
    pub symbols_only: usize,
    /// Distinct names.
    pub names: usize,
    /// Names with at least the required number of sources.
    pub accepted: usize,
    /// Entities with an accepted name; an entity is counted once per language.
    pub entities: usize,
}

/// The spellings of a name. The value of a spelling is whether it is primary in a source, and its
/// sources.
type Spellings = BTreeMap<String, (bool, BTreeSet<String>)>;

/// Collects candidates of names, in any order, and ranks them.
#[derive(Clone, Debug, Default)]
pub struct Votes {
    names: BTreeMap<(String, Language), BTreeMap<String, Spellings>>,
    candidates: usize,
    symbols_only: usize,
}

impl Votes {
    /// Adds a candidate. If a source proposes a name several times, it has one vote.
    ///
    /// Two names are the same if their [folded](language::fold()) texts differ only in characters
    /// other than letters, marks, numbers and spaces. So case, Unicode normal form, punctuation,
    /// invisible characters and optional marks such as Arabic vowel signs do not matter, but
    /// diacritics, tone marks and viramas do. Names are returned in NFC.
    pub fn add(&mut self, candidate: NameCandidate) {
        let NameCandidate { entity, language, name, source, primary } = candidate;
        self.candidates += 1;
        let key = comparison_key(&name);
        if key.is_empty() {
            self.symbols_only += 1;
            return;
        }
        let spellings = self.names.entry((entity, language)).or_default().entry(key).or_default();
        let votes = spellings.entry(name.trim().nfc().collect()).or_default();
        votes.0 |= primary;
        votes.1.insert(source);
    }

    /// Adds the entity labels of a `labels.tsv` as candidates of the source `labels`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Header`] and [`Error::Row`].
    pub fn add_labels(&mut self, path: &Path) -> Result<(), Error> {
        for_each_row(path, &LABEL_HEADERS, |row| {
            let ([id, code, name] | [id, code, name, "entity"] | [id, code, name, "entity", _]) =
                *row
            else {
                return Ok(());
            };
            self.add(NameCandidate {
                entity: id.to_owned(),
                language: Language::new(code)?,
                name: name.to_owned(),
                source: "labels".to_owned(),
                primary: true,
            });
            Ok(())
        })?;
        Ok(())
    }

    /// Adds the aliases of entities in a table that [`extract`](crate::dump::extract()) writes, with
    /// the header `id lang alias kind source`, as candidates of the source `labels`. They are not
    /// primary.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Header`] and [`Error::Row`].
    pub fn add_aliases(&mut self, path: &Path) -> Result<(), Error> {
        for_each_alias(path, |id, language, alias| {
            self.add(NameCandidate {
                entity: id.to_owned(),
                language,
                name: alias.to_owned(),
                source: "labels".to_owned(),
                primary: false,
            });
            Ok(())
        })
    }

    /// Returns the names with at least `threshold` sources, sorted by entity and language. The
    /// names of an entity are sorted by support (highest first). Of names with equal support,
    /// primary names come first; further ties are sorted as text.
    ///
    /// Each name is returned in its best spelling: the primary spelling with the most sources, or
    /// the spelling with the most sources if none is primary.
    pub fn rank(self, threshold: usize) -> (Vec<RankedNames>, VoteReport) {
        let (candidates, symbols_only) = (self.candidates, self.symbols_only);
        let mut report = VoteReport { candidates, symbols_only, ..VoteReport::default() };
        let mut ranked = Vec::new();
        for ((entity, language), names) in self.names {
            report.names += names.len();
            let mut values: Vec<_> = names.into_values().map(best_spelling).collect();
            values.retain(|(support, _, _)| *support >= threshold);
            values.sort_by(|(support_a, name_a, primary_a), (support_b, name_b, primary_b)| {
                let rank_a = (Reverse(support_a), Reverse(primary_a), name_a);
                rank_a.cmp(&(Reverse(support_b), Reverse(primary_b), name_b))
            });
            report.accepted += values.len();
            if !values.is_empty() {
                ranked.push(RankedNames { entity, language, values });
            }
        }
        report.entities = ranked.len();
        (ranked, report)
    }
}

/// Returns the text by which names are compared, see [`Votes::add`]; empty if the name has neither
/// a letter nor a number.
fn comparison_key(name: &str) -> String {
    let folded = fold(name);
    if !folded.as_str().contains(char::is_alphanumeric) {
        return String::new();
    }
    let is_compared = |&c: &char| c.is_alphanumeric() || is_combining_mark(c);
    let words = folded.as_str().split_whitespace();
    let words = words.map(|word| word.chars().filter(is_compared).collect::<String>());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Returns the number of distinct sources of all spellings, the best spelling, and whether the best
/// spelling is primary.
fn best_spelling(spellings: Spellings) -> (usize, String, bool) {
    let sources: BTreeSet<&String> = spellings.values().flat_map(|(_, sources)| sources).collect();
    let support = sources.len();
    // If several spellings have the best rank, `min_by_key` returns the first one in text order.
    let rank = |(_, (primary, sources)): &(String, (bool, BTreeSet<String>))| {
        Reverse((*primary, sources.len()))
    };
    let best = spellings.into_iter().min_by_key(rank);
    let (name, (primary, _)) = best.expect("a name has a spelling");
    (support, name, primary)
}

/// Writes the best name of every entity in each language as a table of labels, `id lang label
/// kind`.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn write_labels(path: impl AsRef<Path>, names: &[RankedNames]) -> Result<(), Error> {
    let rows = names.iter().filter_map(|RankedNames { entity, language, values }| {
        let (_, name, _) = values.first()?;
        Some(format!("{entity}\t{language}\t{name}\tentity\n"))
    });
    Ok(write_table(path.as_ref(), LABEL_COLUMNS, rows)?.publish()?)
}

/// Counts of [`KnowledgeGraph::with_names`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamesReport {
    /// Labels that were replaced by a different name.
    pub replaced: usize,
    /// Missing labels that were added.
    pub added: usize,
}

impl KnowledgeGraph {
    /// Replaces labels of entities by their best names, and adds the best names as missing labels.
    /// The names are read from a JSONL file of [`RankedNames`]. Names of ids that are not entities
    /// of the graph are ignored. The source of a name is
    /// [`LabelSource::Language`](crate::LabelSource::Language).
    ///
    /// # Errors
    /// Errors of [`JsonlReader`].
    pub fn with_names(self, path: impl AsRef<Path>) -> Result<(Self, NamesReport), Error> {
        let (mut report, duplicate_count) = (NamesReport::default(), self.duplicate_count);
        let mut builder = GraphBuilder::from(self);
        for names in JsonlReader::<RankedNames>::open(path)? {
            let RankedNames { entity, language, values } = names?;
            let (_, name, _) = &values[0]; // a list without names is rejected
            match builder.set_entity_label(&entity, language, name) {
                Some(Some(before)) if *before != **name => report.replaced += 1,
                Some(None) => report.added += 1,
                _ => (),
            }
        }
        let mut graph = builder.build();
        graph.duplicate_count += duplicate_count;
        Ok((graph, report))
    }
}
