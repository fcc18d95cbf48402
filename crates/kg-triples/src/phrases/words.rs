use unicode_segmentation::UnicodeSegmentation;

/// Units of n-grams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units {
    /// Words of Unicode Standard Annex 29, where each Han character is one.
    #[default]
    Words,
    /// Single letters (extended grapheme clusters), for scripts without spaces; ASCII words and
    /// numbers stay whole.
    Characters,
}

/// A unit of a text, with its lower-case form and its code points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The lower-case form.
    pub text: String,
    /// First code point.
    pub start: usize,
    /// Index after the last code point.
    pub end: usize,
}

/// Splits a text into units, in order.
///
/// Punctuation and white space belong to no unit, and an apostrophe separates units (`Washington's`
/// is `washington`, `s`; `l'homme` is `l`, `homme`). There is no other normalisation: texts should
/// have the same Unicode normal form.
///
/// ```
/// use kg_triples::phrases::{Units, words};
///
/// let found = words("George Washington's 3.5 km: 櫻桃樹", Units::Words);
/// let found: Vec<_> = found.iter().map(|word| (word.text.as_str(), word.start)).collect();
/// assert_eq!(found, [
///     ("george", 0), ("washington", 7), ("s", 18), ("3.5", 20), ("km", 24),
///     ("櫻", 28), ("桃", 29), ("樹", 30),
/// ]);
/// ```
pub fn words(text: &str, units: Units) -> Vec<Word> {
    let mut found = Vec::new();
    let mut cursor = Cursor { text, byte: 0, code_points: 0 };
    let mut add = |byte: usize, unit: &str| {
        let start = cursor.code_point(byte);
        let end = cursor.code_point(byte + unit.len());
        found.push(Word { text: unit.to_lowercase(), start, end });
    };
    let solid = |unit: &str| unit.chars().any(char::is_alphanumeric);
    match units {
        Units::Words => {
            for (byte, word) in text.unicode_word_indices() {
                let mut from = 0;
                for part in word.split(['\'', '\u{2019}', '\u{FF07}']) {
                    if solid(part) {
                        add(byte + from, part);
                    }
                    from += part.len() + word.get(from + part.len()..).map_or(0, first_length);
                }
            }
        }
        Units::Characters => {
            for (byte, word) in text.unicode_word_indices() {
                if word.is_ascii() {
                    add(byte, word);
                    continue;
                }
                for (inner, unit) in word.grapheme_indices(true).filter(|(_, unit)| solid(unit)) {
                    add(byte + inner, unit);
                }
            }
        }
    }
    found
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Counts the code points before a byte; the bytes must rise.
struct Cursor<'t> {
    text: &'t str,
    byte: usize,
    code_points: usize,
}

impl Cursor<'_> {
    fn code_point(&mut self, byte: usize) -> usize {
        let between = self.text.get(self.byte..byte).unwrap_or_default();
        self.code_points += between.chars().count();
        self.byte = byte;
        self.code_points
    }
}
