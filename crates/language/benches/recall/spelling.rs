//! Spelling forms of documents, such as those of PDF files and word processors.
use unicode_normalization::UnicodeNormalization;

/// A name and a function that changes the spelling of a text.
pub type Form = (&'static str, fn(&str) -> String);

/// The forms that are measured. Questions have the usual spelling.
pub const FORMS: [Form; 12] = [
    ("as published", str::to_owned),
    ("NFD", |text| text.nfd().collect()),
    ("U+2019", |text| text.replace('\'', "\u{2019}")),
    ("ligatures", |text| {
        let text =
            text.replace("ffi", "\u{FB03}").replace("ffl", "\u{FB04}").replace("ff", "\u{FB00}");
        text.replace("fi", "\u{FB01}").replace("fl", "\u{FB02}")
    }),
    ("soft hyphens", |text| in_words(text, 3, "\u{AD}")),
    ("hyphens at line ends", |text| {
        // Every second word of eight or more letters is hyphenated.
        let mut count = 0;
        let words = text.split(' ').map(|word| {
            let length = word.chars().count();
            count += usize::from(length >= 8);
            let is_cut = length >= 8 && count % 2 == 0 && word.chars().all(char::is_alphabetic);
            if is_cut { in_words(word, length / 2, "-\n") } else { word.to_owned() }
        });
        words.collect::<Vec<_>>().join(" ")
    }),
    ("vowel signs", |text| after(text, |c| matches!(c, 'ب'..='ي'), "\u{64E}")),
    ("tatweel", |text| after(text, |c| matches!(c, 'ب' | 'س' | 'ل' | 'م' | 'ن'), "\u{640}")),
    ("nukta and joiners", |text| {
        let text: String = text.nfd().collect();
        after(&text.replace('ज', "ज\u{93C}"), |c| c == '\u{94D}', "\u{200D}")
    }),
    ("full width", |text| {
        let wide = |c: char| match c {
            '!'..='~' => char::from_u32(u32::from(c) + 0xFEE0).unwrap_or(c),
            c => c,
        };
        text.chars().map(wide).collect()
    }),
    ("zero-width spaces", |text| in_words(text, 2, "\u{200B}")),
    ("upper case", str::to_uppercase),
];

/// Inserts a text once in each word, after `length` letters.
fn in_words(text: &str, length: usize, inserted: &str) -> String {
    let mut result = String::new();
    let mut letters = 0;
    for c in text.chars() {
        letters = if c.is_alphanumeric() { letters + 1 } else { 0 };
        if letters == length + 1 {
            result.push_str(inserted);
        }
        result.push(c);
    }
    result
}

/// Inserts a text after each character of a kind.
fn after(text: &str, is_kind: fn(char) -> bool, inserted: &str) -> String {
    let mut result = String::new();
    for c in text.chars() {
        result.push(c);
        if is_kind(c) {
            result.push_str(inserted);
        }
    }
    result
}
