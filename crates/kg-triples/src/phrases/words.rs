use unicode_segmentation::UnicodeSegmentation;

/// A word of a text, in lower case, with its range of code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The lower-case form.
    pub text: String,
    /// First code point.
    pub start: usize,
    /// Index after the last code point.
    pub end: usize,
}

/// Splits a text into words as defined by Unicode Standard Annex 29. Each Han character is a word.
///
/// Punctuation and white space belong to no word, and an apostrophe separates words (`Washington's`
/// is `washington`, `s`; `l'homme` is `l`, `homme`). Except for lower case, words are not
/// normalised, so texts that are compared should be in the same Unicode normal form.
///
/// ```
/// use kg_triples::phrases::words;
///
/// let pairs = words("George Washington's 3.5 km: 櫻桃樹");
/// let pairs: Vec<_> = pairs.iter().map(|word| (word.text.as_str(), word.start)).collect();
/// assert_eq!(pairs, [
///     ("george", 0), ("washington", 7), ("s", 18), ("3.5", 20), ("km", 24),
///     ("櫻", 28), ("桃", 29), ("樹", 30),
/// ]);
/// ```
pub fn words(text: &str) -> Vec<Word> {
    let mut found_words = Vec::new();
    let mut cursor = Cursor { text, byte: 0, code_points: 0 };
    let mut add = |byte: usize, word: &str| {
        let start = cursor.code_point_offset(byte);
        let end = cursor.code_point_offset(byte + word.len());
        found_words.push(Word { text: word.to_lowercase(), start, end });
    };
    for (byte, word) in text.unicode_word_indices() {
        let mut part_start = 0;
        for part in word.split(['\'', '\u{2019}', '\u{FF07}']) {
            if part.chars().any(char::is_alphanumeric) {
                add(byte + part_start, part);
            }
            // The separator is an apostrophe; after the last part, there is none.
            let part_end = part_start + part.len();
            part_start = part_end + word[part_end..].chars().next().map_or(0, char::len_utf8);
        }
    }
    found_words
}

/// Converts ascending byte offsets to code point offsets.
struct Cursor<'t> {
    text: &'t str,
    byte: usize,
    code_points: usize,
}

impl Cursor<'_> {
    fn code_point_offset(&mut self, byte: usize) -> usize {
        self.code_points += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.code_points
    }
}
