use serde::Serialize;

/// What became of the queries of one language, stage by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PhraseReport {
    /// Queries.
    pub queries: usize,
    /// Titles that counted.
    pub titles: usize,
    /// Different n-grams of each query.
    pub candidates: usize,
    /// Left after the stop words.
    pub after_stop_words: usize,
    /// Left after the titles: knowledge phrases, counted once a query.
    pub frequent: usize,
    /// Left without those inside longer ones, counted once a query.
    pub phrases: usize,
    /// Queries with a phrase.
    pub queries_with_phrases: usize,
    /// Paragraphs of the documents of those queries.
    pub paragraphs: usize,
    /// Of them, shorter than `min_chars`.
    pub too_short: usize,
    /// Of the rest, with a phrase, counted once a query.
    pub found: usize,
    /// Different passages among them.
    pub different: usize,
    /// Passages that stay after equalising.
    pub passages: usize,
    /// Phrases of the passages that stay, counted once a passage.
    pub passage_phrases: usize,
    /// Units of those phrases.
    pub phrase_words: usize,
    /// Occurrences of those phrases.
    pub occurrences: usize,
}

impl PhraseReport {
    pub(super) fn add(&mut self, other: &Self) {
        self.queries += other.queries;
        self.titles += other.titles;
        self.candidates += other.candidates;
        self.after_stop_words += other.after_stop_words;
        self.frequent += other.frequent;
        self.phrases += other.phrases;
        self.queries_with_phrases += other.queries_with_phrases;
        self.paragraphs += other.paragraphs;
        self.too_short += other.too_short;
        self.found += other.found;
    }

    /// Units in a phrase on average, "words per phrase" of the paper's Table 4; `None` without
    /// phrases.
    pub fn words_per_phrase(&self) -> Option<f64> {
        ratio(self.phrase_words, self.passage_phrases)
    }

    /// Phrases in a passage on average, as in Table 4; `None` without passages.
    pub fn phrases_per_passage(&self) -> Option<f64> {
        ratio(self.passage_phrases, self.passages)
    }
}

fn ratio(count: usize, total: usize) -> Option<f64> {
    (total > 0).then(|| count as f64 / total as f64)
}
