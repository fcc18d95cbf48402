//! Questions that cannot be used for training, and offsets in other units.
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answer_position::{Context, OffsetUnit};
use super::squad::{Answer, File, Qa};
use crate::{Error, Question};

/// How training questions are handled whose answers are not at their offsets, or whose labels
/// contradict each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "snake_case")]
pub enum InvalidQuestions {
    /// Stop with an error that names the first such question
    #[default]
    Error,
    /// Remove answers that are not at their offsets, and questions that are invalid or have no
    /// other answer
    Skip,
    /// Correct offsets that count bytes or UTF-16 units; otherwise like skip
    Repair,
}

/// An answer or a question that was corrected or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidQuestion {
    /// The question's id.
    pub id: String,
    /// What was done.
    pub action: InvalidAction,
    /// Description of the error.
    pub message: String,
}

/// The correction of an [`InvalidQuestion`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidAction {
    /// The offset of an answer was converted to code points.
    Repaired,
    /// An answer was removed. The question has other answers.
    RemovedAnswer,
    /// The question was skipped.
    Skipped,
}

impl File {
    /// Checks that questions can be used for training, and corrects or removes invalid questions
    /// according to `mode`. Returns the corrections in file order. `path` is used in errors.
    ///
    /// A question is valid if it has the key `answers`, or `is_impossible` is true; if it has no
    /// answer that is not blank and `is_impossible` is true; if every answer with an offset is at
    /// its offset; and if at least one of its answers has an offset.
    ///
    /// With [`InvalidQuestions::Repair`], the unit of all offsets is the one in which the largest
    /// number of the file's answers is at its offset. An answer that is not at its offset in this
    /// unit is corrected if it is at its offset in another unit.
    ///
    /// # Errors
    /// With [`InvalidQuestions::Error`], [`Error::AnswerMismatch`], [`Error::NoOffset`],
    /// [`Error::InvalidLabels`] or [`Error::Content`] for the first invalid question.
    pub fn prepare_training(
        &mut self,
        path: &Path,
        mode: InvalidQuestions,
    ) -> Result<Vec<InvalidQuestion>, Error> {
        let unit = match mode {
            InvalidQuestions::Repair => self.offset_unit(),
            InvalidQuestions::Error | InvalidQuestions::Skip => OffsetUnit::CodePoints,
        };
        let mut corrections = Vec::new();
        for paragraph in self.data.iter_mut().flat_map(|article| &mut article.paragraphs) {
            let context = Context::new(&paragraph.context);
            let mut retained = Vec::with_capacity(paragraph.qas.len());
            for mut qa in std::mem::take(&mut paragraph.qas) {
                let invalid_label = check_labels(&qa, path);
                if qa.is_impossible(path).is_ok_and(|flag| flag == Some(true))
                    && invalid_label.is_ok()
                {
                    // In some data, an impossible question has an answer without text.
                    qa.answers = Some(Vec::new());
                }
                if mode == InvalidQuestions::Error {
                    invalid_label?;
                    check_offsets(&qa, &paragraph.context, path)?;
                    retained.push(qa);
                    continue;
                }
                let skipped = |message: String| InvalidQuestion {
                    id: qa.id.clone(),
                    action: InvalidAction::Skipped,
                    message,
                };
                if let Err(error) = invalid_label {
                    corrections.push(skipped(error.to_string()));
                    continue;
                }
                let units: &[OffsetUnit] = match mode {
                    InvalidQuestions::Repair => {
                        &[unit, OffsetUnit::CodePoints, OffsetUnit::Bytes, OffsetUnit::Utf16]
                    }
                    InvalidQuestions::Error | InvalidQuestions::Skip => &[OffsetUnit::CodePoints],
                };
                if let Some(mut made) = correct_answers(&mut qa, &context, units) {
                    let has_answer =
                        qa.answers.iter().flatten().any(|answer| answer.answer_start.is_some());
                    if !has_answer {
                        made.iter_mut().for_each(|one| one.action = InvalidAction::Skipped);
                    }
                    corrections.extend(made);
                    if !has_answer {
                        continue;
                    }
                }
                retained.push(qa);
            }
            paragraph.qas = retained;
        }
        Ok(corrections)
    }

    /// Returns the unit in which the largest number of answers is at its offset; code points if
    /// there are several such units.
    fn offset_unit(&self) -> OffsetUnit {
        let units = [OffsetUnit::Utf16, OffsetUnit::Bytes, OffsetUnit::CodePoints];
        let mut counts = [0_usize; 3];
        for paragraph in self.data.iter().flat_map(|article| &article.paragraphs) {
            // All units agree in ASCII text.
            if paragraph.context.is_ascii() {
                continue;
            }
            let context = Context::new(&paragraph.context);
            for answer in paragraph.qas.iter().flat_map(|qa| qa.answers.iter().flatten()) {
                let Some(start) = answer.answer_start else { continue };
                for (count, unit) in counts.iter_mut().zip(units) {
                    *count += usize::from(context.locate(&answer.text, start, unit).is_some());
                }
            }
        }
        // Of equal counts, `max_by_key` returns the last.
        let best = counts.into_iter().zip(units).max_by_key(|&(count, _)| count);
        best.expect("there are three units").1
    }
}

/// Checks that a question has answers, or is marked as impossible, but not both.
fn check_labels(qa: &Qa, path: &Path) -> Result<(), Error> {
    let is_impossible = qa.is_impossible(path)?.unwrap_or(false);
    let has_text = qa.answers.iter().flatten().any(|answer| !answer.text.trim().is_empty());
    let problem = match (&qa.answers, is_impossible) {
        (None, false) => "has no key `answers`, which training needs",
        (Some(_), true) if has_text => "has answers, but `is_impossible` is true",
        _ => return Ok(()),
    };
    Err(Error::InvalidLabels { path: path.to_path_buf(), id: qa.id.clone(), problem })
}

fn check_offsets(qa: &Qa, context: &Arc<str>, path: &Path) -> Result<(), Error> {
    let question = Question {
        id: qa.id.clone(),
        question: String::new(),
        context: Arc::clone(context),
        answers: qa.answers.iter().flatten().cloned().map(crate::Answer::from).collect(),
        title: Arc::default(),
    };
    question.check_answers(path)
}

/// Corrects the offsets of answers to the first unit in which they are valid, and removes the other
/// answers. Returns the corrections; `None` if there are none.
fn correct_answers(
    qa: &mut Qa,
    context: &Context<'_>,
    units: &[OffsetUnit],
) -> Option<Vec<InvalidQuestion>> {
    let answers = qa.answers.as_mut().filter(|answers| !answers.is_empty())?;
    let mut corrections = Vec::new();
    let mut add = |action, message| {
        corrections.push(InvalidQuestion { id: qa.id.clone(), action, message });
    };
    let mut retained: Vec<Answer> = Vec::with_capacity(answers.len());
    for mut answer in std::mem::take(answers) {
        let Some(start) = answer.answer_start else {
            retained.push(answer);
            continue;
        };
        let located =
            units.iter().find_map(|&unit| Some((context.locate(&answer.text, start, unit)?, unit)));
        match located {
            Some((offset, _)) if offset == start => retained.push(answer),
            Some((offset, unit)) => {
                let unit = match unit {
                    OffsetUnit::CodePoints => "code points",
                    OffsetUnit::Bytes => "bytes",
                    OffsetUnit::Utf16 => "UTF-16 units",
                };
                let message =
                    format!("answer_start {start} counts {unit}; it is {offset} in code points");
                add(InvalidAction::Repaired, message);
                answer.answer_start = Some(offset);
                retained.push(answer);
            }
            None => {
                // `units` contains code points.
                let problem = context.check_answer(&answer.text, start);
                let (_, message) =
                    problem.expect("an answer that is not located is not at its offset");
                add(InvalidAction::RemovedAnswer, message);
            }
        }
    }
    if !retained.iter().any(|answer| answer.answer_start.is_some()) && corrections.is_empty() {
        let message = "no answer has an offset".to_owned();
        corrections.push(InvalidQuestion {
            id: qa.id.clone(),
            action: InvalidAction::Skipped,
            message,
        });
    }
    *answers = retained;
    (!corrections.is_empty()).then_some(corrections)
}
