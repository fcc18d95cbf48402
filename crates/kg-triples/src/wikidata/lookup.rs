//! The languages in which Wikidata looks up a name.
use super::sites::labels_of_site;
use super::{codes, rows};
use crate::{LabelSource, Language};

/// Columns: `code scripts variants fallbacks`, sorted by code.
pub(super) const LANGUAGES: &str = include_str!("languages.tsv");

/// A language code in which a name is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookupStep {
    pub(crate) code: Language,
    pub(crate) source: LabelSource,
}

/// Returns the steps in which Wikidata looks up a name in `language`, before `mul` and English: the
/// language, its variants and its explicit fallback languages, as in Wikibase's
/// `LanguageFallbackChainFactory`.
///
/// A site code such as `zh-yue` is looked up as the code of the language, `yue`, and then as
/// `zh-yue` itself.
pub(crate) fn lookup_steps(language: Language) -> Vec<LookupStep> {
    let mut steps: Vec<LookupStep> = Vec::new();
    let mut push = |code: Language, source: LabelSource| {
        if steps.iter().all(|step| step.code != code) {
            steps.push(LookupStep { code, source });
        }
    };
    let labels = labels_of_site(language);
    let main = labels.first().copied().unwrap_or(language);
    for code in labels.into_iter().chain([language]) {
        push(code, LabelSource::Language);
    }
    let row = rows::<4>(LANGUAGES).find(|[code, ..]| main == *code);
    if let Some([_, _, variants, fallbacks]) = row {
        for code in codes(variants) {
            push(embedded(code), LabelSource::Variant);
        }
        for code in codes(fallbacks) {
            push(embedded(code), LabelSource::Fallback);
        }
    }
    steps
}

/// Parses a code of an embedded table.
#[expect(clippy::expect_used, reason = "the tables are constants, whose rows a test checks")]
pub(super) fn embedded(code: &str) -> Language {
    Language::new(code).expect("a code of an embedded table is a language code")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(code: &str) -> Vec<(String, LabelSource)> {
        let steps = lookup_steps(Language::new(code).unwrap()).into_iter();
        steps.map(|step| (step.code.to_string(), step.source)).collect()
    }

    /// The chains of Wikibase's tests (`LanguageFallbackChainFactoryTest`) and documentation.
    #[test]
    fn steps_follow_wikibase() {
        use LabelSource::{Fallback, Language, Variant};
        let expected: [(&str, &[(&str, LabelSource)]); 9] = [
            ("de", &[("de", Language)]),
            ("en-gb", &[("en-gb", Language), ("en", Fallback)]),
            ("sco", &[("sco", Language), ("en", Fallback)]),
            ("lb", &[("lb", Language), ("de", Fallback)]),
            (
                "zh",
                &[
                    ("zh", Language),
                    ("zh-hans", Variant),
                    ("zh-hant", Variant),
                    ("zh-cn", Variant),
                    ("zh-tw", Variant),
                    ("zh-hk", Variant),
                    ("zh-sg", Variant),
                    ("zh-mo", Variant),
                    ("zh-my", Variant),
                ],
            ),
            (
                "zh-cn",
                &[
                    ("zh-cn", Language),
                    ("zh-hans", Variant),
                    ("zh-sg", Variant),
                    ("zh-my", Variant),
                    ("zh", Variant),
                    ("zh-hant", Variant),
                    ("zh-hk", Variant),
                    ("zh-mo", Variant),
                    ("zh-tw", Variant),
                ],
            ),
            (
                "sr-el",
                &[("sr-el", Language), ("sr", Variant), ("sr-ec", Variant), ("sr-latn", Fallback)],
            ),
            ("no", &[("nb", Language), ("no", Language), ("nn", Fallback)]),
            ("x-unknown", &[("x-unknown", Language)]),
        ];
        for (code, expected) in expected {
            let expected: Vec<_> = expected.iter().map(|(c, s)| ((*c).to_owned(), *s)).collect();
            assert_eq!(steps(code), expected, "{code}");
        }
        assert_eq!(
            steps("ii")[1..5].iter().map(|(c, _)| c.as_str()).collect::<Vec<_>>(),
            ["zh-cn", "zh-hans", "zh-sg", "zh-my"]
        );
    }
}
