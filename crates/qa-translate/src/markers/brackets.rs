//! The markers `([` and `])`.
use super::digits::parse_number;
use super::invisible::is_blank;
use super::{Marker, MarkerError, MarkerPair};

/// Returns the only pair of markers in a text.
pub(super) fn single_pair(text: &[char], level: usize) -> Result<MarkerPair, MarkerError> {
    match (openings(text, level).as_slice(), closings(text, level).as_slice()) {
        ([], _) | (_, []) => Err(MarkerError::Missing),
        ([opening], [closing]) if closing.end <= opening.start => Err(MarkerError::Reordered),
        ([opening], [closing]) => Ok((*opening, *closing)),
        _ => Err(MarkerError::Duplicate),
    }
}

/// Returns the numbers and markers of `count` spans in the order in which the text contains them.
pub(super) fn numbered_pairs(
    text: &[char],
    level: usize,
    count: usize,
) -> Result<(Vec<usize>, Vec<MarkerPair>), MarkerError> {
    let closings = closings(text, level);
    let mut pairs = Vec::with_capacity(count);
    let mut numbers = Vec::with_capacity(count);
    let mut end = 0;
    for opening in openings(text, level) {
        let (number, length) = parse_number(&text[opening.end..]).ok_or(MarkerError::Missing)?;
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
pub(super) fn is_doubled(translated: &[char], source: &[char]) -> bool {
    let opening_brackets = |text: &[char]| run_length(text.iter().copied(), is_square_open);
    let closing_brackets = |text: &[char]| run_length(text.iter().rev().copied(), is_square_close);
    opening_brackets(translated) > opening_brackets(source)
        || closing_brackets(translated) > closing_brackets(source)
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

/// Returns the length in code points of the first `level` brackets and the blank characters before
/// each bracket; `None` if the text starts with fewer than `level` brackets.
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
        } else if !is_blank(c) {
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
            let preceding = text[..index].iter().rev().copied();
            let consumed = bracket_run_length(preceding, level, is_square_close)?;
            Some(Marker { start: index - consumed, end: index + 1 })
        })
        .collect()
}

/// Counts the `is_bracket` characters at the start of a text, skipping blank characters between them.
fn run_length(text: impl Iterator<Item = char>, is_bracket: fn(char) -> bool) -> usize {
    text.take_while(|&c| is_bracket(c) || is_blank(c)).filter(|&c| is_bracket(c)).count()
}

/// Returns the length of the longest run of square brackets that follows an opening round bracket
/// or precedes a closing round bracket.
pub(super) fn longest_bracket_run(text: &[char]) -> usize {
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

/// Returns whether the end of a text is between an opening and a closing marker.
pub(super) fn is_inside(text: &[char]) -> bool {
    openings(text, 1).len() > closings(text, 1).len()
}
