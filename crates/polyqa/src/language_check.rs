//! Comparison of the languages of passages and questions.
use std::collections::{BTreeMap, HashSet};

use mlqa_eval::{LanguageCounts, TextLanguage};

/// Characters at the beginning of a passage from which its script and language are detected.
const SAMPLE_CHARS: usize = 1000;

/// Minimum percentage of passages that must not be in other languages than a question, so that
/// BM25 selects passages for the question.
const MIN_NATIVE_PERCENT: usize = 10;

/// The languages of passages, compared with the language of a question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Comparison {
    /// The languages of passages that seem to differ from the question's language.
    pub foreign: HashSet<TextLanguage>,
    /// Number of passages in these languages.
    pub foreign_count: usize,
    /// The question's language and the most frequent one of the foreign passages.
    pub names: Option<[&'static str; 2]>,
    /// Number of all passages.
    count: usize,
}

impl Comparison {
    /// Compares a question with the number of passages in each language.
    pub fn of(question: &str, passages: &BTreeMap<TextLanguage, usize>) -> Self {
        let question = LanguageCounts::of(question);
        let mut comparison = Self::default();
        let mut max_count = 0;
        for (&language, &count) in passages {
            comparison.count += count;
            let Some(names) = question.differs_from(language) else { continue };
            comparison.foreign.insert(language);
            comparison.foreign_count += count;
            if count > max_count {
                (max_count, comparison.names) = (count, Some(names));
            }
        }
        comparison
    }

    /// Returns whether nearly all passages are in other languages than the question.
    pub fn is_mostly_foreign(&self) -> bool {
        let native_count = self.count - self.foreign_count;
        self.foreign_count > 0 && 100 * native_count < MIN_NATIVE_PERCENT * self.count
    }
}

/// Returns the language of the beginning of a passage.
pub(crate) fn passage_language(text: &str) -> TextLanguage {
    let sample_end = text.char_indices().nth(SAMPLE_CHARS);
    let sample = sample_end.map_or(text, |(end, _)| &text[..end]);
    LanguageCounts::of(sample).language()
}
