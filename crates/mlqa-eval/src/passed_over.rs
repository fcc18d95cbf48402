//! JSON as it is read, without the texts that scoring does not look at: most of a question file.
use std::io::{self, BufRead};

use memchr::{memchr, memchr2};

/// Keys whose texts are passed over.
const PASSED_OVER: [&[u8]; 3] = [b"context", b"question", b"title"];

/// Where in the JSON the next byte stands.
enum Place {
    Between,
    /// In a string; after a backslash that takes the next byte with it?
    Kept {
        escaped: bool,
    },
    /// In a text that is passed over; after an odd number of backslashes?
    Passed {
        escaped: bool,
    },
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
        let mut rest = block;
        while !rest.is_empty() {
            let taken = squeezed.take(rest);
            rest = rest.get(taken..).unwrap_or_default();
        }
        let length = block.len();
        reader.consume(length);
    }
}

struct Squeezed {
    out: Vec<u8>,
    place: Place,
    /// The last string in `out`, without its quotes.
    start: usize,
    end: usize,
}

impl Default for Squeezed {
    fn default() -> Self {
        Self { out: Vec::new(), place: Place::Between, start: 0, end: 0 }
    }
}

impl Squeezed {
    /// Takes the next bytes, up to a change of place; says how many.
    fn take(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            Place::Between => self.between(bytes),
            Place::Kept { escaped } => self.kept(bytes, escaped),
            Place::Passed { escaped } => self.passed(bytes, escaped),
        }
    }

    fn copy(&mut self, bytes: &[u8], count: usize) -> usize {
        self.out.extend_from_slice(bytes.get(..count).unwrap_or(bytes));
        count.min(bytes.len())
    }

    fn between(&mut self, bytes: &[u8]) -> usize {
        let Some(quote) = memchr(b'"', bytes) else { return self.copy(bytes, bytes.len()) };
        self.copy(bytes, quote);
        let since = self.out.get(self.end..).unwrap_or_default();
        let is_value = since.strip_prefix(b"\"").is_some_and(|since| since.trim_ascii() == b":");
        let key = self.out.get(self.start..self.end).unwrap_or_default();
        self.place = match is_value && PASSED_OVER.contains(&key) {
            true => Place::Passed { escaped: false },
            false => Place::Kept { escaped: false },
        };
        self.out.push(b'"');
        self.start = self.out.len();
        self.end = self.start;
        quote + 1
    }

    fn kept(&mut self, bytes: &[u8], escaped: bool) -> usize {
        if escaped {
            self.place = Place::Kept { escaped: false };
            return self.copy(bytes, 1);
        }
        let Some(at) = memchr2(b'"', b'\\', bytes) else { return self.copy(bytes, bytes.len()) };
        self.place = match bytes.get(at) {
            Some(b'"') => {
                self.end = self.out.len() + at;
                Place::Between
            }
            _ => Place::Kept { escaped: true },
        };
        self.copy(bytes, at + 1)
    }

    fn passed(&mut self, bytes: &[u8], escaped: bool) -> usize {
        let quote = memchr(b'"', bytes);
        let text = quote.and_then(|quote| bytes.get(..quote)).unwrap_or(bytes);
        let slashes = text.iter().rev().take_while(|&&byte| byte == b'\\').count();
        let carried = usize::from(escaped && slashes == text.len());
        let escaped = (slashes + carried) % 2 == 1;
        let Some(quote) = quote else {
            self.place = Place::Passed { escaped };
            return bytes.len();
        };
        self.place = match escaped {
            true => Place::Passed { escaped: false },
            false => {
                self.out.push(b'"');
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
