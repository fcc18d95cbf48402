//! `report.html`: the answers of a run, in the format of `mlqa-eval report`.
use std::path::Path;

use mlqa_eval::Resampling;
use qa_report::{QuestionFiles, Report, ReportConfig, ReportRun};

/// Number of bootstrap samples of the questions.
const SAMPLES: usize = 1000;
/// Minimum number of samples per comparison. The smallest p-value is 1 / samples, and the
/// correction multiplies it by the number of comparisons. With this minimum, corrected p-values can
/// be as small as 0.01.
const SAMPLES_PER_COMPARISON: usize = 100;

/// Writes the report on the answers of a run folder: first trials shared by all arms, then the arms
/// in order. `is_included` selects trials by seed and name. Returns `false` if there are no
/// answers.
pub(crate) fn write(
    folder: &Path,
    arms: &[String],
    is_included: impl Fn(u64, &str) -> bool,
) -> Result<bool, mlqa_eval::Error> {
    let mut runs = ReportRun::in_run_folder(folder, &QuestionFiles::default(), is_included)?;
    if runs.is_empty() {
        return Ok(false);
    }
    runs.sort_by_key(|run| arms.iter().position(|arm| *arm == run.name));
    let comparison_count: usize = runs.iter().skip(1).map(ReportRun::pairs).sum();
    let samples = SAMPLES.max(SAMPLES_PER_COMPARISON * comparison_count);
    let config = ReportConfig {
        resampling: Resampling { samples, ..Resampling::default() },
        ..ReportConfig::default()
    };
    match Report::of(&runs, &config) {
        Ok(report) => report.write(folder.join("report.html"), &[]).map(|()| true),
        // This error also occurs if all questions are unanswerable.
        Err(mlqa_eval::Error::NoQuestions { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write_answer(folder: &Path, trial: &str, text: &str) {
        let name = "test-context-en-question-de.json";
        let questions = folder.join("questions");
        let predictions = folder.join(trial).join("predictions");
        for folder in [&questions, &predictions] {
            fs::create_dir_all(folder).unwrap();
        }
        let question = r#"{"data": [{"paragraphs": [{"context": "It is in Lima.", "qas": [{"id": "a",
            "question": "Wo?", "answers": [{"text": "Lima", "answer_start": 9}]}]}]}]}"#;
        fs::write(questions.join(name), question).unwrap();
        fs::write(predictions.join(name), format!("{{\"a\": \"{text}\"}}")).unwrap();
    }

    #[test]
    fn shared_trials_come_first_then_arms_in_recipe_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let arms = ["z".to_owned(), "a".to_owned()];
        assert!(!write(path, &arms, |_, _| true).unwrap());
        for trial in ["seed-1/a", "seed-1/z", "seed-1/reader", "seed-1/other", "seed-2/a"] {
            write_answer(path, trial, "Lima");
        }
        let is_included = |seed, arm: &str| seed == 1 && arm != "other";
        assert!(write(path, &arms, is_included).unwrap());
        let page = fs::read_to_string(path.join("report.html")).unwrap();
        assert!(
            page.contains(r#""runs":["reader","z","a"]"#)
                && page.contains("<h1>Answers to German questions about English texts</h1>")
        );
        fs::remove_dir_all(path.join("questions")).unwrap();
        assert!(write(path, &arms, is_included).unwrap_err().to_string().contains("questions"));
    }
}
