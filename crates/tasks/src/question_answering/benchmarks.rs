//! Files of MLQA and XQuAD with context and question in the same language.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mlqa_eval::{Dataset, Language, SetScores, find_language_file};

use super::{QaPredictor, QuestionFile, evaluate, question_file};
use crate::Result;

/// Lists MLQA's files of `split` in `folder`, one per language, without checking that they exist.
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use mlqa_eval::Language;
/// use tasks::question_answering::mlqa_files;
///
/// let files = mlqa_files(Path::new("MLQA_V1/test"), "test", &[Language::EN, Language::DE]);
/// assert!(files[1].path.ends_with("test-context-de-question-de.json"));
/// assert!(!files[1].squad_rules);
/// ```
pub fn mlqa_files(folder: &Path, split: &str, languages: &[Language]) -> Vec<QuestionFile> {
    let path = |language| question_file(folder, split, language, language);
    list_files(languages, false, path)
}

/// Lists XQuAD's files in `folder`, one per language, without checking that they exist. The files
/// are also scored by SQuAD's English rules.
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use mlqa_eval::Language;
/// use tasks::question_answering::xquad_files;
///
/// let files = xquad_files(Path::new("../../data/xquad"), &[Language::DE]);
/// assert!(files[0].path.exists() && files[0].squad_rules);
/// ```
pub fn xquad_files(folder: &Path, languages: &[Language]) -> Vec<QuestionFile> {
    list_files(languages, true, |language| {
        find_language_file(folder, &format!("xquad.{language}.json"))
    })
}

fn list_files(
    languages: &[Language],
    squad_rules: bool,
    path: impl Fn(Language) -> PathBuf,
) -> Vec<QuestionFile> {
    let file = |&language: &Language| QuestionFile {
        context: language,
        question: language,
        path: path(language),
        squad_rules,
    };
    languages.iter().map(file).collect()
}

/// Checks that question files can be scored, to detect damaged files before training.
///
/// # Errors
/// [`Error::Eval`](crate::Error::Eval) naming a file that cannot be read, or a question without
/// gold answer.
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use mlqa_eval::Language;
/// use tasks::question_answering::{check_files, xquad_files};
///
/// check_files(&xquad_files(Path::new("../../data/xquad"), &[Language::DE]))?;
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn check_files<'a>(files: impl IntoIterator<Item = &'a QuestionFile>) -> Result<()> {
    for file in files {
        Dataset::read(&file.path)?.check_scorable()?;
    }
    Ok(())
}

/// Runs [`evaluate()`] on several sets of files, such as MLQA and XQuAD. Predictions are written to
/// `out/<set>/predictions-context-<lang>-question-<lang>.json`.
///
/// # Errors
/// The errors of [`evaluate()`].
///
/// # Example
/// ```
/// use std::collections::BTreeMap;
///
/// use mlqa_eval::{Language, SetSummary, WindowConfig};
/// use tasks::question_answering::{QaPredictor, evaluate_sets, mlqa_files};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let folder = tempfile::tempdir().unwrap();
/// let files = mlqa_files(folder.path(), "test", &[Language::EN]);
/// std::fs::write(&files[0].path, r#"{"data": [{"paragraphs": [{"context": "A red house.",
///     "qas": [{"id": "q1", "question": "Which?", "answers": [{"text": "red", "answer_start": 2}]}
///     ]}]}]}"#).unwrap();
/// let sets = BTreeMap::from([("mlqa".to_owned(), files)]);
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let predictor = QaPredictor::new(&model, &tokenizer, &windows);
/// let scores = evaluate_sets(&predictor, &sets, &[1, 3], &folder.path().join("predictions"))?;
/// let summary = SetSummary::by_set(&[&scores], &[]);
/// assert_eq!(summary["mlqa"].scores["en"].em, scores["mlqa"][0].em);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn evaluate_sets(
    predictor: &QaPredictor<'_>,
    sets: &BTreeMap<String, Vec<QuestionFile>>,
    top_k: &[usize],
    out: &Path,
) -> Result<SetScores> {
    let mut scores = SetScores::new();
    for (set, files) in sets {
        let file_scores = evaluate(predictor, files, "predictions", top_k, &out.join(set))?;
        scores.insert(set.clone(), file_scores);
    }
    Ok(scores)
}
