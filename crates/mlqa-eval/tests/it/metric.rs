//! Scores compared with the official MLQA script (Python 3.11, Unicode 14.0.0), bit for bit.
use std::path::PathBuf;

use mlqa_eval::{
    Dataset, Error, Language, MLQA_LANGUAGES, Normalization, Predictions, score, score_files,
};

use crate::common::{dataset, predictions, question};

fn fixture_path(language: Language, file: &str) -> PathBuf {
    testkit::fixture(&format!("scorer/{language}/{file}"))
}

fn read_fixture(language: Language) -> (Dataset, Predictions, serde_json::Value) {
    let expected = std::fs::read_to_string(fixture_path(language, "expected.json")).unwrap();
    (
        Dataset::read(fixture_path(language, "dataset.json")).unwrap(),
        Predictions::read(fixture_path(language, "predictions.json")).unwrap(),
        serde_json::from_str(&expected).unwrap(),
    )
}

#[test]
fn totals_and_questions_equal_the_official_script() {
    for language in MLQA_LANGUAGES {
        let (dataset, predictions, expected) = read_fixture(language);
        let got = score(&dataset, &predictions, Normalization::Mlqa(language)).unwrap();
        assert_eq!(Some(got.f1), expected["f1"].as_f64(), "{language} f1");
        assert_eq!(Some(got.exact_match), expected["exact_match"].as_f64(), "{language} em");
        let unanswered = serde_json::to_value(&got.unanswered).unwrap();
        assert_eq!(unanswered, expected["unanswered"], "{language}");
        let expected = expected["per_question"].as_object().unwrap();
        assert_eq!(got.per_question.len(), expected.len());
        for question in &got.per_question {
            let expected_score = &expected[&question.id];
            let context = format!("{language} {} ({})", question.id, expected_score["variant"]);
            assert_eq!(Some(question.f1), expected_score["f1"].as_f64(), "{context} f1");
            assert_eq!(
                Some(f64::from(u8::from(question.exact_match))),
                expected_score["exact_match"].as_f64(),
                "{context} em"
            );
        }
    }
}

#[test]
fn score_files_equals_reading_and_scoring() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dataset.json");
    let valid_text = std::fs::read_to_string(fixture_path(Language::ZH, "dataset.json")).unwrap();
    let predictions = fixture_path(Language::ZH, "predictions.json");
    let rules = Normalization::Mlqa(Language::ZH);
    for (from, to) in [
        ("", ""),
        ("\"version\"", "\"versions\""),
        // For invalid files, `Dataset::read` and `score_files` report equal messages.
        ("\"context\": \"", "\"contexts\": \""),
        ("\"context\": \"", "\"context\": 3, \"x\": \""),
        ("\"context\": \"", "\"context\": \"\\x"),
        ("\"title\": \"", "\"title\": null, \"x\": \""),
        ("\"title\": \"", "\"title\": \"\", \"title\": \""),
        ("\"version\"", "\"data\": [], \"version\""),
        ("\"answers\": [", "\"answers\": null, \"x\": ["),
        ("\"question\": \"", "\"question\": 3, \"x\": \""),
        ("\"answers\": [", "\"answers\": [], \"x\": ["),
        ("\"answer_start\": ", "\"answer_start\": -"),
        ("\"id\": \"", "\"id\": \"x\", \"ids\": \""),
        ("\"data\": [", "\"data\": [["),
    ] {
        let text = valid_text.replace(from, to);
        assert!(from.is_empty() || text != valid_text, "{from}");
        std::fs::write(&path, text).unwrap();
        let read = || {
            let dataset = Dataset::read(&path)?;
            let score = score(&dataset, &Predictions::read(&predictions)?, rules)?;
            Ok((dataset.version, score))
        };
        let read: Result<_, Error> = read();
        let scored = score_files(&path, &predictions, rules);
        match (read, scored) {
            (Ok(read), Ok(scored)) => assert_eq!(read, (scored.version, scored.score), "{to}"),
            (read, scored) => {
                let errors = [read.map(|_| ()), scored.map(|_| ())];
                let [read, scored] = errors.map(|result| result.unwrap_err().to_string());
                assert_eq!(read, scored, "{to}");
            }
        }
    }
    // `score_files` does not decode contexts, so an unpaired surrogate in a context is an error of
    // `Dataset::read` only.
    let text = valid_text.replacen("\"context\": \"", "\"context\": \"\\ud800", 1);
    std::fs::write(&path, text).unwrap();
    assert!(Dataset::read(&path).is_err());
    assert_eq!(score_files(&path, &predictions, rules).unwrap().score.f1, 64.98532601243599);
}

fn one_question(gold: &[&str]) -> Dataset {
    let answers: Vec<_> = gold.iter().map(|text| (*text, 0)).collect();
    dataset(vec![question("q", "", "", &answers)])
}

fn score_one(gold: &[&str], prediction: &str, rules: Normalization) -> (f64, f64) {
    let got = score(&one_question(gold), &predictions(&[("q", prediction)]), rules).unwrap();
    (got.exact_match, got.f1)
}

#[test]
fn scores_equal_hand_computed_values() {
    let en = Normalization::Mlqa(Language::EN);
    // Precision is 2/3 and recall is 2/2, so F1 is 2 · (2/3) · 1 / (5/3) = 0.8.
    let (em, f1) = score_one(&["The red house", "x"], "a red house, tall", en);
    assert_eq!(em, 0.0);
    assert!((f1 - 80.0).abs() < 1e-12, "{f1}");
    // Both texts are empty after normalisation. They are equal, but have no token in common.
    assert_eq!(score_one(&["the"], "...", en), (100.0, 0.0));
    // Tokens are a multiset: the prediction has one `no`, the gold answer two.
    let (_, f1) = score_one(&["no no"], "no", en);
    assert!((f1 - 200.0 / 3.0).abs() < 1e-12, "{f1}");
    // EM and F1 are the best values over the gold answers.
    assert_eq!(score_one(&["x y", "x"], "x", en), (100.0, 100.0));
    assert_eq!(
        score_one(&["4½ Jahre"], "4½ JAHRE!", Normalization::Mlqa(Language::DE)),
        (100.0, 100.0)
    );
}

#[test]
fn missing_questions_and_gold_answers_are_errors() {
    let mut dataset = one_question(&[]);
    let predictions = predictions(&[("q", "x")]);
    let error = score(&dataset, &predictions, Normalization::SquadEn).unwrap_err();
    assert!(matches!(&error, Error::NoGold { id, .. } if id == "q"), "{error}");
    dataset.questions.clear();
    let error = score(&dataset, &predictions, Normalization::SquadEn).unwrap_err();
    assert!(matches!(error, Error::NoQuestions { .. }), "{error}");
}
