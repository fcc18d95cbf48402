//! Normalisation of labels, descriptions and titles to one line of text.
use std::borrow::Cow;

use language::is_invisible;

/// A normalised text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CleanText {
    pub(super) text: String,
    /// Number of unpaired surrogates that were replaced by U+FFFD.
    pub(super) lone_surrogates: u64,
}

/// Replaces every run of white space by one space, trims the ends and then removes control
/// characters (category Cc). Joiners are retained, because Hindi spelling uses them. A text of
/// spaces and invisible characters only, such as U+200B, becomes empty.
///
/// `bytes` are WTF-8: UTF-8 in which an unpaired surrogate is encoded like any other code point.
/// `serde_json` returns a string in this encoding if it is deserialised as bytes. Returns `None`
/// for invalid WTF-8.
pub(super) fn clean(bytes: &[u8]) -> Option<CleanText> {
    let (text, lone_surrogates) = replace_surrogates(bytes)?;
    let mut words = text.split_whitespace();
    let mut joined = String::with_capacity(text.len());
    if let Some(first) = words.next() {
        joined.push_str(first);
    }
    for word in words {
        joined.push(' ');
        joined.push_str(word);
    }
    joined.retain(|c| !c.is_control());
    if joined.chars().all(|c| c == ' ' || is_invisible(c)) {
        joined.clear();
    }
    Some(CleanText { text: joined, lone_surrogates })
}

/// Replaces every surrogate by U+FFFD. Returns the text and the number of surrogates.
fn replace_surrogates(bytes: &[u8]) -> Option<(Cow<'_, str>, u64)> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some((Cow::Borrowed(text), 0));
    }
    let (mut text, mut count, mut remaining) = (String::with_capacity(bytes.len()), 0, bytes);
    let rest = loop {
        let error = match std::str::from_utf8(remaining) {
            Ok(rest) => break rest,
            Err(error) => error,
        };
        let (valid, after) = remaining.split_at(error.valid_up_to());
        text.push_str(std::str::from_utf8(valid).expect("the bytes before the error are valid"));
        match after {
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, after @ ..] => {
                text.push('\u{FFFD}');
                count += 1;
                remaining = after;
            }
            _ => return None,
        }
    };
    text.push_str(rest);
    Some((Cow::Owned(text), count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> (String, u64) {
        let CleanText { text, lone_surrogates } = clean(bytes).unwrap();
        (text, lone_surrogates)
    }

    #[test]
    fn white_space_is_merged_and_control_characters_are_removed() {
        assert_eq!(text("  New\t\u{a0}\r\n York\u{2028}".as_bytes()), ("New York".into(), 0));
        assert_eq!(text("a\u{0}b\u{7f}c".as_bytes()), ("abc".into(), 0));
        // Joiners are format characters (Cf), not control characters.
        assert_eq!(text("क\u{94d}\u{200d}ष".as_bytes()), ("क\u{94d}\u{200d}ष".into(), 0));
        assert_eq!(text(" \t ".as_bytes()), (String::new(), 0));
        assert_eq!(text("\u{1}".as_bytes()), (String::new(), 0));
        assert_eq!(text("\u{200b}\u{feff} \u{200b}".as_bytes()), (String::new(), 0));
        assert_eq!(text("\u{1b}\u{b}\u{1e}".as_bytes()), (String::new(), 0));
        assert_eq!(text("\u{200b}★".as_bytes()), ("\u{200b}★".into(), 0));
        // The tatweel is the name of an entity.
        assert_eq!(text("\u{640}".as_bytes()), ("\u{640}".into(), 0));
    }

    #[test]
    fn lone_surrogates_are_replaced_and_counted() {
        let bytes = [b"a".as_slice(), &[0xED, 0xA0, 0xBD], b" b ", &[0xED, 0xB0, 0x80]].concat();
        assert_eq!(text(&bytes), ("a\u{FFFD} b \u{FFFD}".into(), 2));
        assert_eq!(clean(&[b'a', 0xFF]), None);
        assert_eq!(clean(&[0xED, 0xA0]), None);
    }
}
