//! Translation of texts with typed spans, such as sentences with tagged entities.
use std::collections::BTreeMap;
use std::ops::Range;

use mlqa_eval::Language;
use serde::Serialize;

use crate::place::{is_written_without_spaces, slice, word_ranges};
use crate::transfer::{
    MarkerErrorCounts, SpanLoss, SpanText, SpanTransfer, Stage, TransferredText, add_count,
    overlaps,
};
use crate::{Error, MarkerNotation, PlaceSpans, ReplyReport, Translator};

/// A text span with a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedSpan {
    /// Range in code points.
    pub span: Range<usize>,
    /// Type, such as `PER`.
    pub kind: String,
}

/// A text with typed spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypedText {
    /// The text.
    pub text: String,
    /// The spans, in any order.
    pub spans: Vec<TypedSpan>,
}

impl TypedText {
    /// Creates a text by joining words. `spans` contains ranges of words and their types.
    ///
    /// Words are separated by a space. In Chinese, Japanese, Thai, Lao, Khmer and Burmese there is
    /// a space only between two ASCII letters or digits.
    ///
    /// ```
    /// use mlqa_eval::Language;
    /// use qa_translate::TypedText;
    ///
    /// let words = ["我", "用", "iPhone", "6"].map(String::from);
    /// let text = TypedText::from_words(&words, [(2..4, "MISC")], Language::ZH)?;
    /// assert_eq!((text.text.as_str(), text.spans[0].span.clone()), ("我用iPhone 6", 2..10));
    /// # Ok::<(), qa_translate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Span`], with offsets in words, for a span that is empty or exceeds the words.
    pub fn from_words<'k>(
        words: &[String],
        spans: impl IntoIterator<Item = (Range<usize>, &'k str)>,
        language: Language,
    ) -> Result<Self, Error> {
        let is_unspaced = is_written_without_spaces(language);
        let (mut text, mut length, mut word_ranges) = (String::new(), 0, Vec::new());
        for word in words {
            let needs_space = text.ends_with(|c: char| c.is_ascii_alphanumeric())
                && word.starts_with(|c: char| c.is_ascii_alphanumeric());
            if !word_ranges.is_empty() && (needs_space || !is_unspaced) {
                text.push(' ');
                length += 1;
            }
            let start = length;
            length += word.chars().count();
            text.push_str(word);
            word_ranges.push(start..length);
        }
        let spans = typed_spans(&word_ranges, spans)?;
        Ok(Self { text, spans })
    }

    /// Creates a text from a sentence and its words. `spans` contains ranges of words and their
    /// types.
    ///
    /// Returns `None` if the sentence does not consist of the words in order, separated by white
    /// space or not separated.
    ///
    /// ```
    /// use qa_translate::TypedText;
    ///
    /// let words = ["I", "do", "n't", "like", "Bonn", "."].map(String::from);
    /// let text = TypedText::from_sentence("I don't like Bonn.", &words, [(4..5, "LOC")])?;
    /// assert_eq!(text.unwrap().spans[0].span, 13..17);
    /// assert_eq!(TypedText::from_sentence("I like Bonn.", &words, [])?, None);
    /// # Ok::<(), qa_translate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Span`], with offsets in words, for a span that is empty or exceeds the words.
    pub fn from_sentence<'k>(
        sentence: &str,
        words: &[String],
        spans: impl IntoIterator<Item = (Range<usize>, &'k str)>,
    ) -> Result<Option<Self>, Error> {
        let (mut rest, mut offset) = (sentence, 0);
        let mut word_ranges = Vec::with_capacity(words.len());
        for word in words {
            let trimmed = rest.trim_start();
            offset += rest.chars().count() - trimmed.chars().count();
            let Some(after_word) = trimmed.strip_prefix(word.as_str()) else { return Ok(None) };
            let start = offset;
            offset += word.chars().count();
            word_ranges.push(start..offset);
            rest = after_word;
        }
        if !rest.trim().is_empty() {
            return Ok(None);
        }
        let spans = typed_spans(&word_ranges, spans)?;
        Ok(Some(Self { text: sentence.to_owned(), spans }))
    }

    /// Returns the words of the text and a tag for each word: `O`, or `B-` and `I-` with the type
    /// (IOB2).
    ///
    /// Words are the ranges of [`word_ranges`](crate::word_ranges), split at span boundaries, without white
    /// space. A word in several spans has the tag of the first span.
    ///
    /// ```
    /// use qa_translate::{TypedSpan, TypedText};
    ///
    /// let spans = vec![TypedSpan { span: 0..2, kind: "LOC".into() }];
    /// let (words, tags) = TypedText { text: "北京's smog".into(), spans }.words();
    /// assert_eq!(words, ["北", "京", "'", "s", "smog"]);
    /// assert_eq!(tags, ["B-LOC", "I-LOC", "O", "O", "O"]);
    /// ```
    pub fn words(&self) -> (Vec<String>, Vec<String>) {
        let characters: Vec<char> = self.text.chars().collect();
        let mut boundaries: Vec<usize> =
            self.spans.iter().flat_map(|typed| [typed.span.start, typed.span.end]).collect();
        boundaries.sort_unstable();
        let (mut words, mut tags, mut previous) = (Vec::new(), Vec::new(), None);
        for Range { mut start, end } in word_ranges(&self.text) {
            let inner_boundaries =
                boundaries.iter().copied().filter(|index| (start + 1..end).contains(index));
            for part_end in inner_boundaries.chain([end]).collect::<Vec<_>>() {
                let part = &characters[start..part_end];
                let word: String = part.iter().filter(|c| !c.is_whitespace()).collect();
                let contains_part =
                    |typed: &TypedSpan| typed.span.start <= start && part_end <= typed.span.end;
                let containing_span = self.spans.iter().position(contains_part);
                start = part_end;
                if word.is_empty() {
                    continue;
                }
                words.push(word);
                tags.push(match containing_span.map(|index| &self.spans[index]) {
                    None => "O".to_owned(),
                    Some(span) if containing_span == previous => format!("I-{}", span.kind),
                    Some(span) => format!("B-{}", span.kind),
                });
                previous = containing_span;
            }
        }
        (words, tags)
    }
}

/// Converts ranges of words to ranges of code points. `word_ranges` contains the range of each word.
fn typed_spans<'k>(
    word_ranges: &[Range<usize>],
    spans: impl IntoIterator<Item = (Range<usize>, &'k str)>,
) -> Result<Vec<TypedSpan>, Error> {
    let to_typed_span = |(words, kind): (Range<usize>, &str)| {
        let Range { start, end } = words;
        let span = match word_ranges.get(words) {
            Some([first, .., last]) => first.start..last.end,
            Some([word]) => word.clone(),
            _ => return Err(Error::Span { start, end, length: word_ranges.len() }),
        };
        Ok(TypedSpan { span, kind: kind.to_owned() })
    };
    spans.into_iter().map(to_typed_span).collect()
}

/// Texts translated into another language.
#[derive(Clone, Debug, PartialEq)]
pub struct TranslatedSpans {
    /// The translation of each source text, or `None` if there is no translation. The found spans
    /// are in the order of the source and do not overlap.
    pub texts: Vec<Option<TypedText>>,
    /// Counts of found and dropped spans.
    pub report: SpanReport,
}

/// Counts for one language. `spans` is the sum of `found` and `dropped`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SpanReport {
    /// Number of source texts.
    pub texts: usize,
    /// Number of texts without a translation.
    pub untranslated: usize,
    /// Number of source spans.
    pub spans: usize,
    /// Number of found spans by method: `markers`, or [`Placed::method`](crate::Placed::method).
    pub found: BTreeMap<&'static str, usize>,
    /// Number of dropped spans by reason.
    pub dropped: BTreeMap<SpanLoss, usize>,
    /// Number of texts whose markers could not be recovered, by reason.
    pub faults: MarkerErrorCounts,
    /// Counts of cleaned and rejected replies of the translator.
    #[serde(skip_serializing_if = "ReplyReport::is_empty")]
    pub replies: ReplyReport,
}

/// Translates texts with their typed spans.
///
/// `progress` is called with the stage, the number of finished texts and the total number of texts.
///
/// Each text is translated with its spans marked ([`mark`](crate::mark())). If the markers are
/// lost, text and spans are translated separately, and `placer` locates the spans in the translated
/// text. `placer` also locates spans that overlap a marked span. Every found span is a range of its
/// translation. If found spans overlap, the first span in the source is retained and the other
/// spans are dropped.
///
/// ```
/// use mlqa_eval::Language;
/// use qa_translate::{BySearch, Identity, TypedText, translate_spans};
///
/// let words = ["Ada", "met", "Bo"].map(String::from);
/// let source = [TypedText::from_words(&words, [(0..1, "PER"), (2..3, "PER")], Language::EN)?];
/// let (mut identity, mut placer) = (Identity, BySearch::default());
/// let (from, to) = (Language::EN, Language::DE);
/// let translated = translate_spans(&source, from, to, &mut identity, &mut placer, |_, _, _| {})?;
/// assert_eq!(translated.texts, [Some(source[0].clone())]);
/// assert_eq!(translated.report.found["markers"], 2);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Language`] if the languages are the same, and the errors of the translator and
/// `placer`.
pub fn translate_spans(
    source: &[TypedText],
    from: Language,
    to: Language,
    translator: &mut dyn Translator,
    placer: &mut dyn PlaceSpans,
    progress: impl FnMut(Stage, usize, usize),
) -> Result<TranslatedSpans, Error> {
    let notation = Some(MarkerNotation::default());
    translate_spans_with(source, from, to, translator, notation, placer, progress)
}

/// Translates texts with their typed spans like [`translate_spans`], with markers in another
/// notation. If `notation` is `None`, texts are translated without markers, and `placer` locates all
/// spans.
///
/// # Errors
/// The errors of [`translate_spans`].
pub fn translate_spans_with(
    source: &[TypedText],
    from: Language,
    to: Language,
    translator: &mut dyn Translator,
    notation: Option<MarkerNotation>,
    placer: &mut dyn PlaceSpans,
    mut progress: impl FnMut(Stage, usize, usize),
) -> Result<TranslatedSpans, Error> {
    let mut transfer = SpanTransfer::new(translator, from, to, notation, &mut progress)?;
    let mut report = SpanReport { texts: source.len(), ..SpanReport::default() };
    let (mut span_texts, mut kinds) = (Vec::with_capacity(source.len()), Vec::new());
    for TypedText { text, spans } in source {
        report.spans += spans.len();
        let is_valid = |typed: &&TypedSpan| slice(text, &typed.span).is_some();
        let valid_spans: Vec<&TypedSpan> = spans.iter().filter(is_valid).collect();
        add_count(&mut report.dropped, SpanLoss::Misplaced, spans.len() - valid_spans.len());
        let ranges = valid_spans.iter().map(|typed| typed.span.clone()).collect();
        span_texts.push(SpanText { text, spans: ranges });
        kinds.push(valid_spans.into_iter().map(|typed| &typed.kind));
    }
    let mut texts = Vec::with_capacity(source.len());
    for (TransferredText { text, spans }, kinds) in
        transfer.transfer_spans(&span_texts, Some(placer))?.into_iter().zip(kinds)
    {
        let mut retained: Vec<TypedSpan> = Vec::with_capacity(spans.len());
        for (result, kind) in spans.into_iter().zip(kinds) {
            match result {
                Ok(placed) if retained.iter().any(|typed| overlaps(&typed.span, &placed.span)) => {
                    add_count(&mut report.dropped, SpanLoss::Overlap, 1);
                }
                Ok(placed) => {
                    *report.found.entry(placed.method).or_default() += 1;
                    retained.push(TypedSpan { span: placed.span, kind: kind.clone() });
                }
                Err(loss) => add_count(&mut report.dropped, loss, 1),
            }
        }
        report.untranslated += usize::from(text.is_none());
        texts.push(text.map(|text| TypedText { text, spans: retained }));
    }
    report.faults = transfer.faults;
    report.replies = transfer.translator.take_reply_report();
    Ok(TranslatedSpans { texts, report })
}
