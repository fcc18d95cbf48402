//! SQuAD-style question files: MLQA, XQuAD, SQuAD v1.1.
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::files::{read_json, write_whole};

const EXPECTED: &str = "a SQuAD-style file: {\"version\": \"…\", \"data\": [{\"title\": \"…\", \
    \"paragraphs\": [{\"context\": \"…\", \"qas\": [{\"id\": \"…\", \"question\": \"…\", \
    \"answers\": [{\"text\": \"…\", \"answer_start\": 0}]}]}]}]}";

/// One gold answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answer {
    /// The answer, a part of the context.
    pub text: String,
    /// Where it begins in the context, in Unicode code points from 0.
    pub answer_start: usize,
}

/// One question about one context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Unique within a file; in MLQA and XQuAD the same for all languages of a parallel question.
    pub id: String,
    /// The question's text.
    pub question: String,
    /// The paragraph that holds the answer, shared by all its questions.
    pub context: Arc<str>,
    /// Gold answers; empty where the file gives none.
    pub answers: Vec<Answer>,
    /// The article's title; empty where the file gives none.
    pub title: Arc<str>,
}

impl Question {
    /// The code points of the context from `start`, at most `len` of them.
    fn context_slice(&self, start: usize, len: usize) -> String {
        self.context.chars().skip(start).take(len).collect()
    }

    /// Checks every answer against the context; `path` is for the error alone.
    ///
    /// # Errors
    /// [`EvalError::AnswerMismatch`] for the first answer that is not at its `answer_start`.
    pub fn check_answers(&self, path: &Path) -> Result<(), EvalError> {
        for answer in &self.answers {
            let found = self.context_slice(answer.answer_start, answer.text.chars().count());
            if found != answer.text {
                return Err(EvalError::AnswerMismatch {
                    path: path.to_path_buf(),
                    id: self.id.clone(),
                    offset: answer.answer_start,
                    expected: answer.text.clone(),
                    found,
                });
            }
        }
        Ok(())
    }
}

/// A file's questions, flattened, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Where it was read from, for messages.
    pub path: PathBuf,
    /// The file's `version`, if it has one: "1.0" in MLQA, "1.1" in SQuAD v1.1 and XQuAD.
    pub version: Option<String>,
    /// The questions.
    pub questions: Vec<Question>,
}

impl Dataset {
    /// Reads a file. Keys that SQuAD v1.1 does not have are ignored; for `subtype` see
    /// [`TypedDataset`](crate::TypedDataset).
    ///
    /// # Errors
    /// [`EvalError::Read`]; [`EvalError::Json`] with line and column where it is not a SQuAD file;
    /// [`EvalError::DuplicateQuestion`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let file: File = read_json(path, EXPECTED)?;
        let mut questions = Vec::new();
        for article in file.data {
            let title: Arc<str> = article.title.into();
            for paragraph in article.paragraphs {
                let context: Arc<str> = paragraph.context.into();
                questions.extend(paragraph.qas.into_iter().map(|qa| Question {
                    id: qa.id,
                    question: qa.question,
                    context: Arc::clone(&context),
                    answers: qa.answers,
                    title: Arc::clone(&title),
                }));
            }
        }
        let dataset = Self { path: path.to_path_buf(), version: file.version, questions };
        dataset.check_ids()?;
        Ok(dataset)
    }

    /// Writes SQuAD JSON, atomically. Neighbouring questions of one title and context share a
    /// paragraph, so [`Dataset::read`] gives the same questions back.
    ///
    /// # Errors
    /// [`EvalError::Write`]; [`EvalError::DuplicateQuestion`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        self.check_ids()?;
        let mut data: Vec<Article> = Vec::new();
        for question in &self.questions {
            if data.last().is_none_or(|article| article.title != *question.title) {
                data.push(Article { title: question.title.to_string(), paragraphs: Vec::new() });
            }
            let Some(article) = data.last_mut() else { continue };
            if article.paragraphs.last().is_none_or(|p| p.context != *question.context) {
                let context = question.context.to_string();
                article.paragraphs.push(Paragraph { context, qas: Vec::new() });
            }
            if let Some(paragraph) = article.paragraphs.last_mut() {
                paragraph.qas.push(Qa {
                    id: question.id.clone(),
                    question: question.question.clone(),
                    answers: question.answers.clone(),
                });
            }
        }
        let path = path.as_ref();
        let file = File { version: self.version.clone(), data };
        let bytes = serde_json::to_vec(&file)
            .map_err(|error| EvalError::Write { path: path.to_path_buf(), source: error.into() })?;
        write_whole(path, &bytes)
    }

    /// Strict check of all gold answers.
    ///
    /// # Errors
    /// [`EvalError::AnswerMismatch`] for the first answer that is not at its `answer_start`.
    pub fn check_answers(&self) -> Result<(), EvalError> {
        self.questions.iter().try_for_each(|question| question.check_answers(&self.path))
    }

    /// The same check as a report: one [`EvalError::AnswerMismatch`] per faulty question.
    pub fn faulty_answers(&self) -> Vec<EvalError> {
        self.questions.iter().filter_map(|q| q.check_answers(&self.path).err()).collect()
    }

    pub(crate) fn check_ids(&self) -> Result<(), EvalError> {
        let mut seen = HashSet::with_capacity(self.questions.len());
        match self.questions.iter().find(|question| !seen.insert(question.id.as_str())) {
            None => Ok(()),
            Some(twice) => {
                Err(EvalError::DuplicateQuestion { path: self.path.clone(), id: twice.id.clone() })
            }
        }
    }
}

/// Generalised cross-lingual data from two languages of a parallel set: contexts and answers of
/// `contexts`, the question's wording from `questions`, joined by id, in the order of `contexts`.
/// Ids that only one side has are left out.
///
/// # Errors
/// [`EvalError::NothingPaired`] if no id is in both.
pub fn pair(contexts: &Dataset, questions: &Dataset) -> Result<Dataset, EvalError> {
    let wording: HashMap<&str, &str> =
        questions.questions.iter().map(|q| (q.id.as_str(), q.question.as_str())).collect();
    let paired: Vec<Question> = contexts
        .questions
        .iter()
        .filter_map(|own| {
            let text = wording.get(own.id.as_str())?;
            Some(Question { question: (*text).to_owned(), ..own.clone() })
        })
        .collect();
    if paired.is_empty() {
        return Err(EvalError::NothingPaired {
            context: contexts.path.clone(),
            question: questions.path.clone(),
        });
    }
    Ok(Dataset {
        path: contexts.path.clone(),
        version: contexts.version.clone(),
        questions: paired,
    })
}

#[derive(Deserialize, Serialize)]
struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    data: Vec<Article>,
}

#[derive(Deserialize, Serialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize, Serialize)]
struct Paragraph {
    context: String,
    qas: Vec<Qa>,
}

#[derive(Deserialize, Serialize)]
struct Qa {
    id: String,
    question: String,
    #[serde(default)]
    answers: Vec<Answer>,
}
