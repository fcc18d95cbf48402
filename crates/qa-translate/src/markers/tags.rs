//! The markers `<m>` and `</m>`; several spans are numbered: `<m1>` and `</m1>`.
use super::digits::parse_digits;
use super::invisible::count_leading;
use super::{Marker, MarkerError, MarkerPair};

/// A tag and its number.
struct Tag {
    marker: Marker,
    is_closing: bool,
    number: Option<usize>,
}

/// Parses the tag at the start of a text.
fn parse_tag(text: &[char], start: usize) -> Option<Tag> {
    let rest = text.get(start..).filter(|rest| matches!(rest.first(), Some('<' | '＜')))?;
    let mut index = 1;
    let mut take = |is_expected: fn(char) -> bool| {
        let next = index + count_leading(rest.get(index..)?);
        let c = rest.get(next).copied().filter(|&c| is_expected(c))?;
        index = next + 1;
        Some(c)
    };
    let is_closing = take(|c| matches!(c, '/' | '／')).is_some();
    take(|c| matches!(c, 'm' | 'M' | 'ｍ' | 'Ｍ'))?;
    let digits = rest.get(index..).and_then(parse_digits);
    index += digits.map_or(0, |(_, length)| length);
    let end = index + count_leading(rest.get(index..)?);
    let is_end = rest.get(end).is_some_and(|c| matches!(c, '>' | '＞'));
    let marker = Marker { start, end: start + end + 1 };
    is_end.then_some(Tag { marker, is_closing, number: digits.map(|(number, _)| number) })
}

fn find_tags(text: &[char]) -> Vec<Tag> {
    (0..text.len()).filter_map(|start| parse_tag(text, start)).collect()
}

/// Returns whether a text has a part that would be parsed as a marker.
pub(super) fn has_tag(text: &[char]) -> bool {
    !find_tags(text).is_empty()
}

/// Returns whether the end of a text is between an opening and a closing tag.
pub(super) fn is_inside(text: &[char]) -> bool {
    find_tags(text).last().is_some_and(|tag| !tag.is_closing)
}

/// Returns the numbers and markers of `count` spans in the order in which the text contains them.
pub(super) fn find_pairs(
    text: &[char],
    count: usize,
) -> Result<(Vec<usize>, Vec<MarkerPair>), MarkerError> {
    let tags = find_tags(text);
    let openings = tags.iter().filter(|tag| !tag.is_closing).count();
    if openings > count || tags.len() - openings > count {
        return Err(MarkerError::Duplicate);
    }
    if tags.len() < 2 * count {
        return Err(MarkerError::Missing);
    }
    let (mut numbers, mut pairs) = (Vec::new(), Vec::new());
    for pair in tags.chunks_exact(2) {
        let [open, close] = pair else { continue };
        if open.is_closing || !close.is_closing {
            return Err(MarkerError::Reordered);
        }
        let number = match (count, open.number, close.number) {
            (1, ..) => 1,
            (_, Some(number), closing) if closing.is_none_or(|closing| closing == number) => number,
            (_, Some(_), _) => return Err(MarkerError::Reordered),
            (_, None, _) => return Err(MarkerError::Missing),
        };
        if numbers.contains(&number) {
            return Err(MarkerError::Duplicate);
        }
        numbers.push(number);
        pairs.push((open.marker, close.marker));
    }
    match numbers.iter().all(|number| (1..=count).contains(number)) {
        true => Ok((numbers, pairs)),
        false => Err(MarkerError::Missing),
    }
}
