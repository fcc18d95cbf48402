use std::ops::Range;

use super::run::Case;

/// A folded text, with the position of each character in the source text.
///
/// Texts that differ only in the encoding or in optional parts of their spelling have equal folded
/// texts; see [`fold`](crate::fold()) for the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    text: String,
    /// Segments of the text, in order and without gaps in the text.
    segments: Vec<Segment>,
}

/// A part of a folded text that comes from a part of the source text. It ends at the next segment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    /// First byte in the folded text.
    start: usize,
    /// Byte range in the source text.
    source: Range<usize>,
    /// Whether each character has as many bytes in the source text as in the folded text.
    /// Otherwise, only the segment as a whole has a position in the source text.
    aligned: bool,
}

impl Folded {
    /// Returns the folded text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the folded text without offsets.
    pub fn into_string(self) -> String {
        self.text
    }

    /// Returns the byte range of the source text that a byte range of the folded text comes from.
    ///
    /// The result begins and ends at character boundaries. It includes a character as a whole if
    /// one of several characters that it was folded to is in the range. It includes a character's
    /// marks, even those that folding removes. An empty range has an empty source range.
    ///
    /// # Panics
    /// If the range is not inside the folded text, or does not begin and end at character
    /// boundaries.
    pub fn source_range(&self, range: Range<usize>) -> Range<usize> {
        let start = match self.segment_at(range.start) {
            Some(segment) if segment.aligned => {
                segment.source.start + (range.start - segment.start)
            }
            Some(segment) => segment.source.start,
            None => self.segments.last().map_or(0, |segment| segment.source.end),
        };
        let Some(last) = self.text[range.clone()].chars().next_back() else { return start..start };
        let end = match self.segment_at(range.end - last.len_utf8()) {
            Some(segment) if segment.aligned => segment.source.start + (range.end - segment.start),
            Some(segment) => segment.source.end,
            None => unreachable!("each character of a folded text is in a segment"),
        };
        start..end
    }

    /// Returns the segment with a byte of the folded text; `None` at the end of the text.
    fn segment_at(&self, byte: usize) -> Option<&Segment> {
        assert!(self.text.is_char_boundary(byte), "byte {byte} is not at a character of the text");
        let next = self.segments.partition_point(|segment| segment.start <= byte);
        self.segments[..next].last().filter(|_| byte < self.text.len())
    }

    /// Reserves memory for a folded text.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.text.reserve(bytes);
    }

    /// Appends ASCII characters, each of which is folded to one ASCII character, from
    /// `source..source + part.len()` of the source text.
    pub(super) fn push_ascii(&mut self, part: &str, source: usize, case: Case) {
        self.add_segment(source..source + part.len(), true);
        let start = self.text.len();
        self.text.push_str(part);
        if case == Case::Folded {
            self.text[start..].make_ascii_lowercase();
        }
    }

    /// Appends a character.
    pub(super) fn push(&mut self, c: char, source: Range<usize>) {
        if c == ' ' && self.text.ends_with(' ') {
            self.extend_last(source.end);
            return;
        }
        let aligned = source.len() == c.len_utf8();
        self.add_segment(source, aligned);
        self.text.push(c);
    }

    /// Appends a folded run of several characters.
    pub(super) fn push_run(&mut self, run: &str, source: Range<usize>) {
        let run = match self.text.ends_with(' ') && run.starts_with(' ') {
            true => &run[1..],
            false => run,
        };
        if run.is_empty() {
            // An invisible character belongs to no segment; an optional mark at the beginning of
            // the text or after white space neither.
            return;
        }
        self.add_segment(source, false);
        self.text.push_str(run);
    }

    /// Returns whether the text ends with a space.
    pub(super) fn ends_with_space(&self) -> bool {
        self.text.ends_with(' ')
    }

    /// Extends the last character's part of the source text.
    fn extend_last(&mut self, end: usize) {
        let start = self.text.len() - 1;
        let last = self.segments.last_mut().expect("a character is in a segment");
        if last.start == start {
            last.source.end = end;
            last.aligned = false;
        } else {
            // The space is the last character of an aligned segment.
            let source_start = last.source.start + (start - last.start);
            last.source.end = source_start;
            self.segments.push(Segment { start, source: source_start..end, aligned: false });
        }
    }

    fn add_segment(&mut self, source: Range<usize>, aligned: bool) {
        match self.segments.last_mut() {
            Some(last) if last.aligned && aligned && last.source.end == source.start => {
                last.source.end = source.end;
            }
            _ => self.segments.push(Segment { start: self.text.len(), source, aligned }),
        }
    }
}
