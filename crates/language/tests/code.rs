//! Tests of language codes.
#![allow(clippy::unwrap_used)] // helpers of tests
use language::{Language, LanguageError};
use proptest::prelude::*;

fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

#[test]
fn base_and_name_are_derived_from_the_code() {
    for (code, base, name) in [
        ("af", "af", "Afrikaans"),
        ("fr", "fr", "French"),
        ("zh-Hans", "zh", "zh-hans"),
        ("pt_BR", "pt", "pt_br"),
        ("VI", "vi", "Vietnamese"),
        ("-", "", "-"),
    ] {
        let language = language(code);
        assert_eq!((language.base(), language.name()), (base, name), "{code}");
    }
}

#[test]
fn codes_are_case_insensitive() {
    for (code, equal_code) in
        [("EN", "en"), ("zh-Hans", "ZH-hans"), ("Nan-Latn-Pehoeji", "nan-latn-pehoeji")]
    {
        assert_eq!(language(code), language(equal_code));
        assert_eq!(
            serde_json::from_str::<Language>(&format!("{code:?}")).unwrap(),
            language(equal_code)
        );
    }
    assert_ne!(language("pt-br"), language("pt_BR"));
}

#[test]
fn invalid_codes_are_rejected() {
    for text in ["", "a language", "日本", "abcdefghijklmnopqrstuvwx"] {
        let error = Language::new(text).unwrap_err();
        assert_eq!(error, LanguageError { code: text.into() });
        assert_eq!(
            error.to_string(),
            format!(
                "language: expected a language code of 1 to 23 letters, digits, hyphens or \
                 underscores, such as `en`, got {text:?}"
            )
        );
    }
    let error = serde_json::from_str::<Language>("\"e n\"").unwrap_err().to_string();
    assert!(error.contains("expected a language code") && error.contains("e n"), "{error}");
    assert!(serde_json::from_str::<Language>("3").unwrap_err().to_string().contains("such as"));
}

proptest! {
    #[test]
    fn values_are_restored_from_text_and_json(code in "[A-Za-z0-9_-]{1,23}") {
        let value = language(&code);
        prop_assert_eq!(value.to_string(), code.to_ascii_lowercase());
        prop_assert_eq!(code.parse::<Language>().unwrap(), value);
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(serde_json::from_str::<Language>(&json).unwrap(), value);
    }

    #[test]
    fn values_are_ordered_like_their_codes(a in "[A-Za-z0-9_-]{1,23}", b in "[A-Za-z0-9_-]{1,23}") {
        let lower_case = [&a, &b].map(|code| code.to_ascii_lowercase());
        prop_assert_eq!(language(&a).cmp(&language(&b)), lower_case[0].cmp(&lower_case[1]));
    }
}

#[test]
fn only_registered_codes_are_accepted_for_rules() {
    for code in ["en", "EN", "zh-Hans", "pt_BR", "yue", "ceb"] {
        assert_eq!(Language::registered(code).unwrap(), language(code));
    }
    for (code, suggestion) in [
        ("1", None),
        ("parquet", None),
        ("", None),
        ("xx", None),
        ("eng", Some("en")),
        ("deu", Some("de")),
        ("english", Some("en")),
        ("German", Some("de")),
        ("jp", Some("ja")),
        ("cn", Some("zh")),
        ("cmn", Some("zh")),
        ("arb_Arab", Some("ar")),
        ("zsm", Some("ms")),
    ] {
        let error = Language::registered(code).unwrap_err();
        assert_eq!(error.suggestion, suggestion.map(language), "{code}");
        let message = error.to_string();
        assert!(message.starts_with(&format!("unknown language {code:?}: expected")), "{message}");
        let hint = suggestion.map(|code| format!("did you mean `{code}`"));
        assert!(hint.is_none_or(|hint| message.contains(&hint)), "{message}");
    }
    for code in ["simple", "zh-Hans", "yue", "xx"] {
        assert_eq!(Language::plausible(code).unwrap(), language(code));
    }
    for (code, suggestion) in [("cmn", Some("zh")), ("german", Some("de")), ("a b", None)] {
        let error = Language::plausible(code).unwrap_err();
        assert_eq!(error.suggestion, suggestion.map(language), "{code}");
    }
    assert_eq!(Language::two_letter("dev"), None);
    assert_eq!(Language::two_letter("pt-br"), Some(language("pt-br")));
}
