use serde::Serialize;

/// Counts of the mining stages for one language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhraseReport {
    /// Queries.
    pub queries: usize,
    /// Titles used.
    pub titles: usize,
    /// Distinct n-grams of each query.
    pub candidates: usize,
    /// Candidates after the stop-word filter.
    pub after_stop_words: usize,
    /// Candidates after the title filter: the knowledge phrases of each query.
    pub phrases: usize,
    /// Queries with a phrase.
    pub queries_with_phrases: usize,
    /// Paragraphs in the documents of queries that have phrases.
    pub paragraphs: usize,
    /// Paragraphs shorter than `min_chars`.
    pub too_short: usize,
    /// Paragraphs with a phrase that are not too short. A paragraph of several queries is counted
    /// for each query.
    pub paragraphs_with_phrases: usize,
    /// Distinct passages.
    pub distinct_passages: usize,
    /// Passages after equalisation.
    pub passages: usize,
    /// Distinct phrases of each passage after equalisation.
    pub passage_phrases: usize,
    /// Words of `passage_phrases`.
    pub phrase_words: usize,
    /// Occurrences of `passage_phrases`.
    pub occurrences: usize,
}

impl PhraseReport {
    pub(super) fn add(&mut self, other: &Self) {
        self.queries += other.queries;
        self.titles += other.titles;
        self.candidates += other.candidates;
        self.after_stop_words += other.after_stop_words;
        self.phrases += other.phrases;
        self.queries_with_phrases += other.queries_with_phrases;
        self.paragraphs += other.paragraphs;
        self.too_short += other.too_short;
        self.paragraphs_with_phrases += other.paragraphs_with_phrases;
    }

    /// Returns the average number of words per phrase, as in the paper's Table 4; `None` without
    /// phrases.
    pub fn words_per_phrase(&self) -> Option<f64> {
        ratio(self.phrase_words, self.passage_phrases)
    }

    /// Returns the average number of phrases per passage, as in Table 4; `None` without passages.
    pub fn phrases_per_passage(&self) -> Option<f64> {
        ratio(self.passage_phrases, self.passages)
    }
}

fn ratio(count: usize, total: usize) -> Option<f64> {
    (total > 0).then(|| count as f64 / total as f64)
}
