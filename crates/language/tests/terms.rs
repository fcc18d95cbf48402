//! Tests of the terms of a word index.
use language::{fold, for_each_term};
use proptest::prelude::*;

fn terms(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    for_each_term(text, |term| terms.push(term.to_owned()));
    terms
}

#[test]
fn terms_depend_on_the_script() {
    // These terms are those of `TERMS_VERSION` 1.
    for (text, expected) in [
        ("Der Stadtplan, im Tal!", "der stadtplan stadt im tal"),
        (
            "L’abbazia dell'arte; max_batch-size 4:51",
            "l abbazia abbaz dell arte max batch size 4 51",
        ),
        ("Нью-Йорк 1871\u{a0}г.", "нью йорк 1871 г"),
        ("हिन्दी भाषा", "हिन्दी हिन्द भाषा"),
        ("المَدينة بيت", "المدينه الم لمد مدي دين ينه بيت"),
        ("می‌روم", "مي روم"),
        ("東京へ行く、2008年", "東 東京 京 京へ へ へ行 行 行く く 2008 年"),
        ("コーヒー", "コ コー ー ーヒ ヒ ヒー ー"),
        ("한국어는 말", "한국 국어 어는 말"),
        ("ภาษาไทย, ดี", "ภาษ าษา ษาไ าไท ไทย ดี"),
        ("မြန်မာ", "မြန ြန် န်မ ်မာ"),
        ("Sky Digitalは", "sky digital digit は"),
        ("١٨٧١ 18७१", "1871 1871"),
        ("…🇫🇷 — ", ""),
    ] {
        assert_eq!(terms(text).join(" "), expected, "{text}");
    }
    assert_eq!(terms(&"ab".repeat(100)), ["ab".repeat(32), "ababa".to_owned()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn terms_are_parts_of_the_folded_text(text in any::<String>()) {
        let folded = fold(&text);
        let all = terms(&text);
        for term in &all {
            prop_assert!(!term.is_empty() && folded.as_str().contains(term.as_str()), "{term:?}");
        }
        prop_assert_eq!(terms(folded.as_str()), all);
    }
}
