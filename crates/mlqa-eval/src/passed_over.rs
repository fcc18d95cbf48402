//! JSON as it is read, without the texts that scoring does not look at: most of a question file.
use std::io::{self, BufRead};

use memchr::{memchr, memchr2};

/// Keys whose texts are passed over.
const PASSED_OVER: [&[u8]; 3] = [b"context", b"question", b"title"];

/// Where in the JSON the next byte stands.
#[derive(Default)]
enum Place {
    #[default]
    Between,
    /// In a string; after a backslash that takes the next byte with it?
    Kept { escaped: bool },
    /// In a text that is passed over; after an odd number of backslashes?
    Passed { escaped: bool },
}

/// The JSON of `reader` with `""` for the strings of these keys. What is in them is not checked;
/// nothing else is changed, so that a parser finds every other fault.
///
/// # Errors
/// If `reader` cannot be read.
pub(crate) fn without_texts(reader: impl BufRead) -> io::Result<Vec<u8>> {
    squeeze(reader, &[]).map(|(json, _)| json)
}

/// The same after what is there `before` it; and whether it ends outside of strings.
pub(crate) fn squeeze(mut reader: impl BufRead, before: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    let mut squeezed = Squeezed { out: before.to_vec(), ..Squeezed::default() };
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            return Ok((squeezed.out, matches!(squeezed.place, Place::Between)));
        }
        squeezed.take(block);
        let length = block.len();
        reader.consume(length);
    }
}

#[derive(Default)]
struct Squeezed {
    out: Vec<u8>,
    place: Place,
    /// The last string, without its quotes: places in `out`, or where they will be in it.
    start: usize,
    end: usize,
}

/// Bytes of a block that are kept and not copied yet.
struct Waiting<'a> {
    block: &'a [u8],
    from: usize,
}

impl Waiting<'_> {
    /// Copies what stands before `to`.
    fn copy(&mut self, out: &mut Vec<u8>, to: usize) {
        out.extend_from_slice(self.block.get(self.from..to).unwrap_or_default());
        self.from = to;
    }
}

impl Squeezed {
    /// Takes the next block.
    fn take(&mut self, block: &[u8]) {
        let mut waiting = Waiting { block, from: 0 };
        let mut at = 0;
        while let Some(rest) = block.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.place {
                Place::Between => self.between(rest, at, &mut waiting),
                Place::Kept { escaped } => self.kept(rest, escaped, at, &waiting),
                Place::Passed { escaped } => self.passed(rest, escaped, at, &mut waiting),
            };
        }
        match self.place {
            Place::Passed { .. } => {}
            _ => waiting.copy(&mut self.out, block.len()),
        }
    }

    /// Goes to the next string; says how many bytes that takes.
    fn between(&mut self, rest: &[u8], at: usize, waiting: &mut Waiting<'_>) -> usize {
        let Some(quote) = memchr(b'"', rest) else { return rest.len() };
        let end = at + quote + 1;
        let passed = self.begins_passed_over(at + quote, waiting);
        self.start = self.out.len() + end - waiting.from;
        self.end = self.start;
        self.place = match passed {
            true => Place::Passed { escaped: false },
            false => Place::Kept { escaped: false },
        };
        if passed {
            waiting.copy(&mut self.out, end);
        }
        quote + 1
    }

    /// Whether the string whose quote is at `quote` is the value of a key that is passed over.
    fn begins_passed_over(&mut self, quote: usize, waiting: &mut Waiting<'_>) -> bool {
        // The key may have come with the block before.
        let (bytes, first) = match self.start.checked_sub(self.out.len()) {
            Some(_) => (waiting.block.get(waiting.from..quote).unwrap_or_default(), self.out.len()),
            None => {
                waiting.copy(&mut self.out, quote);
                (self.out.as_slice(), 0)
            }
        };
        let since = bytes.get(self.end - first..).unwrap_or_default();
        let is_value = since.strip_prefix(b"\"").is_some_and(|since| since.trim_ascii() == b":");
        let key = || bytes.get(self.start - first..self.end - first).unwrap_or_default();
        is_value && PASSED_OVER.contains(&key())
    }

    fn kept(&mut self, rest: &[u8], escaped: bool, at: usize, waiting: &Waiting<'_>) -> usize {
        if escaped {
            self.place = Place::Kept { escaped: false };
            return 1;
        }
        let Some(found) = memchr2(b'"', b'\\', rest) else { return rest.len() };
        self.place = match rest.get(found) {
            Some(b'"') => {
                self.end = self.out.len() + at + found - waiting.from;
                Place::Between
            }
            _ => Place::Kept { escaped: true },
        };
        found + 1
    }

    fn passed(
        &mut self,
        rest: &[u8],
        escaped: bool,
        at: usize,
        waiting: &mut Waiting<'_>,
    ) -> usize {
        let quote = memchr(b'"', rest);
        let text = quote.and_then(|quote| rest.get(..quote)).unwrap_or(rest);
        let slashes = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let carried = usize::from(escaped && slashes == text.len());
        let escaped = (slashes + carried) % 2 == 1;
        let Some(quote) = quote else {
            self.place = Place::Passed { escaped };
            return rest.len();
        };
        self.place = match escaped {
            true => Place::Passed { escaped: false },
            false => {
                waiting.from = at + quote;
                Place::Between
            }
        };
        quote + 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn squeeze(json: &str, block: usize) -> String {
        let reader = BufReader::with_capacity(block, json.as_bytes());
        String::from_utf8(without_texts(reader).unwrap()).unwrap()
    }

    #[test]
    fn texts_go_and_everything_else_stays() {
        for (json, expected) in [
            (r#"{"context" : "a\"b", "id": "x"}"#, r#"{"context" : "", "id": "x"}"#),
            (
                r#"{"context": "\\", "title":"\\\"", "q": "\\\""}"#,
                r#"{"context": "", "title":"", "q": "\\\""}"#,
            ),
            // No text of the key, or another key.
            (
                r#"["context", "a", {"context": 3, "contexts": "b"}]"#,
                r#"["context", "a", {"context": 3, "contexts": "b"}]"#,
            ),
            (
                r#"{"context": {"id": "y"}, "\"context": "c"}"#,
                r#"{"context": {"id": "y"}, "\"context": "c"}"#,
            ),
            (
                r#"{"x": "context", "question": "Who?", "text": "q"}"#,
                r#"{"x": "context", "question": "", "text": "q"}"#,
            ),
            (r#"{"title": "cut"#, r#"{"title": ""#),
            ("", ""),
        ] {
            for block in 1..json.len() + 2 {
                assert_eq!(squeeze(json, block), expected, "{block}");
            }
        }
    }

    fn blank(value: &mut Value) {
        match value {
            Value::Array(all) => all.iter_mut().for_each(blank),
            Value::Object(all) => {
                for (key, value) in all.iter_mut() {
                    match value.is_string() && PASSED_OVER.contains(&key.as_bytes()) {
                        true => *value = "".into(),
                        false => blank(value),
                    }
                }
            }
            _ => {}
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::cases(256)) })]

        #[test]
        fn equals_blanking_the_parsed_values(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "\"", "\\", "a", "context", ":", " ", "\n", "\u{e9}", "{", "}", ",",
            ]), 0..24),
            keys in prop::collection::vec(
                prop::sample::select(vec!["context", "title", "question", "id", "\"context\"", "text"]), 6),
            block in 1_usize..40,
        ) {
            let mut value = Value::Null;
            for (k, key) in keys.iter().enumerate() {
                let text = pieces.get(k * 4..).unwrap_or_default().concat();
                value = serde_json::json!({ *key: text, "context": value, "list": [text, key] });
            }
            let squeezed: Value = serde_json::from_str(&squeeze(&value.to_string(), block)).unwrap();
            blank(&mut value);
            prop_assert_eq!(squeezed, value);
        }
    }
}
