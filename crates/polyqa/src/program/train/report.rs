//! Log messages before training and scores after training.
use std::collections::BTreeSet;

use crate::{AnsweredFile, Calibration, NoAnswer, NoAnswerFit};
use anyhow::Result;
use experiment::log;
use mlqa_eval::{
    InvalidAction, Language, NBest, Normalization, NullOdds, Predictions, Squad2Score,
    WindowConfig, score, score_squad2,
};
use model_hub::Origin;
use results::Table;
use serde::{Deserialize, Serialize};
use trainer::FitReport;

use super::recipe::Recipe;
use super::{CORRECTIONS, Correction, DevFile, LanguageSource, TrainingData};

/// Number of training questions, and results of the training.
#[derive(Clone, Deserialize, Serialize)]
pub struct TrainingResult {
    questions: usize,
    without_answer: usize,
    /// Number of invalid questions that were skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    invalid_skipped: usize,
    /// Number of answers that were removed because they are not at their offsets. Their questions
    /// have other answers.
    #[serde(default, skip_serializing_if = "is_zero")]
    answers_removed: usize,
    /// Number of offsets that were converted to code points.
    #[serde(default, skip_serializing_if = "is_zero")]
    offsets_repaired: usize,
    steps: u64,
    final_loss: f64,
    seconds: f64,
}

impl TrainingResult {
    pub fn new(data: &TrainingData, report: &FitReport) -> Self {
        let FitReport { steps, final_loss, seconds, .. } = *report;
        let [invalid_skipped, answers_removed, offsets_repaired] = data.correction_counts();
        Self {
            questions: data.questions.questions.len(),
            without_answer: data.without_answer,
            invalid_skipped,
            answers_removed,
            offsets_repaired,
            steps,
            final_loss,
            seconds,
        }
    }
}

// serde's `skip_serializing_if` requires a reference.
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl TrainingData {
    /// Returns the numbers of skipped questions, of removed answers and of repaired offsets.
    fn correction_counts(&self) -> [usize; 3] {
        let actions =
            [InvalidAction::Skipped, InvalidAction::RemovedAnswer, InvalidAction::Repaired];
        let ids = |action| {
            let corrections =
                self.corrections.iter().filter(move |one| one.correction.action == action);
            corrections.map(|Correction { file, correction }| (file, &correction.id))
        };
        // A skipped question has a correction for each of its answers.
        actions.map(|action| match action {
            InvalidAction::Skipped => ids(action).collect::<BTreeSet<_>>().len(),
            InvalidAction::RemovedAnswer | InvalidAction::Repaired => ids(action).count(),
        })
    }
}

/// Scores of a development file.
#[derive(Serialize)]
pub struct Scores {
    file: String,
    questions: usize,
    without_answer: usize,
    language: Language,
    language_source: LanguageSource,
    /// Scores of the questions with gold answers; absent if no question has a gold answer.
    pub score: Option<AnsweredScores>,
    /// Scores of all questions by SQuAD 2.0's rules; absent if all questions have answers or there
    /// is no null threshold.
    squad2: Option<Squad2Scores>,
}

/// F1 and exact match in percent, under MLQA's rules for the language and under SQuAD's rules.
#[derive(Serialize)]
pub struct AnsweredScores {
    pub questions: usize,
    pub f1: f64,
    pub exact_match: f64,
    squad_f1: f64,
    squad_exact_match: f64,
}

/// F1 and exact match of SQuAD 2.0 in percent, with the null threshold.
#[derive(Serialize)]
struct Squad2Scores {
    f1: f64,
    exact_match: f64,
    f1_without_answer: f64,
    null_threshold: f64,
}

impl Scores {
    pub fn of(file: &DevFile, answers: &[NBest], null_threshold: Option<f64>) -> Result<Self> {
        let predictions = Predictions::from(answers);
        let mut gold = file.dataset.clone();
        gold.questions.retain(|question| !question.answers.is_empty());
        let answered_scores = match gold.questions.is_empty() {
            true => None,
            false => {
                let mlqa = score(&gold, &predictions, Normalization::Mlqa(file.language))?;
                let squad = score(&gold, &predictions, Normalization::SquadEn)?;
                Some(AnsweredScores {
                    questions: mlqa.questions,
                    f1: mlqa.f1,
                    exact_match: mlqa.exact_match,
                    squad_f1: squad.f1,
                    squad_exact_match: squad.exact_match,
                })
            }
        };
        let without_answer = file.dataset.questions.len() - gold.questions.len();
        let squad2 = match null_threshold {
            Some(threshold) if without_answer > 0 => {
                let odds = NullOdds::of(answers);
                let scored = score_squad2(&file.dataset, &predictions, Some(&odds), threshold)?;
                Some(squad2_scores(&scored, threshold))
            }
            _ => None,
        };
        let name = file.dataset.path.file_name().expect("a file that was read has a name");
        Ok(Self {
            file: name.to_string_lossy().into_owned(),
            questions: file.dataset.questions.len(),
            without_answer,
            language: file.language,
            language_source: file.language_source,
            score: answered_scores,
            squad2,
        })
    }
}

fn squad2_scores(scored: &Squad2Score, null_threshold: f64) -> Squad2Scores {
    Squad2Scores {
        f1: scored.all.f1,
        exact_match: scored.all.exact,
        f1_without_answer: scored.no_answer.map_or(0.0, |score| score.f1),
        null_threshold,
    }
}

/// `summary.json`.
#[derive(Serialize)]
pub struct Summary {
    /// Repository and commit of a downloaded model, with the digests of its files.
    pub model: Option<Origin>,
    pub windows: WindowConfig,
    pub training: Option<TrainingResult>,
    pub scores: Vec<Scores>,
    pub calibration: Option<CalibrationReport>,
}

/// The calibration, and its error on questions that were not used for the fit.
#[derive(Serialize)]
pub struct CalibrationReport {
    #[serde(flatten)]
    pub fit: Calibration,
    /// Calibration error on `data.dev`, with temperature 1 and without a fit of "no answer", and
    /// with the fitted parameters. Absent if the calibration was fitted on these questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration_error_on_dev: Option<[f64; 2]>,
}

impl CalibrationReport {
    /// Returns the report of a calibration that was fitted on the development files.
    pub fn of_dev_files(fit: Calibration) -> Self {
        Self { fit, calibration_error_on_dev: None }
    }

    /// Returns the report of a calibration that was fitted on other files than the development
    /// files.
    pub fn of_separate_files(fit: Calibration, dev: &[AnsweredFile]) -> Result<Self> {
        let errors = match dev {
            [] => None,
            _ => Some(fit.calibration_errors(dev)?),
        };
        Ok(Self { fit, calibration_error_on_dev: errors })
    }
}

/// Logs the number of training questions and the window settings.
pub fn log_training_data(recipe: &Recipe, data: &TrainingData) {
    let skipped = match data.without_answer {
        0 => String::new(),
        count => format!("; {count} without an answer are skipped"),
    };
    let negatives = match recipe.data.negatives {
        None => String::new(),
        Some(count) => format!("; up to {count} negative windows for each window with an answer"),
    };
    log(format!("{} training questions{skipped}{negatives}", data.questions.questions.len()));
    if !data.corrections.is_empty() {
        let [skipped, removed, repaired] = data.correction_counts();
        log(format!(
            "invalid questions: {skipped} skipped, {removed} answers removed from questions with other \
             answers, {repaired} offsets repaired; listed in {CORRECTIONS} of the run folder"
        ));
    }
    let (windows, default_max_length) = (&recipe.windows, WindowConfig::default().max_length);
    if windows.max_length < default_max_length {
        let WindowConfig { max_length, doc_stride, max_question_length, .. } = windows;
        log(format!(
            "windows of {max_length} tokens (default: {default_max_length}) with an overlap of {doc_stride}, \
             questions of at most {max_question_length}; set with --set windows.max_length=N, at \
             most the model's positions"
        ));
    }
}

/// Logs the languages that select the scoring rules of files.
pub fn log_languages<'f>(files: impl Iterator<Item = &'f DevFile>) {
    for DevFile { language, language_source, dataset, .. } in files {
        let source = match language_source {
            LanguageSource::Option => "data.language",
            LanguageSource::FileName => "from the file's name",
            LanguageSource::Default => {
                "the default, because the file's name has no language; set it with --language"
            }
        };
        log(format!(
            "{}: scored by MLQA's rules for {language} ({source})",
            dataset.path.display()
        ));
    }
}

/// Returns the scores as a table, and remarks about results that are not in the table.
pub fn table(scores: &[Scores], calibration: Option<&CalibrationReport>) -> (String, String) {
    let (mut tables, mut remarks) = (Vec::new(), Vec::new());
    for file_scores in scores {
        let file = &file_scores.file;
        let Some(score) = &file_scores.score else {
            remarks.push(format!("{file} is not scored: it has no gold answers."));
            continue;
        };
        let title = format!("{file}, {} questions", score.questions);
        let mut table = Table::new(title, ["F1", "EM"]);
        let percent = |value: f64| format!("{value:.2}");
        let language = file_scores.language;
        if file_scores.language_source == LanguageSource::Default {
            remarks.push(format!(
                "{file} is scored by the rules for {language}, the default; set another language with \
                 --language."
            ));
        }
        let rules = format!("MLQA's rules for {language}");
        table.add_row(rules, [score.f1, score.exact_match].map(percent));
        table.add_row("SQuAD's rules", [score.squad_f1, score.squad_exact_match].map(percent));
        if let Some(squad2) = &file_scores.squad2 {
            let rules = format!("SQuAD 2.0's rules, all {} questions", file_scores.questions);
            table.add_row(rules, [squad2.f1, squad2.exact_match].map(percent));
        }
        tables.push(table.to_string());
        if let (count @ 1.., None) = (file_scores.without_answer, &file_scores.squad2) {
            remarks.push(format!("{count} questions without an answer are not scored."));
        }
    }
    if let Some(CalibrationReport { fit, calibration_error_on_dev }) = calibration {
        let threshold = match fit.null_threshold {
            Some(threshold) => format!(", null threshold {threshold:.2}"),
            None => String::new(),
        };
        let ([before, after], data) = match calibration_error_on_dev {
            Some(errors) => (*errors, "the questions of --dev"),
            None => {
                ([fit.calibration_error_before, fit.calibration_error_after], "the same questions")
            }
        };
        remarks.push(format!(
            "Calibrated on {} questions: temperature {:.2}{threshold}; expected calibration error \
             {before:.3} before, {after:.3} after, on {data}.",
            fit.questions, fit.temperature,
        ));
        remarks.extend(no_answer_remarks(fit));
    }
    (tables.join("\n"), remarks.join("\n"))
}

/// Returns a remark for each fit of "no answer" on mismatched pairs.
fn no_answer_remarks(calibration: &Calibration) -> Vec<String> {
    let Some(NoAnswer { same_language, other_language }) = &calibration.no_answer else {
        return Vec::new();
    };
    let texts = [
        ("texts in the question's language", same_language),
        ("texts in other languages", other_language),
    ];
    let remark = |(texts, fit): (&str, &Option<NoAnswerFit>)| match fit {
        Some(fit) => format!(
            "No answer, {texts}: null threshold {:.2} rejects {:.0} % of {} mismatched pairs (AUROC \
             {:.3}) and costs {:.1} F1 on {} questions with answers.",
            fit.null_threshold,
            fit.rejected,
            fit.mismatched,
            fit.auroc,
            fit.lost_f1,
            fit.answerable,
        ),
        None => format!(
            "No answer, {texts}: not fitted, because there are too few such questions; these texts \
             always have an answer."
        ),
    };
    texts.map(remark).into()
}
