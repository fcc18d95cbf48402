//! Tokens of a normalised text, in reusable buffers.
use std::ops::Range;

use super::normalize::{Articles, Steps};
use super::unicode::{is_space, is_word, lower, lower_char, unchanged_predicate};
use crate::Normalization;

/// A normalised text: its tokens, joined by one space.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenBuffer {
    text: String,
    tokens: Vec<Token>,
    /// The text in lower case, without punctuation.
    lowered: String,
}

/// A token's range in the text.
#[derive(Clone, Debug)]
struct Token {
    range: Range<usize>,
    /// The token's length, limited to 8, and its first 7 bytes. Tokens of at most 7 bytes are equal
    /// if their prefixes are equal. Most tokens are that short.
    prefix: u64,
}

impl Token {
    fn of(text: &str, range: Range<usize>) -> Self {
        let bytes = &text.as_bytes()[range.clone()];
        let prefix = bytes.iter().take(7).fold(0, |prefix, &byte| prefix << 8 | u64::from(byte));
        let length = bytes.len().min(8) as u64;
        Self { range, prefix: length << 56 | prefix }
    }

    fn is_short(&self) -> bool {
        self.prefix >> 56 < 8
    }
}

/// Buffers are equal if their normalised texts are equal.
impl PartialEq for TokenBuffer {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TokenBuffer {
    /// Tokenises `text` by these rules; see [`Normalization::tokens`].
    pub fn of(rules: Normalization, text: &str) -> Self {
        let mut buffer = Self::default();
        buffer.fill(rules.steps(), text);
        buffer
    }

    /// Replaces the content with the tokens of `text`.
    pub fn fill(&mut self, steps: Steps, text: &str) {
        self.clear();
        if !self.fill_ascii(steps, text) {
            self.clear();
            self.fill_general(steps, text);
        }
    }

    /// Returns the number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Returns whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Iterates over the tokens.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(|token| self.text_of(token))
    }

    fn text_of(&self, token: &Token) -> &str {
        &self.text[token.range.clone()]
    }

    /// Returns the size of the multiset intersection with `other_buffer`, which must have at most
    /// 64 tokens.
    pub fn count_common_with_short(&self, other_buffer: &Self) -> usize {
        // Bit `k` is set if token `k` of `other_buffer` is already paired with a token.
        let mut used = 0_u64;
        for token in &self.tokens {
            let matches = |other: &Token| {
                let same_prefix = other.prefix == token.prefix;
                same_prefix
                    && (token.is_short() || other_buffer.text_of(other) == self.text_of(token))
            };
            let unused = |&(k, other): &(usize, &Token)| used >> k & 1 == 0 && matches(other);
            if let Some((k, _)) = other_buffer.tokens.iter().enumerate().take(64).find(unused) {
                used |= 1 << k;
            }
        }
        used.count_ones() as usize
    }

    fn clear(&mut self) {
        self.text.clear();
        self.tokens.clear();
    }

    /// Fast path for ASCII text whose only control characters are white space. After the deletion
    /// of punctuation, only white space separates words in such text, so articles are whole tokens.
    /// Returns `false` for any other text; the buffer's content is then unspecified.
    fn fill_ascii(&mut self, steps: Steps, text: &str) -> bool {
        let articles = steps.articles.words();
        for word in text.as_bytes().split(|byte| matches!(byte, 9..=13 | 28..=32)) {
            let start = self.begin_token();
            for &byte in word {
                match byte {
                    b'a'..=b'z' | b'0'..=b'9' => self.text.push(char::from(byte)),
                    b'A'..=b'Z' => self.text.push(char::from(byte.to_ascii_lowercase())),
                    _ if byte.is_ascii_punctuation() => {}
                    _ => return false,
                }
            }
            self.end_token(start, |token| articles.contains(&token));
        }
        true
    }

    /// Begins a token: writes the space before it and returns its start.
    fn begin_token(&mut self) -> usize {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.len()
    }

    /// Ends the token that began at `start`; removes it if it is empty or `is_removed` returns
    /// true.
    fn end_token(&mut self, start: usize, is_removed: impl Fn(&str) -> bool) {
        let token = &self.text[start..];
        if token.is_empty() || is_removed(token) {
            self.text.truncate(start.saturating_sub(1));
        } else {
            self.tokens.push(Token::of(&self.text, start..self.text.len()));
        }
    }

    fn push_token(&mut self, token: &str) {
        let start = self.begin_token();
        self.text.push_str(token);
        self.end_token(start, |_| false);
    }

    fn fill_general(&mut self, Steps { rules, articles, split_han }: Steps, text: &str) {
        let words = articles.words();
        if words.is_empty() {
            let replace_article = articles == Articles::ArabicPrefix;
            let mut writer = TokenWriter {
                start: self.begin_token(),
                buffer: self,
                replace_article,
                split_han,
                pending_alef: false,
            };
            for_each_normalized_char(rules, text, |c| writer.write(c));
            writer.end();
            return;
        }
        let mut lowered = std::mem::take(&mut self.lowered);
        lowered.clear();
        for_each_normalized_char(rules, text, |c| lowered.push(c));
        for piece in lowered.split(is_space) {
            self.push_without_articles(words, piece);
        }
        self.lowered = lowered;
    }

    /// Appends the tokens of `piece`, after each article between word boundaries is replaced by a
    /// space. Word boundaries are those of Python's `\w`, so a combining mark ends a word.
    fn push_without_articles(&mut self, articles: &[&str], piece: &str) {
        let mut pushed_end = 0;
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if articles.contains(&&rest[..word]) {
                self.push_token(&piece[pushed_end..at]);
                pushed_end = at + word;
            }
            let after = &rest[word..];
            at += word + after.find(is_word).unwrap_or(after.len());
        }
        self.push_token(&piece[pushed_end..]);
    }
}

impl Normalization {
    /// Returns the tokens of the normalised text. The tokens joined by spaces are the normalised
    /// text.
    ///
    /// The steps are, in this order: the text is lower-cased; every punctuation character is
    /// deleted (Unicode P* and ASCII symbols for MLQA, only ASCII for SQuAD); articles are replaced
    /// by a space; the text is split at white space, and for Chinese also around every character of
    /// U+4E00..U+9FA5.
    pub fn tokens(self, text: &str) -> Vec<String> {
        TokenBuffer::of(self, text).iter().map(str::to_owned).collect()
    }
}

/// Calls `take` with each character of the lower-cased text that normalisation does not delete.
fn for_each_normalized_char(rules: Normalization, text: &str, mut take: impl FnMut(char)) {
    let mut emit = |c, unchanged: bool| {
        if unchanged || !rules.deletes(c) {
            take(c);
        }
    };
    if text.contains('Σ') {
        return lower(text).chars().for_each(|c| emit(c, false));
    }
    let is_unchanged = unchanged_predicate();
    for c in text.chars() {
        // Unchanged characters require neither lower-casing nor a check for deletion.
        match is_unchanged(c) {
            true => emit(c, true),
            false => lower_char(c, |c| emit(c, false)),
        }
    }
}

/// Splits a stream of characters into tokens.
struct TokenWriter<'a> {
    buffer: &'a mut TokenBuffer,
    /// Start of the current token.
    start: usize,
    /// Whether the Arabic article is replaced by a space.
    replace_article: bool,
    /// Whether every Chinese character is a separate token.
    split_han: bool,
    /// Whether the article's first letter was received but not yet written.
    pending_alef: bool,
}

impl TokenWriter<'_> {
    fn write(&mut self, c: char) {
        if self.replace_article {
            match (std::mem::replace(&mut self.pending_alef, c == ALEF), c) {
                (true, LAM) => return self.split(),
                (true, _) => self.buffer.text.push(ALEF),
                (false, _) => {}
            }
            if c == ALEF {
                return;
            }
        }
        if is_space(c) {
            self.split();
        } else if self.split_han && is_han(c) {
            self.split();
            self.buffer.text.push(c);
            self.split();
        } else {
            self.buffer.text.push(c);
        }
    }

    /// Ends the current token and begins the next one.
    fn split(&mut self) {
        self.buffer.end_token(self.start, |_| false);
        self.start = self.buffer.begin_token();
    }

    fn end(self) {
        if self.pending_alef {
            self.buffer.text.push(ALEF);
        }
        self.buffer.end_token(self.start, |_| false);
    }
}

/// The letters of [`ARABIC_ARTICLE`](super::normalize::ARABIC_ARTICLE).
const ALEF: char = '\u{627}';
const LAM: char = '\u{644}';

/// Returns whether the official script treats a character as Chinese. The script's range excludes
/// ideographs that Unicode added later.
fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fa5}')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::normalize::ARABIC_ARTICLE;
    use crate::{Language, MLQA_LANGUAGES};

    /// Applies the rules one after another, each to the entire text.
    fn tokenize_step_by_step(rules: Normalization, text: &str) -> Vec<String> {
        let mut text = lower(text);
        text.retain(|c| !rules.deletes(c));
        let text = match rules.articles() {
            Articles::ArabicPrefix => text.replace(ARABIC_ARTICLE, " "),
            Articles::Words(articles) => {
                let mut out = String::new();
                let mut word = String::new();
                for c in text.chars().map(Some).chain([None]) {
                    match c.filter(|&c| is_word(c)) {
                        Some(c) => word.push(c),
                        None => {
                            out.push_str(if articles.contains(&&*word) { " " } else { &word });
                            word.clear();
                            out.extend(c);
                        }
                    }
                }
                out
            }
        };
        let mut spaced = String::new();
        for c in text.chars() {
            let is_separate = rules.language().base() == "zh" && is_han(c);
            match is_separate {
                true => spaced.extend([' ', c, ' ']),
                false => spaced.push(c),
            }
        }
        spaced.split(is_space).filter(|token| !token.is_empty()).map(str::to_owned).collect()
    }

    fn all_rules() -> Vec<Normalization> {
        let other = Language::new("fr").unwrap();
        let languages = MLQA_LANGUAGES.into_iter().chain([other]);
        languages.map(Normalization::Mlqa).chain([Normalization::SquadEn]).collect()
    }

    fn check_tokens(buffer: &mut TokenBuffer, text: &str) {
        for rules in all_rules() {
            buffer.fill(rules.steps(), text);
            let got: Vec<&str> = buffer.iter().collect();
            let expected = tokenize_step_by_step(rules, text);
            assert_eq!(got, expected, "{rules:?}: {text:?}");
            assert_eq!(buffer.text, expected.join(" "), "{rules:?}: {text:?}");
            assert_eq!((buffer.len(), buffer.is_empty()), (got.len(), got.is_empty()));
        }
    }

    #[test]
    fn every_code_point_is_tokenised_by_the_rules() {
        let mut buffer = TokenBuffer::default();
        // By default, only every 11th code point is tested. Because 11 is a prime, the tested code
        // points have different offsets in the blocks of Unicode.
        for c in (0..0x3_0000_u32).step_by(if testkit::is_long() { 1 } else { 11 }) {
            let Some(c) = char::from_u32(c) else { continue };
            check_tokens(&mut buffer, &format!("the{c}A la{c} \u{e9}{c} {c}der"));
        }
        for byte in 0..=127_u8 {
            check_tokens(&mut buffer, &format!("An{0}b {0}a{0} x", char::from(byte)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(256)) })]

        #[test]
        fn random_texts_are_tokenised_by_the_rules(pieces in prop::collection::vec(prop::sample::select(vec![
            "the", "A", "an", " ", "  ", "der", "Des", "la", "\u{300}", "\u{627}\u{644}", "\u{627}", "\u{644}",
            "\u{4e2d}", "\u{9fa6}", "-", "\u{2014}", "$", "\u{3002}", "\u{1}", "\u{1c}", "\u{a0}",
            "c\u{1ee7}a", "\u{3a3}", "\u{130}", "1870", "_", "\u{1f642}", "x", "\n",
        ]), 0..12)) {
            check_tokens(&mut TokenBuffer::default(), &pieces.concat());
        }
    }
}
