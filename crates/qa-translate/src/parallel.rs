//! Data with human translations: one file per language with shared ids, as in XQuAD.
use std::collections::HashMap;

use mlqa_eval::{Dataset, Language, Question};

use crate::checked::{NoAnswer, valid_answers};
use crate::transfer::{SpanLoss, add_count};
use crate::{Error, TranslateReport, Translated};

/// Aligns `target`, in `language`, with `source` by id.
///
/// The result has the same form as the result of [`translate`](crate::translate()). Ids that occur
/// only in `target` are skipped. A question without an answer in both data sets is retained.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let translated = qa_translate::align_by_id(&english, &german, Language::DE)?;
/// assert_eq!(translated.report.kept(), 1190);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`mlqa_eval::Error::NothingPaired`] if there are no shared ids.
pub fn align_by_id(
    source: &Dataset,
    target: &Dataset,
    language: Language,
) -> Result<Translated, Error> {
    let by_id: HashMap<&str, &Question> =
        target.questions.iter().map(|question| (question.id.as_str(), question)).collect();
    let mut report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let (mut answered_questions, mut translated_questions) = (Vec::new(), Vec::new());
    for question in &source.questions {
        let Some(&translated) = by_id.get(question.id.as_str()) else {
            report.discarded.missing_id += 1;
            continue;
        };
        if translated.question.trim().is_empty() {
            report.discarded.untranslated_question += 1;
            continue;
        }
        let text = translated.question.clone();
        translated_questions.push(Question { question: text, ..question.clone() });
        match (valid_answers(question), valid_answers(translated)) {
            (Ok(_), Ok((answers, misplaced))) => {
                report.from_parallel += 1;
                report.further_answers += answers.len() - 1;
                add_count(&mut report.dropped_answers, SpanLoss::Misplaced, misplaced);
                let answers = answers.into_iter().cloned().collect();
                answered_questions.push(Question { answers, ..translated.clone() });
            }
            (Err(NoAnswer::None), Err(NoAnswer::None)) => {
                report.unanswerable += 1;
                answered_questions.push(translated.clone());
            }
            (Err(NoAnswer::None), _) | (_, Err(NoAnswer::None)) => report.discarded.no_answer += 1,
            _ => report.discarded.misplaced_answer += 1,
        }
    }
    if translated_questions.is_empty() {
        let (context, question) = (source.path.clone(), target.path.clone());
        return Err(mlqa_eval::Error::NothingPaired { context, question }.into());
    }
    let dataset = Dataset { questions: answered_questions, ..target.clone() };
    let questions = Dataset { questions: translated_questions, ..source.clone() };
    Ok(Translated { language, dataset, questions, report })
}
