//! Searches for a translated answer in its translated passage.
use mlqa_eval::Answer;
use serde::{Deserialize, Serialize};

/// How to handle an answer that occurs more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// Rejects the answer.
    #[default]
    Unique,
    /// Selects the occurrence whose relative position is nearest to the relative position of the
    /// source answer. If two occurrences are equally near, the first occurrence is selected.
    Nearest,
}

/// Search options. The paper does not specify the search; the defaults are the strictest
/// interpretation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// How to handle an answer that occurs more than once.
    pub occurrence: Occurrence,
}

/// Reason why a search has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchError {
    /// The passage does not contain the answer, or the answer is blank.
    NotFound,
    /// The answer occurs more than once, which [`Occurrence::Unique`] rejects.
    Ambiguous,
}

/// Finds `answer` in `passage`, ignoring white space around the answer.
///
/// `position`, from 0 to 1, is the relative offset of the source answer in its passage; only
/// [`Occurrence::Nearest`] uses it. Occurrences may overlap.
///
/// ```
/// use qa_translate::{Occurrence, SearchConfig, SearchError, search};
///
/// let strict = SearchConfig::default();
/// assert_eq!(search("2 und 2 sind 4", "4", 0.9, &strict).unwrap().answer_start, 13);
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &strict), Err(SearchError::Ambiguous));
/// let nearest = SearchConfig { occurrence: Occurrence::Nearest };
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &nearest).unwrap().answer_start, 6);
/// ```
///
/// # Errors
/// [`SearchError`].
pub fn search(
    passage: &str,
    answer: &str,
    position: f64,
    config: &SearchConfig,
) -> Result<Answer, SearchError> {
    let text: Vec<char> = passage.chars().collect();
    let pattern: Vec<char> = answer.trim().chars().collect();
    if pattern.is_empty() {
        return Err(SearchError::NotFound);
    }
    let windows = text.windows(pattern.len()).enumerate();
    let starts = windows.filter(|(_, window)| *window == pattern).map(|(start, _)| start);
    let distance = |start: usize| (start as f64 / text.len() as f64 - position).abs();
    let starts: Vec<usize> = starts.collect();
    let start = match (starts.as_slice(), config.occurrence) {
        ([], _) => return Err(SearchError::NotFound),
        ([start], _) => *start,
        (_, Occurrence::Unique) => return Err(SearchError::Ambiguous),
        (occurrences, Occurrence::Nearest) => occurrences
            .iter()
            .copied()
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
            .ok_or(SearchError::NotFound)?,
    };
    let characters = text.get(start..start + pattern.len()).unwrap_or_default();
    Ok(Answer::at(start, characters.iter().collect::<String>()))
}
