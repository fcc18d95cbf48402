//! The scripts of languages.
use unicode_script::{Script, UnicodeScript};

use super::lookup::{LANGUAGES, embedded};
use super::sites::labels_of_site;
use super::{codes, rows};
use crate::Language;

/// The scripts of a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scripts(Vec<Script>);

impl Scripts {
    /// Returns the scripts in which `language` is written, or `None` if they are unknown.
    ///
    /// A code that is not in the table has the scripts of the longest prefix that is, such as `de`
    /// for `de-li`.
    pub(crate) fn of(language: Language) -> Option<Self> {
        let main = labels_of_site(language).first().copied().unwrap_or(language);
        let mut prefix = main.as_str();
        loop {
            let row = rows::<4>(LANGUAGES).find(|[code, ..]| embedded(code) == *prefix);
            if let Some([_, scripts, ..]) = row {
                let scripts: Vec<Script> = codes(scripts).map(script).collect();
                return (!scripts.is_empty()).then_some(Self(scripts));
            }
            (prefix, _) = prefix.rsplit_once(['-', '_'])?;
        }
    }

    /// Whether `text` is in one of the scripts: more than half of its letters are. A text without
    /// letters is in any script.
    pub(crate) fn contain(&self, text: &str) -> bool {
        let (mut letters, mut matching) = (0_usize, 0_usize);
        let has_latin = self.0.contains(&Script::Latin);
        for c in text.chars() {
            let is_match = match c {
                'a'..='z' | 'A'..='Z' => has_latin,
                _ if c.is_ascii() || !c.is_alphabetic() => continue,
                _ => match c.script() {
                    Script::Common | Script::Inherited | Script::Unknown => continue,
                    script => self.0.contains(&script),
                },
            };
            letters += 1;
            matching += usize::from(is_match);
        }
        letters == 0 || 2 * matching > letters
    }
}

/// Parses a script code of the embedded table.
#[expect(clippy::expect_used, reason = "the table is a constant, whose rows a test checks")]
fn script(code: &str) -> Script {
    Script::from_short_name(code).expect("a script of the embedded table is an ISO 15924 code")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripts(code: &str) -> Option<Scripts> {
        Scripts::of(Language::new(code).unwrap())
    }

    #[test]
    fn every_script_of_the_table_is_known() {
        for [code, scripts, ..] in rows::<4>(LANGUAGES) {
            assert!(codes(scripts).all(|code| Script::from_short_name(code).is_some()), "{code}");
        }
    }

    #[test]
    fn a_text_is_in_the_script_of_most_of_its_letters() {
        for (code, text, expected) in [
            ("de", "Ilse Brandvoort", true),
            ("vi", "Đà Nẵng", true),
            ("ar", "Ilse Brandvoort", false),
            ("hi", "Ilse Brandvoort", false),
            ("zh", "Ilse Brandvoort", false),
            ("ja", "NHK", false),
            ("ja", "東京タワー", true),
            ("ko", "서울", true),
            ("zh", "X射线", true),
            ("de", "α-Carotin", true),
            ("de", "东京", false),
            ("de", "A座", false),
            ("zh", "A座", false),
            ("ar", "42 — 7", true),
            ("hi", "दिल्ली", true),
            ("sr", "Београд", true),
            ("sr", "Beograd", true),
            ("sr-ec", "Beograd", false),
            ("zh-yue", "灣", true),
            ("als", "Bärn", true),
            // Codes that are not in the table.
            ("de-li", "Vaduz", true),
            ("hi-in", "Vaduz", false),
        ] {
            assert_eq!(scripts(code).unwrap().contain(text), expected, "{code} {text}");
        }
        assert_eq!(scripts("qqx"), None);
    }
}
