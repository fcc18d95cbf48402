//! Answers predicted in the translation and projected back.
use std::collections::BTreeMap;

use mlqa_eval::{Predictions, Question};
use ndarray::Array2;

use super::predictor::translations_of;
use crate::Result;
use crate::alignment::{AnswerAligner, EncodedText};
use crate::question_answering::QaPredictor;

/// Answers `questions` by projection, without fusion.
///
/// `reader` answers the translations of the questions, and `aligner` projects the answers to the
/// contexts of `questions`. The answer is empty if nothing is aligned or the reader predicts no
/// answer.
///
/// # Errors
/// [`Error::Data`](crate::Error::Data) naming a question without a translation; the errors of
/// [`QaPredictor::predict`] and [`AnswerAligner::encode`].
pub(super) fn answer_by_projection(
    reader: &QaPredictor<'_>,
    aligner: &AnswerAligner<'_>,
    questions: &[Question],
    translations: &BTreeMap<String, Question>,
) -> Result<Predictions> {
    let translated = translations_of(questions, translations)?;
    let answers = reader.predict(&translated)?;
    let mut projected = BTreeMap::new();
    // Consecutive questions of one context share the similarity matrix.
    let mut cached: Option<AlignedContexts<'_>> = None;
    for ((question, source), answer) in questions.iter().zip(&translated).zip(&answers) {
        let best = answer.candidates.first().filter(|best| !answer.null && !best.text.is_empty());
        let mut text = String::new();
        if let Some(best) = best {
            let aligned = match cached.take() {
                Some(aligned) if aligned.matches(source, question) => aligned,
                _ => AlignedContexts::new(aligner, source, question)?,
            };
            let span = best.answer_start..best.answer_start + best.text.chars().count();
            let AlignedContexts { source, target, similarity, .. } = &aligned;
            if let Some(span) = aligner.project(similarity, source, span, target)? {
                text = question.context.chars().skip(span.start).take(span.len()).collect();
            }
            cached = Some(aligned);
        }
        projected.insert(question.id.clone(), text);
    }
    Ok(Predictions(projected))
}

/// Two encoded contexts and the similarities of their tokens.
struct AlignedContexts<'q> {
    contexts: (&'q str, &'q str),
    source: EncodedText,
    target: EncodedText,
    similarity: Array2<f32>,
}

impl<'q> AlignedContexts<'q> {
    fn new(
        aligner: &AnswerAligner<'_>,
        source: &'q Question,
        target: &'q Question,
    ) -> Result<Self> {
        let contexts = (&*source.context, &*target.context);
        let (source, target) = (aligner.encode(contexts.0)?, aligner.encode(contexts.1)?);
        let similarity = aligner.similarity(&source, &target)?;
        Ok(Self { contexts, source, target, similarity })
    }

    fn matches(&self, source: &Question, target: &Question) -> bool {
        self.contexts == (&*source.context, &*target.context)
    }
}
