//! Converts files and Python objects to questions.
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use mlqa_eval::{Answer, Dataset, Question};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::values::{
    InputError, Parsed, extract_text, field, items, missing_field, py_error, question_id,
    required_field, text, type_name,
};

/// Reads questions from a file, from the result of `json.load`, or from rows. `name` is the name of
/// the input in messages. If `need_texts` is true, every question must have a context and a
/// question text.
pub fn read_questions(input: &Bound<'_, PyAny>, name: &str, need_texts: bool) -> PyResult<Dataset> {
    let py = input.py();
    if let Ok(path) = input.extract::<PathBuf>() {
        return py.detach(|| Dataset::read(path)).map_err(py_error);
    }
    let mut reader =
        QuestionReader { need_texts, unique_texts: HashSet::new(), questions: Vec::new() };
    let version = reader.read_input(input).map_err(|error| error.at(name))?;
    py.detach(|| Dataset::new(name, version, reader.questions)).map_err(py_error)
}

struct QuestionReader {
    need_texts: bool,
    unique_texts: HashSet<Arc<str>>,
    questions: Vec<Question>,
}

impl QuestionReader {
    /// Reads all questions and returns the version of the file.
    fn read_input(&mut self, input: &Bound<'_, PyAny>) -> Parsed<Option<String>> {
        let py = input.py();
        let expected = "a file, the result of json.load, or rows";
        let (list, version) = match input.cast::<PyDict>() {
            Err(_) => (input.clone(), None),
            Ok(file) => {
                let data = file.get_item(intern!(py, "data"))?;
                let data = data.ok_or_else(|| InputError::expected(expected, input))?;
                let version = file.get_item(intern!(py, "version"))?;
                (data, version.and_then(|version| version.extract().ok()))
            }
        };
        for (k, item) in items(&list, expected)?.enumerate() {
            let item = item?;
            let row = format!("row {}", k + 1);
            match field(&item, intern!(py, "paragraphs")).map_err(|error| error.at(&row))? {
                None => self.add_row(&item).map_err(|error| error.at_question(&item, &row))?,
                Some(paragraphs) => self
                    .add_article(&item, &paragraphs)
                    .map_err(|error| error.at(&format!("data[{k}]")))?,
            }
        }
        Ok(version)
    }

    fn add_article(&mut self, map: &Bound<'_, PyAny>, paragraphs: &Bound<'_, PyAny>) -> Parsed<()> {
        let py = map.py();
        let title = self.shared_text(map, intern!(py, "title"), false)?;
        for (k, paragraph) in items(paragraphs, "a list of paragraphs")?.enumerate() {
            let paragraph = paragraph?;
            let location = format!("paragraphs[{k}]");
            let mut fields = || {
                Ok((
                    self.shared_text(&paragraph, intern!(py, "context"), self.need_texts)?,
                    required_field(&paragraph, intern!(py, "qas"))?,
                ))
            };
            let (context, qas) = fields().map_err(|error: InputError| error.at(&location))?;
            for (j, qa) in items(&qas, "a list").map_err(|error| error.at(&location))?.enumerate() {
                let qa = qa?;
                let answers = || match field(&qa, intern!(py, "answers"))? {
                    Some(answers) => parse_answers(&answers),
                    None => Ok(Vec::new()),
                };
                let question = answers().and_then(|answers| {
                    self.add_question(&qa, Arc::clone(&context), answers, Arc::clone(&title))
                });
                question
                    .map_err(|error| error.at_question(&qa, &format!("{location}.qas[{j}]")))?;
            }
        }
        Ok(())
    }

    /// Adds the question of a row with the columns of SQuAD on the Hugging Face Hub.
    fn add_row(&mut self, row: &Bound<'_, PyAny>) -> Parsed<()> {
        let py = row.py();
        let title = self.shared_text(row, intern!(py, "title"), false)?;
        let context = self.shared_text(row, intern!(py, "context"), self.need_texts)?;
        let answers = match field(row, intern!(py, "answers"))? {
            Some(answers) => parse_answers(&answers)?,
            // Answers are needed for scoring, which needs no texts.
            None if self.need_texts => Vec::new(),
            None => return Err(missing_field("answers")),
        };
        self.add_question(row, context, answers, title)
    }

    /// Adds a question.
    fn add_question(
        &mut self,
        row: &Bound<'_, PyAny>,
        context: Arc<str>,
        answers: Vec<Answer>,
        title: Arc<str>,
    ) -> Parsed<()> {
        let question = text(row, intern!(row.py(), "question"), self.need_texts)?;
        let id = question_id(row)?.ok_or_else(|| missing_field("id"))?;
        self.questions.push(Question { id, question, context, answers, title });
        Ok(())
    }

    /// Returns the text of a key; equal texts share memory.
    fn shared_text(
        &mut self,
        map: &Bound<'_, PyAny>,
        key: &Bound<'_, PyString>,
        mandatory: bool,
    ) -> Parsed<Arc<str>> {
        let text = text(map, key, mandatory)?;
        Ok(self.unique_texts.get(text.as_str()).cloned().unwrap_or_else(|| {
            let text: Arc<str> = text.into();
            self.unique_texts.insert(Arc::clone(&text));
            text
        }))
    }
}

/// Parses answers: lists `text` and `answer_start`, or a list of objects with both keys.
fn parse_answers(input: &Bound<'_, PyAny>) -> Parsed<Vec<Answer>> {
    let py = input.py();
    let (text_key, start_key) = (intern!(py, "text"), intern!(py, "answer_start"));
    let expected = "lists `text` and `answer_start`, or a list of objects with both";
    let at_answers = |error: InputError| error.at("`answers`");
    if let Ok(Some(texts)) = field(input, text_key) {
        let starts = required_field(input, start_key).map_err(at_answers)?;
        let texts: Vec<_> =
            items(&texts, expected).map_err(at_answers)?.collect::<PyResult<_>>()?;
        let starts: Vec<_> =
            items(&starts, expected).map_err(at_answers)?.collect::<PyResult<_>>()?;
        if texts.len() != starts.len() {
            let (texts, starts) = (texts.len(), starts.len());
            let message = format!("`answers`: {texts} in `text`, {starts} in `answer_start`");
            return Err(InputError::Format(message));
        }
        let answer = |(text, start)| -> Parsed<Answer> {
            Ok(Answer { text: extract_text(text)?, answer_start: to_offset(start)? })
        };
        return texts.iter().zip(&starts).map(answer).collect::<Parsed<_>>().map_err(at_answers);
    }
    let answer = |item: PyResult<Bound<'_, PyAny>>| -> Parsed<Answer> {
        let item = item?;
        let start = required_field(&item, start_key)?;
        Ok(Answer { text: text(&item, text_key, true)?, answer_start: to_offset(&start)? })
    };
    let answers = match input.is_instance_of::<PyDict>() {
        true => Err(InputError::expected(expected, input)),
        false => items(input, expected),
    };
    answers.and_then(|answers| answers.map(answer).collect()).map_err(at_answers)
}

/// Converts an offset: a whole number, also as a float or a text. -1 and `None` mean that the answer
/// has no offset.
fn to_offset(value: &Bound<'_, PyAny>) -> Parsed<Option<usize>> {
    if value.is_none() {
        return Ok(None);
    }
    let text = match value.extract::<String>() {
        Ok(text) => text,
        Err(_) => value.str()?.to_string(),
    };
    match text.strip_suffix(".0").unwrap_or(&text) {
        "-1" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| {
            let got = value.repr().map_or_else(|_| type_name(value), |repr| repr.to_string());
            InputError::Format(format!("expected a number of code points, or -1, got {got}"))
        }),
    }
}
