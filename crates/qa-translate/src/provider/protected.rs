//! Selective translation: parts of a text that a translator must not change.
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::LazyLock;

use mlqa_eval::Language;
use regex::Regex;

use super::report::{RejectedText, Rejection, ReplyReport};
use crate::{Error, Translations, Translator};

/// Parts that are not translated, except numbers and names.
const PATTERNS: [&str; 6] = [
    // Code between backticks.
    r"(?s)```.+?```|`[^`\n]+`",
    // Formulas of LaTeX.
    r"(?s)\$\$.+?\$\$|\$[^\s$](?:[^$\n]*[^\s$])?\$|\\\(.+?\\\)|\\\[.+?\\\]",
    // Web and e-mail addresses.
    r#"https?://[^\s<>"]*[^\s<>".,;:!?)\]}]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"#,
    // Placeholders: {name}, ${name}, {{name}}, %(name)s, %1$s, %d.
    r"\$?\{\{?[\w.]+\}?\}|%\([\w.]+\)[sdifg]|%(?:\d+\$)?(?:\.\d+)?[sdifg]\b",
    // Tags of HTML and XML.
    r"</?[A-Za-z][^<>]*>|<!--.*?-->",
    // Markers around answers and other spans.
    r"\(\[+(?:\d+:)?|\]+\)",
];
/// Numbers, also with separators and a sign of percentage.
const NUMBER: &str = r"\d(?:[\d.,:/\u{a0}\u{202f}'’–-]*\d)?[%‰]?";

static EXPRESSIONS: LazyLock<Vec<Regex>> =
    LazyLock::new(|| PATTERNS.iter().map(|pattern| compile(pattern)).collect());
static NUMBERS: LazyLock<Regex> = LazyLock::new(|| compile(NUMBER));

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns are valid")
}

/// A translator that replaces parts of each text by placeholders (`⟦0⟧`, `⟦1⟧`, …), translates the
/// text with another translator, and restores the parts: code, formulas, addresses, placeholders,
/// tags, [markers](crate::mark()), numbers and listed names.
///
/// A translation contains each part exactly once, in any order. A translation in which a placeholder
/// is missing, changed or repeated is not used; [`Translator::take_reply_report`] lists its text
/// ([`Rejection::Placeholder`]). Texts without a letter outside these parts are not translated.
///
/// ```
/// use mlqa_eval::Language;
/// use qa_translate::{Identity, Protected, Translator};
///
/// let mut translator = Protected::new(Identity, ["Ada".to_owned()]);
/// let texts = ["Ada runs `ls` 3.5 times."]; // The inner translator gets "⟦0⟧ runs ⟦1⟧ ⟦2⟧ times."
/// let translations = translator.translate(&texts, Language::EN, Language::DE)?;
/// assert_eq!(translations[0].as_deref(), Some(texts[0]));
/// # Ok::<(), qa_translate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Protected<T> {
    inner: T,
    names: Vec<String>,
    report: ReplyReport,
}

impl<T: Translator> Protected<T> {
    /// Protects texts of another translator. `names` are protected where they are whole words.
    pub fn new(inner: T, names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().filter(|name| !name.trim().is_empty()).collect();
        Self { inner, names, report: ReplyReport::default() }
    }

    /// Returns the byte ranges of the protected parts in order. Of overlapping parts, the first is
    /// used, and the longest of those with the same start. Adjacent parts are joined.
    fn find_parts(&self, text: &str) -> Vec<Range<usize>> {
        let matches = EXPRESSIONS.iter().flat_map(|expression| expression.find_iter(text));
        let mut all: Vec<Range<usize>> = matches.map(|found| found.range()).collect();
        let numbers = NUMBERS.find_iter(text).map(|found| found.range());
        // Not the number of "COVID-19", "H1N1", "v2.0" or "1990s".
        all.extend(numbers.filter(|part| is_separate(text, part, &['-', '_', '.'])));
        for name in &self.names {
            let found = text.match_indices(name.as_str());
            let parts = found.map(|(start, _)| start..start + name.len());
            all.extend(parts.filter(|part| is_separate(text, part, &[])));
        }
        all.sort_by_key(|part| (part.start, Reverse(part.end)));
        let mut parts: Vec<Range<usize>> = Vec::new();
        for part in all {
            match parts.last_mut() {
                Some(last) if part.start < last.end => {}
                Some(last) if part.start == last.end => last.end = part.end,
                _ => parts.push(part),
            }
        }
        parts
    }
}

/// Returns whether no letter or digit is next to a part, and none of `joiners` precedes it.
fn is_separate(text: &str, part: &Range<usize>, joiners: &[char]) -> bool {
    let is_joined = |c: char| c.is_alphanumeric() || joiners.contains(&c);
    !text[..part.start].ends_with(is_joined) && !text[part.end..].starts_with(char::is_alphanumeric)
}

const OPEN: char = '⟦';
const CLOSE: char = '⟧';

/// A text with placeholders.
struct Masked<'t> {
    parts: Vec<&'t str>,
    text: String,
    /// Number of brackets on each side of a placeholder: more than the text itself has in a row.
    level: usize,
    /// Whether the text has a letter outside its parts.
    has_letters: bool,
}

impl<'t> Masked<'t> {
    fn new(text: &'t str, ranges: &[Range<usize>]) -> Self {
        let longest_run = |bracket: char| {
            let runs = text.split(|c| c != bracket).map(|run| run.chars().count());
            runs.max().expect("split returns at least one part")
        };
        let level = 1 + longest_run(OPEN).max(longest_run(CLOSE));
        let [open, close] = [OPEN, CLOSE].map(|bracket| bracket.to_string().repeat(level));
        let (mut masked, mut offset, mut has_letters) = (String::new(), 0, false);
        for (number, range) in ranges.iter().enumerate() {
            let before = &text[offset..range.start];
            has_letters |= before.contains(char::is_alphabetic);
            masked.push_str(&format!("{before}{open}{number}{close}"));
            offset = range.end;
        }
        has_letters |= text[offset..].contains(char::is_alphabetic);
        masked.push_str(&text[offset..]);
        let parts = ranges.iter().map(|range| &text[range.clone()]).collect();
        Self { parts, text: masked, level, has_letters }
    }

    /// Replaces the placeholders of a translation by the parts. Returns `None` if a placeholder is
    /// missing, changed or repeated.
    fn restore(&self, translation: &str) -> Option<String> {
        let [open, close] = [OPEN, CLOSE].map(|bracket| bracket.to_string().repeat(self.level));
        let mut used = vec![false; self.parts.len()];
        let (mut restored, mut rest) = (String::new(), translation);
        while let Some((before, after)) = rest.split_once(&open) {
            let (number, after) = after.split_once(&close)?;
            let number: usize = number.trim().parse().ok()?;
            if std::mem::replace(used.get_mut(number)?, true) {
                return None;
            }
            restored.push_str(before);
            restored.push_str(self.parts[number]);
            rest = after;
        }
        restored.push_str(rest);
        used.iter().all(|&used| used).then_some(restored)
    }
}

impl<T: Translator> Translator for Protected<T> {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let masked: Vec<Masked<'_>> =
            texts.iter().map(|text| Masked::new(text, &self.find_parts(text))).collect();
        let is_request = |masked: &&Masked<'_>| masked.parts.is_empty() || masked.has_letters;
        let requests: Vec<&str> =
            masked.iter().filter(is_request).map(|masked| masked.text.as_str()).collect();
        let replies = match requests.is_empty() {
            true => Vec::new(),
            false => self.inner.translate(&requests, from, to)?,
        };
        if replies.len() != requests.len() {
            return Err(Error::Count { expected: requests.len(), got: replies.len() });
        }
        let mut replies = replies.into_iter();
        let mut translations = Vec::with_capacity(texts.len());
        for (text, masked) in texts.iter().zip(&masked) {
            if !is_request(&masked) {
                translations.push(Some((*text).to_owned()));
                continue;
            }
            let reply = replies.next().expect("each request has a reply");
            let restored = reply.as_ref().and_then(|reply| masked.restore(reply));
            if let (Some(reply), None) = (reply, &restored) {
                let reason = Rejection::Placeholder;
                *self.report.rejected.entry(reason).or_default() += 1;
                let text = (*text).to_owned();
                self.report.rejected_texts.push(RejectedText { reason, detail: reply, text });
            }
            translations.push(restored);
        }
        Ok(translations)
    }

    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }

    fn identity(&self) -> Option<String> {
        self.inner.identity().map(|inner| format!("{inner}, protected, names {:?}", self.names))
    }

    fn take_reply_report(&mut self) -> ReplyReport {
        let mut report = self.inner.take_reply_report();
        report.add(std::mem::take(&mut self.report));
        report
    }
}
