//! Calibration: the temperature and null threshold of a reader, fitted on questions with gold
//! answers.
use std::collections::HashSet;
use std::path::Path;

use mlqa_eval::{Dataset, Language, NBest, Normalization, NullOdds, Predictions, Question};
use mlqa_eval::{WindowScore, score, score_squad2};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// File name in a model's folder; transformers ignores the file.
pub(crate) const FILE_NAME: &str = "calibration.json";

/// Parameters that convert scores to probabilities and decide which questions have no answer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Divisor of the scores before the softmax (Guo et al. 2017).
    pub temperature: f64,
    /// A question has no answer if its null score exceeds its best answer's score by more than this
    /// value. `None` if every question used for the fit has an answer.
    pub null_threshold: Option<f64>,
    /// Number of questions used for the fit.
    pub questions: usize,
    /// Expected calibration error of the best answers' probabilities (ten bins of equal width), 0
    /// to 1, with a temperature of 1.
    pub calibration_error_before: f64,
    /// Expected calibration error with the fitted temperature.
    pub calibration_error_after: f64,
    /// Score by which answers from different windows were compared during the fit. The reader uses
    /// this score by default. If `calibration.json` lacks this key, the score is `raw`. If the
    /// model's folder has no `calibration.json`, the score is `margin`.
    #[serde(default, skip_serializing_if = "is_raw")]
    pub window_score: WindowScore,
}

/// Returns whether the key is omitted from the file. Earlier versions, which reject unknown keys,
/// can therefore read files with the score `raw`.
fn is_raw(score: &WindowScore) -> bool {
    *score == WindowScore::Raw
}

impl Default for Calibration {
    /// Returns a temperature of 1, no threshold, and margins over "no answer" as window scores. For
    /// readers trained on single paragraphs, margins are more comparable between windows than raw
    /// logits.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            null_threshold: None,
            questions: 0,
            calibration_error_before: 0.0,
            calibration_error_after: 0.0,
            window_score: WindowScore::Margin,
        }
    }
}

/// The questions of a file, their answers, and the language whose scoring rules apply.
pub type AnsweredFile<'a> = (&'a Dataset, &'a [NBest], Language);

/// Probability of a best answer, and whether the answer is correct.
type Prediction = (f64, bool);

impl Calibration {
    /// Fits the temperature and the null threshold on the answers to the questions in `files`.
    /// Answers are compared with gold answers by MLQA's rules for the file's language. Returns
    /// `None` if no question has a gold answer.
    ///
    /// The temperature minimises the negative log-likelihood of whether each best answer is an
    /// exact match. The threshold maximises F1, as in the official script of SQuAD 2.0.
    ///
    /// # Errors
    /// The errors of [`score`] and [`score_squad2`].
    pub fn fit(files: &[AnsweredFile]) -> Result<Option<Self>> {
        let outcomes = compare_with_gold(files)?;
        let path = "development questions".into();
        let mut merged = Dataset { path, version: None, questions: Vec::new() };
        let (mut texts, mut odds) = (Vec::new(), Vec::new());
        for (file_index, (dataset, answers, _)) in files.iter().enumerate() {
            // Questions of different files may have the same id.
            let unique_id = |id: &str| format!("{file_index} {id}");
            merged.questions.extend(
                dataset
                    .questions
                    .iter()
                    .map(|question| Question { id: unique_id(&question.id), ..question.clone() }),
            );
            texts.extend(answers.iter().map(|n_best| (unique_id(&n_best.id), best_text(n_best))));
            let file_odds = NullOdds::of(answers).0;
            odds.extend(file_odds.into_iter().map(|(id, odds)| (unique_id(&id), odds)));
        }
        let n_unanswerable = merged.questions.iter().filter(|qa| qa.answers.is_empty()).count();
        if n_unanswerable == merged.questions.len() {
            return Ok(None);
        }
        let null_threshold = match n_unanswerable {
            0 => None,
            _ => {
                let predictions = Predictions(texts.into_iter().collect());
                let scored = score_squad2(&merged, &predictions, Some(&NullOdds(odds)), 1.0)?;
                scored.best.map(|[_, f1]| f1.threshold)
            }
        };
        let temperature =
            grid_search(|temperature| log_loss(&predictions_at(&outcomes, temperature)));
        Ok(Some(Self {
            temperature,
            null_threshold,
            questions: outcomes.len(),
            calibration_error_before: calibration_error(&predictions_at(&outcomes, 1.0)),
            calibration_error_after: calibration_error(&predictions_at(&outcomes, temperature)),
            window_score: WindowScore::Raw,
        }))
    }

    /// Computes the expected calibration error on questions that were not used for the fit, with
    /// temperature 1 and with the fitted temperature.
    ///
    /// # Errors
    /// The errors of [`fit`](Self::fit).
    pub fn calibration_errors(&self, files: &[AnsweredFile]) -> Result<[f64; 2]> {
        let outcomes = compare_with_gold(files)?;
        Ok([1.0, self.temperature]
            .map(|temperature| calibration_error(&predictions_at(&outcomes, temperature))))
    }

    /// Reads the calibration in a model's folder; returns the default if there is no file.
    ///
    /// # Errors
    /// [`Error::Eval`] if the file cannot be read or parsed; [`Error::Content`] if a value is
    /// invalid.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let path = folder.as_ref().join(FILE_NAME);
        if !path.exists() {
            return Ok(Self::default());
        }
        let calibration: Self =
            mlqa_eval::read_json(&path, "a calibration, as `polyqa train` writes it")?;
        let is_valid_threshold = calibration.null_threshold.is_none_or(f64::is_finite);
        if !(calibration.temperature > 0.0
            && calibration.temperature.is_finite()
            && is_valid_threshold)
        {
            let problem = format!(
                "temperature {} and null_threshold {:?} must be finite numbers, and the temperature above 0",
                calibration.temperature, calibration.null_threshold
            );
            return Err(Error::Content { path, problem });
        }
        Ok(calibration)
    }

    /// Writes the calibration to a model's folder atomically.
    ///
    /// # Errors
    /// [`Error::Eval`] naming the file.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let path = folder.as_ref().join(FILE_NAME);
        let bytes = mlqa_eval::to_json_bytes(&path, self)?;
        Ok(mlqa_eval::write_files(&[(path, bytes)])?)
    }
}

fn best_text(n_best: &NBest) -> String {
    // Without candidates, the prediction is "no answer".
    n_best.candidates.first().map_or_else(String::new, |best| best.text.clone())
}

/// Returns the n-best list of each question, and whether the best answer is an exact match.
fn compare_with_gold<'a>(files: &[AnsweredFile<'a>]) -> Result<Vec<(&'a NBest, bool)>> {
    let mut outcomes = Vec::new();
    for &(dataset, answers, language) in files {
        let mut gold = dataset.clone();
        gold.questions.retain(|question| !question.answers.is_empty());
        let prediction = |n_best: &NBest| (n_best.id.clone(), best_text(n_best));
        let predictions = Predictions(answers.iter().map(prediction).collect());
        let mut correct_ids = HashSet::new();
        if !gold.questions.is_empty() {
            let scored = score(&gold, &predictions, Normalization::Mlqa(language))?;
            let exact_matches = scored.per_question.into_iter().filter(|score| score.exact_match);
            correct_ids.extend(exact_matches.map(|score| score.id));
        }
        outcomes.extend(answers.iter().map(|n_best| (n_best, correct_ids.contains(&n_best.id))));
    }
    Ok(outcomes)
}

/// Returns the prediction for each question at a temperature; questions without candidates are
/// omitted.
fn predictions_at(outcomes: &[(&NBest, bool)], temperature: f64) -> Vec<Prediction> {
    let prediction = |&(n_best, is_correct): &(&NBest, bool)| {
        Some((probabilities(n_best, temperature).0.first().copied()?, is_correct))
    };
    outcomes.iter().filter_map(prediction).collect()
}

/// Computes the probabilities of a question's candidates, in order, and of "no answer": a softmax
/// over candidates and "no answer". For a question without windows, "no answer" has probability 1.
pub(crate) fn probabilities(n_best: &NBest, temperature: f64) -> (Vec<f64>, f64) {
    let score = |score: f32| f64::from(score) / temperature;
    let candidates: Vec<f64> =
        n_best.candidates.iter().map(|candidate| score(candidate.score)).collect();
    let Some(null) = n_best.null_score.map(score) else { return (Vec::new(), 1.0) };
    let max_score = candidates.iter().copied().fold(null, f64::max);
    let weight = |score: f64| (score - max_score).exp();
    let total = candidates.iter().map(|&score| weight(score)).sum::<f64>() + weight(null);
    (candidates.iter().map(|&score| weight(score) / total).collect(), weight(null) / total)
}

/// Computes the mean negative log-likelihood of the outcomes.
fn log_loss(outcomes: &[Prediction]) -> f64 {
    let loss = |&(probability, is_correct): &Prediction| {
        let outcome_probability = if is_correct { probability } else { 1.0 - probability };
        -outcome_probability.max(1e-12).ln()
    };
    outcomes.iter().map(loss).sum::<f64>() / outcomes.len().max(1) as f64
}

/// Returns the temperature with the lowest loss. Evaluates the powers of two from 1/8 to 64, and
/// then refines the best exponent with steps that are halved repeatedly.
fn grid_search(loss: impl Fn(f64) -> f64) -> f64 {
    let (mut best_exponent, mut step) = (0.0f64, 3.0);
    let mut lowest_loss = loss(1.0);
    for exponent in (-3..=6).map(f64::from) {
        let candidate_loss = loss(exponent.exp2());
        if candidate_loss < lowest_loss {
            (best_exponent, lowest_loss) = (exponent, candidate_loss);
        }
    }
    while step > 0.01 {
        step /= 2.0;
        for exponent in [best_exponent - step, best_exponent + step] {
            let candidate_loss = loss(exponent.exp2());
            if candidate_loss < lowest_loss {
                (best_exponent, lowest_loss) = (exponent, candidate_loss);
            }
        }
    }
    best_exponent.exp2()
}

/// Computes the expected calibration error over ten bins of equal width.
fn calibration_error(outcomes: &[Prediction]) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); 10];
    for &(probability, is_correct) in outcomes {
        // The last bin contains its upper bound.
        let bin = (0..9).find(|&bin| probability < (bin + 1) as f64 / 10.0).unwrap_or(9);
        let (sum, correct_count) = &mut bins[bin];
        *sum += probability;
        *correct_count += f64::from(u8::from(is_correct));
    }
    // The size of a bin cancels, because it is the bin's weight and the divisor of its means.
    bins.iter().map(|(sum, correct_count)| (sum - correct_count).abs()).sum::<f64>()
        / outcomes.len().max(1) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use mlqa_eval::Candidate;

    use super::*;

    fn n_best(id: usize, scores: &[f32], null: f32) -> NBest {
        let candidate = |&score: &f32| Candidate { score, text: "a".into(), ..Default::default() };
        NBest {
            id: id.to_string(),
            candidates: scores.iter().map(candidate).collect(),
            null_score: Some(null),
            null: false,
        }
    }

    #[test]
    fn probabilities_are_a_softmax_with_the_null_score() {
        let (candidates, null) = probabilities(&n_best(0, &[2.0, 1.0], 0.5), 2.0);
        let weight = |score: f64| (score / 2.0).exp();
        let total = weight(2.0) + weight(1.0) + weight(0.5);
        for (actual, expected) in candidates.iter().chain([&null]).zip([2.0, 1.0, 0.5]) {
            assert!((actual - weight(expected) / total).abs() < 1e-12);
        }
        let no_windows = NBest { null_score: None, ..n_best(0, &[], 0.0) };
        assert_eq!(probabilities(&no_windows, 1.0), (vec![], 1.0));
        let extreme_scores = n_best(0, &[3e38, -3e38], 0.0);
        assert_eq!(probabilities(&extreme_scores, 0.1).0, [1.0, 0.0]);
    }

    #[test]
    fn fit_matches_confidence_to_accuracy() {
        // All answers have probability 0.98; three of four are correct.
        let data = |count: usize| {
            let gold = |k: usize| if k.is_multiple_of(4) { "b" } else { "a" };
            let qa = |k: usize| {
                serde_json::json!({ "id": k.to_string(), "question": "?",
                    "answers": [{ "text": gold(k), "answer_start": usize::from(gold(k) == "b") * 2 }] })
            };
            let qas: Vec<_> = (0..count).map(qa).collect();
            let text = serde_json::json!({ "data": [{ "paragraphs": [{ "context": "a b", "qas": qas }] }] });
            let file = mlqa_eval::squad::File::parse(&text.to_string(), "dev.json").unwrap();
            Dataset::from_squad(file, "dev.json").unwrap()
        };
        let answers: Vec<NBest> = (0..400).map(|k| n_best(k, &[4.0], 0.0)).collect();
        let fitted =
            Calibration::fit(&[(&data(400), answers.as_slice(), Language::EN)]).unwrap().unwrap();
        // σ(4 / T) = 3/4.
        let expected = 4.0 / 3.0f64.ln();
        assert!((fitted.temperature / expected - 1.0).abs() < 0.02, "{fitted:?}");
        assert!(fitted.calibration_error_before > 0.2 && fitted.calibration_error_after < 0.01);
        assert_eq!((fitted.null_threshold, fitted.questions), (None, 400));

        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), Calibration::default());
        fitted.write(folder.path()).unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), fitted);
        let path = folder.path().join(FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"temperature\": ", "\"temperature\": -")).unwrap();
        assert!(Calibration::read(folder.path()).unwrap_err().to_string().contains("above 0"));
    }
}
