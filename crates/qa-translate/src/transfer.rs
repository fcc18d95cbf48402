//! Transfer of spans to translations by markers. Spans with lost markers are located in the
//! translation by `PlaceSpans`.
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use mlqa_eval::Language;
use serde::Serialize;

use crate::markers::{MarkerError, MarkerNotation};
use crate::place::slice;
use crate::{Error, PlaceError, PlaceSpans, Placed, SpanTask, Translations, Translator};

/// [`Placed::method`] of a span that was recovered by its markers.
pub(crate) const MARKERS_METHOD: &str = "markers";

/// Reason why a span of the source has no position in the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanLoss {
    /// The span is blank or exceeds its source text.
    Misplaced,
    /// The text that contains the span has no translation.
    UntranslatedText,
    /// The markers were lost, or the span overlaps a marked span; in both cases, the span was not
    /// searched.
    LostMarkers,
    /// In the translation, the span overlaps an earlier span. For answers, only an equal position
    /// counts as an overlap.
    Overlap,
    /// The span was not found in the finished translation.
    #[serde(untagged)]
    Unplaced(PlaceError),
}

impl Display for SpanLoss {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misplaced => "not at its offset",
            Self::UntranslatedText => "text without translation",
            Self::LostMarkers => "markers lost",
            Self::Overlap => "overlaps an earlier span",
            Self::Unplaced(PlaceError::NoAnswer) => "without a separate translation",
            Self::Unplaced(PlaceError::Ambiguous) => "more than once in the translation",
            Self::Unplaced(PlaceError::TooLong) => "too long for the model",
            Self::Unplaced(_) => "not in the translation",
        })
    }
}

/// Adds `added` to the count of a loss. No entry is created if `added` is 0.
pub(crate) fn add_count(counts: &mut BTreeMap<SpanLoss, usize>, loss: SpanLoss, added: usize) {
    if added > 0 {
        *counts.entry(loss).or_default() += added;
    }
}

/// Counts of [`MarkerError`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MarkerErrorCounts {
    /// [`MarkerError::Missing`].
    pub missing: usize,
    /// [`MarkerError::Duplicate`].
    pub duplicate: usize,
    /// [`MarkerError::Reordered`].
    pub reordered: usize,
    /// [`MarkerError::Empty`].
    pub empty: usize,
}

impl MarkerErrorCounts {
    pub(crate) fn count(&mut self, error: MarkerError) {
        *match error {
            MarkerError::Missing => &mut self.missing,
            MarkerError::Duplicate => &mut self.duplicate,
            MarkerError::Reordered => &mut self.reordered,
            MarkerError::Empty => &mut self.empty,
        } += 1;
    }
}

/// Stage of a translation, for progress bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Questions.
    Questions,
    /// Passages or sentences with marked spans.
    MarkedPassages,
    /// Passages whose markers were lost, translated without markers.
    Passages,
    /// Answers or other spans, translated separately and then searched.
    Answers,
}

/// A text and its non-blank spans, in code points.
pub(crate) struct SpanText<'t> {
    pub text: &'t str,
    pub spans: Vec<Range<usize>>,
}

/// A translation, and the position of each source span in it.
pub(crate) struct TransferredText {
    /// Translation without markers; `None` if there is no translation.
    pub text: Option<String>,
    /// Positions in the order of the source spans; positions may overlap.
    pub spans: Vec<Result<Placed, SpanLoss>>,
}

/// Returns the indices of spans that can be marked in one text. A span is skipped if it overlaps an
/// earlier selected span.
fn non_overlapping_indices(spans: &[Range<usize>]) -> Vec<usize> {
    let mut selected: Vec<(usize, &Range<usize>)> = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        if selected.iter().all(|(_, earlier)| !overlaps(earlier, span)) {
            selected.push((index, span));
        }
    }
    selected.into_iter().map(|(index, _)| index).collect()
}

/// Returns whether two ranges share an element.
pub(crate) fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Returns a translation with the white space around `source`; `None` if the translation is blank.
fn with_outer_white_space(source: &str, translation: &str) -> Option<String> {
    let is_blank = |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}');
    let inner = translation.trim_matches(is_blank);
    let (core, start) = (source.trim(), source.trim_start());
    let leading = &source[..source.len() - start.len()];
    let trailing = &start[core.len()..];
    (!inner.is_empty()).then(|| format!("{leading}{inner}{trailing}"))
}

fn has_lost_markers(result: &Result<Placed, SpanLoss>) -> bool {
    *result == Err(SpanLoss::LostMarkers)
}

/// A translator with its languages and progress callback, and counts of lost markers.
pub(crate) struct SpanTransfer<'a> {
    pub translator: &'a mut dyn Translator,
    pub from: Language,
    pub to: Language,
    /// Form of the markers; `None` if texts are translated without markers.
    pub notation: Option<MarkerNotation>,
    pub progress: &'a mut dyn FnMut(Stage, usize, usize),
    pub faults: MarkerErrorCounts,
}

impl<'a> SpanTransfer<'a> {
    /// Creates a transfer. Returns an error if the languages are equal.
    pub fn new(
        translator: &'a mut dyn Translator,
        from: Language,
        to: Language,
        notation: Option<MarkerNotation>,
        progress: &'a mut dyn FnMut(Stage, usize, usize),
    ) -> Result<Self, Error> {
        if from == to {
            let problem = "the data is already in this language".into();
            return Err(Error::Language { language: to, problem });
        }
        let faults = MarkerErrorCounts::default();
        Ok(Self { translator, from, to, notation, progress, faults })
    }

    /// Translates texts in batches. A blank translation counts as missing. White space around a
    /// translation is replaced by the white space around its source.
    pub fn translate(&mut self, stage: Stage, texts: &[&str]) -> Translations {
        let mut translations = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.translator.batch_size().max(1)) {
            (self.progress)(stage, translations.len(), texts.len());
            let translated = self.translator.translate(batch, self.from, self.to)?;
            if translated.len() != batch.len() {
                let (expected, got) = (batch.len(), translated.len());
                return Err(Error::Count { expected, got });
            }
            let pairs = batch.iter().zip(translated);
            translations.extend(pairs.map(|(source, text)| with_outer_white_space(source, &text?)));
        }
        (self.progress)(stage, texts.len(), texts.len());
        Ok(translations)
    }

    /// Translates texts and locates their spans: by markers, or without markers by `placer`.
    ///
    /// If `placer` is not `None`, it locates the spans that were not recovered. Spans that overlap
    /// a marked span are located in the recovered translation. If markers were lost, all spans are
    /// located in a translation of the unmarked text.
    pub fn transfer_spans(
        &mut self,
        sources: &[SpanText<'_>],
        placer: Option<&mut dyn PlaceSpans>,
    ) -> Result<Vec<TransferredText>, Error> {
        let mut transferred = match self.notation {
            Some(notation) => self.transfer_markers(sources, notation)?,
            None => self.translate_unmarked(sources)?,
        };
        if let Some(placer) = placer {
            self.place_lost_spans(sources, &mut transferred, placer)?;
        }
        Ok(transferred)
    }

    /// Translates texts without markers. All spans count as lost.
    fn translate_unmarked(
        &mut self,
        sources: &[SpanText<'_>],
    ) -> Result<Vec<TransferredText>, Error> {
        let texts: Vec<&str> = sources.iter().map(|source| source.text).collect();
        let translations = self.translate(Stage::Passages, &texts)?;
        let transfer = |(source, text): (&SpanText<'_>, Option<String>)| {
            let loss = match text {
                Some(_) => SpanLoss::LostMarkers,
                None => SpanLoss::UntranslatedText,
            };
            TransferredText { text, spans: vec![Err(loss); source.spans.len()] }
        };
        Ok(sources.iter().zip(translations).map(transfer).collect())
    }

    /// Translates texts with their spans marked and recovers the markers.
    fn transfer_markers(
        &mut self,
        sources: &[SpanText<'_>],
        notation: MarkerNotation,
    ) -> Result<Vec<TransferredText>, Error> {
        let mut inputs = Vec::with_capacity(sources.len());
        for SpanText { text, spans } in sources {
            let indices = non_overlapping_indices(spans);
            let selected_spans: Vec<_> =
                indices.iter().map(|&index| spans[index].clone()).collect();
            inputs.push((notation.mark(text, &selected_spans)?, indices));
        }
        let texts: Vec<&str> = inputs.iter().map(|(marked, _)| marked.text.as_str()).collect();
        let translations = self.translate(Stage::MarkedPassages, &texts)?;
        let mut transferred = Vec::with_capacity(sources.len());
        for (((marked_text, indices), source), translation) in
            inputs.iter().zip(sources).zip(translations)
        {
            let mut spans = vec![Err(SpanLoss::LostMarkers); source.spans.len()];
            let text = match translation.map(|translation| marked_text.recover(&translation)) {
                None => {
                    spans.fill(Err(SpanLoss::UntranslatedText));
                    None
                }
                Some(Err(error)) => {
                    self.faults.count(error);
                    None
                }
                Some(Ok(recovered)) => {
                    assert_eq!(
                        recovered.spans.len(),
                        indices.len(),
                        "each marked span is recovered"
                    );
                    for (&index, span) in indices.iter().zip(recovered.spans) {
                        let (score, method, runners_up) = (1.0, MARKERS_METHOD, Vec::new());
                        spans[index] = Ok(Placed { span, score, method, runners_up });
                    }
                    Some(recovered.text)
                }
            };
            transferred.push(TransferredText { text, spans });
        }
        Ok(transferred)
    }

    /// Locates spans with lost markers, using `placer`.
    fn place_lost_spans(
        &mut self,
        sources: &[SpanText<'_>],
        transferred: &mut [TransferredText],
        placer: &mut dyn PlaceSpans,
    ) -> Result<(), Error> {
        let needs_translation =
            |item: &TransferredText| item.text.is_none() && item.spans.iter().any(has_lost_markers);
        let (texts, untranslated): (Vec<&str>, Vec<&mut TransferredText>) = sources
            .iter()
            .map(|source| source.text)
            .zip(transferred.iter_mut())
            .filter(|(_, item)| needs_translation(item))
            .unzip();
        let translations = self.translate(Stage::Passages, &texts)?;
        for (item, translation) in untranslated.into_iter().zip(translations) {
            item.text = translation;
        }

        let mut lost = Vec::new();
        for (source, TransferredText { text, spans }) in sources.iter().zip(transferred) {
            let spans =
                source.spans.iter().zip(spans).filter(|(_, result)| has_lost_markers(result));
            lost.extend(spans.map(|(span, result)| (source.text, span, text.as_ref(), result)));
        }
        let answer = |&(text, &Range { start, end }, ..): &(&str, &Range<usize>, _, _)| {
            let length = text.chars().count();
            slice(text, &(start..end)).ok_or(Error::Span { start, end, length })
        };
        let answers: Vec<String> = lost.iter().map(answer).collect::<Result<_, _>>()?;
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let answers = self.translate(Stage::Answers, &answers)?;

        let (mut tasks, mut results) = (Vec::new(), Vec::new());
        for ((source, span, target, result), answer) in lost.into_iter().zip(answers) {
            let Some(target) = target.cloned() else {
                *result = Err(SpanLoss::UntranslatedText);
                continue;
            };
            let (from, to, source, span) = (self.from, self.to, source.to_owned(), span.clone());
            tasks.push(SpanTask { from, to, source, span, target, answer });
            results.push(result);
        }
        let placed = placer.place(&tasks)?;
        // `placer` may be implemented by other crates.
        if placed.len() != tasks.len() {
            return Err(Error::Count { expected: tasks.len(), got: placed.len() });
        }
        for ((result, task), placed) in results.into_iter().zip(&tasks).zip(placed) {
            let is_in_translation = |placed: &Placed| slice(&task.target, &placed.span).is_some();
            *result = match placed {
                Ok(placed) if is_in_translation(&placed) => Ok(placed),
                Ok(_) => Err(SpanLoss::Unplaced(PlaceError::NotFound)),
                Err(error) => Err(SpanLoss::Unplaced(error)),
            };
        }
        Ok(())
    }
}
