//! Data with human translations: one file per language with shared ids, as in XQuAD.
use std::collections::HashMap;

use mlqa_eval::{Dataset, Language, Question};

use crate::carry::SpanLoss;
use crate::checked::{NoAnswer, answers};
use crate::spans::count;
use crate::{Error, TranslateReport, Translated};

/// Aligns `target`, in `language`, with `source` by id.
///
/// The result has the form of [`translate`](crate::translate())'s, without a translator. Ids that
/// only `target` has are skipped.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let german = Dataset::read("../../data/xquad/xquad.de.json")?;
/// let translated = qa_translate::parallel(&english, &german, Language::DE)?;
/// assert_eq!(translated.report.kept(), 1190);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`mlqa_eval::Error::NothingPaired`] if there are no shared ids.
pub fn parallel(
    source: &Dataset,
    target: &Dataset,
    language: Language,
) -> Result<Translated, Error> {
    let by_id: HashMap<&str, &Question> =
        target.questions.iter().map(|one| (one.id.as_str(), one)).collect();
    let mut report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let (mut kept, mut reworded) = (Vec::new(), Vec::new());
    for question in &source.questions {
        let Some(&translated) = by_id.get(question.id.as_str()) else {
            report.discarded.missing_id += 1;
            continue;
        };
        if translated.question.trim().is_empty() {
            report.discarded.untranslated_question += 1;
            continue;
        }
        let wording = translated.question.clone();
        reworded.push(Question { question: wording, ..question.clone() });
        match (answers(question), answers(translated)) {
            (Ok(_), Ok((all, misplaced))) => {
                report.given += 1;
                report.further_answers += all.len() - 1;
                count(&mut report.dropped_answers, SpanLoss::Misplaced, misplaced);
                let answers = all.into_iter().cloned().collect();
                kept.push(Question { answers, ..translated.clone() });
            }
            (Err(NoAnswer::None), _) | (_, Err(NoAnswer::None)) => report.discarded.no_answer += 1,
            _ => report.discarded.misplaced_answer += 1,
        }
    }
    if reworded.is_empty() {
        let (context, question) = (source.path.clone(), target.path.clone());
        return Err(mlqa_eval::Error::NothingPaired { context, question }.into());
    }
    let dataset = Dataset { questions: kept, ..target.clone() };
    let questions = Dataset { questions: reworded, ..source.clone() };
    Ok(Translated { language, dataset, questions, report })
}
