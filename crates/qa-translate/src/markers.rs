//! Markers `([` and `])` around answers and other spans, which locate the spans in the translation
//! (mixMRC + LAKM, section 3.1).
//!
//! If a text contains such brackets, the markers have more square brackets, such as `([[ … ]])`:
//! one more than the longest run of such brackets in the text. Every text can therefore be marked,
//! and the markers can be recovered exactly. Full-width and Chinese brackets (`（［【〔`) count as
//! brackets, and white space within a marker is skipped, because translation systems output such
//! brackets and white space.
use std::ops::Range;

use crate::Error;

/// A text with marked spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedText {
    /// The text with `([` before the span and `])` after it. Several spans are numbered: `([1:`
    /// before the first span, and so on.
    pub text: String,
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
    let characters: Vec<char> = text.chars().collect();
    let mut labelled_spans = Vec::with_capacity(spans.len());
    for (number, span) in (1..).zip(spans) {
        let label = if spans.len() > 1 { format!("{number}:") } else { String::new() };
        labelled_spans.push((trimmed_span(&characters, span)?, label));
    }
    labelled_spans.sort_by_key(|(span, _)| span.start);
    for ((first, _), (second, _)) in labelled_spans.iter().zip(labelled_spans.iter().skip(1)) {
        if second.start < first.end {
            return Err(Error::Overlap { first: first.clone(), second: second.clone() });
        }
    }
    let level = 1 + longest_bracket_run(&characters);
    let text = with_markers(&characters, &labelled_spans, level);
    Ok(MarkedText { text, level, count: spans.len() })
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

/// Inserts markers around spans, which must be sorted. The label of a span is inserted after its
/// opening marker.
fn with_markers(text: &[char], spans: &[(Range<usize>, String)], level: usize) -> String {
    let mut marked = String::new();
    let mut offset = 0;
    for (span, label) in spans {
        marked.extend(text.get(offset..span.start).unwrap_or_default());
        marked.push('(');
        marked.extend(std::iter::repeat_n('[', level));
        marked.push_str(label);
        marked.extend(text.get(span.clone()).unwrap_or_default());
        marked.extend(std::iter::repeat_n(']', level));
        marked.push(')');
        offset = span.end;
    }
    marked.extend(text.get(offset..).unwrap_or_default());
    marked
}

impl MarkedText {
    /// Removes the markers from a translation of [`MarkedText::text`] and locates the spans.
    /// Without spans, the translation is returned unchanged.
    ///
    /// A marker counts as duplicated if the translated span has more brackets at its ends than the
    /// source's span.
    ///
    /// White space between a marker and the marked text is not part of the span. White space after
    /// the opening marker is moved in front of the span if a character that is not white space
    /// precedes the marker. White space before the closing marker is moved behind the span if a
    /// letter or digit follows the marker. All other such white space is removed.
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
        let recovered = self.parse(translated)?;
        let source = self.parse(&self.text)?;
        let text_of = |recovered: &RecoveredText, span: &Range<usize>| -> String {
            recovered.text.chars().skip(span.start).take(span.len()).collect()
        };
        let mut pairs = recovered.spans.iter().zip(&source.spans);
        let has_doubled_marker = pairs.any(|(span, source_span)| {
            is_doubled(&text_of(&recovered, span), &text_of(&source, source_span))
        });
        match has_doubled_marker {
            true => Err(MarkerError::Duplicate),
            false => Ok(recovered),
        }
    }

    /// Removes the markers from a text.
    fn parse(&self, text: &str) -> Result<RecoveredText, MarkerError> {
        let characters: Vec<char> = text.chars().collect();
        let (numbers, pairs) = match self.count {
            0 => (Vec::new(), Vec::new()),
            1 => (vec![1], vec![single_pair(&characters, self.level)?]),
            count => numbered_pairs(&characters, self.level, count)?,
        };
        let (text, spans_in_text) = without_markers(&characters, &pairs)?;
        let mut spans = vec![0..0; self.count];
        for (number, span) in numbers.into_iter().zip(spans_in_text) {
            if let Some(slot) = spans.get_mut(number - 1) {
                *slot = span;
            }
        }
        Ok(RecoveredText { text: text.into_iter().collect(), spans })
    }
}

/// Returns the only pair of markers in a text.
fn single_pair(text: &[char], level: usize) -> Result<MarkerPair, MarkerError> {
    match (openings(text, level).as_slice(), closings(text, level).as_slice()) {
        ([], _) | (_, []) => Err(MarkerError::Missing),
        ([opening], [closing]) if closing.end <= opening.start => Err(MarkerError::Reordered),
        ([opening], [closing]) => Ok((*opening, *closing)),
        _ => Err(MarkerError::Duplicate),
    }
}

/// Returns the numbers and markers of `count` spans in the order in which the text contains them.
fn numbered_pairs(
    text: &[char],
    level: usize,
    count: usize,
) -> Result<(Vec<usize>, Vec<MarkerPair>), MarkerError> {
    let closings = closings(text, level);
    let mut pairs = Vec::with_capacity(count);
    let mut numbers = Vec::with_capacity(count);
    let mut end = 0;
    for opening in openings(text, level) {
        let (number, length) = parse_number(text.get(opening.end..).unwrap_or_default())
            .ok_or(MarkerError::Missing)?;
        let opening = Marker { start: opening.start, end: opening.end + length };
        let mut next_closings = closings.iter().filter(|closing| closing.start >= opening.end);
        let closing = next_closings.next().copied().ok_or(MarkerError::Missing)?;
        if opening.start < end {
            return Err(MarkerError::Reordered);
        }
        end = closing.end;
        pairs.push((opening, closing));
        numbers.push(number);
    }
    let has_duplicate =
        numbers.iter().any(|number| numbers.iter().filter(|&other| other == number).count() > 1);
    if has_duplicate || closings.len() > pairs.len() {
        return Err(MarkerError::Duplicate);
    }
    let mut sorted_numbers = numbers.clone();
    sorted_numbers.sort_unstable();
    match sorted_numbers.into_iter().eq(1..=count) {
        true => Ok((numbers, pairs)),
        false => Err(MarkerError::Missing),
    }
}

/// Returns whether a translated span has more brackets at its ends than the source's span, which
/// means that the translation doubled a marker.
fn is_doubled(translated: &str, source: &str) -> bool {
    let opening_brackets = |text: &str| run_length(text.chars(), is_square_open);
    let closing_brackets = |text: &str| run_length(text.chars().rev(), is_square_close);
    opening_brackets(translated) > opening_brackets(source)
        || closing_brackets(translated) > closing_brackets(source)
}

/// Returns a text without its markers, and the ranges of the marked parts in the returned text.
/// `pairs` must be sorted by position.
fn without_markers(
    text: &[char],
    pairs: &[MarkerPair],
) -> Result<(Vec<char>, Vec<Range<usize>>), MarkerError> {
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (mut passage, mut spans, mut offset): (Vec<char>, _, _) = (Vec::new(), Vec::new(), 0);
    for (opening, closing) in pairs {
        passage.extend(part(offset, opening.start));
        let inner = part(opening.end, closing.start);
        let leading = inner.iter().take_while(|c| c.is_whitespace()).count();
        let trailing = inner.iter().rev().take_while(|c| c.is_whitespace()).count();
        let marked = inner.get(leading..inner.len().saturating_sub(trailing)).unwrap_or_default();
        if marked.is_empty() {
            return Err(MarkerError::Empty);
        }
        if passage.last().is_some_and(|c| !c.is_whitespace()) {
            passage.extend(inner.iter().take(leading));
        }
        let start = passage.len();
        passage.extend(marked);
        spans.push(start..passage.len());
        if text.get(closing.end).is_some_and(|c| c.is_alphanumeric()) {
            passage.extend(inner.iter().skip(inner.len() - trailing));
        }
        offset = closing.end;
    }
    passage.extend(part(offset, text.len()));
    Ok((passage, spans))
}

/// Parses a number and a colon at the start of a text. Returns the number, and the length of the
/// parsed part in code points. Full-width digits and colons are accepted.
fn parse_number(text: &[char]) -> Option<(usize, usize)> {
    let digit_value = |c: char| match c {
        '\u{ff10}'..='\u{ff19}' => u32::from(c) - 0xff10,
        c => c.to_digit(10).unwrap_or(10),
    };
    let count_blanks =
        |from: usize| text.iter().skip(from).take_while(|c| c.is_whitespace()).count();
    let mut index = count_blanks(0);
    let mut value: Option<usize> = None;
    while let Some(digit) = text.get(index).map(|&c| digit_value(c)).filter(|&digit| digit < 10) {
        let digit = usize::try_from(digit).ok()?;
        value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
        index += 1;
    }
    index += count_blanks(index);
    let has_colon = text.get(index).is_some_and(|c| matches!(c, ':' | '：'));
    value.filter(|_| has_colon).map(|value| (value, index + 1))
}

/// The range `[start, end)` of a marker, in code points.
#[derive(Clone, Copy, Debug)]
struct Marker {
    start: usize,
    end: usize,
}

/// An opening and a closing marker.
type MarkerPair = (Marker, Marker);

fn is_round_open(c: char) -> bool {
    matches!(c, '(' | '（')
}

fn is_round_close(c: char) -> bool {
    matches!(c, ')' | '）')
}

fn is_square_open(c: char) -> bool {
    matches!(c, '[' | '［' | '【' | '〔')
}

fn is_square_close(c: char) -> bool {
    matches!(c, ']' | '］' | '】' | '〕')
}

/// Returns the length in code points of the first `level` brackets and the white space before each
/// bracket; `None` if the text starts with fewer than `level` brackets.
fn bracket_run_length(
    mut text: impl Iterator<Item = char>,
    level: usize,
    is_bracket: fn(char) -> bool,
) -> Option<usize> {
    let (mut consumed, mut brackets) = (0, 0);
    while brackets < level {
        let c = text.next()?;
        consumed += 1;
        if is_bracket(c) {
            brackets += 1;
        } else if !c.is_whitespace() {
            return None;
        }
    }
    Some(consumed)
}

/// Returns the opening markers of a text.
fn openings(text: &[char], level: usize) -> Vec<Marker> {
    let markers = text.iter().enumerate().filter(|&(_, &c)| is_round_open(c));
    markers
        .filter_map(|(start, _)| {
            let following = text.iter().skip(start + 1).copied();
            let consumed = bracket_run_length(following, level, is_square_open)?;
            Some(Marker { start, end: start + 1 + consumed })
        })
        .collect()
}

/// Returns the closing markers of a text.
fn closings(text: &[char], level: usize) -> Vec<Marker> {
    let markers = text.iter().enumerate().filter(|&(_, &c)| is_round_close(c));
    markers
        .filter_map(|(index, _)| {
            let preceding = text.get(..index)?.iter().rev().copied();
            let consumed = bracket_run_length(preceding, level, is_square_close)?;
            Some(Marker { start: index - consumed, end: index + 1 })
        })
        .collect()
}

/// Counts the `is_bracket` characters at the start of a text, skipping white space between them.
fn run_length(text: impl Iterator<Item = char>, is_bracket: fn(char) -> bool) -> usize {
    text.take_while(|&c| is_bracket(c) || c.is_whitespace()).filter(|&c| is_bracket(c)).count()
}

/// Returns the length of the longest run of square brackets that follows an opening round bracket
/// or precedes a closing round bracket.
fn longest_bracket_run(text: &[char]) -> usize {
    let runs = text.iter().enumerate().map(|(index, &c)| {
        if is_round_open(c) {
            run_length(text.iter().skip(index + 1).copied(), is_square_open)
        } else if is_round_close(c) {
            run_length(text.iter().take(index).rev().copied(), is_square_close)
        } else {
            0
        }
    });
    runs.max().unwrap_or(0)
}
