//! Carries spans through a translator with markers; spans with lost markers are searched in the
//! translation.
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use mlqa_eval::Language;
use serde::Serialize;

use crate::markers::{Marked, MarkedSpans, MarkerFault, RecoveredSpans, mark, mark_spans};
use crate::place::cut;
use crate::translate::{Faults, Stage};
use crate::{Error, PlaceFault, PlaceSpans, Placed, SpanTask, Translations, Translator};

/// [`Placed::method`] of a span that was recovered by its markers.
pub(crate) const MARKERS: &str = "markers";

/// Reason why a span of the source has no position in the translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanLoss {
    /// The span is blank, or not in its source text.
    Misplaced,
    /// The span's text has no translation.
    UntranslatedText,
    /// The markers were lost or the span could not be marked because of another, and it was not
    /// searched.
    LostMarkers,
    /// The span overlaps an earlier span of the source. Answers may overlap; two answers with the
    /// same position count as one.
    Overlap,
    /// The span was not found in the finished translation.
    #[serde(untagged)]
    Unplaced(PlaceFault),
}

impl Display for SpanLoss {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Misplaced => "not at its offset",
            Self::UntranslatedText => "text without translation",
            Self::LostMarkers => "markers lost",
            Self::Overlap => "overlaps an earlier one",
            Self::Unplaced(PlaceFault::NoAnswer) => "without a separate translation",
            Self::Unplaced(PlaceFault::Ambiguous) => "more than once in the translation",
            Self::Unplaced(_) => "not in the translation",
        })
    }
}

/// A text and its spans in code points, none of which is blank.
pub(crate) struct Spanned<'t> {
    pub text: &'t str,
    pub spans: Vec<Range<usize>>,
}

/// A translation, and the position of each source span in it.
pub(crate) struct Carried {
    /// Translation without markers; `None` if there is no translation.
    pub text: Option<String>,
    /// Positions in the source's order; they may overlap.
    pub spans: Vec<Result<Placed, SpanLoss>>,
}

/// A text with its spans marked: a single span without a number, several spans with numbers.
enum Marks<'t> {
    None(&'t str),
    One(Marked),
    Several(MarkedSpans),
}

impl<'t> Marks<'t> {
    fn new(text: &'t str, spans: &[Range<usize>]) -> Result<Self, Error> {
        Ok(match spans {
            [] => Self::None(text),
            [one] => Self::One(mark(text, one.start, one.len())?),
            several => Self::Several(mark_spans(text, several)?),
        })
    }

    fn text(&self) -> &str {
        match self {
            Self::None(text) => text,
            Self::One(marked) => &marked.text,
            Self::Several(marked) => &marked.text,
        }
    }

    fn recover(&self, translation: String) -> Result<RecoveredSpans, MarkerFault> {
        match self {
            Self::None(_) => Ok(RecoveredSpans { text: translation, spans: Vec::new() }),
            Self::One(marked) => {
                let found = marked.recover(&translation)?;
                let start = found.answer.answer_start;
                let span = start..start + found.answer.text.chars().count();
                Ok(RecoveredSpans { text: found.passage, spans: vec![span] })
            }
            Self::Several(marked) => marked.recover(&translation),
        }
    }
}

/// Returns the indices of spans that can be marked in one text: each that overlaps no earlier one.
fn non_overlapping(spans: &[Range<usize>]) -> Vec<usize> {
    let mut kept: Vec<(usize, &Range<usize>)> = Vec::new();
    for (number, span) in spans.iter().enumerate() {
        if kept.iter().all(|(_, one)| !overlap(one, span)) {
            kept.push((number, span));
        }
    }
    kept.into_iter().map(|(number, _)| number).collect()
}

/// Returns whether two ranges share an element.
pub(crate) fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

fn is_lost(span: &Result<Placed, SpanLoss>) -> bool {
    *span == Err(SpanLoss::LostMarkers)
}

/// A translator with its languages and progress callback, and counts of lost markers.
pub(crate) struct Work<'a> {
    pub translator: &'a mut dyn Translator,
    pub from: Language,
    pub to: Language,
    pub progress: &'a mut dyn FnMut(Stage, usize, usize),
    pub faults: Faults,
}

impl<'a> Work<'a> {
    /// Returns an error if the languages are the same.
    pub fn new(
        translator: &'a mut dyn Translator,
        from: Language,
        to: Language,
        progress: &'a mut dyn FnMut(Stage, usize, usize),
    ) -> Result<Self, Error> {
        if from == to {
            let problem = "the data is already in this language".into();
            return Err(Error::Language { language: to, problem });
        }
        Ok(Self { translator, from, to, progress, faults: Faults::default() })
    }

    /// Translates in batches; a blank translation counts as missing.
    pub fn run(&mut self, stage: Stage, texts: &[&str]) -> Translations {
        let mut all = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.translator.batch_size().max(1)) {
            (self.progress)(stage, all.len(), texts.len());
            let translated = self.translator.translate(batch, self.from, self.to)?;
            if translated.len() != batch.len() {
                let (expected, got) = (batch.len(), translated.len());
                return Err(Error::Count { expected, got });
            }
            let blank = |text: &String| !text.trim().is_empty();
            all.extend(translated.into_iter().map(|text| text.filter(blank)));
        }
        (self.progress)(stage, texts.len(), texts.len());
        Ok(all)
    }

    /// Translates texts with their spans marked and recovers the markers.
    ///
    /// `place`, if given, searches the other spans: spans that overlap a marked span are searched
    /// in its translation; if markers were lost, all spans are searched in a translation without
    /// markers.
    pub fn carry(
        &mut self,
        sources: &[Spanned<'_>],
        place: Option<&mut dyn PlaceSpans>,
    ) -> Result<Vec<Carried>, Error> {
        let mut marked = Vec::with_capacity(sources.len());
        for Spanned { text, spans } in sources {
            let numbers = non_overlapping(spans);
            let selected_spans: Vec<_> =
                numbers.iter().filter_map(|&k| spans.get(k).cloned()).collect();
            marked.push((Marks::new(text, &selected_spans)?, numbers));
        }
        let texts: Vec<&str> = marked.iter().map(|(marks, _)| marks.text()).collect();
        let translations = self.run(Stage::MarkedPassages, &texts)?;
        let mut all = Vec::with_capacity(sources.len());
        for (((marks, numbers), source), translation) in
            marked.iter().zip(sources).zip(translations)
        {
            let mut spans = vec![Err(SpanLoss::LostMarkers); source.spans.len()];
            let text = match translation.map(|translation| marks.recover(translation)) {
                None => {
                    spans.fill(Err(SpanLoss::UntranslatedText));
                    None
                }
                Some(Err(fault)) => {
                    self.faults.count(fault);
                    None
                }
                Some(Ok(found)) => {
                    for (&number, span) in numbers.iter().zip(found.spans) {
                        if let Some(place) = spans.get_mut(number) {
                            let (score, method, runners_up) = (1.0, MARKERS, Vec::new());
                            *place = Ok(Placed { span, score, method, runners_up });
                        }
                    }
                    Some(found.text)
                }
            };
            all.push(Carried { text, spans });
        }
        if let Some(place) = place {
            self.place_lost(sources, &mut all, place)?;
        }
        Ok(all)
    }

    fn place_lost(
        &mut self,
        sources: &[Spanned<'_>],
        all: &mut [Carried],
        place: &mut dyn PlaceSpans,
    ) -> Result<(), Error> {
        let bare = |one: &Carried| one.text.is_none() && one.spans.iter().any(is_lost);
        let (texts, bare): (Vec<&str>, Vec<&mut Carried>) = sources
            .iter()
            .map(|source| source.text)
            .zip(all.iter_mut())
            .filter(|(_, one)| bare(one))
            .unzip();
        for (one, translation) in bare.into_iter().zip(self.run(Stage::Passages, &texts)?) {
            one.text = translation;
        }

        let mut lost = Vec::new();
        for (source, Carried { text, spans }) in sources.iter().zip(all) {
            let spans = source.spans.iter().zip(spans).filter(|(_, result)| is_lost(result));
            lost.extend(spans.map(|(span, result)| (source.text, span, text.as_ref(), result)));
        }
        let answers: Vec<String> =
            lost.iter().map(|(text, span, ..)| cut(text, span).unwrap_or_default()).collect();
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let answers = self.run(Stage::Answers, &answers)?;

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
        let placed = place.place(&tasks)?;
        for ((result, task), placed) in results.into_iter().zip(&tasks).zip(placed) {
            // The result is checked, because `place` may be implemented by other crates.
            let is_in_translation = |one: &Placed| cut(&task.target, &one.span).is_some();
            *result = match placed {
                Ok(one) if is_in_translation(&one) => Ok(one),
                Ok(_) => Err(SpanLoss::Unplaced(PlaceFault::NotFound)),
                Err(fault) => Err(SpanLoss::Unplaced(fault)),
            };
        }
        Ok(())
    }
}
