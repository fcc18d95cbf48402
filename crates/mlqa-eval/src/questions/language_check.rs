//! Checks texts against a language, by script and, for Latin script, by frequent words. The check
//! is only precise enough to detect swapped files.
use std::collections::BTreeMap;

use crate::{DatasetName, Language};

/// Minimum number of letters or frequent words that is required to detect a different language.
const MIN_COUNT: usize = 20;

/// Minimum percentage of letters in the language's script.
const MIN_SCRIPT_PERCENT: usize = 30;

/// Names of scripts, and the ranges of code points (inclusive) of their letters.
const SCRIPTS: [(&str, &[(char, char)]); 9] = [
    ("Latin", &[('A', 'Z'), ('a', 'z'), ('\u{c0}', '\u{24f}'), ('\u{1e00}', '\u{1eff}')]),
    ("Arabic", &[('\u{620}', '\u{64a}'), ('\u{671}', '\u{6d3}'), ('\u{fb50}', '\u{fefc}')]),
    ("Devanagari", &[('\u{904}', '\u{939}'), ('\u{93e}', '\u{94d}'), ('\u{958}', '\u{961}')]),
    ("Chinese", &[('\u{3400}', '\u{4dbf}'), ('\u{4e00}', '\u{9fff}')]),
    ("Greek", &[('\u{370}', '\u{3ff}'), ('\u{1f00}', '\u{1fff}')]),
    ("Cyrillic", &[('\u{400}', '\u{52f}')]),
    ("Thai", &[('\u{e01}', '\u{e4e}')]),
    ("Japanese kana", &[('\u{3041}', '\u{30ff}')]),
    ("Hangul", &[('\u{1100}', '\u{11ff}'), ('\u{ac00}', '\u{d7a3}')]),
];

/// Languages with their scripts and, for Latin script, frequent words.
const LANGUAGES: [(&str, &[&str], &[&str]); 16] = [
    ("en", &["Latin"], &["the", "of", "and", "to", "is", "was", "what", "in", "did"]),
    ("es", &["Latin"], &["de", "la", "el", "que", "los", "en", "y", "qué", "del", "las"]),
    ("de", &["Latin"], &["der", "die", "und", "das", "von", "den", "ist", "was", "wie", "des"]),
    ("fr", &["Latin"], &["le", "les", "des", "et", "est", "dans", "du", "une", "la", "de", "quel"]),
    ("vi", &["Latin"], &["của", "và", "các", "là", "được", "trong", "những", "cho", "đã", "gì"]),
    ("tr", &["Latin"], &["ve", "bir", "bu", "için", "ile", "olarak", "ne", "hangi", "kaç"]),
    ("ro", &["Latin"], &["și", "în", "care", "din", "este", "ce", "pentru", "la", "de", "a"]),
    ("ar", &["Arabic"], &[]),
    ("hi", &["Devanagari"], &[]),
    ("zh", &["Chinese"], &[]),
    ("el", &["Greek"], &[]),
    ("ru", &["Cyrillic"], &[]),
    ("th", &["Thai"], &[]),
    ("ja", &["Japanese kana", "Chinese"], &[]),
    ("ko", &["Hangul"], &[]),
    ("uk", &["Cyrillic"], &[]),
];

/// Returns the languages of contexts and of questions according to a file's name. The result is
/// `None` if the name does not have the form of MLQA's or XQuAD's names.
///
/// # Errors
/// Returns a message if the name has the form of MLQA's or XQuAD's names, but is invalid.
pub(crate) fn expected_languages(name: &str) -> Result<Option<(Language, Language)>, String> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    if name.contains("-context-") || name.contains("-question-") {
        let dataset_name: DatasetName = name.parse().map_err(|error| format!("{error}"))?;
        return Ok(Some((dataset_name.context, dataset_name.question)));
    }
    let code = name.strip_prefix("xquad.").and_then(|rest| rest.split('.').next());
    match code.map(Language::registered) {
        None => Ok(None),
        Some(Ok(language)) => Ok(Some((language, language))),
        Some(Err(error)) => Err(format!("`{name}`: {error}")),
    }
}

/// Counts of letters by script and of frequent words by language, to distinguish languages.
///
/// ```
/// use mlqa_eval::LanguageCounts;
///
/// let (mut question, mut documents) = (LanguageCounts::default(), LanguageCounts::default());
/// question.add("Was ist die Hauptstadt von Peru?");
/// documents.add(&"The capital of Peru is Lima, and it is in the west. ".repeat(5));
/// assert_eq!(question.differs_from(&documents), Some(["de", "en"]));
/// ```
#[derive(Debug, Default)]
pub struct LanguageCounts {
    /// Number of letters by script.
    letters: BTreeMap<&'static str, usize>,
    /// Number of frequent words by language.
    words: BTreeMap<&'static str, usize>,
}

impl LanguageCounts {
    /// Adds a text.
    pub fn add(&mut self, text: &str) {
        for c in text.chars() {
            let within =
                |blocks: &[(char, char)]| blocks.iter().any(|&(a, z)| (a..=z).contains(&c));
            if let Some(&(script, _)) = SCRIPTS.iter().find(|(_, blocks)| within(blocks)) {
                *self.letters.entry(script).or_default() += 1;
            }
        }
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            let word = word.to_lowercase();
            for (language, _, words) in LANGUAGES {
                if words.contains(&word.as_str()) {
                    *self.words.entry(language).or_default() += 1;
                }
            }
        }
    }

    /// Compares a short text (`self`) with longer texts (`others`). If their scripts seem to
    /// differ, both scripts are returned. If their script is Latin and their languages seem to
    /// differ, both languages are returned.
    pub fn differs_from(&self, others: &Self) -> Option<[&'static str; 2]> {
        let (script, _) = self.letters.iter().max_by_key(|&(_, count)| count)?;
        let (other_script, _) = others.letters.iter().max_by_key(|&(_, count)| count)?;
        let letter_count: usize = others.letters.values().sum();
        let letters_in_script = others.letters.get(script).unwrap_or(&0);
        if letter_count < MIN_COUNT {
            return None;
        }
        if 100 * letters_in_script < MIN_SCRIPT_PERCENT * letter_count {
            return Some([script, other_script]);
        }
        let (language, count) = self.words.iter().max_by_key(|&(_, count)| count)?;
        let (other_language, other_count) = others.words.iter().max_by_key(|&(_, count)| count)?;
        let differs = *count >= 2 + self.words.get(other_language).unwrap_or(&0)
            && *other_count >= MIN_COUNT
            && *other_count > 3 * others.words.get(language).unwrap_or(&0);
        differs.then_some([language, other_language])
    }

    /// Returns the reason why the texts cannot be in a language, if there is one.
    pub fn contradicts(&self, language: Language) -> Option<String> {
        let (code, scripts, words) =
            LANGUAGES.into_iter().find(|(code, ..)| *code == language.base())?;
        let letters: usize = self.letters.values().sum();
        let expected_letters: usize =
            scripts.iter().filter_map(|script| self.letters.get(script)).sum();
        let (script, count) = self.letters.iter().max_by_key(|&(_, count)| count)?;
        if letters < MIN_COUNT {
            return None;
        }
        if 100 * expected_letters < MIN_SCRIPT_PERCENT * letters {
            let percent = 100 * count / letters;
            return Some(format!("{percent} % of their letters are {script}"));
        }
        let expected_words =
            if words.is_empty() { return None } else { self.words.get(code).unwrap_or(&0) };
        let (other_language, count) = self.words.iter().max_by_key(|&(_, count)| count)?;
        let contradicts = *count >= MIN_COUNT && *count > 3 * expected_words;
        contradicts.then(|| {
            format!("they contain {count} frequent words of `{other_language}` and {expected_words} of `{code}`")
        })
    }
}
