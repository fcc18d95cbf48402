//! Character maps (CMaps): codes of a font's strings, and the texts of `ToUnicode`.
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Maximum number of codes of a map. A range in a small file can have billions of codes.
const MAX_CODES: usize = 1 << 18;

/// A character map.
#[derive(Debug, Default)]
pub struct CMap {
    /// Lengths of codes in bytes and their ranges.
    pub codespaces: Vec<(usize, RangeInclusive<u32>)>,
    /// Texts of codes, from `bfchar` and `bfrange`.
    pub texts: HashMap<u32, Box<str>>,
    /// Glyph numbers of codes, from `cidchar` and `cidrange`.
    pub cids: HashMap<u32, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token<'a> {
    Hex(Vec<u8>),
    Number(u32),
    Open,
    Close,
    Word(&'a [u8]),
}

impl CMap {
    /// Parses a map. Invalid parts are skipped, because many files have them.
    pub fn parse(bytes: &[u8]) -> Self {
        let tokens = tokens(bytes);
        let mut map = Self::default();
        let mut start = None;
        for (index, token) in tokens.iter().enumerate() {
            let Token::Word(word) = token else { continue };
            if word.starts_with(b"begin") {
                start = Some(index + 1);
                continue;
            }
            let Some(begin) = start.filter(|_| word.starts_with(b"end")) else { continue };
            let section = &tokens[begin..index];
            match *word {
                b"endcodespacerange" => map.add_codespaces(section),
                b"endbfchar" | b"endcidchar" => map.add_chars(section),
                b"endbfrange" | b"endcidrange" => map.add_ranges(section),
                _ => {}
            }
            start = None;
        }
        map
    }

    fn add_codespaces(&mut self, section: &[Token<'_>]) {
        for pair in section.chunks_exact(2) {
            if let [Token::Hex(low), Token::Hex(high)] = pair {
                self.codespaces.push((low.len(), to_code(low)..=to_code(high)));
            }
        }
    }

    fn add_chars(&mut self, section: &[Token<'_>]) {
        for pair in section.chunks_exact(2) {
            match pair {
                [Token::Hex(code), Token::Hex(text)] => self.add_text(to_code(code), utf16(text)),
                [Token::Hex(code), Token::Number(cid)] => self.add_cid(to_code(code), *cid),
                _ => {}
            }
        }
    }

    fn add_ranges(&mut self, mut section: &[Token<'_>]) {
        while let [Token::Hex(low), Token::Hex(high), rest @ ..] = section {
            let codes = to_code(low)..=to_code(high);
            section = match rest {
                [Token::Number(cid), rest @ ..] => {
                    for (code, cid) in codes.zip(*cid..).take(MAX_CODES) {
                        self.add_cid(code, cid);
                    }
                    rest
                }
                [Token::Hex(text), rest @ ..] => {
                    self.add_text_range(codes, &units(text));
                    rest
                }
                [Token::Open, rest @ ..] => {
                    let end = rest.iter().position(|token| *token == Token::Close);
                    let (texts, rest) = rest.split_at(end.unwrap_or(rest.len())); // a damaged file
                    for (code, text) in codes.zip(texts) {
                        if let Token::Hex(text) = text {
                            self.add_text(code, utf16(text));
                        }
                    }
                    rest.get(1..).unwrap_or(&[]) // without `]`, the section ends
                }
                _ => return,
            };
        }
    }

    /// Adds a range whose first code has this text; the last unit of the text is incremented.
    fn add_text_range(&mut self, codes: RangeInclusive<u32>, first: &[u16]) {
        let Some((&last, before)) = first.split_last() else {
            return codes.take(MAX_CODES).for_each(|code| self.add_text(code, String::new()));
        };
        for (code, unit) in codes.zip(last..=u16::MAX).take(MAX_CODES) {
            let units: Vec<u16> = before.iter().copied().chain([unit]).collect();
            self.add_text(code, String::from_utf16_lossy(&units));
        }
    }

    fn add_text(&mut self, code: u32, text: String) {
        if self.texts.len() < MAX_CODES {
            self.texts.insert(code, text.into());
        }
    }

    fn add_cid(&mut self, code: u32, cid: u32) {
        if self.cids.len() < MAX_CODES {
            self.cids.insert(code, cid);
        }
    }

    /// Returns the first code of a string and its length in bytes, which is at least 1.
    pub fn next_code(&self, bytes: &[u8]) -> (u32, usize) {
        for length in 1..=bytes.len().min(4) {
            let code = to_code(&bytes[..length]);
            if self.codespaces.iter().any(|(n, range)| *n == length && range.contains(&code)) {
                return (code, length);
            }
        }
        // A code outside of all ranges has the length of the shortest codes.
        let shortest = self.codespaces.iter().map(|(length, _)| *length).min().unwrap_or(2);
        let length = shortest.clamp(1, 4).min(bytes.len());
        (to_code(&bytes[..length]), length)
    }
}

/// Returns the number with these big-endian bytes, of which the last four count.
pub fn to_code(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |code, &byte| code << 8 | u32::from(byte))
}

fn units(bytes: &[u8]) -> Vec<u16> {
    match bytes {
        // Some programs write one byte per character.
        [byte] => vec![u16::from(*byte)],
        _ => bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
    }
}

fn utf16(bytes: &[u8]) -> String {
    String::from_utf16_lossy(&units(bytes))
}

fn tokens(bytes: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let end = rest.iter().position(|byte| b"\r\n".contains(byte));
                rest = &rest[end.unwrap_or(rest.len())..]; // a comment at the end
            }
            b'<' if after.first() == Some(&b'<') => rest = &after[1..],
            b'<' => {
                let end = after.iter().position(|&byte| byte == b'>').unwrap_or(after.len()); // damaged
                tokens.push(Token::Hex(hex(&after[..end])));
                rest = after.get(end + 1..).unwrap_or(&[]); // damaged
            }
            b'[' => {
                tokens.push(Token::Open);
                rest = after;
            }
            b']' => {
                tokens.push(Token::Close);
                rest = after;
            }
            _ if first.is_ascii_whitespace() || b">(){}\0".contains(&first) => rest = after,
            _ => {
                let is_end =
                    |byte: &u8| byte.is_ascii_whitespace() || b"<>[](){}/%\0".contains(byte);
                let end = 1 + after.iter().position(is_end).unwrap_or(after.len()); // the last word
                let (word, after) = rest.split_at(end);
                let number = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
                tokens.push(number.map_or(Token::Word(word), Token::Number));
                rest = after;
            }
        }
    }
    tokens
}

fn hex(digits: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = digits
        .iter()
        .filter_map(|&digit| char::from(digit).to_digit(16))
        .map(|digit| u8::try_from(digit).expect("a digit is below 16"))
        .collect();
    // A missing last digit is 0.
    digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chars_and_ranges_have_texts() {
        let map = CMap::parse(
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n\
              1 begincodespacerange <0000> <FFFF> endcodespacerange\n\
              3 beginbfchar <0003> <0020> <0050> <> <0051> <FB00D83DDE00> endbfchar % comment\n\
              2 beginbfrange <0041> <0043> <0061>\n<0050> <0052> [<0078> <0079> <007A>] endbfrange\n\
              1 begincidrange <10> <12> 7 endcidrange",
        );
        let text = |code| map.texts.get(&code).map(|text| &**text);
        assert_eq!([text(3), text(0x41), text(0x43)], [Some(" "), Some("a"), Some("c")]);
        assert_eq!([text(0x50), text(0x51), text(0x52)], [Some("x"), Some("y"), Some("z")]);
        assert_eq!((text(0x44), map.cids.get(&0x12)), (None, Some(&9)));
        assert_eq!(map.next_code(b"\x00\x41\x00"), (0x41, 2));
        assert_eq!(map.next_code(b"\x41"), (0x41, 1));
        let map = CMap::parse(b"beginbfchar <50> <> <51> <FB00D83DDE00> endbfchar");
        assert_eq!((&*map.texts[&0x50], &*map.texts[&0x51]), ("", "\u{fb00}😀"));
    }

    #[test]
    fn huge_ranges_and_damaged_maps_are_bounded() {
        let map = CMap::parse(b"beginbfrange <00000000> <FFFFFFFF> <0041> endbfrange");
        assert_eq!(map.texts.len(), usize::from(u16::MAX - 0x40));
        for damaged in
            ["beginbfrange <00> <05> [<0041>", "endbfchar", "beginbfchar <", "beginbfrange <0"]
        {
            assert!(CMap::parse(damaged.as_bytes()).texts.is_empty(), "{damaged}");
        }
    }
}
