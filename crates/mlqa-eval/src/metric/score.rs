//! Exact match and F1, equal to the official scripts' values in every digit.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::normalize::Steps;
use super::token_buffer::TokenBuffer;
use crate::files::write_json;
use crate::{
    Dataset, Error, Interval, Language, Normalization, Predictions, Resampling, bootstrap,
};

/// The result of a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionScore {
    /// The question's id.
    #[serde(skip)]
    pub id: String,
    /// Whether the normalised prediction equals a normalised gold answer.
    #[serde(serialize_with = "as_integer")]
    pub exact_match: bool,
    /// Highest token F1 over the gold answers, 0 to 1.
    pub f1: f64,
    /// Whether the question has a prediction.
    pub answered: bool,
}

/// The scores of a question file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Percentage of exact matches among all questions.
    pub exact_match: f64,
    /// Mean F1 of all questions, times 100.
    pub f1: f64,
    /// Number of questions.
    pub questions: usize,
    /// Ids of questions without a prediction, in file order; they count as 0.
    pub unanswered: Vec<String>,
    /// Every question's result, in file order.
    #[serde(skip)]
    pub per_question: Vec<QuestionScore>,
}

/// Bootstrap intervals of a score, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ScoreIntervals {
    /// [`Resampling::level`].
    pub level: f64,
    /// Lower and upper end of the interval of exact match.
    pub exact_match_interval: [f64; 2],
    /// Lower and upper end of the interval of F1.
    pub f1_interval: [f64; 2],
}

impl Score {
    /// Computes confidence intervals: [`bootstrap`] over [`Score::per_question`].
    ///
    /// # Errors
    /// The same errors as [`bootstrap`].
    pub fn intervals(&self, config: &Resampling) -> Result<ScoreIntervals, Error> {
        let interval = |value: fn(&QuestionScore) -> f64| {
            bootstrap(&self.per_question.iter().map(value).collect::<Vec<_>>(), config)
                .map(|Interval { low, high, .. }| [low, high])
        };
        Ok(ScoreIntervals {
            level: config.level,
            exact_match_interval: interval(|one| f64::from(u8::from(one.exact_match)) * 100.0)?,
            f1_interval: interval(|one| one.f1 * 100.0)?,
        })
    }

    /// Computes the score from the results of all questions.
    pub fn of(per_question: Vec<QuestionScore>) -> Self {
        let (exact_match, f1, questions) = mean_percent(&per_question);
        let unanswered = per_question.iter().filter(|one| !one.answered);
        let unanswered = unanswered.map(|one| one.id.clone()).collect();
        Self { exact_match, f1, questions, unanswered, per_question }
    }

    /// Returns the output of the official scripts: `{"exact_match": 27.5, "f1":
    /// 50.14262371615313}`.
    pub fn official_json(&self) -> String {
        let [exact_match, f1] = [self.exact_match, self.f1].map(format_as_python);
        format!("{{\"exact_match\": {exact_match}, \"f1\": {f1}}}")
    }

    /// Writes `{"<id>": {"exact_match": 1, "f1": 1.0, "answered": true}, …}` with sorted ids,
    /// atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_per_question(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let by_id: BTreeMap<&str, &QuestionScore> =
            self.per_question.iter().map(|one| (one.id.as_str(), one)).collect();
        write_json(path.as_ref(), &by_id)
    }
}

/// Scores predictions. The scores equal those of the official scripts in every digit.
///
/// Predictions for ids that are not in `dataset` are ignored, and a missing prediction counts as 0.
/// Values are summed in file order.
///
/// ```
/// use mlqa_eval::{Dataset, Language, Normalization, Predictions, score, squad};
///
/// let text = r#"{"version": "1.0", "data": [{"paragraphs": [
///     {"context": "Ein rotes Haus.", "qas": [{"id": "q1", "question": "Was?", "answers": [
///         {"text": "rotes Haus", "answer_start": 4}]}]}]}]}"#;
/// let dataset = Dataset::from_squad(squad::File::parse(text, "test.json")?, "test.json")?;
/// let predictions = Predictions([("q1".to_owned(), "das Haus".to_owned())].into());
/// let result = score(&dataset, &predictions, Normalization::Mlqa(Language::DE))?;
/// // The article is removed, so one of the two gold words is predicted.
/// assert_eq!(result.official_json(), r#"{"exact_match": 0.0, "f1": 66.66666666666666}"#);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NoQuestions`]; [`Error::NoGold`] if an answered question has no gold answer. A language
/// without rules ([`Normalization::check`]) is no error, because its exact match is meaningful.
pub fn score(
    dataset: &Dataset,
    predictions: &Predictions,
    normalization: Normalization,
) -> Result<Score, Error> {
    score_with(dataset, predictions, Some(normalization))
}

/// Scores predictions like [`score`]. If `rules` is `None`, each question is scored by the rules of
/// the language in its id; a language without rules is an error then.
pub(crate) fn score_with(
    dataset: &Dataset,
    predictions: &Predictions,
    rules: Option<Normalization>,
) -> Result<Score, Error> {
    dataset.require_questions()?;
    // Without predictions, questions without gold answers count as 0. A file without any gold
    // answer cannot be scored.
    if let Some(question) = dataset.questions.first()
        && dataset.questions.iter().all(|question| question.answers.is_empty())
    {
        return Err(dataset.no_gold_error(question));
    }
    let fixed_steps = rules.map(Normalization::steps);
    let path = || dataset.path.clone();
    let steps_of = |id: &str| match fixed_steps {
        Some(steps) => Ok(steps),
        None => {
            let language = language_of(id).ok_or_else(|| Error::NoLanguage { path: path() })?;
            let rules = Normalization::Mlqa(language);
            rules.check().map(|()| rules.steps())
        }
    };
    let questions = dataset.questions.par_iter().with_min_len(BLOCK_QUESTIONS);
    let results: Vec<Result<QuestionScore, Error>> = questions
        .map_init(Comparison::default, |comparison, question| {
            let id = question.id.clone();
            let steps = steps_of(&id)?;
            let Some(prediction) = predictions.get(&id) else {
                return Ok(QuestionScore { id, exact_match: false, f1: 0.0, answered: false });
            };
            let golds = question.answers.iter().map(|answer| answer.text.as_str());
            match comparison.best_scores(prediction, golds, steps) {
                Some((exact_match, f1)) => {
                    Ok(QuestionScore { id, exact_match, f1, answered: true })
                }
                None => Err(dataset.no_gold_error(question)),
            }
        })
        .collect();
    // If several questions have errors, the error of the first question in file order is returned.
    Ok(Score::of(results.into_iter().collect::<Result<_, _>>()?))
}

/// Returns the language in a TyDi-style id, such as `arabic-2387335860751143628-1`.
pub(crate) fn language_of(id: &str) -> Option<Language> {
    let (name, number) = id.split_once('-')?;
    number.starts_with(|c: char| c.is_ascii_digit()).then(|| Language::by_name(name))?
}

/// Returns exact match in percent, F1 in percent and the number of questions; all are 0 without
/// questions. The arithmetic has the same order as in the official scripts.
pub(crate) fn mean_percent<'a>(
    questions: impl IntoIterator<Item = &'a QuestionScore>,
) -> (f64, f64, usize) {
    let (mut count, mut exact_matches, mut f1_sum) = (0_usize, 0_usize, 0.0);
    for question in questions {
        count += 1;
        exact_matches += usize::from(question.exact_match);
        f1_sum += question.f1;
    }
    let total = count.max(1) as f64;
    (100.0 * exact_matches as f64 / total, 100.0 * f1_sum / total, count)
}

/// Minimum number of questions that a thread scores at a time.
const BLOCK_QUESTIONS: usize = 256;

/// Reusable buffers for a normalised prediction and a normalised gold answer.
#[derive(Default)]
struct Comparison {
    predicted: TokenBuffer,
    gold: TokenBuffer,
}

impl Comparison {
    /// Returns the best exact match and the best F1 over the gold answers; `None` if there are no
    /// gold answers.
    fn best_scores<'a>(
        &mut self,
        prediction: &str,
        golds: impl Iterator<Item = &'a str>,
        steps: Steps,
    ) -> Option<(bool, f64)> {
        self.predicted.fill(steps, prediction);
        // F1 if the normalised gold answer equals the normalised prediction.
        let equal_f1 = if self.predicted.is_empty() { 0.0 } else { 1.0 };
        golds.fold(None, |best: Option<(bool, f64)>, gold| {
            let (exact_match, f1) = best.unwrap_or((false, 0.0));
            if gold == prediction {
                return Some((true, f1.max(equal_f1)));
            }
            self.gold.fill(steps, gold);
            if self.predicted == self.gold {
                return Some((true, f1.max(equal_f1)));
            }
            Some((exact_match, f1.max(overlap_f1(&self.predicted, &self.gold))))
        })
    }
}

/// Maximum number of token pairs that are compared directly, without a hash map.
const MAX_PAIRS: usize = 64 * 64;

/// Computes the F1 of two token multisets; 0 if they have no common token, even if both are empty.
pub(crate) fn overlap_f1(predicted: &TokenBuffer, gold: &TokenBuffer) -> f64 {
    let n_common = match predicted.len() * gold.len() <= MAX_PAIRS && gold.len() <= 64 {
        true => predicted.count_common_with_short(gold),
        false => count_common_with_long(predicted, gold),
    };
    if n_common == 0 {
        return 0.0;
    }
    let precision = n_common as f64 / predicted.len() as f64;
    let recall = n_common as f64 / gold.len() as f64;
    (2.0 * precision * recall) / (precision + recall)
}

fn count_common_with_long(predicted: &TokenBuffer, gold: &TokenBuffer) -> usize {
    let mut counts: HashMap<&str, usize> = HashMap::with_capacity(gold.len());
    for token in gold.iter() {
        *counts.entry(token).or_default() += 1;
    }
    let common = predicted.iter().filter(|token| match counts.get_mut(*token) {
        Some(remaining) if *remaining > 0 => {
            *remaining -= 1;
            true
        }
        _ => false,
    });
    common.count()
}

/// Formats a float like Python's `repr`: the shortest digits that parse to the same value, `60.0`
/// for whole numbers, and an exponent for absolute values below 1e-4 or of at least 1e16.
pub(crate) fn format_as_python(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if value != 0.0 && !(1e-4..1e16).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        };
    }
    format!("{value:?}")
}

// serde's `serialize_with` requires a reference.
fn as_integer<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_tokens_are_counted_equally_with_and_without_a_hash_map() {
        let rules = Normalization::Mlqa(Language::HI);
        let text = |k: usize, n: usize| {
            // Short tokens, and long tokens that differ only at the end.
            let words = (0..n).map(|at| match at * at * k % 7 {
                small @ 0..4 => format!("w{small}"),
                large => format!("wordword{large}"),
            });
            TokenBuffer::of(rules, &words.collect::<Vec<_>>().join(" "))
        };
        for n in 0..64 {
            let (predicted, gold) = (text(n, n * 3 % 17), text(3, n));
            let common = predicted.count_common_with_short(&gold);
            assert_eq!(common, count_common_with_long(&predicted, &gold), "{predicted:?} {gold:?}");
        }
        // The text has more than the 64 tokens that `count_common_with_short` supports.
        let long_text = text(1, 500);
        assert_eq!(overlap_f1(&long_text, &long_text), 1.0);
    }

    #[test]
    fn floats_are_formatted_as_in_python() {
        // python3: [repr(x) for x in (...)]
        for (value, text) in [
            (60.0, "60.0"),
            (0.0, "0.0"),
            (27.5, "27.5"),
            (50.14262371615313, "50.14262371615313"),
            (0.0001, "0.0001"),
            (8.628127696289905e-5, "8.628127696289905e-05"),
            (1e-5, "1e-05"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        ] {
            assert_eq!(format_as_python(value), text);
        }
    }
}
