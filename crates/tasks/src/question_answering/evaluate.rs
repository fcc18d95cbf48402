//! Evaluation on question files.
use std::path::{Path, PathBuf};

use mlqa_eval::{
    Dataset, DatasetName, DecodeConfig, FileScore, Language, Normalization, Predictions,
    QuestionSource, QuestionSources, Score, WindowConfig, count_boundaries, find_language_file,
    score, top_k_exact_match,
};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use super::QaPredictor;
use xlmr_model::Model;

use crate::{Error, Result};

/// Selection of the question languages of each context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionLanguages {
    /// All languages: generalised cross-lingual transfer (G-XLT).
    #[default]
    All,
    /// The context's language: cross-lingual transfer (XLT), for data that is not parallel.
    OfContext,
}

/// Options of an evaluation on MLQA's files.
///
/// Every context language is combined with every question language, unless `questions` is
/// [`OfContext`](QuestionLanguages::OfContext).
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use mlqa_eval::Language;
/// use tasks::question_answering::EvaluationConfig;
///
/// let config: EvaluationConfig = toml::from_str("split = \"dev\"").unwrap();
/// let files = config.files(Path::new("MLQA_V1/dev"), &[Language::EN, Language::DE]);
/// assert_eq!(files.len(), 2);
/// assert!(files[1].path.ends_with("dev-context-en-question-de.json"));
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationConfig {
    /// The split in the file names: `dev` or `test`.
    pub split: String,
    /// Languages of the context.
    #[serde(deserialize_with = "language::plausible::list")]
    pub contexts: Vec<Language>,
    /// Question languages of each context.
    #[serde(skip_serializing_if = "is_all")]
    pub questions: QuestionLanguages,
    /// Windows per batch.
    pub batch_size: usize,
    /// Span decoding.
    pub decoding: DecodeConfig,
}

/// Returns whether the value is the default, which is not serialised, so that run folders created
/// before the key existed remain valid.
fn is_all(questions: &QuestionLanguages) -> bool {
    *questions == QuestionLanguages::All
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            split: "test".into(),
            contexts: vec![Language::EN],
            questions: QuestionLanguages::All,
            batch_size: 64,
            decoding: DecodeConfig::default(),
        }
    }
}

impl EvaluationConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        check_decoding("evaluation", &self.decoding, self.batch_size)
    }

    /// Creates a predictor with these options.
    pub fn predictor<'a>(
        &self,
        model: &'a Model,
        tokenizer: &'a Tokenizer,
        windows: &WindowConfig,
    ) -> QaPredictor<'a> {
        QaPredictor::new(model, tokenizer, windows)
            .with_decoding(&self.decoding)
            .with_batch_size(self.batch_size)
    }

    /// Lists MLQA's files in `folder` for the context languages that are in `languages`. Questions
    /// are in all of `languages`, or only in the context's language.
    ///
    /// The function does not check that the files exist.
    pub fn files(&self, folder: &Path, languages: &[Language]) -> Vec<QuestionFile> {
        let contexts = self.contexts.iter().filter(|context| languages.contains(context));
        contexts
            .flat_map(|&context| languages.iter().map(move |&question| (context, question)))
            .filter(|(context, question)| is_all(&self.questions) || context == question)
            .map(|(context, question)| QuestionFile {
                context,
                question,
                path: question_file(folder, &self.split, context, question),
                squad_rules: false,
            })
            .collect()
    }
}

/// Options of an evaluation on any question files, with top-k exact match.
///
/// # Example
/// ```
/// use tasks::question_answering::ScoreConfig;
///
/// let config: ScoreConfig = toml::from_str("top_k = [1, 50]").unwrap();
/// let error = config.validate().unwrap_err().to_string();
/// assert!(error.starts_with("evaluation.top_k = [1, 50]: must be from 1"));
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScoreConfig {
    /// Windows per batch.
    pub batch_size: usize,
    /// The values of k for top-k exact match.
    pub top_k: Vec<usize>,
    /// Span decoding.
    pub decoding: DecodeConfig,
}

impl Default for ScoreConfig {
    fn default() -> Self {
        Self { batch_size: 64, top_k: vec![1, 3, 5, 10], decoding: DecodeConfig::default() }
    }
}

impl ScoreConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn validate(&self) -> Result<()> {
        check_decoding("evaluation", &self.decoding, self.batch_size)?;
        let n_best = self.decoding.n_best;
        if self.top_k.iter().all(|k| (1..=n_best).contains(k)) {
            return Ok(());
        }
        let rule = format!("from 1 to decoding.n_best = {n_best}");
        Err(Error::config("evaluation.top_k", format!("{:?}", self.top_k), rule))
    }
}

/// Validates decoding options and batch size; `section` is the section of the recipe.
pub(crate) fn check_decoding(
    section: &str,
    decoding: &DecodeConfig,
    batch_size: usize,
) -> Result<()> {
    let values = [
        ("batch_size", batch_size),
        ("decoding.n_best", decoding.n_best),
        ("decoding.max_answer_length", decoding.max_answer_length),
    ];
    match values.into_iter().find(|(_, value)| *value == 0) {
        None => Ok(()),
        Some((key, value)) => Err(Error::config(format!("{section}.{key}"), value, "1 or more")),
    }
}

/// A question file with its languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionFile {
    /// Language of context and answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
    /// SQuAD-style JSON.
    pub path: PathBuf,
    /// Whether to also report scores by SQuAD's English rules, as prescribed for XQuAD.
    pub squad_rules: bool,
}

/// Returns the path of MLQA's file in `folder`, such as `test-context-en-question-de.json`,
/// ignoring case if there is no exact match.
///
/// # Example
/// ```
/// use std::path::Path;
///
/// use mlqa_eval::Language;
/// use tasks::question_answering::question_file;
///
/// let path = question_file(Path::new("mlqa"), "test", Language::EN, Language::DE);
/// assert_eq!(path, Path::new("mlqa/test-context-en-question-de.json"));
/// ```
pub fn question_file(folder: &Path, split: &str, context: Language, question: Language) -> PathBuf {
    let name = DatasetName { split: split.to_owned(), context, question };
    find_language_file(folder, &name.to_string())
}

/// Answers question files, writes the predictions and scores them by the rules of the context
/// language.
///
/// Predictions are written to `out` under MLQA's names that begin with `split`, see
/// [`question_file`]; `questions.json` next to them lists the question files, for `mlqa-eval
/// report`. Exact match within the k best answers is computed for each k of `top_k`.
///
/// # Errors
/// [`Error::Eval`] naming a question file that cannot be read or has no gold answers, or a
/// predictions file that cannot be written; [`Error::File`] if `out` cannot be created; the errors
/// of [`QaPredictor::predict`].
///
/// # Example
/// ```
/// use mlqa_eval::{Language, WindowConfig};
/// use tasks::question_answering::{EvaluationConfig, QaPredictor, evaluate, question_file};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = question_file(folder.path(), "test", Language::EN, Language::EN);
/// std::fs::write(&path, r#"{"data": [{"paragraphs": [{"context": "It is a red house.", "qas": [
///     {"id": "q1", "question": "Which?", "answers": [{"text": "red", "answer_start": 8}]}]}]}]}"#)
///     .unwrap();
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let predictor = QaPredictor::new(&model, &tokenizer, &windows);
/// let files = EvaluationConfig::default().files(folder.path(), &[Language::EN]);
/// let out = folder.path().join("predictions");
/// let scores = evaluate(&predictor, &files, "test", &[1], &out)?;
/// assert_eq!((scores[0].questions, scores[0].em), (1, scores[0].top_k["1"]));
/// assert_eq!(mlqa_eval::Matrix::of_files("tiny", &scores).len(), 1);
/// assert!(out.join("test-context-en-question-en.json").exists());
/// assert_eq!(mlqa_eval::QuestionSources::read(&out)?.unwrap().0.len(), 1);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn evaluate(
    predictor: &QaPredictor<'_>,
    files: &[QuestionFile],
    split: &str,
    top_k: &[usize],
    out: &Path,
) -> Result<Vec<FileScore>> {
    atomic_file::fs::create_dir_all(out)?;
    let out_path = |file: &QuestionFile| question_file(out, split, file.context, file.question);
    let mut sources = QuestionSources::default();
    for file in files {
        let &QuestionFile { context, question, ref path, squad_rules } = file;
        let source = QuestionSource { path: path.clone(), context, question, squad_rules };
        let path = out_path(file);
        let name = path.file_name().expect("the path of predictions ends in a name");
        let name = name.to_string_lossy().into_owned();
        sources.insert(name, source);
    }
    sources.write(out)?;
    files.iter().map(|file| score_file(predictor, file, top_k, &out_path(file))).collect()
}

fn score_file(
    predictor: &QaPredictor<'_>,
    file: &QuestionFile,
    top_k: &[usize],
    predictions_path: &Path,
) -> Result<FileScore> {
    let &QuestionFile { context, question, .. } = file;
    let dataset = Dataset::read(&file.path)?;
    let answers = predictor.predict(&dataset.questions)?;
    let predictions = Predictions::from(answers.as_slice());
    predictions.write(predictions_path)?;
    let rules = Normalization::Mlqa(context);
    let mlqa_score = score(&dataset, &predictions, rules)?;
    let squad_score = match file.squad_rules {
        true => Some(score(&dataset, &predictions, Normalization::SquadEn)?),
        false => None,
    };
    let top_k = top_k.iter().map(|&k| {
        let percent = top_k_exact_match(&dataset, &answers, k, rules)?;
        Ok((k.to_string(), percent))
    });
    Ok(FileScore {
        context,
        question,
        questions: mlqa_score.questions,
        f1: mlqa_score.f1,
        em: mlqa_score.exact_match,
        squad_f1: squad_score.as_ref().map(|score| score.f1),
        squad_em: squad_score.as_ref().map(|score| score.exact_match),
        top_k: top_k.collect::<Result<_>>()?,
        boundary: count_boundaries(&dataset, &answers, rules)?,
    })
}

/// Answers a SQuAD-style file, writes predictions in the official format, and scores them by
/// `rules`.
///
/// # Errors
/// The errors of [`evaluate()`].
///
/// # Example
/// ```
/// use mlqa_eval::{Normalization, WindowConfig};
/// use tasks::question_answering::{QaPredictor, evaluate_file};
/// use xlmr_model::{Config, Head, Model, read_tokenizer};
///
/// let folder = tempfile::tempdir().unwrap();
/// let (path, out) = (folder.path().join("dev.json"), folder.path().join("predictions.json"));
/// std::fs::write(&path, r#"{"data": [{"paragraphs": [{"context": "It is a red house.", "qas": [
///     {"id": "q1", "question": "Which?", "answers": [{"text": "red", "answer_start": 8}]}]}]}]}"#)
///     .unwrap();
///
/// let model = Model::new(&Config::tiny(4000), &[Head::Span], tch::Device::Cpu, 1)?;
/// let tokenizer = read_tokenizer("../../data/base")?;
/// let windows = WindowConfig { max_length: 32, doc_stride: 8, ..WindowConfig::default() };
/// let predictor = QaPredictor::new(&model, &tokenizer, &windows);
/// let score = evaluate_file(&predictor, &path, Normalization::SquadEn, &out)?;
/// println!("{}", score.official_json());
/// assert!(score.questions == 1 && out.exists());
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn evaluate_file(
    predictor: &QaPredictor<'_>,
    path: impl AsRef<Path>,
    rules: Normalization,
    predictions_path: impl AsRef<Path>,
) -> Result<Score> {
    let dataset = Dataset::read(path)?;
    let answers = predictor.predict(&dataset.questions)?;
    let predictions = Predictions::from(answers.as_slice());
    predictions.write(predictions_path)?;
    Ok(score(&dataset, &predictions, rules)?)
}

#[cfg(test)]
mod tests {
    use mlqa_eval::squad;

    use super::*;
    use crate::testing::{model, tokenizer};

    /// Writes a file of questions with one gold answer each and contexts of different lengths.
    fn write_questions(path: &Path) {
        let facts = [("Peru", "Lima", 8), ("Japan", "Tokyo", 1), ("Egypt", "Cairo", 4)];
        let paragraph = |(number, (country, city, count)): (usize, (&str, &str, usize))| {
            let context = format!("The capital of {country} is {city} . ").repeat(count);
            let answer = squad::Answer {
                text: city.into(),
                answer_start: context.find(city),
                extra: squad::Extra::default(),
            };
            squad::Paragraph {
                context: context.into(),
                qas: vec![squad::Qa {
                    id: format!("q{number}"),
                    question: format!("What is the capital of {country} ?"),
                    answers: Some(vec![answer]),
                    extra: squad::Extra::default(),
                }],
                extra: squad::Extra::default(),
            }
        };
        let article = squad::Article {
            title: "".into(),
            paragraphs: facts.into_iter().enumerate().map(paragraph).collect(),
            extra: squad::Extra::default(),
        };
        squad::File { data: vec![article], ..squad::File::default() }.write(path).unwrap();
    }

    #[test]
    fn scores_equal_the_scores_of_written_predictions() {
        let (model, tokenizer, folder) = (model(4000), tokenizer(), tempfile::tempdir().unwrap());
        let windows = WindowConfig { max_length: 40, doc_stride: 10, ..WindowConfig::default() };
        let predictor = QaPredictor::new(&model, &tokenizer, &windows).with_batch_size(2);
        let (en, de) = (Language::EN, Language::DE);
        let config = EvaluationConfig { contexts: vec![de, Language::ZH], ..Default::default() };
        let mut files = config.files(folder.path(), &[en, de]);
        let pairs: Vec<_> = files.iter().map(|file| (file.context, file.question)).collect();
        assert_eq!(pairs, [(de, en), (de, de)]);
        let same_language =
            EvaluationConfig { questions: QuestionLanguages::OfContext, ..config.clone() };
        let pairs = same_language.files(folder.path(), &[en, de]);
        let pairs: Vec<_> = pairs.iter().map(|file| (file.context, file.question)).collect();
        assert_eq!(pairs, [(de, de)]);
        for file in &mut files {
            write_questions(&file.path);
            file.squad_rules = file.question == en;
        }
        let out = folder.path().join("predictions/dev");
        let scores = evaluate(&predictor, &files, "dev", &[1, 5], &out).unwrap();
        assert_eq!(scores.len(), 2);
        let rules = Normalization::Mlqa(de);
        for (file, result) in files.iter().zip(&scores) {
            let dataset = Dataset::read(&file.path).unwrap();
            let predictions_path = question_file(&out, "dev", file.context, file.question);
            let predictions = Predictions::read(predictions_path).unwrap();
            let expected = score(&dataset, &predictions, rules).unwrap();
            assert_eq!((result.f1, result.em), (expected.f1, expected.exact_match));
            assert_eq!((result.questions, result.boundary.questions()), (3, 3));
            assert_eq!(result.top_k["1"], result.em);
            assert!(result.top_k["5"] >= result.em);
            assert_eq!((result.context, result.question), (file.context, file.question));
            let squad = score(&dataset, &predictions, Normalization::SquadEn).unwrap();
            let squad = file.squad_rules.then_some((squad.f1, squad.exact_match));
            assert_eq!(result.squad_f1.zip(result.squad_em), squad);
        }
        let table = mlqa_eval::Matrix::of_files("tiny", &scores);
        assert_eq!(table.get(de, en).unwrap().f1, scores[0].f1);
        assert_eq!((table.len(), table.get(en, de)), (2, None));
        let single_path = folder.path().join("one.json");
        let result = evaluate_file(&predictor, &files[0].path, rules, &single_path).unwrap();
        assert_eq!((result.f1, result.exact_match), (scores[0].f1, scores[0].em));
        let set_path = question_file(&out, "dev", de, en);
        assert_eq!(Predictions::read(single_path).unwrap(), Predictions::read(set_path).unwrap());
    }

    #[test]
    fn invalid_values_are_reported_with_their_key() {
        let mut config = EvaluationConfig::default();
        config.decoding.n_best = 0;
        let error = config.validate().unwrap_err().to_string();
        assert_eq!(error, "evaluation.decoding.n_best = 0: must be 1 or more");
        let config = ScoreConfig { batch_size: 0, ..ScoreConfig::default() };
        assert!(config.validate().unwrap_err().to_string().contains("evaluation.batch_size"));
    }
}
