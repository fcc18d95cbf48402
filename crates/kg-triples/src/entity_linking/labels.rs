use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use aho_corasick::AhoCorasick;
use language::fold_retaining_case;
use unicode_segmentation::UnicodeSegmentation;

use super::{LinkedText, Mention};
use crate::{Error, Language};

/// Minimum length of a label, in code points.
const MIN_CHARS: usize = 2;

/// Counts of used and skipped labels of a language; `labels` is the sum of the other counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LabelReport {
    /// Distinct labels; spellings of a label are one label.
    pub labels: usize,
    /// Labels skipped because they belong to several entities.
    pub ambiguous: usize,
    /// Labels skipped because they are shorter than two code points.
    pub too_short: usize,
    /// Labels used for matching.
    pub used: usize,
}

/// Counts of linked mentions in the texts of a language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkReport {
    /// Texts.
    pub texts: usize,
    /// Number of mentions.
    pub mentions: usize,
    /// Matches of labels skipped because the text is the page of the matched entity.
    pub self_links: usize,
    /// The mentioned entities.
    pub entities: BTreeSet<String>,
}

/// Finds labels of entities in text: at each position, the longest label that consists of whole
/// words of the text. Label matching replaces Wikipedia's links for texts without links. It does
/// not follow a paper.
///
/// Words are defined by Unicode Standard Annex 29. Each Han character is a word, so Chinese labels
/// match anywhere. A label does not match a word with an attached particle, such as the Arabic
/// article. A label also matches its capitalised form, which occurs at the beginning of a sentence,
/// unless this form is itself a label. Other spellings of a label match as well: texts and labels are
/// compared by [`fold_retaining_case`], so Unicode normal forms, kinds of apostrophes, invisible
/// characters, line breaks and optional marks do not matter.
///
/// ```
/// use kg_triples::entity_linking::LabelMatcher;
/// use kg_triples::Language;
///
/// let en = Language::new("en")?;
/// let labels = [(en, "city", "Q515"), (en, "city state", "Q133442"), (en, "state", "Q7275")];
/// let (matcher, _) = LabelMatcher::new(labels)?;
/// let mentions = matcher.mentions("City states aside, a city state is a state.", en);
/// let entities: Vec<_> = mentions.iter().map(|m| (m.start, m.entity.as_str())).collect();
/// assert_eq!(entities, [(0, "Q515"), (21, "Q133442"), (37, "Q7275")]);
/// # Ok::<(), kg_triples::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LabelMatcher {
    languages: BTreeMap<Language, LanguageMatcher>,
    with_self_links: bool,
}

#[derive(Clone, Debug)]
struct LanguageMatcher {
    automaton: AhoCorasick,
    /// The entity of each pattern.
    entities: Vec<String>,
}

impl LabelMatcher {
    /// Creates a matcher from triples (language, label, entity), in any order.
    ///
    /// # Errors
    /// [`Error::Value`] if a language has too many labels for one automaton.
    pub fn new<L, E>(
        labels: impl IntoIterator<Item = (Language, L, E)>,
    ) -> Result<(Self, BTreeMap<Language, LabelReport>), Error>
    where
        L: AsRef<str>,
        E: Into<String>,
    {
        // The entity is `None` if several entities have the label.
        let mut by_language: BTreeMap<Language, BTreeMap<String, Option<String>>> = BTreeMap::new();
        for (language, label, entity) in labels {
            let folded = fold_retaining_case(label.as_ref());
            let label = folded.as_str().trim();
            if label.is_empty() {
                continue;
            }
            record_label(by_language.entry(language).or_default(), label.to_owned(), entity.into());
        }
        let mut languages = BTreeMap::new();
        let mut reports = BTreeMap::new();
        for (language, labels) in by_language {
            let (matcher, report) = LanguageMatcher::new(labels)?;
            languages.insert(language, matcher);
            reports.insert(language, report);
        }
        Ok((Self { languages, with_self_links: false }, reports))
    }

    /// Links mentions of an entity also in the entity's own page. Wikipedia does not link a page to
    /// itself.
    #[must_use]
    pub fn with_self_links(self) -> Self {
        Self { with_self_links: true, ..self }
    }

    /// Returns the non-overlapping mentions in a text, in order of position.
    pub fn mentions(&self, text: &str, language: Language) -> Vec<Mention> {
        // A language without labels has no mentions.
        self.languages.get(&language).map_or_else(Vec::new, |matcher| matcher.mentions(text))
    }

    /// Sets the mentions of `text` to the matches of labels, and updates the report of the text's
    /// language. Earlier mentions are removed.
    pub fn link(&self, text: &mut LinkedText, reports: &mut BTreeMap<Language, LinkReport>) {
        let report = reports.entry(text.language).or_default();
        let mut mentions = self.mentions(&text.text, text.language);
        report.texts += 1;
        if !self.with_self_links {
            let match_count = mentions.len();
            mentions.retain(|mention| Some(&mention.entity) != text.entity.as_ref());
            report.self_links += match_count - mentions.len();
        }
        report.mentions += mentions.len();
        for mention in &mentions {
            if !report.entities.contains(&mention.entity) {
                report.entities.insert(mention.entity.clone());
            }
        }
        text.mentions = mentions;
    }
}

impl LanguageMatcher {
    fn new(labels: BTreeMap<String, Option<String>>) -> Result<(Self, LabelReport), Error> {
        let mut report = LabelReport { labels: labels.len(), ..LabelReport::default() };
        let mut variants = BTreeMap::new();
        let mut patterns = Vec::new();
        for (label, entity) in &labels {
            let Some(entity) = entity else {
                report.ambiguous += 1;
                continue;
            };
            if label.chars().count() < MIN_CHARS {
                report.too_short += 1;
                continue;
            }
            report.used += 1;
            patterns.push((label.clone(), entity.clone()));
            let variant = capitalise(label);
            if !labels.contains_key(&variant) {
                record_label(&mut variants, variant, entity.clone());
            }
        }
        let unambiguous = variants.into_iter().filter_map(|(label, entity)| Some((label, entity?)));
        patterns.extend(unambiguous);
        let (labels, entities): (Vec<String>, Vec<String>) = patterns.into_iter().unzip();
        let automaton = AhoCorasick::new(&labels).map_err(|error| Error::Value {
            field: "labels",
            expected: "labels that fit into one automaton".into(),
            got: error.to_string(),
        })?;
        Ok((Self { automaton, entities }, report))
    }

    fn mentions(&self, text: &str) -> Vec<Mention> {
        let folded = fold_retaining_case(text);
        let words = folded.as_str().split_word_bound_indices();
        let mut boundaries: Vec<usize> = words.map(|(at, _)| at).collect();
        boundaries.push(folded.as_str().len());
        let is_boundary = |at: usize| boundaries.binary_search(&at).is_ok();
        let mut matches: Vec<_> = self
            .automaton
            .find_overlapping_iter(folded.as_str())
            .filter(|label_match| {
                is_boundary(label_match.start()) && is_boundary(label_match.end())
            })
            .collect();
        matches.sort_unstable_by_key(|label_match| {
            (label_match.start(), usize::MAX - label_match.end())
        });

        let mut mentions = Vec::new();
        // End of the last mention, in bytes and in code points.
        let (mut bytes, mut chars) = (0, 0);
        for label_match in matches {
            let source = folded.source_range(label_match.start()..label_match.end());
            if source.start < bytes {
                continue;
            }
            let count_chars = |range: Range<usize>| text[range].chars().count();
            let start = chars + count_chars(bytes..source.start);
            let end = start + count_chars(source.clone());
            (bytes, chars) = (source.end, end);
            let entity = self.entities[label_match.pattern().as_usize()].clone();
            mentions.push(Mention { start, end, entity });
        }
        mentions
    }
}

/// Records that `label` names `entity`. The value of an ambiguous label, which names several
/// entities, is `None`.
fn record_label(labels: &mut BTreeMap<String, Option<String>>, label: String, entity: String) {
    match labels.entry(label) {
        Entry::Vacant(entry) => {
            entry.insert(Some(entity));
        }
        Entry::Occupied(mut known) => {
            if known.get().as_ref() != Some(&entity) {
                known.insert(None);
            }
        }
    }
}

fn capitalise(label: &str) -> String {
    let mut chars = label.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}
