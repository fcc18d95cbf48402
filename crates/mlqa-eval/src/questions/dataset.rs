//! SQuAD-style question files: MLQA, XQuAD, SQuAD v1.1.
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fields;
use super::rows::{Form, Row};
use crate::{Error, squad};

/// A gold answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Answer {
    /// The answer, a part of the context.
    pub text: String,
    /// Start of the answer in the context, in Unicode code points from 0; `None` if the answer was
    /// not located in the context (`answer_start` is -1 in the file). Such an answer is used for
    /// scoring only.
    #[serde(deserialize_with = "fields::offset", serialize_with = "fields::write_offset")]
    pub answer_start: Option<usize>,
}

impl Answer {
    /// Creates an answer at an offset in code points.
    pub fn at(answer_start: usize, text: impl Into<String>) -> Self {
        Self { text: text.into(), answer_start: Some(answer_start) }
    }

    /// Returns the range of the answer in the context in code points; `None` if the answer has no
    /// offset.
    pub fn span(&self) -> Option<Range<usize>> {
        let start = self.answer_start?;
        Some(start..start.saturating_add(self.text.chars().count()))
    }
}

/// A question about a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The id, unique within a file. In MLQA and XQuAD, all translations of a question have the
    /// same id.
    pub id: String,
    /// The question's text.
    pub question: String,
    /// The paragraph that contains the answer. Questions about the same paragraph share the text in
    /// memory.
    pub context: Arc<str>,
    /// Gold answers; empty if the file has none.
    pub answers: Vec<Answer>,
    /// The article's title; empty if the file has none.
    pub title: Arc<str>,
}

impl From<squad::Answer> for Answer {
    fn from(squad::Answer { text, answer_start, .. }: squad::Answer) -> Self {
        Self { text, answer_start }
    }
}

impl From<&Answer> for squad::Answer {
    fn from(Answer { text, answer_start }: &Answer) -> Self {
        let extra = squad::Extra::default();
        Self { text: text.clone(), answer_start: *answer_start, extra }
    }
}

impl From<&Question> for squad::Qa {
    fn from(Question { id, question, answers, .. }: &Question) -> Self {
        Self {
            id: id.clone(),
            question: question.clone(),
            answers: Some(answers.iter().map(squad::Answer::from).collect()),
            extra: squad::Extra::default(),
        }
    }
}

impl Question {
    /// Checks every answer with an offset against the context; `path` is used in errors only.
    ///
    /// # Errors
    /// [`Error::AnswerMismatch`] for the first answer that is not at its `answer_start`;
    /// [`Error::NoOffset`] if the question has answers, but none of them has an offset.
    pub fn check_answers(&self, path: &Path) -> Result<(), Error> {
        for answer in &self.answers {
            let Some(span) = answer.span() else { continue };
            let found: String = self.context.chars().skip(span.start).take(span.len()).collect();
            if found != answer.text {
                return Err(Error::AnswerMismatch {
                    path: path.to_path_buf(),
                    id: self.id.clone(),
                    offset: span.start,
                    expected: answer.text.clone(),
                    found,
                });
            }
        }
        match self.answers.is_empty() || self.located_answer().is_some() {
            true => Ok(()),
            false => Err(Error::NoOffset { path: path.to_path_buf(), id: self.id.clone() }),
        }
    }

    /// Returns the first answer with an offset, which is the training target.
    pub fn located_answer(&self) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.answer_start.is_some())
    }
}

/// The questions of a file, flattened, in file order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The path, used in messages.
    pub path: PathBuf,
    /// The file's `version`: "1.0" in MLQA, "1.1" in SQuAD v1.1 and XQuAD; `None` if the file has
    /// no version.
    pub version: Option<String>,
    /// The questions.
    pub questions: Vec<Question>,
}

impl Dataset {
    /// Reads a question file: SQuAD-style JSON, or rows.
    ///
    /// Rows are a JSON array, the list `data` of an object (`run_qa`'s custom file), JSON lines, a
    /// single JSON object, or with the feature `parquet` a file `*.parquet`. A row has `id` (text or
    /// an integer; also `question_id` or `qid`), `title` (optional), `context`, `question` and
    /// `answers` (optional). `answers` is an object of two lists of equal length, `text` and
    /// `answer_start` (empty without an answer), or a list of objects with both keys. An
    /// `answer_start` of -1 means that the answer has no offset.
    ///
    /// Lists of paragraphs (`context`, `qas`), MRQA's lines, CMRC 2018's own form and AfriQA's gold
    /// passages are also read. Equal contexts are stored once. Other keys are ignored;
    /// [`squad::File`] stores them.
    ///
    /// ```
    /// use mlqa_eval::Dataset;
    ///
    /// let dataset = Dataset::read("../../data/xquad/xquad.de.json")?;
    /// assert_eq!(dataset.questions.len(), 1190);
    /// dataset.check_answers()?;
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::File`].
    /// - [`Error::Json`] with line and column for unsupported content. For a row of an array, the
    ///   message has the row's number and the key that is missing or has another type.
    /// - [`Error::Content`] for unsupported content of a Parquet file, for a damaged Parquet file,
    ///   for a Parquet file if the feature `parquet` is disabled, and for rows of an unsupported
    ///   form.
    /// - [`Error::DuplicateQuestion`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_squad(squad::File::read(path)?, path)
    }

    /// Parses the text of a file (not Parquet). `path` is used in messages.
    ///
    /// # Errors
    /// The errors of [`Dataset::read`] without [`Error::File`].
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_squad(squad::File::parse(text, path)?, path)
    }

    /// Creates a data set from questions in memory. `path` is used in messages.
    ///
    /// # Errors
    /// [`Error::DuplicateQuestion`].
    pub fn new(
        path: impl AsRef<Path>,
        version: Option<String>,
        questions: Vec<Question>,
    ) -> Result<Self, Error> {
        let dataset = Self { path: path.as_ref().to_path_buf(), version, questions };
        dataset.check_ids()?;
        Ok(dataset)
    }

    /// Creates a data set from a parsed file. `path` is used in messages.
    ///
    /// # Errors
    /// [`Error::DuplicateQuestion`].
    pub fn from_squad(file: squad::File, path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut questions = Vec::new();
        for article in file.data {
            for paragraph in article.paragraphs {
                questions.extend(paragraph.qas.into_iter().map(|qa| Question {
                    id: qa.id,
                    question: qa.question,
                    context: Arc::clone(&paragraph.context),
                    answers: qa.answers.into_iter().flatten().map(Answer::from).collect(),
                    title: Arc::clone(&article.title),
                }));
            }
        }
        Self::new(path, file.version, questions)
    }

    /// Iterates over articles, which are adjacent questions with equal titles, in file order.
    ///
    /// ```
    /// let dataset = mlqa_eval::Dataset::read("../../data/xquad/xquad.de.json")?;
    /// assert_eq!(dataset.articles().count(), 48);
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    pub fn articles(&self) -> impl ExactSizeIterator<Item = &[Question]> {
        let articles: Vec<_> = self.questions.chunk_by(|a, b| a.title == b.title).collect();
        articles.into_iter()
    }

    /// Converts the questions to SQuAD JSON. Adjacent questions with equal titles and contexts
    /// share a paragraph.
    ///
    /// If some questions have gold answers, each question without an answer has the key
    /// `is_impossible`, as in SQuAD 2.0.
    pub fn to_squad(&self) -> squad::File {
        let has_answers = self.questions.iter().any(|question| !question.answers.is_empty());
        let row = |question: &Question| {
            let mut qa = squad::Qa::from(question);
            if has_answers && question.answers.is_empty() {
                qa.extra.push("is_impossible", true.into());
            }
            let (title, context) = (Arc::clone(&question.title), Arc::clone(&question.context));
            Row { title, context, qa }
        };
        let rows = self.questions.iter().map(row).collect();
        Form::Rows { version: self.version.clone(), rows }.into_squad()
    }

    /// Writes the file returned by [`Dataset::to_squad`], atomically. [`Dataset::read`] restores
    /// the same questions.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::DuplicateQuestion`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.check_ids()?;
        self.to_squad().write(path)
    }

    /// Returns the bytes written by [`Dataset::write`]. `path` is used in messages.
    ///
    /// # Errors
    /// The errors of [`Dataset::write`].
    pub fn to_json(&self, path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
        self.check_ids()?;
        self.to_squad().to_json(path.as_ref())
    }

    /// Validates the offsets of all gold answers.
    ///
    /// # Errors
    /// The errors of [`Question::check_answers`] for the first question with an error.
    pub fn check_answers(&self) -> Result<(), Error> {
        self.questions.iter().try_for_each(|question| question.check_answers(&self.path))
    }

    /// Checks that there are questions and that each has a gold answer, so that predictions can be
    /// scored.
    ///
    /// ```
    /// use mlqa_eval::Dataset;
    ///
    /// let mut dataset = Dataset::read("../../data/xquad/xquad.de.json")?;
    /// dataset.check_scorable()?;
    /// dataset.questions[3].answers.clear();
    /// assert!(dataset.check_scorable().is_err());
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoQuestions`]; [`Error::NoGold`] for the first question without an answer.
    pub fn check_scorable(&self) -> Result<(), Error> {
        self.require_questions()?;
        let without_gold = self.questions.iter().find(|question| question.answers.is_empty());
        without_gold.map_or(Ok(()), |question| Err(self.no_gold_error(question)))
    }

    /// Returns [`Error::NoQuestions`] if there are no questions.
    pub(crate) fn require_questions(&self) -> Result<(), Error> {
        match self.questions.is_empty() {
            true => Err(Error::NoQuestions { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// Creates the error for a question without a gold answer.
    pub(crate) fn no_gold_error(&self, question: &Question) -> Error {
        Error::NoGold { path: self.path.clone(), id: question.id.clone() }
    }

    /// Returns [`Error::DuplicateQuestion`] if ids are not unique.
    fn check_ids(&self) -> Result<(), Error> {
        let mut seen_ids: HashSet<&str, ahash::RandomState> = HashSet::default();
        let duplicate = self.questions.iter().find(|question| !seen_ids.insert(&question.id));
        duplicate.map_or(Ok(()), |Question { id, .. }| {
            Err(Error::DuplicateQuestion { path: self.path.clone(), id: id.clone() })
        })
    }
}

/// Joins the contexts of one language with the questions of another language, for generalised
/// cross-lingual transfer (G-XLT).
///
/// Contexts and answers come from `contexts`, question texts from `questions`. The result has the
/// questions whose ids are in both data sets, in the order of `contexts`.
///
/// ```
/// use mlqa_eval::{Dataset, pair_languages};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let paired = pair_languages(&english, &german)?;
/// assert_eq!(paired.questions[0].context, english.questions[0].context);
/// assert_eq!(paired.questions[0].question, german.questions[0].question);
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::NothingPaired`] if no id is in both data sets.
pub fn pair_languages(contexts: &Dataset, questions: &Dataset) -> Result<Dataset, Error> {
    let question_texts: HashMap<&str, &str> =
        questions.questions.iter().map(|q| (q.id.as_str(), q.question.as_str())).collect();
    let paired: Vec<Question> = contexts
        .questions
        .iter()
        .filter_map(|question| {
            let text = question_texts.get(question.id.as_str())?;
            Some(Question { question: (*text).to_owned(), ..question.clone() })
        })
        .collect();
    if paired.is_empty() {
        return Err(Error::NothingPaired {
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
