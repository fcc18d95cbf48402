//! A pull parser of JSON that skips texts without decoding them.
//!
//! It accepts plain JSON. Everything else (an escape in a key, an unusual number, deeply nested
//! values, what is not JSON) is [`Refused`], and a full parser reads the file and says what is
//! wrong.
use std::io::{self, ErrorKind, Read};
use std::ops::Range;

use memchr::memchr;
use serde::de::IgnoredAny;

/// Input for another parser, or a source that [failed](Tokens::failed).
#[derive(Debug)]
pub(crate) struct Refused;

pub(crate) type Taken<T> = Result<T, Refused>;

/// Bytes read at once; a longer text enlarges the buffer.
const BLOCK: usize = 1 << 16;
/// Bytes of a surrogate pair, two escapes.
const LONGEST_ESCAPE: usize = 12;
/// Nested values that are skipped, at most.
const DEPTH: u8 = 100;

/// The tokens of a source.
pub(crate) struct Tokens<R> {
    source: R,
    block: Vec<u8>,
    /// The next byte.
    at: usize,
    /// Where the bytes that were read end.
    end: usize,
    /// Why the source could not be read.
    pub failed: Option<io::Error>,
}

impl<R: Read> Tokens<R> {
    pub fn new(source: R) -> Self {
        Self { source, block: vec![0; BLOCK], at: 0, end: 0, failed: None }
    }

    fn rest(&self) -> &[u8] {
        self.block.get(self.at..self.end).unwrap_or_default()
    }

    /// Reads more, what is left staying before it; false at the end of the source.
    fn refill(&mut self) -> Taken<bool> {
        self.block.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        if self.end == self.block.len() {
            self.block.resize(2 * self.end, 0);
        }
        loop {
            let free = self.block.get_mut(self.end..).unwrap_or_default();
            match self.source.read(free) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    return Err(Refused);
                }
            }
        }
    }

    /// Reads more, which there has to be.
    fn more(&mut self) -> Taken<()> {
        self.refill()?.then_some(()).ok_or(Refused)
    }

    /// The byte at hand, if one is.
    #[inline]
    fn at_hand(&self) -> Option<u8> {
        (self.at < self.end).then(|| self.block.get(self.at).copied())?
    }

    /// The first byte of the next token; `None` at the end of the source.
    #[inline]
    pub fn peek(&mut self) -> Taken<Option<u8>> {
        match self.at_hand() {
            Some(byte) if byte > b' ' => Ok(Some(byte)),
            _ => self.peek_behind_space(),
        }
    }

    fn peek_behind_space(&mut self) -> Taken<Option<u8>> {
        loop {
            let token = |byte: &u8| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            if let Some(spaces) = self.rest().iter().position(token) {
                self.at += spaces;
                return Ok(self.rest().first().copied());
            }
            self.at = self.end;
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// Takes a token of one byte, if it is the next.
    #[inline]
    pub fn takes(&mut self, byte: u8) -> Taken<bool> {
        let next = self.peek()? == Some(byte);
        self.at += usize::from(next);
        Ok(next)
    }

    /// Takes a token of one byte, which has to be the next.
    #[inline]
    pub fn require(&mut self, byte: u8) -> Taken<()> {
        self.takes(byte)?.then_some(()).ok_or(Refused)
    }

    /// A list, whose elements `element` takes.
    pub fn list(&mut self, mut element: impl FnMut(&mut Self) -> Taken<()>) -> Taken<()> {
        self.require(b'[')?;
        if self.takes(b']')? {
            return Ok(());
        }
        loop {
            element(self)?;
            if !self.takes(b',')? {
                return self.require(b']');
            }
        }
    }

    /// An object, whose values `value` takes with their key's index in `keys`, `None` for others.
    pub fn object(
        &mut self,
        keys: &[&str],
        mut value: impl FnMut(&mut Self, Option<usize>) -> Taken<()>,
    ) -> Taken<()> {
        self.require(b'{')?;
        if self.takes(b'}')? {
            return Ok(());
        }
        loop {
            let key = self.key(keys)?;
            value(self, key)?;
            if !self.takes(b',')? {
                return self.require(b'}');
            }
        }
    }

    /// A key in ASCII without escapes, and the colon after it: its index in `keys`, if it is there.
    pub fn key(&mut self, keys: &[&str]) -> Taken<Option<usize>> {
        self.require(b'"')?;
        let mut length = plain_length(self.rest());
        while length == self.rest().len() {
            self.more()?;
            length = plain_length(self.rest());
        }
        let (text, end) = self.rest().split_at(length);
        if end.first() != Some(&b'"') || !text.is_ascii() {
            return Err(Refused);
        }
        let key = keys.iter().position(|key| key.as_bytes() == text);
        self.at += length + 1;
        self.require(b':')?;
        Ok(key)
    }

    /// Adds a text to `out`; says where it lies there.
    pub fn text(&mut self, out: &mut String) -> Taken<Range<usize>> {
        self.require(b'"')?;
        let from = out.len();
        loop {
            let rest = self.rest();
            let (plain, mut rest) = rest.split_at(plain_length(rest));
            // A character may be cut at the end of what was read.
            if !rest.is_empty() {
                out.push_str(std::str::from_utf8(plain).map_err(|_| Refused)?);
                let mut taken = plain.len();
                // Escapes come in rows where a file is ASCII alone.
                while let [b'\\', after @ ..] = rest {
                    let Some((decoded, behind)) = escaped(after) else { break };
                    out.push(decoded);
                    taken += rest.len() - behind.len();
                    rest = behind;
                }
                let next = rest.first().copied();
                let cut = rest.len() < LONGEST_ESCAPE;
                self.at += taken;
                match next {
                    Some(b'"') => {
                        self.at += 1;
                        return Ok(from..out.len());
                    }
                    Some(b' '..) if next != Some(b'\\') => continue,
                    None => {}
                    Some(b'\\') if cut => {}
                    Some(_) => return Err(Refused),
                }
            }
            self.more()?;
        }
    }

    /// Skips a text without checking it.
    pub fn skip_text(&mut self) -> Taken<()> {
        self.require(b'"')?;
        // Whether an odd number of backslashes came at the end of what was read before.
        let mut odd = false;
        loop {
            let rest = self.rest();
            let quote = memchr(b'"', rest);
            let before = quote.and_then(|quote| rest.get(..quote)).unwrap_or(rest);
            let slashes = slashes(before);
            let carried = usize::from(odd && slashes == before.len());
            odd = (slashes + carried) % 2 == 1;
            match quote {
                Some(quote) => {
                    self.at += quote + 1;
                    if !odd {
                        return Ok(());
                    }
                    odd = false;
                }
                None => {
                    self.at = self.end;
                    self.more()?;
                }
            }
        }
    }

    /// A whole number from 0, in digits alone.
    pub fn whole_number(&mut self) -> Taken<usize> {
        let first = self.peek()?;
        let mut digits = 0;
        loop {
            let rest = self.rest().get(digits..).unwrap_or_default();
            digits += rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (number, rest) = self.rest().split_at(digits);
            if let Some(next) = rest.first() {
                let whole = !matches!(next, b'.' | b'e' | b'E');
                let leading = first == Some(b'0') && digits > 1;
                if !whole || leading || !(1..=19).contains(&digits) {
                    return Err(Refused);
                }
                let value = number.iter().fold(0, |value, d| 10 * value + u64::from(d - b'0'));
                self.at += digits;
                return usize::try_from(value).map_err(|_| Refused);
            }
            self.more()?;
        }
    }

    /// The bytes of the next token that a number may have.
    fn number(&mut self) -> Taken<Vec<u8>> {
        self.peek()?;
        loop {
            let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
            let rest = self.rest();
            if let Some(length) = rest.iter().position(|byte| !part(byte)) {
                let number = rest.get(..length).unwrap_or_default().to_vec();
                self.at += length;
                return Ok(number);
            }
            self.more()?;
        }
    }

    /// Skips a value of any form, which has to be JSON; `scratch` is written to.
    pub fn skip_value(&mut self, scratch: &mut String) -> Taken<()> {
        self.skip_values(scratch, DEPTH)
    }

    fn skip_values(&mut self, scratch: &mut String, depth: u8) -> Taken<()> {
        let deeper = depth.checked_sub(1).ok_or(Refused)?;
        match self.peek()? {
            Some(b'"') => {
                scratch.clear();
                self.text(scratch).map(drop)
            }
            Some(b'[') => self.list(|tokens| tokens.skip_values(scratch, deeper)),
            Some(b'{') => self.object(&[], |tokens, _| tokens.skip_values(scratch, deeper)),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => {
                let number = self.number()?;
                let number = serde_json::from_slice::<IgnoredAny>(&number);
                number.map(drop).map_err(|_| Refused)
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Taken<()> {
        word.iter().try_for_each(|&byte| {
            if self.rest().is_empty() {
                self.more()?;
            }
            let next = self.rest().first() == Some(&byte);
            self.at += 1;
            next.then_some(()).ok_or(Refused)
        })
    }
}

/// Backslashes at the end.
fn slashes(text: &[u8]) -> usize {
    text.iter().rev().take_while(|&&byte| byte == b'\\').count()
}

/// Bytes before the first quote, backslash or control character, which JSON wants escaped; eight
/// are compared at once.
fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quotes = zeros(word ^ (ONES * 0x22));
        let slashes = zeros(word ^ (ONES * 0x5c));
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        // Of bytes behind the first such, a borrow may make others; the first is right.
        let found = (quotes | slashes | controls) & (ONES * 0x80);
        if found != 0 {
            return 8 * number + found.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | 0..b' ');
    8 * words.len() + rest.iter().take_while(plain).count()
}

/// The character of an escape, after its backslash, and what comes behind.
#[inline]
fn escaped(text: &[u8]) -> Option<(char, &[u8])> {
    if let [b'u', digits @ ..] = text {
        let (unit, rest) = hex(digits)?;
        if let Some(decoded) = char::from_u32(unit) {
            return Some((decoded, rest));
        }
        // A character beyond 16 bits is two of them.
        let (second, rest) = hex(rest.strip_prefix(b"\\u")?)?;
        let pair = (0xd800..0xdc00).contains(&unit) && (0xdc00..0xe000).contains(&second);
        let point = 0x10000 + (unit.checked_sub(0xd800)? << 10) + second.checked_sub(0xdc00)?;
        return char::from_u32(point).filter(|_| pair).map(|decoded| (decoded, rest));
    }
    let (&kind, rest) = text.split_first()?;
    let decoded = match kind {
        b'"' | b'\\' | b'/' => char::from(kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        _ => return None,
    };
    Some((decoded, rest))
}

/// Four digits of base 16.
#[inline]
fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    let (mut unit, mut all) = (0, 0);
    for &digit in digits {
        let value = DIGITS[usize::from(digit)];
        all |= value;
        unit = unit << 4 | u32::from(value);
    }
    (all < 16).then_some((unit, rest))
}

/// The value of each byte as a digit of base 16; 255 of others.
static DIGITS: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value as usize];
        values[digit as usize] = value;
        values[digit.to_ascii_uppercase() as usize] = value;
        value += 1;
    }
    values
};

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// A source that gives `size` bytes at most at a time.
    struct Drops<'a>(Cursor<&'a [u8]>, usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let size = buffer.len().min(self.1);
            self.0.read(&mut buffer[..size])
        }
    }

    fn tokens(text: &[u8], size: usize) -> Tokens<Drops<'_>> {
        Tokens { block: vec![0; 4], ..Tokens::new(Drops(Cursor::new(text), size)) }
    }

    /// The text that is all of `json`, where it is taken; skipped, it must end there too.
    fn text(json: &[u8], size: usize) -> Option<String> {
        let mut out = "x".to_owned();
        let mut kept = tokens(json, size);
        let range = kept.text(&mut out).ok()?;
        assert_eq!(range, 1..out.len());
        assert!(kept.peek().is_ok_and(|next| next.is_none()));
        let mut passed = tokens(json, size);
        assert!(passed.skip_text().is_ok() && passed.peek().is_ok_and(|next| next.is_none()));
        Some(out[1..].to_owned())
    }

    #[test]
    fn texts_are_decoded_as_serde_json_does() {
        for json in [
            r#""""#,
            r#" "a" "#,
            r#""\"""#,
            r#""\\""#,
            r#""\\\"b\\\\""#,
            r#""\u00e9\u4e2d\ud83d\ude00/\/\b\f\n\r\t""#,
            "\"\u{e9}\u{4e2d}\u{1f600}\"",
            r#""\ud83d""#,
            r#""\ud83dx""#,
            r#""\ud83d\u0041""#,
            r#""\ude00\ud83d""#,
            r#""\u00g0""#,
            r#""\u00""#,
            r#""\x""#,
            "\"a\nb\"",
            r#""a"#,
            "a",
            "",
        ] {
            let wanted = serde_json::from_str::<String>(json).ok();
            for size in 1..json.len() + 2 {
                assert_eq!(text(json.as_bytes(), size), wanted, "{json} {size}");
            }
        }
        assert_eq!(text(b"\"\xff\"", 9), None);
    }

    #[test]
    fn values_are_skipped_where_they_are_json() {
        let mut scratch = String::new();
        let mut passes = |json: &str, size| {
            let mut all = tokens(json.as_bytes(), size);
            all.skip_value(&mut scratch).is_ok() && all.takes(b';').unwrap_or(false)
        };
        for json in [
            "1",
            "-0.5e+3",
            "01",
            "1.",
            "--1",
            "+1",
            "1e",
            "true",
            "tru",
            "truex",
            "false",
            "null",
            "nul",
            "[]",
            "[1, [2], {}]",
            "[1,]",
            "[1 2]",
            "{}",
            "{\"a\": [true], \"b\": \"\\u00e9\"}",
            "{\"a\"}",
            "{\"a\": 1,}",
            "{1: 2}",
            "\"a\\qb\"",
            "",
            "]",
        ] {
            let wanted = serde_json::from_str::<Value>(json).is_ok();
            for size in 1..json.len() + 2 {
                assert_eq!(passes(&format!("{json};"), size), wanted, "{json} {size}");
            }
        }
        let deep = |depth| format!("{}{};", "[".repeat(depth), "]".repeat(depth));
        assert!(passes(&deep(90), 64) && !passes(&deep(300), 64));
        // Keys with escapes are for another reader.
        assert!(!passes("{\"a\\n\": 1};", 5));
    }

    #[test]
    fn whole_numbers_are_digits() {
        for (json, wanted) in [
            ("0", true),
            ("7", true),
            ("120", true),
            ("007", false),
            ("-1", false),
            ("1.0", false),
            ("1e2", false),
            ("", false),
            ("x", false),
            ("12345678901234567890", false),
        ] {
            assert_eq!(
                tokens(format!("{json},").as_bytes(), 2).whole_number().is_ok(),
                wanted,
                "{json}"
            );
        }
    }

    #[test]
    fn what_fails_to_be_read_is_no_refusal() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("gone"))
            }
        }
        let mut tokens = Tokens::new(Broken);
        assert!(tokens.peek().is_err() && tokens.failed.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::cases(256)) })]

        #[test]
        fn any_text_is_taken_as_it_is(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "\"", "\\", "a", "\n", "\u{e9}", "\u{1f600}", "{", ",", "\u{1}", "/",
            ]), 0..40),
            size in 1_usize..40,
        ) {
            let text_of = pieces.concat();
            let json = serde_json::to_string(&text_of).unwrap();
            prop_assert_eq!(text(json.as_bytes(), size), Some(text_of));
        }
    }
}
