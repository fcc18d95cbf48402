//! Calibration: the temperature and the thresholds of "no answer" of a reader, fitted on questions
//! with gold answers.
use std::collections::HashMap;
use std::path::Path;

use mlqa_eval::{Dataset, Language, LanguageCounts, NBest, Normalization, NullOdds};
use mlqa_eval::{Predictions, Question, QuestionScore, WindowScore, score, score_squad2};
use serde::{Deserialize, Serialize};

use crate::no_answer::{NoAnswer, NoAnswerFit, ScoredOdds};
use crate::question_pairs::is_other_language;
use crate::temperature::{Prediction, calibration_error, grid_search, log_loss};
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
    /// value. `None` if every question used for the fit has an answer. Takes precedence over the
    /// thresholds of `no_answer`.
    pub null_threshold: Option<f64>,
    /// Number of questions used for the fit.
    pub questions: usize,
    /// Expected calibration error of the best answers' probabilities (ten bins of equal width), 0
    /// to 1, with a temperature of 1 and without `no_answer`, on the questions used for the fit and
    /// on mismatched pairs.
    pub calibration_error_before: f64,
    /// Expected calibration error with the fitted parameters.
    pub calibration_error_after: f64,
    /// Fits of "no answer" on mismatched pairs. `None` if the questions used for the fit include
    /// unanswerable ones, and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_answer: Option<NoAnswer>,
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
            no_answer: None,
            window_score: WindowScore::Margin,
        }
    }
}

/// The questions of a file, their answers, and the language whose scoring rules apply.
pub type AnsweredFile<'a> = (&'a Dataset, &'a [NBest], Language);

/// The n-best list of a question, and the scores of its best answer.
struct Outcome<'a> {
    n_best: &'a NBest,
    /// Whether the best answer is an exact match.
    is_correct: bool,
    /// F1 of the best answer, 0 to 1; `None` if the question has no gold answer.
    f1: Option<f64>,
    /// Whether question and context seem to be in different languages.
    is_other_language: bool,
}

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
            grid_search(|temperature| log_loss(&predictions_at(&outcomes, temperature, None)));
        Ok(Some(Self {
            temperature,
            null_threshold,
            questions: outcomes.len(),
            calibration_error_before: calibration_error(&predictions_at(&outcomes, 1.0, None)),
            calibration_error_after: calibration_error(&predictions_at(
                &outcomes,
                temperature,
                None,
            )),
            no_answer: None,
            window_score: WindowScore::Raw,
        }))
    }

    /// Fits the temperature, and the threshold and probability of "no answer", on answerable
    /// questions and on mismatched pairs: the same questions with contexts that do not answer them,
    /// without gold answers. Pairs in which question and context seem to be in different languages
    /// have a separate fit of "no answer".
    ///
    /// The probability of an answer is the probability that there is an answer, times a softmax
    /// over the candidates. The temperature of the softmax minimises the negative log-likelihood of
    /// whether each best answer is an exact match, over both kinds of questions. Returns `None` if
    /// there are too few questions (20 of each kind).
    ///
    /// # Errors
    /// The errors of [`score`].
    pub fn fit_with_mismatched(
        answerable: &[AnsweredFile],
        mismatched: &[AnsweredFile],
    ) -> Result<Option<Self>> {
        let mut outcomes = compare_with_gold(answerable)?;
        outcomes.retain(|outcome| outcome.f1.is_some());
        let questions = outcomes.len();
        outcomes.extend(compare_with_gold(mismatched)?);
        let fit = |is_other_language: bool| {
            let (mut with_answer, mut without_answer) = (Vec::new(), Vec::new());
            let of_language =
                outcomes.iter().filter(|one| one.is_other_language == is_other_language);
            for outcome in of_language {
                // Without windows, there is no score.
                let Some(odds) = outcome.n_best.null_odds() else { continue };
                match outcome.f1 {
                    Some(f1) => with_answer.push(ScoredOdds { odds, f1 }),
                    None => without_answer.push(odds),
                }
            }
            NoAnswerFit::fit(with_answer, without_answer)
        };
        let no_answer = NoAnswer { same_language: fit(false), other_language: fit(true) };
        if no_answer.fits().next().is_none() {
            return Ok(None);
        }
        let predictions_at =
            |temperature: f64| predictions_at(&outcomes, temperature, Some(&no_answer));
        let temperature = grid_search(|temperature| log_loss(&predictions_at(temperature)));
        let calibration_error_after = calibration_error(&predictions_at(temperature));
        Ok(Some(Self {
            temperature,
            null_threshold: None,
            questions,
            calibration_error_before: calibration_error(&self::predictions_at(
                &outcomes, 1.0, None,
            )),
            calibration_error_after,
            no_answer: Some(no_answer),
            window_score: WindowScore::Raw,
        }))
    }

    /// Computes the expected calibration error on questions that were not used for the fit, with
    /// temperature 1 and without `no_answer`, and with the fitted parameters.
    ///
    /// # Errors
    /// The errors of [`fit`](Self::fit).
    pub fn calibration_errors(&self, files: &[AnsweredFile]) -> Result<[f64; 2]> {
        let outcomes = compare_with_gold(files)?;
        let parameters = [(1.0, None), (self.temperature, self.no_answer.as_ref())];
        Ok(parameters.map(|(temperature, no_answer)| {
            calibration_error(&predictions_at(&outcomes, temperature, no_answer))
        }))
    }

    /// Returns the threshold of "no answer" for texts in the question's language or in other
    /// languages; `None` if these texts always have an answer.
    pub fn threshold(&self, is_other_language: bool) -> Option<f64> {
        let fit = self.no_answer_fit(is_other_language).map(|fit| fit.null_threshold);
        self.null_threshold.or(fit)
    }

    /// Returns the fit of "no answer" for texts in the question's language or in other languages.
    pub(crate) fn no_answer_fit(&self, is_other_language: bool) -> Option<&NoAnswerFit> {
        self.no_answer.as_ref()?.of(is_other_language)
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
        let invalid = calibration
            .no_answer
            .iter()
            .flat_map(NoAnswer::fits)
            .find_map(NoAnswerFit::invalid_parameter);
        if let Some((key, value)) = invalid {
            let problem = format!("no_answer: {key} is {value}, but must be a finite number");
            return Err(Error::Content { path, problem });
        }
        Ok(calibration)
    }

    /// Uses the fit of "no answer" for texts in the question's language in other languages, too,
    /// unless they have a fit of their own.
    pub(crate) fn with_one_no_answer_fit(mut self) -> Self {
        if let Some(no_answer) = &mut self.no_answer {
            no_answer.other_language = no_answer.other_language.or(no_answer.same_language);
        }
        self
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

/// Compares the best answer to each question with the gold answers.
fn compare_with_gold<'a>(files: &[AnsweredFile<'a>]) -> Result<Vec<Outcome<'a>>> {
    let mut outcomes = Vec::new();
    for &(dataset, answers, language) in files {
        let mut gold = dataset.clone();
        gold.questions.retain(|question| !question.answers.is_empty());
        let prediction = |n_best: &NBest| (n_best.id.clone(), best_text(n_best));
        let predictions = Predictions(answers.iter().map(prediction).collect());
        let mut scores: HashMap<String, QuestionScore> = HashMap::new();
        if !gold.questions.is_empty() {
            let scored = score(&gold, &predictions, Normalization::Mlqa(language))?;
            scores.extend(scored.per_question.into_iter().map(|one| (one.id.clone(), one)));
        }
        let lists: HashMap<&str, &'a NBest> =
            answers.iter().map(|n_best| (n_best.id.as_str(), n_best)).collect();
        // Questions that were not answered do not count.
        let outcome = |question: &Question| {
            let score = scores.get(&question.id);
            Some(Outcome {
                n_best: lists.get(question.id.as_str())?,
                is_correct: score.is_some_and(|score| score.exact_match),
                f1: score.map(|score| score.f1),
                is_other_language: is_other_language(
                    &LanguageCounts::of(&question.question),
                    &question.context,
                ),
            })
        };
        outcomes.extend(dataset.questions.iter().filter_map(outcome));
    }
    Ok(outcomes)
}

/// Returns the prediction for each question at a temperature, with the fits of "no answer", if
/// there are any; questions without candidates are omitted.
fn predictions_at(
    outcomes: &[Outcome<'_>],
    temperature: f64,
    no_answer: Option<&NoAnswer>,
) -> Vec<Prediction> {
    let prediction = |outcome: &Outcome<'_>| {
        let fit = no_answer.and_then(|no_answer| no_answer.of(outcome.is_other_language));
        let (probabilities, _) = probabilities(outcome.n_best, temperature, fit);
        Some((probabilities.first().copied()?, outcome.is_correct))
    };
    outcomes.iter().filter_map(prediction).collect()
}

/// Computes the probabilities of a question's candidates, in order, and of "no answer". Without a
/// fit of "no answer", they are a softmax over candidates and "no answer". With a fit, the
/// candidates share the fitted probability that there is an answer. For a question without windows,
/// "no answer" has probability 1.
fn probabilities(n_best: &NBest, temperature: f64, fit: Option<&NoAnswerFit>) -> (Vec<f64>, f64) {
    let score = |score: f32| f64::from(score) / temperature;
    let candidates: Vec<f64> =
        n_best.candidates.iter().map(|candidate| score(candidate.score)).collect();
    let Some(null) = n_best.null_score.map(score) else { return (Vec::new(), 1.0) };
    let max_candidate = candidates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total =
        |max_score: f64| -> f64 { candidates.iter().map(|&score| (score - max_score).exp()).sum() };
    let null = match (fit, n_best.null_odds()) {
        (Some(fit), Some(odds)) if !candidates.is_empty() => {
            max_candidate + total(max_candidate).ln() + fit.logit(odds)
        }
        _ => null,
    };
    let max_score = max_candidate.max(null);
    let weight = |score: f64| (score - max_score).exp();
    let total = total(max_score) + weight(null);
    (candidates.iter().map(|&score| weight(score) / total).collect(), weight(null) / total)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use mlqa_eval::{Answer, Candidate};

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
        let (candidates, null) = probabilities(&n_best(0, &[2.0, 1.0], 0.5), 2.0, None);
        let weight = |score: f64| (score / 2.0).exp();
        let total = weight(2.0) + weight(1.0) + weight(0.5);
        for (actual, expected) in candidates.iter().chain([&null]).zip([2.0, 1.0, 0.5]) {
            assert!((actual - weight(expected) / total).abs() < 1e-12);
        }
        let no_windows = NBest { null_score: None, ..n_best(0, &[], 0.0) };
        assert_eq!(probabilities(&no_windows, 1.0, None), (vec![], 1.0));
        let extreme_scores = n_best(0, &[3e38, -3e38], 0.0);
        assert_eq!(probabilities(&extreme_scores, 0.1, None).0, [1.0, 0.0]);
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
        assert_eq!((&fitted.no_answer, fitted.threshold(false)), (&None, None));

        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), Calibration::default());
        fitted.write(folder.path()).unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), fitted);
        let path = folder.path().join(FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"temperature\": ", "\"temperature\": -")).unwrap();
        assert!(Calibration::read(folder.path()).unwrap_err().to_string().contains("above 0"));
    }

    /// Returns questions with three correct answers in four, or without answers, and their n-best
    /// lists with these scores.
    fn answered(
        question: &str,
        has_answers: bool,
        scores: &[f32],
        count: usize,
    ) -> (Dataset, Vec<NBest>) {
        let answers = |k: usize| match (has_answers, k.is_multiple_of(4)) {
            (false, _) => Vec::new(),
            (true, true) => vec![Answer { text: "b".into(), answer_start: None }],
            (true, false) => vec![Answer { text: "a".into(), answer_start: None }],
        };
        let context = "The lighthouse is on the hill, and it is open to the visitors of the town.";
        let question = |k: usize| Question {
            id: k.to_string(),
            question: question.to_owned(),
            context: context.into(),
            answers: answers(k),
            title: "".into(),
        };
        let questions = (0..count).map(question).collect();
        let dataset = Dataset { path: "dev.json".into(), version: None, questions };
        (dataset, (0..count).map(|k| n_best(k, scores, 0.0)).collect())
    }

    #[test]
    fn no_answer_is_fitted_on_mismatched_pairs_by_language() {
        let (english, german) =
            ("Who built the lighthouse on the hill?", "Wer hat den Turm auf dem Hügel gebaut?");
        let answerable =
            [answered(english, true, &[6.0, 5.0], 100), answered(german, true, &[2.0, 1.0], 40)];
        let mismatched = [
            answered(english, false, &[-1.0, -2.0], 100),
            answered(german, false, &[-5.0, -6.0], 40),
        ];
        // The rules for English remove the answer "a", because it is an article.
        fn files(all: &[(Dataset, Vec<NBest>)]) -> Vec<AnsweredFile<'_>> {
            let language = Language::registered("fr").unwrap();
            all.iter().map(|(dataset, lists)| (dataset, &**lists, language)).collect()
        }
        let fit = |n: usize| {
            let (answerable, mismatched) = (files(&answerable[..n]), files(&mismatched[..n]));
            Calibration::fit_with_mismatched(&answerable, &mismatched).unwrap().unwrap()
        };
        let both = fit(2);
        assert_eq!([false, true].map(|other| both.threshold(other)), [Some(-6.0), Some(-2.0)]);
        assert_eq!((both.null_threshold, both.questions), (None, 140));
        let NoAnswer { same_language: Some(same), .. } = both.no_answer.clone().unwrap() else {
            panic!("no fit for the question's language")
        };
        assert_eq!((same.auroc, same.rejected, same.lost_f1), (1.0, 100.0, 0.0));
        assert_eq!((same.answerable, same.mismatched), (100, 100));
        // σ(1 / T) = 3/4, up to the probability of "no answer".
        assert!((both.temperature * 3f64.ln() - 1.0).abs() < 0.1, "{both:?}");
        assert!(both.calibration_error_before > 0.08 && both.calibration_error_after < 0.03);
        let english_only = fit(1);
        assert_eq!([false, true].map(|other| english_only.threshold(other)), [Some(-6.0), None]);
        let shared = english_only.with_one_no_answer_fit();
        assert_eq!([false, true].map(|other| shared.threshold(other)), [Some(-6.0); 2]);
        assert_eq!(both.clone().with_one_no_answer_fit(), both);
        let [before, after] = both.calibration_errors(&files(&answerable)).unwrap();
        assert!(after < before, "{before} {after}");
        let few = [answered(english, true, &[6.0], 10)];
        let few = Calibration::fit_with_mismatched(&files(&few), &files(&mismatched)).unwrap();
        assert_eq!(few, None);

        let folder = tempfile::tempdir().unwrap();
        both.write(folder.path()).unwrap();
        assert_eq!(Calibration::read(folder.path()).unwrap(), both);
        let path = folder.path().join(FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"slope\": ", "\"slope\": 1e999, \"x\": ", 1))
            .unwrap();
        assert!(Calibration::read(folder.path()).is_err());
    }

    #[test]
    fn answers_share_the_fitted_probability() {
        let fit = NoAnswerFit {
            null_threshold: -1.0,
            slope: 0.5,
            intercept: 2.0,
            mismatched: 20,
            answerable: 20,
            auroc: 0.9,
            rejected: 80.0,
            lost_f1: 1.0,
        };
        let (candidates, null) = probabilities(&n_best(0, &[2.0, 1.0], 0.5), 2.0, Some(&fit));
        // The null odds are 0.5 - 2, for any temperature.
        let expected = 1.0 / (1.0 + (-(0.5 * -1.5 + 2.0f64)).exp());
        assert!((null - expected).abs() < 1e-12, "{null}");
        assert!((candidates.iter().sum::<f64>() + null - 1.0).abs() < 1e-12);
        assert!((candidates[0] / candidates[1] - 0.5f64.exp()).abs() < 1e-12);
        let no_candidates = n_best(0, &[], 0.5);
        assert_eq!(probabilities(&no_candidates, 1.0, Some(&fit)), (vec![], 1.0));
    }
}
