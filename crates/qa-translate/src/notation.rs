//! Comparison of marker notations for one translator.
use language::fold;
use mlqa_eval::Language;
use serde::Serialize;

use crate::place::slice;
use crate::transfer::{SpanText, SpanTransfer, Stage};
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
    /// Number of translations whose first marked text is equal to the separate translation of the
    /// span, ignoring case and forms of punctuation. Other marked texts may be correct, too, but a
    /// smaller number than with other notations shows that markers are moved to other words.
    pub confirmed: usize,
    /// Number of translations that are unchanged and whose first marked text is confirmed.
    pub unchanged_and_confirmed: usize,
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
/// notation changes the translation, is lost, or marks other words.
///
/// Sentences without a span, with spans that cannot be marked, or without a translation are skipped.
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
        .filter(|text| !text.spans.is_empty())
        .filter(|text| MarkerNotation::default().mark(text.text, &text.spans).is_ok())
        .collect();
    let mut progress = |_, _, _| {};
    let plain = SpanTransfer::new(&mut *translator, from, to, None, &mut progress)?
        .transfer_spans(&texts, None)?;
    let span_texts: Vec<String> = texts.iter().map(first_span_text).collect();
    let span_texts: Vec<&str> = span_texts.iter().map(String::as_str).collect();
    let separate = SpanTransfer::new(&mut *translator, from, to, None, &mut progress)?
        .translate(Stage::Answers, &span_texts)?;
    let mut scores = Vec::with_capacity(MarkerNotation::ALL.len());
    for notation in MarkerNotation::ALL {
        let mut transfer =
            SpanTransfer::new(&mut *translator, from, to, Some(notation), &mut progress)?;
        let marked = transfer.transfer_spans(&texts, None)?;
        let mut score = NotationScore {
            notation,
            sentences: 0,
            recovered: 0,
            unchanged: 0,
            confirmed: 0,
            unchanged_and_confirmed: 0,
        };
        for ((plain, separate), marked) in plain.iter().zip(&separate).zip(marked) {
            let Some(plain) = &plain.text else { continue };
            score.sentences += 1;
            let Some(text) = marked.text else { continue };
            let marked_text = match marked.spans.first() {
                Some(Ok(placed)) => slice(&text, &placed.span),
                _ => None,
            };
            let is_unchanged = text.split_whitespace().eq(plain.split_whitespace());
            let is_confirmed =
                marked_text.zip(separate.as_ref()).is_some_and(|(marked, separate)| {
                    fold(&marked).as_str() == fold(separate).as_str()
                });
            score.recovered += 1;
            score.unchanged += usize::from(is_unchanged);
            score.confirmed += usize::from(is_confirmed);
            score.unchanged_and_confirmed += usize::from(is_unchanged && is_confirmed);
        }
        scores.push(score);
    }
    Ok(scores)
}

/// Returns the text of the first span.
fn first_span_text(text: &SpanText<'_>) -> String {
    // A text without spans is blank.
    text.spans.first().map_or_else(String::new, |span| {
        slice(text.text, span).expect("only texts with valid spans are compared")
    })
}

/// Returns the notation with the most unchanged translations with a confirmed span. Ties are
/// resolved in favour of the notation that is recovered most often, and then of the first notation.
pub fn best_notation(scores: &[NotationScore]) -> Option<MarkerNotation> {
    let mut best: Option<&NotationScore> = None;
    for score in scores {
        let key = |score: &NotationScore| (score.unchanged_and_confirmed, score.recovered);
        if best.is_none_or(|best| key(score) > key(best)) {
            best = Some(score);
        }
    }
    best.map(|score| score.notation)
}
