//! The position of an answer in its context.
use serde::{Deserialize, Serialize};

use super::check::FindingKind;

/// The unit of the offsets of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetUnit {
    /// Unicode code points, the unit of SQuAD's files.
    #[default]
    CodePoints,
    /// Bytes of UTF-8.
    Bytes,
    /// Code units of UTF-16, as in JavaScript and Java.
    Utf16,
}

/// A context, with the byte positions of its code points and of its end.
pub(super) struct Context<'a> {
    text: &'a str,
    byte_positions: Vec<usize>,
}

impl<'a> Context<'a> {
    pub fn new(text: &'a str) -> Self {
        let positions = text.char_indices().map(|(byte, _)| byte).chain([text.len()]);
        Self { text, byte_positions: positions.collect() }
    }

    /// Returns whether the context has `text` at a byte position.
    fn has_text_at(&self, text: &str, byte: usize) -> bool {
        self.text.get(byte..).is_some_and(|rest| rest.starts_with(text))
    }

    /// Returns the code point of an answer whose offset is in `unit`; `None` if the answer is not at
    /// this position.
    pub fn locate(&self, text: &str, start: usize, unit: OffsetUnit) -> Option<usize> {
        let byte = match unit {
            OffsetUnit::CodePoints => self.byte_positions.get(start).copied(),
            OffsetUnit::Bytes => Some(start),
            OffsetUnit::Utf16 => self.byte_at_utf16(start),
        };
        let byte = byte.filter(|&byte| self.has_text_at(text, byte))?;
        self.byte_positions.binary_search(&byte).ok()
    }

    /// Checks whether the context has the answer `text` at code point `start`. If not, returns the
    /// kind and the message of the error.
    pub fn check_answer(&self, text: &str, start: usize) -> Option<(FindingKind, String)> {
        let start_byte = self.byte_positions.get(start).copied();
        if start_byte.is_some_and(|byte| self.has_text_at(text, byte)) {
            return None;
        }
        let length = self.byte_positions.len() - 1;
        let end = start.saturating_add(text.chars().count());
        let actual = match (start_byte, self.byte_positions.get(end)) {
            (Some(from), Some(&to)) => {
                let actual = &self.text[from..to];
                format!("the context has `{actual}` there; offsets count Unicode code points")
            }
            _ => format!("the answer would end at {end}, and the context has {length} code points"),
        };
        let mismatch = format!("answer_start {start} should hold `{text}`, but {actual}");
        if self.locate(text, start, OffsetUnit::Bytes).is_some() {
            let hint = "the offset is correct in UTF-8 bytes";
            return Some((FindingKind::ByteOffset, format!("{mismatch}; {hint}")));
        }
        if self.locate(text, start, OffsetUnit::Utf16).is_some() {
            let hint = "the offset is correct in UTF-16 units";
            return Some((FindingKind::Utf16Offset, format!("{mismatch}; {hint}")));
        }
        let nearest = self
            .text
            .match_indices(text)
            .map(|(byte, _)| self.byte_positions.partition_point(|&position| position < byte))
            .min_by_key(|at| at.abs_diff(start));
        let kind = match (nearest, end > length) {
            (_, true) => FindingKind::AnswerBeyond,
            (Some(_), false) => FindingKind::AnswerElsewhere,
            (None, false) => FindingKind::AnswerMissing,
        };
        let hint = match nearest {
            Some(at) => format!("the answer occurs at {at}"),
            None => "the answer does not occur in the context".to_owned(),
        };
        Some((kind, format!("{mismatch}; {hint}")))
    }

    /// Converts a UTF-16 offset into a byte position.
    fn byte_at_utf16(&self, start: usize) -> Option<usize> {
        let mut units = 0;
        for (byte, c) in self.text.char_indices() {
            if units == start {
                return Some(byte);
            }
            units += c.len_utf16();
        }
        None
    }
}
