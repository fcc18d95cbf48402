//! `mlqa-eval check`: every kind of error with its position and message.
use std::path::{Path, PathBuf};

use mlqa_eval::{FindingKind, MLQA_LANGUAGES, check_file, squad};
use serde_json::{Value, json};
use testkit::RunOutput;

use crate::program;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Returns kind, id and position of each finding in a file with this text.
fn findings(name: &str, text: &str) -> Vec<(FindingKind, String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let check = check_file(write(folder.path(), name, text)).unwrap();
    let all = check.findings.into_iter();
    all.map(|finding| (finding.kind, finding.id.unwrap_or_default(), finding.place)).collect()
}

fn squad_file(qas: &Value) -> String {
    // 🦙 has four bytes and two UTF-16 units, é two bytes and one UTF-16 unit.
    let context = "Das Café hat 🦙🦙 ein Haus und noch ein Haus.";
    json!({"data": [{"paragraphs": [{"context": context, "qas": qas}]}]}).to_string()
}

fn file_with_answer(text: &str, start: usize) -> String {
    squad_file(&json!([{"id": "q", "question": "Was?", "answers": [
        {"text": "Das", "answer_start": 0}, {"text": text, "answer_start": start}]}]))
}

#[test]
fn answers_at_wrong_positions_are_found() {
    assert_eq!(findings("x.json", &file_with_answer("ein Haus", 16)), []);
    assert_eq!(findings("x.json", &file_with_answer("ein Haus", 34)), []);
    for (text, start, kind) in [
        ("ein Haus", 23, FindingKind::ByteOffset),
        ("ein Haus", 18, FindingKind::Utf16Offset),
        ("ein Haus", 15, FindingKind::AnswerElsewhere),
        ("Ein Haus", 16, FindingKind::AnswerMissing),
        ("Haus.", 39, FindingKind::AnswerBeyond),
        ("Haus.", 400, FindingKind::AnswerBeyond),
        ("Haus.!", 38, FindingKind::AnswerBeyond),
        ("x", usize::MAX, FindingKind::AnswerBeyond),
        (" \u{a0}", 3, FindingKind::EmptyAnswer),
        ("", 3, FindingKind::EmptyAnswer),
    ] {
        let place = "data[0].paragraphs[0].qas[0].answers[1]".to_owned();
        let got = findings("x.json", &file_with_answer(text, start));
        assert_eq!(got, [(kind, "q".into(), place)], "{text} {start}");
    }
}

#[test]
fn invalid_questions_and_ids_are_found() {
    let answers = json!([{"text": "Das", "answer_start": 0}]);
    let text = squad_file(&json!([
        {"id": "a", "question": "Was?", "answers": answers},
        {"id": "a", "question": " ", "answers": answers},
        {"id": "b", "question": "Was?", "answers": []},
        {"id": "c", "question": "Was?", "answers": [], "is_impossible": true},
        {"id": "d", "question": "Was?", "answers": [], "is_impossible": false},
        {"id": "e", "question": "Was?", "answers": answers, "is_impossible": true},
        {"id": "f", "question": "Was?", "answers": answers, "is_impossible": false},
    ]));
    let got: Vec<_> =
        findings("x.json", &text).into_iter().map(|(kind, id, _)| (kind, id)).collect();
    let expected = [
        (FindingKind::Empty, "a"),
        (FindingKind::DuplicateId, "a"),
        (FindingKind::NoAnswers, "b"),
        (FindingKind::NoAnswers, "d"),
        (FindingKind::ImpossibleAnswered, "e"),
    ];
    assert_eq!(got, expected.map(|(kind, id)| (kind, id.to_owned())));
}

#[test]
fn findings_of_the_whole_file_have_a_position() {
    let single = |kind, place: &str| vec![(kind, String::new(), place.to_owned())];
    assert_eq!(findings("x.json", r#"{"data": []}"#), single(FindingKind::NoQuestions, "file"));
    let blank = r#"{"data": [{"paragraphs": [{"context": " ", "qas": []}]}]}"#;
    let place = "data[0].paragraphs[0]";
    assert_eq!(findings("x.json", blank), single(FindingKind::Empty, place));
    for (text, place) in [
        ("{\"data\": [\n{\"title\" 3}]}", "line 2 column 10"),
        ("{\"data\": 3}", "line 1 column 10"),
        ("{\n\"data\":\n[", "line 3 column 1"),
        ("[3]", "line 1 column 2"),
    ] {
        assert_eq!(findings("x.json", text), single(FindingKind::Format, place), "{text}");
    }
}

#[test]
fn languages_in_file_names_are_compared_with_the_texts() {
    let folder = tempfile::tempdir().unwrap();
    let messages = |name: &str, actual: &str| -> Vec<String> {
        let path = folder.path().join(name);
        let mut file = squad::File::read(format!("../../data/xquad/xquad.{actual}.json")).unwrap();
        file.data.truncate(2);
        file.write(&path).unwrap();
        let check = check_file(path).unwrap();
        assert!(check.findings.iter().all(|finding| finding.kind == FindingKind::Language));
        check.findings.into_iter().map(|finding| finding.message).collect()
    };
    for actual in MLQA_LANGUAGES.map(|language| language.to_string()) {
        for named in MLQA_LANGUAGES.map(|language| language.to_string()) {
            let got = messages(&format!("xquad.{named}.json"), &actual);
            // One finding for contexts and one for questions.
            assert_eq!(got.len(), if named == actual { 0 } else { 2 }, "{named} {actual}: {got:?}");
        }
    }
    let got = messages("test-context-de-question-en.json", "de");
    assert_eq!(got.len(), 1);
    assert!(
        got[0].starts_with("according to the file name, questions are in `en`, but they"),
        "{got:?}"
    );
    assert_eq!(messages("test-context-d e-question-en.json", "de").len(), 1);
    assert_eq!(messages("xquad.zh-Hans.json", "zh").len(), 0);
    // The check has no data for Swahili, and the second file name has no language.
    assert_eq!(messages("xquad.sw.json", "zh").len(), 0);
    assert_eq!(messages("squad.json", "zh").len(), 0);
}

#[test]
fn the_program_prints_lines_or_json() {
    let program = program();
    program.write("bad.json", file_with_answer("ein Haus", 23));
    program.write("good.json", file_with_answer("ein Haus", 16));
    let RunOutput { out, err, code } = program.run("check bad.json good.json");
    assert_eq!((code, &*out), (Some(2), "good.json: 1 questions, 2 answers\n"));
    let place = "data[0].paragraphs[0].qas[0].answers[1]";
    let lines = format!(
        "bad.json: `q`: {place}: byte-offset: answer_start 23 should hold `ein Haus`, but the \
         context has `s und no` there; offsets count Unicode code points; the offset is correct \
         in UTF-8 bytes\nerror: 1 errors in 1 of 2 files\n"
    );
    assert_eq!(err, lines);
    let json = program.run("check --json bad.json good.json");
    assert_eq!(json.code, Some(2));
    let value: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(value[0]["findings"][0]["kind"], "byte-offset");
    assert_eq!(value[0]["findings"][0]["place"], place);
    let good = json!({"path": "good.json", "questions": 1, "answers": 2, "findings": []});
    assert_eq!(value[1], good);
    program.expect_success("check --json good.json");
    // Like the official script, `score` accepts the file despite the wrong offset.
    program.write("predictions.json", r#"{"q": "ein Haus"}"#);
    program.expect_success("score bad.json predictions.json de");
}
