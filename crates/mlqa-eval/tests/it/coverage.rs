//! Hand-computed token coverage with a word-level vocabulary.
use mlqa_eval::{Coverage, Error, coverage};
use tokenizers::Tokenizer;

/// The vocabulary has `▁` as a separate token, like the vocabulary of XLM-R.
fn word_tokenizer() -> Tokenizer {
    r#"{"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "unk_token": "?",
        "vocab": {"<s>": 0, "▁": 1, "a": 2, "b": 3, "c": 4, "d": 5, "?": 6}}}"#
        .parse()
        .unwrap()
}

#[test]
fn coverage_equals_hand_computed_value() {
    let got =
        coverage(&["a b b ▁ <s>", "c"], &["b b b d", "d a ▁ <s>"], &word_tokenizer()).unwrap();
    // The questions have the tokens {a, b, c}, the text {a, b, d}.
    assert_eq!(got, Coverage { covered: 2, total: 3, ratio: 2.0 / 3.0 });
}

#[test]
fn questions_without_tokens_are_an_error() {
    let error = coverage(&["▁ <s>"], &["a"], &word_tokenizer()).unwrap_err();
    assert!(matches!(error, Error::NoTokens), "{error}");
    let empty: [&str; 0] = [];
    assert_eq!(coverage(&["a"], &empty, &word_tokenizer()).unwrap().ratio, 0.0);
}
