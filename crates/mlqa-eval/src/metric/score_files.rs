//! Scores a prediction file against a question file like the official scripts.
use std::path::Path;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::files::read_text;
use crate::questions::fields;
use crate::questions::rows::is_parquet;
use crate::{
    Answer, Dataset, Error, LanguageScores, Normalization, Predictions, Question, Score,
    score_by_language,
};

/// The score of a question file.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredFile {
    /// The question file's `version`; `None` if the file has no version.
    pub version: Option<String>,
    /// The score.
    pub score: Score,
    /// Scores by language; `None` if a question id does not name a language as in TyDi.
    pub languages: Option<LanguageScores>,
}

/// Scores a prediction file; equivalent to [`score_by_language`] after reading both files, but
/// faster.
///
/// Both files are read in parallel, and titles, contexts and questions are not decoded, so unpaired
/// surrogates in them are accepted. Answers are not compared with their contexts.
///
/// ```
/// use mlqa_eval::{Language, Normalization, score_files};
///
/// let folder = "../testkit/fixtures/scorer/zh";
/// let [dataset, predictions] = ["dataset", "predictions"].map(|n| format!("{folder}/{n}.json"));
/// let scored = score_files(dataset, predictions, Normalization::Mlqa(Language::ZH))?;
/// assert_eq!(scored.score.f1, 64.98532601243599);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// The errors of [`Dataset::read`], [`Predictions::read`] and [`score_by_language`].
pub fn score_files(
    dataset: impl AsRef<Path>,
    predictions: impl AsRef<Path>,
    rules: impl Into<Option<Normalization>>,
) -> Result<ScoredFile, Error> {
    let (dataset, predictions) = (dataset.as_ref(), predictions.as_ref());
    let (dataset, predictions) = match dataset.is_file() {
        true => rayon::join(|| read_golds(dataset), || Predictions::read(predictions)),
        // If both paths are `-`, the question file is read from standard input, so it must be read
        // first.
        false => (read_golds(dataset), Predictions::read(predictions)),
    };
    let (dataset, predictions) = (dataset?, predictions?);
    let (score, languages) = score_by_language(&dataset, &predictions, rules.into())?;
    Ok(ScoredFile { version: dataset.version, score, languages })
}

/// Reads the questions of a file; for a SQuAD-style file, only ids and answers.
fn read_golds(path: &Path) -> Result<Dataset, Error> {
    if is_parquet(path) {
        return Dataset::read(path);
    }
    let text = read_text(path)?;
    let Ok(File { version, data }) = serde_json::from_str(&text) else {
        // The file is a list of rows, or has an error that the full reader reports.
        return Dataset::parse(&text, path);
    };
    let no_text: Arc<str> = Arc::default();
    let paragraphs = data.into_iter().flat_map(|article| article.paragraphs);
    let questions = paragraphs.flat_map(|paragraph| paragraph.qas).map(|qa| Question {
        id: qa.id,
        question: String::new(),
        context: Arc::clone(&no_text),
        // Unanswerable questions can lack the key.
        answers: qa.answers.unwrap_or_else(Vec::new),
        title: Arc::clone(&no_text),
    });
    Dataset::new(path, version, questions.collect())
}

/// The fields of a [`squad::File`](crate::squad::File) that scoring uses.
#[derive(Deserialize)]
struct File {
    #[serde(default, deserialize_with = "fields::version")]
    version: Option<String>,
    data: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    #[serde(default, rename = "title")]
    _title: Option<SkippedText>,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    #[serde(rename = "context")]
    _context: SkippedText,
    qas: Vec<Qa>,
}

#[derive(Deserialize)]
struct Qa {
    #[serde(deserialize_with = "fields::id")]
    id: String,
    #[serde(rename = "question")]
    _question: SkippedText,
    #[serde(default, deserialize_with = "fields::answers")]
    answers: Option<Vec<Answer>>,
}

/// A text that is not decoded.
struct SkippedText;

impl<'de> Deserialize<'de> for SkippedText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match <&RawValue>::deserialize(from)?.get().starts_with('"') {
            true => Ok(Self),
            false => Err(D::Error::custom("expected a text")),
        }
    }
}
