//! Placement of answers in existing translations of passages.
use std::collections::HashMap;

use mlqa_eval::{Dataset, Language, Question};

use crate::checked::{NoAnswer, valid_answers, valid_span};
use crate::transfer::{SpanLoss, SpanTransfer, Stage, TransferredText};
use crate::{Error, PlaceSpans, Placed, SpanTask, TranslateReport, Translated, Translator};

/// Locates the answers of `source` in the passages of `target`, which are translations of the
/// source's passages, in the language `to`.
///
/// Questions of both data sets are paired by id. Answers of `target` are ignored; a question without
/// an answer in `source` (SQuAD 2.0) is retained without an answer. `placer` locates each answer;
/// [`TranslateReport::by_search`] counts the questions with at least one located answer.
///
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use qa_translate::{BySearch, place_answers};
///
/// let english = Dataset::read("../../data/xquad/xquad.en.json")?;
/// let (en, de) = (Language::EN, Language::DE);
/// // Without separate translations of the answers, a search finds no answer.
/// let placed = place_answers(&english, &english, en, de, &mut BySearch::default())?;
/// assert_eq!(placed.report.discarded.untranslated_answer, 1190);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Language`] if the languages are the same; [`mlqa_eval::Error::NothingPaired`] if there
/// are no shared ids; the errors of `placer`.
pub fn place_answers(
    source: &Dataset,
    target: &Dataset,
    from: Language,
    to: Language,
    placer: &mut dyn PlaceSpans,
) -> Result<Translated, Error> {
    if from == to {
        let problem = "source and translation must be in different languages".into();
        return Err(Error::Language { language: to, problem });
    }
    let by_id: HashMap<&str, &Question> =
        target.questions.iter().map(|question| (question.id.as_str(), question)).collect();
    let mut report = TranslateReport { source: source.questions.len(), ..Default::default() };
    let (mut selected, mut tasks, mut translated_questions) = (Vec::new(), Vec::new(), Vec::new());
    for question in &source.questions {
        let Some(&translated) = by_id.get(question.id.as_str()) else {
            report.discarded.missing_id += 1;
            continue;
        };
        let text = translated.question.clone();
        translated_questions.push(Question { question: text, ..question.clone() });
        let (answers, misplaced) = match valid_answers(question) {
            Ok(valid) => valid,
            Err(NoAnswer::None) => (Vec::new(), 0),
            Err(NoAnswer::Misplaced) => {
                report.discarded.misplaced_answer += 1;
                continue;
            }
        };
        tasks.extend(answers.iter().map(|answer| SpanTask {
            from,
            to,
            source: question.context.to_string(),
            span: valid_span(answer),
            target: translated.context.to_string(),
            answer: None,
        }));
        selected.push((translated, answers.len(), misplaced));
    }
    if translated_questions.is_empty() {
        let (context, question) = (source.path.clone(), target.path.clone());
        return Err(mlqa_eval::Error::NothingPaired { context, question }.into());
    }
    let mut results = placer.place(&tasks)?.into_iter();
    let mut answered = Vec::with_capacity(selected.len());
    for (translated, count, misplaced) in selected {
        let to_loss = |placed: Result<Placed, _>| placed.map_err(SpanLoss::Unplaced);
        let spans = results.by_ref().take(count).map(to_loss).collect();
        let text = Some(translated.context.to_string());
        let transferred = TransferredText { text, spans };
        if let Some((_, answers)) = report.count_answers(transferred, misplaced) {
            answered.push(Question { answers, ..translated.clone() });
        }
    }
    let dataset = Dataset { questions: answered, ..target.clone() };
    dataset.check_answers()?;
    let questions = Dataset { questions: translated_questions, ..source.clone() };
    Ok(Translated { language: to, dataset, questions, report })
}

/// Translates questions and passages without markers. The result has no answers, and lacks questions
/// without a translation of question or passage. It is an input of [`place_answers`].
///
/// # Errors
/// [`Error::Language`] if the languages are the same, and the errors of the translator.
pub fn translate_plain(
    source: &Dataset,
    from: Language,
    to: Language,
    translator: &mut dyn Translator,
    mut progress: impl FnMut(Stage, usize, usize),
) -> Result<Dataset, Error> {
    let mut transfer = SpanTransfer::new(translator, from, to, None, &mut progress)?;
    let texts = source.questions.iter().map(|question| question.question.as_str());
    let texts = transfer.translate(Stage::Questions, &texts.collect::<Vec<_>>())?;
    let passages = source.questions.iter().map(|question| &*question.context);
    let passages = transfer.translate(Stage::Passages, &passages.collect::<Vec<_>>())?;
    let translations = source.questions.iter().zip(texts.into_iter().zip(passages));
    let questions = translations.filter_map(|(question, (text, passage))| {
        let (text, context) = (text?, passage?.into());
        Some(Question { question: text, context, answers: Vec::new(), ..question.clone() })
    });
    Ok(Dataset { questions: questions.collect(), ..source.clone() })
}
