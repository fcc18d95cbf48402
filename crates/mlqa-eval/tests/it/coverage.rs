//! Token coverage worked by hand on a word-level vocabulary.
use mlqa_eval::{Coverage, CoverageConfig, Error, coverage, load_tokenizer};
use tokenizers::Tokenizer;

/// `▁` is a word of its own here, as the bare piece is in XLM-R's vocabulary.
fn words() -> Tokenizer {
    r#"{"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [{"id": 0, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null, "model": {"type": "WordLevel", "unk_token": "?",
        "vocab": {"<s>": 0, "▁": 1, "a": 2, "b": 3, "c": 4, "d": 5, "?": 6}}}"#
        .parse()
        .unwrap()
}

fn run(occurrences: bool, of_text: bool) -> Coverage {
    let questions = ["a b b ▁ <s>", "c"];
    let text = ["b b b d", "d a ▁ <s>"];
    coverage(&questions, &text, &words(), &CoverageConfig { occurrences, of_text }).unwrap()
}

#[test]
fn worked_by_hand() {
    let got = |occurrences, of_text| {
        let Coverage { covered, total, ratio } = run(occurrences, of_text);
        assert_eq!(ratio, covered as f64 / total as f64);
        (covered, total)
    };
    // Questions {a, b, c}, text {a, b, d}.
    assert_eq!(got(false, false), (2, 3));
    assert_eq!(got(false, true), (2, 3));
    // Questions a, b, b, c; text b, b, b, d, d, a.
    assert_eq!(got(true, false), (3, 4));
    assert_eq!(got(true, true), (4, 6));
}

#[test]
fn no_tokens_is_an_error() {
    let config = CoverageConfig::default();
    let error = coverage(&["▁ <s>"], &["a"], &words(), &config).unwrap_err();
    assert!(matches!(error, Error::NoTokens { what: "the questions" }), "{error}");
    let empty: [&str; 0] = [];
    assert_eq!(coverage(&["a"], &empty, &words(), &config).unwrap().ratio, 0.0);
}

#[test]
fn a_text_covers_itself() {
    let tokenizer = load_tokenizer(testkit::fixture("tokenizer.json")).unwrap();
    let text = ["黑豹队的防守只丢了 308分", "Hà Nội"];
    let got = coverage(&text, &text, &tokenizer, &CoverageConfig::default()).unwrap();
    assert_eq!(got.ratio, 1.0);
    assert!(got.total > 5);
}
