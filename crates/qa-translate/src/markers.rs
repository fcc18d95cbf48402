//! An answer between `([` and `])`, so that it can be found again in the translation (mixMRC +
//! LAKM, section 3.1).
//!
//! Where a passage holds such brackets itself, the marker takes more of them: `([[ … ]])`, as
//! many as it needs to be longer than any run in the passage. So every passage can be marked, and
//! what is marked can be read back exactly. Full-width and Chinese brackets (`（［【〔`) count as
//! brackets, and white space between those of one marker is skipped, since translation systems
//! write both.
use mlqa_eval::Answer;

use crate::Error;

/// A passage with its answer marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// The passage with `([` before the answer and `])` after it.
    pub text: String,
    /// Square brackets in each marker: 1, or more where the passage has such runs itself.
    pub level: usize,
}

/// A passage and its answer, read back from a marked translation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The passage without markers.
    pub passage: String,
    /// The answer, with its offset in `passage`.
    pub answer: Answer,
}

/// Why markers could not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MarkerFault {
    /// No opening or no closing marker.
    Missing,
    /// More than one opening or more than one closing marker, or one with further brackets.
    Duplicate,
    /// The closing marker comes before the opening one.
    Reordered,
    /// Nothing but white space between them.
    Empty,
}

/// Marks `length` code points of `passage` from `start`. White space at the answer's ends stays
/// outside the markers.
///
/// ```
/// let marked = qa_translate::mark("In 1492 Columbus sailed.", 3, 4)?;
/// assert_eq!(marked.text, "In ([1492]) Columbus sailed.");
/// let recovered = qa_translate::recover("1492 segelte （[ Kolumbus ]）.", marked.level).unwrap();
/// assert_eq!(recovered.passage, "1492 segelte Kolumbus.");
/// assert_eq!(recovered.answer.answer_start, 13);
/// # Ok::<(), qa_translate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Span`] if the span is outside the passage or blank.
pub fn mark(passage: &str, start: usize, length: usize) -> Result<Marked, Error> {
    let characters: Vec<char> = passage.chars().collect();
    let end = start.saturating_add(length);
    let refuse = || Error::Span { start, end, length: characters.len() };
    let answer = characters.get(start..end).ok_or_else(refuse)?;
    let leading = answer.iter().take_while(|c| c.is_whitespace()).count();
    let trailing = answer.iter().rev().take_while(|c| c.is_whitespace()).count();
    let (from, to) = (start + leading, end.saturating_sub(trailing));
    let answer = characters.get(from..to).filter(|answer| !answer.is_empty());
    let answer = answer.ok_or_else(refuse)?;
    let level = 1 + longest_run(&characters);
    let (before, after) = (characters.get(..from), characters.get(to..));
    let mut text = String::with_capacity(passage.len() + 2 * level + 2);
    text.extend(before.unwrap_or_default());
    text.push('(');
    text.extend(std::iter::repeat_n('[', level));
    text.extend(answer);
    text.extend(std::iter::repeat_n(']', level));
    text.push(')');
    text.extend(after.unwrap_or_default());
    Ok(Marked { text, level })
}

impl Marked {
    /// Takes the markers out of a translation of [`Marked::text`], as [`recover`], and takes
    /// brackets next to the answer that the source's answer does not have for a marker that the
    /// translation doubled.
    ///
    /// ```
    /// use qa_translate::{MarkerFault, mark};
    ///
    /// let marked = mark("In 1492 Columbus sailed.", 3, 4)?;
    /// assert_eq!(marked.recover("Im Jahr ([1492])").unwrap().answer.text, "1492");
    /// assert_eq!(marked.recover("Im Jahr ([[1492]])"), Err(MarkerFault::Duplicate));
    /// # Ok::<(), qa_translate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`MarkerFault`], as [`recover`].
    pub fn recover(&self, translated: &str) -> Result<Recovered, MarkerFault> {
        let found = recover(translated, self.level)?;
        let source = recover(&self.text, self.level)?.answer.text;
        let answer = &found.answer.text;
        let opened = |text: &str| run_length(text.chars(), is_square_open);
        let closed = |text: &str| run_length(text.chars().rev(), is_square_close);
        if opened(answer) > opened(&source) || closed(answer) > closed(&source) {
            return Err(MarkerFault::Duplicate);
        }
        Ok(found)
    }
}

/// Takes the markers of `level` (that of [`Marked`]) out of a translation and places the answer.
///
/// White space between marker and answer goes where there is some on the other side of the marker
/// too, where the text ends there, and before punctuation; otherwise it moves outside, so that
/// words stay apart.
///
/// # Errors
/// [`MarkerFault`], unless there is exactly one pair with an answer in it.
pub fn recover(translated: &str, level: usize) -> Result<Recovered, MarkerFault> {
    let characters: Vec<char> = translated.chars().collect();
    let openings = openings(&characters, level);
    let closings = closings(&characters, level);
    let (opening, closing) = match (openings.as_slice(), closings.as_slice()) {
        ([], _) | (_, []) => return Err(MarkerFault::Missing),
        ([opening], [closing]) => (*opening, *closing),
        _ => return Err(MarkerFault::Duplicate),
    };
    if closing.end <= opening.start {
        return Err(MarkerFault::Reordered);
    }
    let part = |from: usize, to: usize| characters.get(from..to).unwrap_or_default();
    let (before, after) = (part(0, opening.start), part(closing.end, characters.len()));
    let inner = part(opening.end, closing.start);
    let leading = inner.iter().take_while(|c| c.is_whitespace()).count();
    let trailing = inner.iter().rev().take_while(|c| c.is_whitespace()).count();
    let answer = inner.get(leading..inner.len().saturating_sub(trailing)).unwrap_or_default();
    if answer.is_empty() {
        return Err(MarkerFault::Empty);
    }
    let mut passage: Vec<char> = before.to_vec();
    if before.last().is_some_and(|c| !c.is_whitespace()) {
        passage.extend(inner.iter().take(leading));
    }
    let answer_start = passage.len();
    passage.extend(answer);
    if after.first().is_some_and(|c| c.is_alphanumeric()) {
        passage.extend(inner.iter().skip(inner.len() - trailing));
    }
    passage.extend(after);
    let answer = Answer { text: answer.iter().collect(), answer_start };
    Ok(Recovered { passage: passage.into_iter().collect(), answer })
}

/// Code points `[start, end)` of one marker.
#[derive(Clone, Copy, Debug)]
struct Marker {
    start: usize,
    end: usize,
}

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

/// How many code points the first `level` characters that are `wanted` take, white space before
/// each included; fewer than `level` give `None`.
fn run_of(
    mut rest: impl Iterator<Item = char>,
    level: usize,
    wanted: fn(char) -> bool,
) -> Option<usize> {
    let (mut taken, mut found) = (0, 0);
    while found < level {
        let c = rest.next()?;
        taken += 1;
        if wanted(c) {
            found += 1;
        } else if !c.is_whitespace() {
            return None;
        }
    }
    Some(taken)
}

fn openings(text: &[char], level: usize) -> Vec<Marker> {
    let markers = text.iter().enumerate().filter(|&(_, &c)| is_round_open(c));
    markers
        .filter_map(|(start, _)| {
            let rest = text.iter().skip(start + 1).copied();
            let taken = run_of(rest, level, is_square_open)?;
            Some(Marker { start, end: start + 1 + taken })
        })
        .collect()
}

fn closings(text: &[char], level: usize) -> Vec<Marker> {
    let markers = text.iter().enumerate().filter(|&(_, &c)| is_round_close(c));
    markers
        .filter_map(|(at, _)| {
            let rest = text.get(..at)?.iter().rev().copied();
            let taken = run_of(rest, level, is_square_close)?;
            Some(Marker { start: at - taken, end: at + 1 })
        })
        .collect()
}

/// How many characters that are `wanted` a text begins with, white space between them left out.
fn run_length(text: impl Iterator<Item = char>, wanted: fn(char) -> bool) -> usize {
    text.take_while(|&c| wanted(c) || c.is_whitespace()).filter(|&c| wanted(c)).count()
}

/// The most square brackets that follow an opening round one, or come before a closing one.
fn longest_run(text: &[char]) -> usize {
    let runs = text.iter().enumerate().map(|(at, &c)| {
        if is_round_open(c) {
            run_length(text.iter().skip(at + 1).copied(), is_square_open)
        } else if is_round_close(c) {
            run_length(text.iter().take(at).rev().copied(), is_square_close)
        } else {
            0
        }
    });
    runs.max().unwrap_or(0)
}
