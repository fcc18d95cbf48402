//! Markers around answers and other spans, which locate the spans in the translation (mixMRC + LAKM,
//! section 3.1).
//!
//! The paper's markers are `([` and `])`. If a text contains such brackets, the markers have more
//! square brackets, such as `([[ … ]])`: one more than the longest run of such brackets in the text.
//! Every text can therefore be marked, and the markers can be recovered exactly.
//!
//! Translation systems change markers. Full-width and Chinese brackets (`（［【〔`) count as brackets;
//! white space, direction marks and zero-width characters within a marker are skipped; numbers may
//! have the digits of any script.
mod brackets;
mod digits;
mod edges;
mod invisible;
mod quotes;
mod tags;

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Error;
use brackets::longest_bracket_run;
use invisible::{count_leading, count_trailing, is_blank};

/// Form of the markers around spans.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum MarkerNotation {
    /// `([` and `])`, as in the paper; `([1:` and `])` for the first of several spans.
    #[default]
    Brackets,
    /// `<m>` and `</m>`; `<m1>` and `</m1>` for the first of several spans. A text that contains
    /// such tags is marked with brackets.
    Tags,
    /// Quotation marks. A text that contains double quotation marks or has several spans is marked
    /// with brackets.
    Quotes,
}

impl MarkerNotation {
    /// All notations.
    pub const ALL: [Self; 3] = [Self::Brackets, Self::Tags, Self::Quotes];

    /// Marks spans of a text like [`mark`](crate::mark()), in this notation.
    ///
    /// ```
    /// use qa_translate::MarkerNotation;
    ///
    /// let marked = MarkerNotation::Tags.mark("Ada met Bo.", &[8..10, 0..3])?;
    /// assert_eq!(marked.text, "<m2>Ada</m2> met <m1>Bo</m1>.");
    /// assert_eq!(MarkerNotation::Quotes.mark("Ada met Bo.", &[0..3])?.text, "\"Ada\" met Bo.");
    /// # Ok::<(), qa_translate::Error>(())
    /// ```
    ///
    /// # Errors
    /// The errors of [`mark`](crate::mark()).
    pub fn mark(self, text: &str, spans: &[Range<usize>]) -> Result<MarkedText, Error> {
        let characters: Vec<char> = text.chars().collect();
        let is_markable = match self {
            Self::Brackets => true,
            Self::Tags => !tags::has_tag(&characters),
            Self::Quotes => spans.len() < 2 && !quotes::has_quote(&characters),
        };
        let notation = if is_markable { self } else { Self::Brackets };
        let mut numbered_spans = Vec::with_capacity(spans.len());
        for (number, span) in (1..).zip(spans) {
            numbered_spans.push((trimmed_span(&characters, span)?, number));
        }
        numbered_spans.sort_by_key(|(span, _)| span.start);
        for ((first, _), (second, _)) in numbered_spans.iter().zip(numbered_spans.iter().skip(1)) {
            if second.start < first.end {
                return Err(Error::Overlap { first: first.clone(), second: second.clone() });
            }
        }
        let level = match notation {
            Self::Brackets => 1 + longest_bracket_run(&characters),
            Self::Tags | Self::Quotes => 1,
        };
        let mut marked = MarkedText { text: String::new(), notation, level, count: spans.len() };
        marked.text = marked.with_markers(&characters, &numbered_spans);
        Ok(marked)
    }
}

impl Display for MarkerNotation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Brackets => "brackets",
            Self::Tags => "tags",
            Self::Quotes => "quotes",
        })
    }
}

/// A text with marked spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedText {
    /// The text with a marker before and after each span.
    pub text: String,
    /// Form of the markers.
    pub notation: MarkerNotation,
    /// Number of square brackets in each marker: 1, or more if the text contains similar brackets.
    pub level: usize,
    /// Number of spans.
    pub count: usize,
}

/// A text and its spans, recovered from a marked translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredText {
    /// The text without markers.
    pub text: String,
    /// Spans of the text, in code points, in the order in which they were passed to [`mark`], even
    /// if the translation reorders the spans.
    pub spans: Vec<Range<usize>>,
}

/// Reason why markers could not be recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkerError {
    /// An opening marker, a closing marker or the number of a span is missing.
    Missing,
    /// There are several opening or several closing markers, or a marker has extra brackets.
    Duplicate,
    /// A closing marker precedes its opening marker, or the marked parts overlap.
    Reordered,
    /// There is only white space between the markers.
    Empty,
}

/// Marks spans of a text. Span offsets are in code points. Several spans are numbered. White space
/// at a span's ends remains outside the markers.
///
/// ```
/// use qa_translate::mark;
///
/// let marked = mark("In 1492 Columbus sailed.", &[3..7])?;
/// assert_eq!(marked.text, "In ([1492]) Columbus sailed.");
/// let marked = mark("Ada met Bo in Bern.", &[14..18, 0..3])?;
/// assert_eq!(marked.text, "([2:Ada]) met Bo in ([1:Bern]).");
/// let recovered = marked.recover("In ([ 1 : Bern ]) traf ([2:Ada]) Bo.").unwrap();
/// assert_eq!(recovered.text, "In Bern traf Ada Bo.");
/// assert_eq!(recovered.spans, [3..7, 13..16]);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Span`] if a span is outside the text or blank; [`Error::Overlap`] if spans overlap.
pub fn mark(text: &str, spans: &[Range<usize>]) -> Result<MarkedText, Error> {
    MarkerNotation::Brackets.mark(text, spans)
}

/// Returns the span without white space at its ends.
fn trimmed_span(text: &[char], span: &Range<usize>) -> Result<Range<usize>, Error> {
    let &Range { start, end } = span;
    let span_error = || Error::Span { start, end, length: text.len() };
    let marked = text.get(start..end).ok_or_else(span_error)?;
    let leading = marked.iter().take_while(|c| c.is_whitespace()).count();
    let trailing = marked.iter().rev().take_while(|c| c.is_whitespace()).count();
    let trimmed = start + leading..end.saturating_sub(trailing);
    if trimmed.is_empty() { Err(span_error()) } else { Ok(trimmed) }
}

/// Returns whether the end of a text is between the markers of a span, in any notation.
pub(crate) fn is_inside_marker(text: &[char]) -> bool {
    brackets::is_inside(text) || tags::is_inside(text) || quotes::is_inside(text)
}

impl MarkedText {
    /// Inserts markers around spans, which must be sorted.
    fn with_markers(&self, text: &[char], spans: &[(Range<usize>, usize)]) -> String {
        let mut marked = String::new();
        let mut offset = 0;
        for (span, number) in spans {
            let [open, close] = self.markers(*number);
            marked.extend(&text[offset..span.start]);
            marked.push_str(&open);
            marked.extend(&text[span.clone()]);
            marked.push_str(&close);
            offset = span.end;
        }
        marked.extend(&text[offset..]);
        marked
    }

    /// Returns the opening and the closing marker of a span.
    fn markers(&self, number: usize) -> [String; 2] {
        let is_numbered = self.count > 1;
        match self.notation {
            MarkerNotation::Brackets => {
                let label = if is_numbered { format!("{number}:") } else { String::new() };
                let [open, close] = ["[", "]"].map(|bracket| bracket.repeat(self.level));
                [format!("({open}{label}"), format!("{close})")]
            }
            MarkerNotation::Tags => {
                let label = if is_numbered { number.to_string() } else { String::new() };
                [format!("<m{label}>"), format!("</m{label}>")]
            }
            MarkerNotation::Quotes => ["\"", "\""].map(str::to_owned),
        }
    }

    /// Removes the markers from a translation of [`MarkedText::text`] and locates the spans.
    /// Without spans, the translation is returned unchanged.
    ///
    /// A marker counts as duplicated if the translated span has more brackets at its ends than the
    /// source's span.
    ///
    /// White space, direction marks and zero-width characters between a marker and the marked text
    /// are not part of the span; all except white space remain in the text. White space after the
    /// opening marker is moved in front of the span if a character that is not white space precedes
    /// the marker. White space before the closing marker is moved behind the span if a letter or
    /// digit follows the marker. All other such white space is removed.
    ///
    /// Punctuation at the ends of the marked text is not part of the span if the source's span has
    /// no punctuation there. A full stop, which may belong to an abbreviation, is part of the span
    /// unless it follows the source's span and no longer follows the translation's span.
    ///
    /// ```
    /// use qa_translate::{MarkerError, mark};
    ///
    /// let marked = mark("In 1492 Columbus sailed.", &[3..7])?;
    /// let recovered = marked.recover("（[ 1492 ]） segelte Kolumbus.").unwrap();
    /// assert_eq!(recovered.text, "1492 segelte Kolumbus.");
    /// assert_eq!(recovered.spans, [0..4]);
    /// assert_eq!(marked.recover("Im Jahr ([[1492]])"), Err(MarkerError::Duplicate));
    /// # Ok::<(), qa_translate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`MarkerError`], unless each span has exactly one pair of markers, with non-empty text and,
    /// if there are several spans, the span's number.
    pub fn recover(&self, translated: &str) -> Result<RecoveredText, MarkerError> {
        let (source, source_spans) = self.parse(&self.text, &[])?;
        let ends = source_spans.iter().map(|span| BlankEnds::of(&source[span.clone()]));
        let (text, mut spans) = self.parse(translated, &ends.collect::<Vec<_>>())?;
        for (span, source_span) in spans.iter_mut().zip(&source_spans) {
            let has_doubled_marker = self.notation == MarkerNotation::Brackets
                && brackets::is_doubled(&text[span.clone()], &source[source_span.clone()]);
            if has_doubled_marker {
                return Err(MarkerError::Duplicate);
            }
            *span = edges::trim_punctuation(&text, span.clone(), &source, source_span);
        }
        Ok(RecoveredText { text: text.into_iter().collect(), spans })
    }

    /// Removes the markers from a text. Returns the text and the spans in the order in which they
    /// were marked. `ends` contains the ends of the source's spans, or is empty for the source.
    fn parse(
        &self,
        text: &str,
        ends: &[BlankEnds],
    ) -> Result<(Vec<char>, Vec<Range<usize>>), MarkerError> {
        let characters: Vec<char> = text.chars().collect();
        let (numbers, pairs) = match (self.count, self.notation) {
            (0, _) => (Vec::new(), Vec::new()),
            (count, MarkerNotation::Tags) => tags::find_pairs(&characters, count)?,
            (_, MarkerNotation::Quotes) => (vec![1], vec![quotes::single_pair(&characters)?]),
            (1, MarkerNotation::Brackets) => {
                (vec![1], vec![brackets::single_pair(&characters, self.level)?])
            }
            (count, MarkerNotation::Brackets) => {
                brackets::numbered_pairs(&characters, self.level, count)?
            }
        };
        let ends_in_text = numbers.iter().map(|number| match ends {
            [] => BlankEnds { start: true, end: true },
            ends => ends[number - 1],
        });
        let (text, spans_in_text) =
            without_markers(&characters, pairs.into_iter().zip(ends_in_text))?;
        let mut spans = vec![0..0; self.count];
        for (number, span) in numbers.into_iter().zip(spans_in_text) {
            // The numbers are a permutation of 1 to `count`.
            spans[number - 1] = span;
        }
        Ok((text, spans))
    }
}

/// Whether a marked span of the source has characters without a visible form at its ends.
#[derive(Clone, Copy)]
struct BlankEnds {
    start: bool,
    end: bool,
}

impl BlankEnds {
    fn of(span: &[char]) -> Self {
        Self { start: count_leading(span) > 0, end: count_trailing(span) > 0 }
    }
}

/// The range `[start, end)` of a marker, in code points.
#[derive(Clone, Copy, Debug)]
struct Marker {
    start: usize,
    end: usize,
}

/// An opening and a closing marker.
type MarkerPair = (Marker, Marker);

/// Returns a text without its markers, and the ranges of the marked parts in the returned text.
/// `pairs` must be sorted by position.
fn without_markers(
    text: &[char],
    pairs: impl Iterator<Item = (MarkerPair, BlankEnds)>,
) -> Result<(Vec<char>, Vec<Range<usize>>), MarkerError> {
    let (mut passage, mut spans, mut offset): (Vec<char>, _, _) = (Vec::new(), Vec::new(), 0);
    for ((opening, closing), ends) in pairs {
        passage.extend(&text[offset..opening.start]);
        let inner = &text[opening.end..closing.start];
        if inner.iter().all(|&c| is_blank(c)) {
            return Err(MarkerError::Empty);
        }
        let is_space = |c: &&char| c.is_whitespace();
        let leading = match ends.start {
            true => inner.iter().take_while(is_space).count(),
            false => count_leading(inner),
        };
        let trailing = match ends.end {
            true => inner.iter().rev().take_while(is_space).count(),
            false => count_trailing(inner),
        };
        let end = inner.len() - trailing;
        let is_after_text = last_visible(&passage).is_some_and(|c| !c.is_whitespace());
        passage.extend(inner[..leading].iter().filter(|c| is_after_text || !c.is_whitespace()));
        let start = passage.len();
        passage.extend(&inner[leading..end]);
        spans.push(start..passage.len());
        let is_before_word = text.get(closing.end).is_some_and(|c| c.is_alphanumeric());
        passage.extend(inner[end..].iter().filter(|c| is_before_word || !c.is_whitespace()));
        offset = closing.end;
    }
    passage.extend(&text[offset..]);
    Ok((passage, spans))
}

/// Returns the last character that is white space or has a visible form.
fn last_visible(text: &[char]) -> Option<char> {
    text.iter().rev().copied().find(|&c| c.is_whitespace() || !is_blank(c))
}
