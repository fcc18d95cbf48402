//! The translated answer alone, searched in the translated passage: what is left when markers are
//! lost.
use mlqa_eval::Answer;
use serde::{Deserialize, Serialize};

/// What to do with an answer that occurs more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occurrence {
    /// Refuse it.
    #[default]
    Unique,
    /// Take the occurrence whose relative position is nearest to the source answer's; of two as
    /// near, the first.
    Nearest,
}

/// How an answer is searched. The paper says only that it is; the defaults are the strict reading.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// What to do with several occurrences.
    pub occurrence: Occurrence,
}

/// Why a search has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchFault {
    /// The passage does not hold the answer, or the answer is blank.
    NotFound,
    /// It holds it more than once, and one is required.
    Ambiguous,
}

/// Finds `answer`, without the white space around it, in `passage`. `position`, from 0 to 1, is
/// where the source answer begins, as a share of its passage; only [`Occurrence::Nearest`] reads
/// it. Occurrences may overlap.
///
/// ```
/// use qa_translate::{Occurrence, SearchConfig, SearchFault, search};
///
/// let strict = SearchConfig::default();
/// assert_eq!(search("2 und 2 sind 4", "4", 0.9, &strict).unwrap().answer_start, 13);
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &strict), Err(SearchFault::Ambiguous));
/// let nearest = SearchConfig { occurrence: Occurrence::Nearest };
/// assert_eq!(search("2 und 2 sind 4", "2", 0.9, &nearest).unwrap().answer_start, 6);
/// ```
///
/// # Errors
/// [`SearchFault`].
pub fn search(
    passage: &str,
    answer: &str,
    position: f64,
    config: &SearchConfig,
) -> Result<Answer, SearchFault> {
    let text: Vec<char> = passage.chars().collect();
    let wanted: Vec<char> = answer.trim().chars().collect();
    if wanted.is_empty() {
        return Err(SearchFault::NotFound);
    }
    let windows = text.windows(wanted.len()).enumerate();
    let starts = windows.filter(|(_, window)| *window == wanted).map(|(start, _)| start);
    let distance = |start: usize| (start as f64 / text.len() as f64 - position).abs();
    let starts: Vec<usize> = starts.collect();
    let start = match (starts.as_slice(), config.occurrence) {
        ([], _) => return Err(SearchFault::NotFound),
        ([start], _) => *start,
        (_, Occurrence::Unique) => return Err(SearchFault::Ambiguous),
        (several, Occurrence::Nearest) => several
            .iter()
            .copied()
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
            .ok_or(SearchFault::NotFound)?,
    };
    let found = text.get(start..start + wanted.len()).unwrap_or_default();
    Ok(Answer { text: found.iter().collect(), answer_start: start })
}
