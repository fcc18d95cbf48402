//! Token matches of one gold and one predicted extraction.
use super::OieExtraction;
use super::read::is_space;

/// Precision and recall of a predicted extraction, each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Match {
    pub(super) precision: f64,
    pub(super) recall: f64,
}

/// Verbs of speech, whose arguments may be exchanged. They are searched in the predicate's text, so
/// that `said` also matches in `unsaid`.
const SPEECH: [&str; 5] = ["said", "told", "added", "adds", "says"];

/// Forms of "be", each of which matches a predicted "be".
const FORMS_OF_BE: [&str; 8] = ["be", "is", "am", "are", "was", "were", "been", "being"];

/// Compares two extractions word by word, as CaRB's `binary_linient_tuple_match`.
///
/// All arguments after the first are joined. Words match within the predicate and within each of the
/// two arguments. Without a common word of the predicates, or if the prediction has fewer arguments,
/// precision and recall are 0. If the gold predicate is a verb of speech, the prediction with
/// exchanged arguments is also compared, and the greater result counts.
pub(super) fn match_extractions(gold: &OieExtraction, predicted: &OieExtraction) -> Match {
    let gold_arguments = two_arguments(&gold.arguments);
    let predicate = (gold.predicate.as_str(), predicted.predicate.as_str());
    let straight = match_parts(predicate, &gold_arguments, &two_arguments(&predicted.arguments));
    if !SPEECH.iter().any(|verb| gold.predicate.contains(verb)) {
        return straight;
    }
    let mut exchanged = two_arguments(&predicted.arguments);
    exchanged.reverse();
    let reversed = match_parts(predicate, &gold_arguments, &exchanged);
    // By precision, then by recall, as Python compares lists.
    if reversed > straight { reversed } else { straight }
}

/// Joins all arguments after the first.
fn two_arguments(arguments: &[String]) -> Vec<String> {
    match arguments {
        [first, second, rest @ ..] => {
            let words: Vec<&str> =
                std::iter::once(second).chain(rest).map(String::as_str).collect();
            vec![first.clone(), words.join(" ")]
        }
        _ => arguments.to_vec(),
    }
}

fn match_parts(
    (gold_predicate, predicate): (&str, &str),
    gold_arguments: &[String],
    arguments: &[String],
) -> Match {
    let mut counts = Counts::default();
    let gold_words = words(gold_predicate);
    let mut unmatched = counts.add(&gold_words, predicate);
    if let Some(position) = unmatched.iter().position(|&word| word == "be")
        && FORMS_OF_BE.iter().any(|form| gold_words.contains(form))
    {
        unmatched.remove(position);
        counts.matched += 1;
    }
    if counts.matched == 0 || arguments.len() < gold_arguments.len() {
        return Match::default();
    }
    for (gold_argument, argument) in gold_arguments.iter().zip(arguments) {
        counts.add(&words(gold_argument), argument);
    }
    let share = |count: usize| match count {
        0 => 0.0,
        count => counts.matched as f64 / count as f64,
    };
    Match { precision: share(counts.predicted), recall: share(counts.gold) }
}

fn words(text: &str) -> Vec<&str> {
    text.split(is_space).filter(|word| !word.is_empty()).collect()
}

/// Numbers of words.
#[derive(Default)]
struct Counts {
    matched: usize,
    predicted: usize,
    gold: usize,
}

impl Counts {
    /// Counts the words of a part, each of which matches at most once. Returns the predicted words
    /// without a match.
    fn add<'a>(&mut self, gold: &[&str], predicted: &'a str) -> Vec<&'a str> {
        let mut unmatched = words(predicted);
        self.predicted += unmatched.len();
        self.gold += gold.len();
        for word in gold {
            if let Some(position) = unmatched.iter().position(|other| other == word) {
                unmatched.remove(position);
                self.matched += 1;
            }
        }
        unmatched
    }
}
