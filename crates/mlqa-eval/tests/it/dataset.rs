//! Reading, writing and joining question files.
use mlqa_eval::{Dataset, DatasetName, Error, Language, pair_languages};

fn squad_text(qas: &str) -> String {
    format!(
        r#"{{"version": "1.1", "extra": 1, "data": [{{"title": "T", "paragraphs":
        [{{"context": "Ein 🙂 Haus", "document_id": "x", "qas": [{qas}]}}]}}]}}"#
    )
}

const HOUSE: &str = r#"{"id": "a", "subtype": "object", "question": "Was?",
    "answers": [{"text": "Haus", "answer_start": 6, "extra": true}]}"#;

#[test]
fn offsets_count_code_points_and_unknown_keys_are_ignored() {
    let dataset = Dataset::parse(&squad_text(HOUSE), "d.json").unwrap();
    assert_eq!(dataset.version.as_deref(), Some("1.1"));
    let [question] = dataset.questions.as_slice() else { panic!("one question") };
    assert_eq!(
        (question.id.as_str(), &*question.title, &*question.context),
        ("a", "T", "Ein 🙂 Haus")
    );
    dataset.check_answers().unwrap();
}

#[test]
fn json_errors_name_line_and_column() {
    let cases = [
        ("{\n \"data\": [\n  {\"title\" \"T\"}\n ]\n}", 3),
        ("{\n \"data\": [", 2),
        ("{\"data\": [{\"paragraphs\": [{\n\"qas\": []}]}]}", 2),
        ("[]\n", 1),
        ("", 1),
    ];
    for (text, expected_line) in cases {
        let error = Dataset::parse(text, "d.json").unwrap_err();
        let Error::Json { line, .. } = &error else { panic!("{text:?}: {error}") };
        assert_eq!((*line).max(1), expected_line, "{text:?}: {error}");
        assert!(error.to_string().contains("d.json:"), "{error}");
    }
    let negative = squad_text(&HOUSE.replace("6", "-6"));
    let error = Dataset::parse(&negative, "d.json").unwrap_err();
    assert!(error.to_string().contains("integer `-6`"), "{error}");
    for literal in ["NaN", "Infinity", "-Infinity"] {
        for text in [HOUSE.replace("true", literal), HOUSE.replace("6", literal)] {
            let error = Dataset::parse(&squad_text(&text), "d.json").unwrap_err().to_string();
            let named = format!(": {} is not JSON; write null", literal.trim_start_matches('-'));
            assert!(error.starts_with("d.json:3:") && error.contains(&named), "{error}");
        }
    }
    let missing = Dataset::read("none.json").unwrap_err();
    assert!(matches!(missing, Error::File(_)), "{missing}");
}

#[test]
fn offsets_may_be_whole_floats_or_text() {
    let read = |offset: &str| Dataset::parse(&squad_text(&HOUSE.replace('6', offset)), "d.json");
    for offset in ["6.0", "6e0", "\"6\"", "\"6.0\""] {
        let start = |dataset: Dataset| dataset.questions[0].answers[0].answer_start;
        assert_eq!(start(read(offset).unwrap()), Some(6), "{offset}");
        // The answers of a row are lists of texts and offsets, or a list of objects with text and
        // offset.
        for answers in [
            format!(r#"{{"text": ["b"], "answer_start": [{offset}]}}"#),
            format!(r#"[{{"text": "b", "answer_start": {offset}}}]"#),
        ] {
            let row = r#"{"id": "a", "context": "b", "question": "?", "answers": "#;
            let rows = format!("{row}{answers}}}\n");
            assert_eq!(start(Dataset::parse(&rows, "d.jsonl").unwrap()), Some(6), "{answers}");
        }
    }
    let invalid =
        ["6.5", "-6.0", "-2", "1e30", "true", "\"\"", "\"-6\"", "\"6.5\"", "\"x\"", "\"nan\""];
    for offset in invalid {
        let error = read(offset).unwrap_err().to_string();
        assert!(error.starts_with("d.json:3:") && error.contains("question \"a\": "), "{error}");
        assert!(error.contains("expected a whole number from 0"), "{error}");
    }
}

#[test]
fn an_id_that_occurs_twice_is_an_error() {
    let error = Dataset::parse(&squad_text(&format!("{HOUSE}, {HOUSE}")), "d.json").unwrap_err();
    assert!(matches!(&error, Error::DuplicateQuestion { id, .. } if id == "a"), "{error}");
}

#[test]
fn pair_uses_the_question_texts_of_the_other_language() {
    let other = r#"{"id": "b", "question": "Wer?", "answers": []}"#;
    let german = Dataset::parse(&squad_text(&format!("{other}, {HOUSE}")), "de.json").unwrap();
    let mut english = german.clone();
    english.questions.retain(|question| question.id == "a");
    english.questions[0].question = "What?".into();
    english.questions[0].context = "A house".into();
    let paired = pair_languages(&german, &english).unwrap();
    assert_eq!(paired.questions.len(), 1);
    assert_eq!(paired.questions[0].question, "What?");
    assert_eq!(&*paired.questions[0].context, "Ein 🙂 Haus");
    paired.check_answers().unwrap();
    english.questions[0].id = "c".into();
    let error = pair_languages(&german, &english).unwrap_err();
    assert!(matches!(error, Error::NothingPaired { .. }), "{error}");
}

#[test]
fn file_names_are_parsed_and_formatted() {
    let name: DatasetName = "test-context-en-question-zh.json".parse().unwrap();
    assert_eq!(
        (name.split.as_str(), name.context, name.question),
        ("test", Language::EN, Language::ZH)
    );
    assert_eq!(name.to_string(), "test-context-en-question-zh.json");
    for wrong in [
        "test-context-en-question-zh.jsonl",
        "test-context-en.json",
        "-context-en-question-zh.json",
        "test-question-en-context-zh.json",
    ] {
        assert!(wrong.parse::<DatasetName>().is_err(), "{wrong}");
    }
    let error = "dev-context-f r-question-en.json".parse::<DatasetName>().unwrap_err();
    let error = error.to_string();
    assert!(error.contains("(unknown language \"f r\": expected a code of ISO 639, "), "{error}");
}

#[test]
fn oversized_files_are_rejected_without_reading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.json");
    // The file is sparse, so it uses no disk space.
    std::fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
    let error = Dataset::read(path).unwrap_err().to_string();
    assert!(error.contains("long.json") && error.contains("more than 4 GiB"), "{error}");
}
