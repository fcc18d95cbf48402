use unicode_segmentation::UnicodeSegmentation;

/// A word of a text, with its lower-case form and its code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The lower-case form.
    pub text: String,
    /// First code point.
    pub start: usize,
    /// Index after the last code point.
    pub end: usize,
}

/// Splits a text into words of Unicode Standard Annex 29, in order; each Han character is a word.
///
/// Punctuation and white space belong to no word, and an apostrophe separates words (`Washington's`
/// is `washington`, `s`; `l'homme` is `l`, `homme`). There is no other normalisation: texts should
/// have the same Unicode normal form.
///
/// ```
/// use kg_triples::phrases::words;
///
/// let found = words("George Washington's 3.5 km: 櫻桃樹");
/// let found: Vec<_> = found.iter().map(|word| (word.text.as_str(), word.start)).collect();
/// assert_eq!(found, [
///     ("george", 0), ("washington", 7), ("s", 18), ("3.5", 20), ("km", 24),
///     ("櫻", 28), ("桃", 29), ("樹", 30),
/// ]);
/// ```
pub fn words(text: &str) -> Vec<Word> {
    let mut found_words = Vec::new();
    let mut cursor = Cursor { text, byte: 0, code_points: 0 };
    let mut add = |byte: usize, word: &str| {
        let start = cursor.code_point(byte);
        let end = cursor.code_point(byte + word.len());
        found_words.push(Word { text: word.to_lowercase(), start, end });
    };
    for (byte, word) in text.unicode_word_indices() {
        let mut part_start = 0;
        for part in word.split(['\'', '\u{2019}', '\u{FF07}']) {
            if part.chars().any(char::is_alphanumeric) {
                add(byte + part_start, part);
            }
            part_start += part.len() + word.get(part_start + part.len()..).map_or(0, first_length);
        }
    }
    found_words
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Counts the code points before a byte offset; offsets must be ascending.
struct Cursor<'t> {
    text: &'t str,
    byte: usize,
    code_points: usize,
}

impl Cursor<'_> {
    fn code_point(&mut self, byte: usize) -> usize {
        let skipped_text = self.text.get(self.byte..byte).unwrap_or_default();
        self.code_points += skipped_text.chars().count();
        self.byte = byte;
        self.code_points
    }
}
