use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use rayon::prelude::*;

use super::draw::rank;
use super::words::{Word, words};
use super::{
    PhraseConfig, PhraseOccurrences, PhrasePassage, PhraseReport, QueryDocuments, StopWords,
    TextSpan,
};
use crate::{Error, Language};

/// Number of queries per block, which does not affect the result.
const BLOCK_QUERIES: usize = 512;
/// Minimum and maximum number of words in a phrase.
const PHRASE_WORDS: RangeInclusive<usize> = 2..=4;

/// Finds knowledge phrases of queries and the passages that contain them.
#[derive(Clone, Debug)]
pub struct PhraseMiner {
    config: PhraseConfig,
    stop_words: BTreeMap<Language, StopWords>,
}

/// Phrases and passages of one query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinedQuery {
    /// Knowledge phrases, each as a list of words, in the order of the query.
    pub phrases: Vec<Vec<String>>,
    /// The paragraphs that contain a phrase, in the order of the documents.
    pub passages: Vec<PhrasePassage>,
    /// Counts of this query. Counts that can be computed only from all queries, such as distinct
    /// passages, are 0.
    pub report: PhraseReport,
}

impl PhraseMiner {
    /// Creates a miner with the built-in stop words of each language.
    ///
    /// # Errors
    /// [`Error::Config`] for a value out of range.
    pub fn new(config: PhraseConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self { config, stop_words: BTreeMap::new() })
    }

    /// Replaces the built-in stop words of a language.
    pub fn set_stop_words(&mut self, language: Language, stop_words: StopWords) {
        self.stop_words.insert(language, stop_words);
    }

    /// Loads the built-in stop words of a language unless stop words were already set.
    fn load_stop_words(&mut self, language: Language) -> Result<(), Error> {
        if let Entry::Vacant(entry) = self.stop_words.entry(language) {
            entry.insert(StopWords::built_in(language)?);
        }
        Ok(())
    }

    /// Mines the phrases and passages of one query.
    ///
    /// 1. Candidates are the query's distinct n-grams of 2 to 4 words.
    /// 2. Candidates that begin or end with a stop word are excluded.
    /// 3. A candidate is a knowledge phrase if at least `title_fraction` of the first `titles`
    ///    titles contain it as contiguous words.
    /// 4. The paragraphs (lines) of the first `titles` documents are searched for the phrases. A
    ///    paragraph with at least `min_chars` code points that contains a phrase is a passage. All
    ///    occurrences of all phrases in it are returned.
    ///
    /// # Errors
    /// [`Error::Value`] if the language has no stop words.
    ///
    /// ```
    /// use kg_triples::Language;
    /// use kg_triples::phrases::{Document, PhraseConfig, PhraseMiner, QueryDocuments};
    ///
    /// let record = QueryDocuments {
    ///     query: "history of the Bank of England".into(),
    ///     language: Language::new("en")?,
    ///     documents: vec![Document { title: "Bank of England".into(), text: String::new() }],
    /// };
    /// let mined = PhraseMiner::new(PhraseConfig::default())?.mine(&record)?;
    /// assert_eq!(mined.phrases, [["bank", "of", "england"]]);
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn mine(&self, record: &QueryDocuments) -> Result<MinedQuery, Error> {
        let language = record.language;
        let built_in;
        let stop_words = match self.stop_words.get(&language) {
            Some(stop_words) => stop_words,
            None => {
                built_in = StopWords::built_in(language)?;
                &built_in
            }
        };
        let mut report = PhraseReport { queries: 1, ..PhraseReport::default() };
        let mut phrases = self.find_candidates(&record.query, stop_words, &mut report);
        let titles: Vec<Vec<Word>> = record
            .documents
            .iter()
            .take(self.config.titles)
            .map(|document| words(&document.title))
            .collect();
        report.titles = titles.len();
        phrases.retain(|phrase| {
            let count = titles.iter().filter(|title| contains_phrase(title, phrase)).count();
            // The comparison is exact, because division is correctly rounded: 7 / 10 equals the
            // literal 0.7.
            !titles.is_empty() && count as f64 / titles.len() as f64 >= self.config.title_fraction
        });
        report.phrases = phrases.len();
        report.queries_with_phrases = usize::from(!phrases.is_empty());
        let passages = if phrases.is_empty() {
            Vec::new()
        } else {
            self.find_passages(record, &PhraseFinder::new(&phrases), &mut report)
        };
        Ok(MinedQuery { phrases, passages, report })
    }

    /// Returns the distinct n-grams of a query that pass the stop-word filter.
    fn find_candidates(
        &self,
        query: &str,
        stop_words: &StopWords,
        report: &mut PhraseReport,
    ) -> Vec<Vec<String>> {
        let query = words(query);
        let mut distinct = HashSet::new();
        let mut candidates = Vec::new();
        for ngram in ngrams(&query) {
            if distinct.insert(word_texts(ngram)) {
                report.candidates += 1;
                if !stop_words.excludes(ngram) {
                    candidates.push(word_texts(ngram));
                }
            }
        }
        report.after_stop_words = candidates.len();
        candidates
    }

    /// Returns the paragraphs that are long enough and contain a phrase, from the query's first
    /// `config.titles` documents.
    fn find_passages(
        &self,
        record: &QueryDocuments,
        finder: &PhraseFinder,
        report: &mut PhraseReport,
    ) -> Vec<PhrasePassage> {
        let mut passages = Vec::new();
        let documents = record.documents.iter().take(self.config.titles);
        for paragraph in documents.flat_map(|document| document.text.split('\n')) {
            let text = paragraph.trim_matches(|c: char| c.is_whitespace() || c.is_control());
            if text.is_empty() {
                continue;
            }
            report.paragraphs += 1;
            if text.chars().count() < self.config.min_chars {
                report.too_short += 1;
                continue;
            }
            let occurrences = finder.find(text);
            if !occurrences.is_empty() {
                report.paragraphs_with_phrases += 1;
                passages.push(PhrasePassage {
                    language: record.language,
                    text: text.to_owned(),
                    phrases: sort_by_position(occurrences),
                });
            }
        }
        passages
    }
}

/// Iterates over the n-grams whose length is in [`PHRASE_WORDS`], sorted by position and then by
/// length. A list of w words has `Σₙ max(0, w − n + 1)` n-grams.
fn ngrams(words: &[Word]) -> impl Iterator<Item = &[Word]> {
    let from = move |start| PHRASE_WORDS.filter_map(move |size| words.get(start..start + size));
    (0..words.len()).flat_map(from)
}

fn word_texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.clone()).collect()
}

fn contains_phrase(words: &[Word], phrase: &[String]) -> bool {
    words.windows(phrase.len().max(1)).any(|window| {
        window.len() == phrase.len()
            && window.iter().zip(phrase).all(|(word, unit)| word.text == *unit)
    })
}

/// Finds phrases in a text by comparing sequences of words.
struct PhraseFinder {
    names: HashMap<Vec<String>, String>,
    sizes: BTreeSet<usize>,
}

impl PhraseFinder {
    fn new(phrases: &[Vec<String>]) -> Self {
        let names = phrases.iter().map(|phrase| (phrase.clone(), phrase.join(" "))).collect();
        Self { names, sizes: phrases.iter().map(Vec::len).collect() }
    }

    /// Finds every occurrence of every phrase.
    fn find(&self, text: &str) -> BTreeMap<String, Vec<TextSpan>> {
        let words = words(text);
        let mut occurrences: BTreeMap<String, Vec<TextSpan>> = BTreeMap::new();
        for &size in &self.sizes {
            for window in words.windows(size.max(1)) {
                if let (Some(name), Some(first), Some(last)) =
                    (self.names.get(&word_texts(window)), window.first(), window.last())
                {
                    let span = TextSpan { start: first.start, end: last.end };
                    occurrences.entry(name.clone()).or_default().push(span);
                }
            }
        }
        occurrences
    }
}

/// Sorts phrases by the start of their first occurrence. If two phrases start at one position, the
/// longer one comes first.
fn sort_by_position(spans_by_phrase: BTreeMap<String, Vec<TextSpan>>) -> Vec<PhraseOccurrences> {
    let mut phrases: Vec<PhraseOccurrences> = spans_by_phrase
        .into_iter()
        .map(|(phrase, occurrences)| PhraseOccurrences { phrase, occurrences })
        .collect();
    phrases.sort_by_key(|phrase| {
        phrase.occurrences.first().map(|span| (span.start, std::cmp::Reverse(span.end)))
    });
    phrases
}

/// Mines all queries and returns the passages by language, in order of discovery.
///
/// A passage that is found for several queries is returned once with all phrases of these queries.
/// Each passage has a random number that depends on seed and text. With [`PhraseConfig::equalise`],
/// the passages with the smallest numbers are selected, so the selection depends neither on the
/// order of the queries nor on the number of threads. Queries are processed in blocks; all passages
/// are held in memory.
///
/// # Errors
/// The first error of `records`; [`Error::Value`] for a language without stop words.
pub fn mine_passages(
    records: impl IntoIterator<Item = Result<QueryDocuments, Error>>,
    miner: &PhraseMiner,
) -> Result<(Vec<PhrasePassage>, BTreeMap<Language, PhraseReport>), Error> {
    let mut miner = miner.clone();
    let mut reports: BTreeMap<Language, PhraseReport> = BTreeMap::new();
    let mut by_language: BTreeMap<Language, LanguagePassages> = BTreeMap::new();
    let mut records = records.into_iter();
    loop {
        let block: Vec<QueryDocuments> =
            records.by_ref().take(BLOCK_QUERIES).collect::<Result<_, _>>()?;
        if block.is_empty() {
            break;
        }
        for record in &block {
            miner.load_stop_words(record.language)?;
        }
        let mined_queries: Vec<MinedQuery> =
            block.par_iter().map(|record| miner.mine(record)).collect::<Result<_, _>>()?;
        for (record, mined) in block.iter().zip(mined_queries) {
            reports.entry(record.language).or_default().add(&mined.report);
            let passages = by_language.entry(record.language).or_default();
            for passage in mined.passages {
                let next = passages.len();
                let (_, phrases) = passages.entry(passage.text).or_insert((next, BTreeMap::new()));
                // Overwriting is correct, because the occurrences of a phrase in a text do not
                // depend on the query.
                let new_phrases = passage.phrases.into_iter();
                phrases.extend(new_phrases.map(|phrase| (phrase.phrase, phrase.occurrences)));
            }
        }
    }
    let config = &miner.config;
    // A language without passages does not limit the number of passages of the other languages.
    let min_passages = by_language.values().map(HashMap::len).filter(|count| *count > 0).min();
    let mut selected = Vec::new();
    for (language, language_passages) in by_language {
        let report = reports.entry(language).or_default();
        report.distinct_passages = language_passages.len();
        let limit = if config.equalise { min_passages } else { None };
        let limit = limit.unwrap_or(usize::MAX);
        for passage in select_passages(language, language_passages, limit, config.seed) {
            report.passages += 1;
            report.passage_phrases += passage.phrases.len();
            for phrase in &passage.phrases {
                report.phrase_words += words(&phrase.phrase).len();
                report.occurrences += phrase.occurrences.len();
            }
            selected.push(passage);
        }
    }
    Ok((selected, reports))
}

/// The distinct passages of a language. The key is the text; the value is the index of the passage
/// in the order of discovery, and the occurrences of each phrase.
type LanguagePassages = HashMap<String, (usize, BTreeMap<String, Vec<TextSpan>>)>;

/// Returns at most `limit` passages, in the order in which they were found.
fn select_passages(
    language: Language,
    passages: LanguagePassages,
    limit: usize,
    seed: u64,
) -> Vec<PhrasePassage> {
    let mut passages: Vec<_> = passages.into_iter().collect();
    if passages.len() > limit {
        passages.sort_by_cached_key(|(text, _)| (rank(seed, language, text), text.clone()));
        passages.truncate(limit);
    }
    passages.sort_unstable_by_key(|(_, (number, _))| *number);
    let passages = passages.into_iter();
    passages
        .map(|(text, (_, phrases))| PhrasePassage {
            language,
            text,
            phrases: sort_by_position(phrases),
        })
        .collect()
}
