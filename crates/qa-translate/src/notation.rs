//! Comparison of marker notations for one translator.
use mlqa_eval::Language;
use serde::Serialize;

use crate::transfer::{SpanText, SpanTransfer};
use crate::{Error, MarkerNotation, Translator, TypedSpan, TypedText, sentence_ranges};

/// Effect of a notation on the translations of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotationScore {
    /// The notation.
    pub notation: MarkerNotation,
    /// Number of sentences with a translation.
    pub sentences: usize,
    /// Number of translations from which all markers were recovered.
    pub recovered: usize,
    /// Number of translations that, without their markers, are equal to the translation of the
    /// sentence without markers, except for white space.
    pub unchanged: usize,
}

/// Returns at most `count` sentences that contain a complete span, with this span. The sentences are
/// distributed evenly over `texts`.
///
/// ```
/// use qa_translate::{TypedSpan, TypedText, sample_sentences};
///
/// let spans = vec![TypedSpan { span: 13..17, kind: "answer".into() }];
/// let text = TypedText { text: "It rains. In 1843 it snowed.".into(), spans };
/// let sample = sample_sentences(&[text], 100);
/// assert_eq!(sample[0].text, "In 1843 it snowed.");
/// assert_eq!(sample[0].spans[0].span, 3..7);
/// ```
pub fn sample_sentences(texts: &[TypedText], count: usize) -> Vec<TypedText> {
    let mut sentences: Vec<TypedText> = texts.iter().filter_map(sentence_with_span).collect();
    sentences.dedup();
    let total = sentences.len();
    let mut index = 0;
    sentences.retain(|_| {
        // Retains the sentences at which the number of retained sentences increases.
        let is_selected = (index + 1) * count / total.max(1) > index * count / total.max(1);
        index += 1;
        total <= count || is_selected
    });
    sentences
}

/// Returns the sentence that contains the first span of a text, with this span.
fn sentence_with_span(text: &TypedText) -> Option<TypedText> {
    let TypedSpan { span, kind } = text.spans.first()?;
    let sentence = sentence_ranges(&text.text)
        .into_iter()
        .find(|sentence| sentence.start <= span.start && span.end <= sentence.end)?;
    let characters = text.text.chars().skip(sentence.start).take(sentence.len());
    let span = span.start - sentence.start..span.end - sentence.start;
    let spans = vec![TypedSpan { span, kind: kind.clone() }];
    Some(TypedText { text: characters.collect(), spans })
}

/// Translates a sample without markers and with markers in each notation, and counts how often a
/// notation changes the translation or is lost.
///
/// Sentences whose spans cannot be marked, or without a translation, are skipped.
///
/// # Errors
/// [`Error::Language`] if the languages are the same, and the errors of the translator.
pub fn compare_notations(
    sample: &[TypedText],
    from: Language,
    to: Language,
    translator: &mut dyn Translator,
) -> Result<Vec<NotationScore>, Error> {
    let spans_of = |text: &TypedText| text.spans.iter().map(|typed| typed.span.clone()).collect();
    let texts: Vec<SpanText<'_>> = sample
        .iter()
        .map(|text| SpanText { text: &text.text, spans: spans_of(text) })
        .filter(|text| MarkerNotation::default().mark(text.text, &text.spans).is_ok())
        .collect();
    let mut progress = |_, _, _| {};
    let plain = SpanTransfer::new(&mut *translator, from, to, None, &mut progress)?
        .transfer_spans(&texts, None)?;
    let mut scores = Vec::with_capacity(MarkerNotation::ALL.len());
    for notation in MarkerNotation::ALL {
        let mut transfer =
            SpanTransfer::new(&mut *translator, from, to, Some(notation), &mut progress)?;
        let marked = transfer.transfer_spans(&texts, None)?;
        let mut score = NotationScore { notation, sentences: 0, recovered: 0, unchanged: 0 };
        for (plain, marked) in plain.iter().zip(marked) {
            let Some(plain) = &plain.text else { continue };
            score.sentences += 1;
            let Some(text) = marked.text else { continue };
            score.recovered += 1;
            score.unchanged += usize::from(text.split_whitespace().eq(plain.split_whitespace()));
        }
        scores.push(score);
    }
    Ok(scores)
}

/// Returns the notation that changes the fewest translations. Ties are resolved in favour of the
/// notation that is recovered most often, and then of the first notation.
pub fn best_notation(scores: &[NotationScore]) -> Option<MarkerNotation> {
    let mut best: Option<&NotationScore> = None;
    for score in scores {
        let key = |score: &NotationScore| (score.unchanged, score.recovered);
        if best.is_none_or(|best| key(score) > key(best)) {
            best = Some(score);
        }
    }
    best.map(|score| score.notation)
}
