//! A record of a question file that is a list of records: a row, a paragraph, or a record of a
//! published data set with keys of its own.
//!
//! | data | record |
//! |---|---|
//! | Hugging Face Hub, `run_qa` | `id` (or `question_id`, `qid`), `title`, `context`, `question`, `answers` |
//! | simpletransformers | a paragraph: `context` and `qas` as in SQuAD |
//! | MRQA 2019 | a paragraph whose `qas` have `qid`, `answers` (texts) and `detected_answers` |
//! | MRQA on the hub | a row with `qid` and `detected_answers` |
//! | CMRC 2018, original form | `context_text`, and `qas` with `query_id`, `query_text` and `answers` (texts) |
//! | AfriQA, gold passages | `question_lang`, `answer_pivot` in place of `question`, `answers` |
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

use super::fields::{self, Id};
use super::group_keys::group_name;
use super::squad::{Answer, Extra, Qa};

/// The questions of a record with their context. The list is empty for MRQA's first line, which is
/// a header.
#[derive(Deserialize)]
#[serde(try_from = "Extra")]
pub(crate) struct Record {
    pub title: String,
    pub context: String,
    pub qas: Vec<Qa>,
}

/// Returns whether an object with these keys is a record.
///
/// # Errors
/// The name of a data set with an unsupported form.
pub(crate) fn is_record(keys: &HashMap<String, IgnoredAny>) -> Result<bool, &'static str> {
    match unsupported(|key| keys.contains_key(key)) {
        Some(name) => Err(name),
        None => Ok(["context", "question", "context_text", "header"]
            .into_iter()
            .any(|key| keys.contains_key(key))),
    }
}

/// Returns the name of the data set of a record with an unsupported form.
fn unsupported(has: impl Fn(&str) -> bool) -> Option<&'static str> {
    let by_key = [
        ("original_nq_answers", "QED (an answer may have several spans)"),
        ("document_plaintext", "TyDi's primary task"),
        ("passage_answer_candidates", "TyDi's primary task"),
        ("long_answer_candidates", "Natural Questions"),
        ("document_html", "Natural Questions"),
        ("supporting_facts", "HotpotQA"),
        ("EntityPages", "TriviaQA"),
        ("question_text", "TyDi's primary task or Natural Questions"),
    ];
    by_key.into_iter().find(|(key, _)| has(key)).map(|(_, name)| name)
}

fn missing(key: &str) -> String {
    format!("missing field `{key}`")
}

fn required<T: DeserializeOwned>(all: &mut Extra, key: &str) -> Result<T, String> {
    all.take(key)?.ok_or_else(|| missing(key))
}

impl TryFrom<Extra> for Record {
    type Error = String;

    fn try_from(mut all: Extra) -> Result<Self, String> {
        all.drop_nulls();
        let has = |key: &str| all.get(key).is_some();
        if let Some(name) = unsupported(has) {
            return Err(format!("records of {name} are not supported"));
        }
        if has("header") && !has("context") {
            return Ok(Self { title: String::new(), context: String::new(), qas: Vec::new() });
        }
        if has("context_text") {
            return read_cmrc(all);
        }
        if has("qas") {
            return read_paragraph(all);
        }
        let title = take_title(&mut all)?;
        let is_afriqa = has_key(&all, "question_lang") && !has_key(&all, "question");
        let (question_key, answers_key) =
            if is_afriqa { ("question_lang", "answer_pivot") } else { ("question", "answers") };
        let question = required(&mut all, question_key)?;
        let id = required_id(&mut all)?;
        let context: String = required(&mut all, "context")?;
        let answers = match has_key(&all, "detected_answers") {
            true => Some(take_detected_answers(&mut all, &context)?),
            false => take_answers(&mut all, answers_key, &context)?,
        };
        // Empty lists mean that the question has no answer. In SQuAD 2.0, such a question has the
        // key `is_impossible`.
        if answers.as_ref().is_some_and(Vec::is_empty) && !has_key(&all, "is_impossible") {
            all.push("is_impossible", true.into());
        }
        Ok(Self { title, context, qas: vec![Qa { id, question, answers, extra: all }] })
    }
}

/// Removes the title; empty without the key.
fn take_title(all: &mut Extra) -> Result<String, String> {
    Ok(all.take("title")?.unwrap_or_else(String::new))
}

fn has_key(all: &Extra, key: &str) -> bool {
    all.get(key).is_some()
}

/// Removes the id of a question.
fn required_id(all: &mut Extra) -> Result<String, String> {
    let key = ["id", "question_id", "qid"].into_iter().find(|key| has_key(all, key));
    required::<Id>(all, key.unwrap_or("id")).map(|Id(id)| id)
}

/// Removes the answers of a row; `None` without the key.
fn take_answers(all: &mut Extra, key: &str, context: &str) -> Result<Option<Vec<Answer>>, String> {
    #[derive(Deserialize)]
    struct Answers(#[serde(deserialize_with = "fields::answers")] Option<Vec<Answer>>);

    let Some(mut value) = all.take::<Value>(key)? else { return Ok(None) };
    let in_answers = |error: String| format!("`{key}`: {error}");
    restore_dates(&mut value, context).map_err(in_answers)?;
    let Answers(answers) =
        Answers::deserialize(value).map_err(|error| in_answers(error.to_string()))?;
    Ok(answers)
}

/// Replaces answers in a Parquet column of dates or timestamps by ISO dates. The column's text is
/// known only if the context has the ISO date at the answer's offset.
fn restore_dates(answers: &mut Value, context: &str) -> Result<(), String> {
    let restore = |text: &mut Value, start: Option<&Value>| -> Result<(), String> {
        let Some(type_name) = text.get("parquet_type").and_then(Value::as_str) else {
            return Ok(());
        };
        let start = start.and_then(Value::as_u64).and_then(|start| usize::try_from(start).ok());
        let date = text.get("date").and_then(Value::as_str);
        let is_in_context = |(date, start): &(&str, usize)| {
            context.chars().skip(*start).take(date.len()).eq(date.chars())
        };
        match date.zip(start).filter(is_in_context) {
            Some((date, _)) => {
                *text = date.into();
                Ok(())
            }
            None => Err(format!("expected a text, found a value of a column of type {type_name}")),
        }
    };
    match answers {
        Value::Array(list) => list.iter_mut().try_for_each(|answer| {
            let start = answer.get("answer_start").cloned();
            answer.get_mut("text").map_or(Ok(()), |text| restore(text, start.as_ref()))
        }),
        Value::Object(lists) => {
            // Lists that are absent or have other types are errors of the later steps.
            let starts = lists.get("answer_start").cloned();
            let texts = lists.get_mut("text").and_then(Value::as_array_mut);
            let mut numbered_texts = texts.into_iter().flatten().enumerate();
            let start = |k: usize| starts.as_ref().and_then(|starts| starts.get(k));
            numbered_texts.try_for_each(|(k, text)| restore(text, start(k)))
        }
        _ => Ok(()),
    }
}

/// Copies a paragraph's additional keys with texts, numbers, true or false to its questions, unless
/// a question has the key. Lists, such as the tokens of the context, are not copied.
fn copy_scalars(paragraph: &Extra, qas: &mut [Qa]) {
    let scalars = paragraph.entries().filter(|(_, value)| group_name(value).is_some());
    for (key, value) in scalars {
        let without_key = qas.iter_mut().filter(|qa| qa.extra.get(key).is_none());
        without_key.for_each(|qa| qa.extra.push(key, value.clone()));
    }
}

/// Reads a paragraph in SQuAD's form or a line of MRQA.
fn read_paragraph(mut all: Extra) -> Result<Record, String> {
    let context: String = required(&mut all, "context")?;
    let read_qa = |(k, value): (usize, Value)| -> Result<Qa, String> {
        let at_qa = |error: String| format!("`qas[{k}]`: {error}");
        if value.get("detected_answers").is_none() {
            return parse_value(value).map_err(at_qa);
        }
        let mut qa = Extra::deserialize(value).map_err(|error| at_qa(error.to_string()))?;
        let mut read = || {
            let id = required_id(&mut qa)?;
            let question = required(&mut qa, "question")?;
            let answers = Some(take_detected_answers(&mut qa, &context)?);
            qa.take::<IgnoredAny>("question_tokens")?;
            Ok((id, question, answers))
        };
        let (id, question, answers) = read().map_err(at_qa)?;
        Ok(Qa { id, question, answers, extra: qa })
    };
    let qas: Vec<Value> = required(&mut all, "qas")?;
    let mut qas = qas.into_iter().enumerate().map(read_qa).collect::<Result<Vec<_>, _>>()?;
    let title = take_title(&mut all)?;
    copy_scalars(&all, &mut qas);
    Ok(Record { title, context, qas })
}

/// Parses a value; an error starts with the path of the invalid key.
pub(super) fn parse_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| match error.path().to_string() {
        path if path == "." => error.into_inner().to_string(),
        path => format!("`{path}`: {}", error.into_inner()),
    })
}

/// Reads a record of CMRC 2018 in its original form, in which answers have no offsets.
fn read_cmrc(mut all: Extra) -> Result<Record, String> {
    #[derive(Deserialize)]
    struct Query {
        query_id: Id,
        query_text: String,
        answers: Option<Vec<String>>,
        #[serde(flatten)]
        extra: Extra,
    }
    let context = required(&mut all, "context_text")?;
    let queries: Value = required(&mut all, "qas")?;
    let queries: Vec<Query> = parse_value(queries).map_err(|error| format!("`qas`: {error}"))?;
    let without_offset = |text| Answer { text, answer_start: None, extra: Extra::default() };
    let qa = |Query { query_id: Id(id), query_text: question, answers, extra }| Qa {
        id,
        question,
        answers: answers.map(|texts| texts.into_iter().map(without_offset).collect()),
        extra,
    };
    let mut qas: Vec<Qa> = queries.into_iter().map(qa).collect();
    let title = take_title(&mut all)?;
    copy_scalars(&all, &mut qas);
    Ok(Record { title, context, qas })
}

/// `detected_answers` of MRQA: a list of answers, or lists of their values on the hub.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected answers with `text` and `char_spans`")]
enum DetectedAnswers {
    List(Vec<DetectedAnswer>),
    Values { text: Vec<String>, char_spans: Vec<Spans> },
}

#[derive(Deserialize)]
struct DetectedAnswer {
    text: String,
    char_spans: Spans,
}

/// Start and end of each occurrence of an answer.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected pairs of start and end")]
enum Spans {
    Pairs(Vec<(usize, usize)>),
    Values { start: Vec<usize>, end: Vec<usize> },
}

impl Spans {
    fn first(&self) -> Option<(usize, usize)> {
        match self {
            Self::Pairs(pairs) => pairs.first().copied(),
            Self::Values { start, end } => Some((*start.first()?, *end.first()?)),
        }
    }
}

/// Removes MRQA's answers: the first occurrence of every detected answer, followed by the texts in
/// `answers` that were not detected verbatim and so have no offset.
fn take_detected_answers(all: &mut Extra, context: &str) -> Result<Vec<Answer>, String> {
    let detected: DetectedAnswers = required(all, "detected_answers")?;
    let detected: Vec<DetectedAnswer> = match detected {
        DetectedAnswers::List(list) => list,
        DetectedAnswers::Values { text, char_spans } => {
            if text.len() != char_spans.len() {
                let (texts, spans) = (text.len(), char_spans.len());
                return Err(format!(
                    "`detected_answers`: `text` has {texts} values, `char_spans` has {spans}"
                ));
            }
            let pairs = text.into_iter().zip(char_spans);
            pairs.map(|(text, char_spans)| DetectedAnswer { text, char_spans }).collect()
        }
    };
    // Without the key, all answers were detected.
    let texts: Vec<String> = all.take("answers")?.unwrap_or_else(Vec::new);
    let context: Vec<char> = context.chars().collect();
    let mut answers: Vec<Answer> = Vec::new();
    for DetectedAnswer { text, char_spans } in detected {
        let Some((start, last)) = char_spans.first() else {
            return Err(format!("`detected_answers`: the answer `{text}` has no span"));
        };
        let Some(characters) = context.get(start..=last) else {
            let length = context.len();
            return Err(format!(
                "`detected_answers`: the span [{start}, {last}] is outside of the context's {length} \
                 code points"
            ));
        };
        // `text` may be normalised, so the answer is the part of the context. MRQA's ends are
        // inclusive.
        let exclusive: String = characters.iter().take(last - start).collect();
        let text = if exclusive == text { exclusive } else { characters.iter().collect() };
        answers.push(Answer { text, answer_start: Some(start), extra: Extra::default() });
    }
    for text in texts {
        if !answers.iter().any(|answer| answer.text == text) {
            answers.push(Answer { text, answer_start: None, extra: Extra::default() });
        }
    }
    Ok(answers)
}
