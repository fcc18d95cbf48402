use serde::Serialize;

/// Counts of the mining stages for one language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhraseReport {
    /// Queries.
    pub queries: usize,
    /// Titles used.
    pub titles: usize,
    /// Candidates: distinct n-grams of each query, summed over all queries.
    pub candidates: usize,
    /// Candidates that pass the stop-word filter.
    pub after_stop_words: usize,
    /// Candidates that also pass the title filter, which are the knowledge phrases.
    pub phrases: usize,
    /// Queries with a phrase.
    pub queries_with_phrases: usize,
    /// Non-blank paragraphs in the documents of queries with a phrase.
    pub paragraphs: usize,
    /// Paragraphs shorter than `min_chars`.
    pub too_short: usize,
    /// Paragraphs that contain a phrase and are not too short. A paragraph that is found for
    /// several queries is counted once for each query.
    pub paragraphs_with_phrases: usize,
    /// Distinct passages before equalisation (`equalise`).
    pub distinct_passages: usize,
    /// Passages after equalisation.
    pub passages: usize,
    /// Distinct phrases of each passage, summed over all passages after equalisation.
    pub passage_phrases: usize,
    /// Words of the phrases that `passage_phrases` counts.
    pub phrase_words: usize,
    /// Occurrences of the phrases that `passage_phrases` counts.
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

    /// Returns the average number of words per phrase, as in the paper's Table 4, or `None` if
    /// there are no phrases.
    pub fn words_per_phrase(&self) -> Option<f64> {
        ratio(self.phrase_words, self.passage_phrases)
    }

    /// Returns the average number of phrases per passage, as in the paper's Table 4, or `None` if
    /// there are no passages.
    pub fn phrases_per_passage(&self) -> Option<f64> {
        ratio(self.passage_phrases, self.passages)
    }
}

fn ratio(count: usize, total: usize) -> Option<f64> {
    (total > 0).then(|| count as f64 / total as f64)
}
