//! Scores by the values of a key of the questions.
use mlqa_eval::{Error, squad};
use serde_json::{Value, json};

use crate::program;

/// Four questions: two of type `where`, one of type `when`, one without a type. The article has a
/// source, and the second paragraph has another one.
fn squad_file() -> Value {
    let qa = |id: &str, answer: &str| json!({"id": id, "question": "?", "answers": [{"text": answer, "answer_start": 0}]});
    let with_type = |mut qa: Value, value: Value| {
        qa["type"] = value;
        qa
    };
    json!({"version": "1.1", "data": [{"title": "Rhine", "source": "wiki", "paragraphs": [
        {"context": "Basel", "qas": [with_type(qa("q1", "Basel"), "where".into())]},
        {"context": "in 1831", "source": "web", "level": 2, "qas": [
            with_type(qa("q2", "in 1831"), "when".into()),
            with_type(qa("q3", "North Sea"), "where".into()),
            with_type(qa("q4", "Basel"), Value::Null),
        ]},
    ]}]})
}

/// Exact match and F1: q1 100 and 100; q2 0 and 2/3 (one of two words); q3 0 and 50 (one of two
/// words on each side); q4 has no prediction.
fn predictions() -> Value {
    json!({"q1": "Basel", "q2": "1831", "q3": "Black Sea"})
}

fn score(file: &str, arguments: &str) -> Value {
    let program = program();
    program.write("questions.json", file);
    program.write("questions.jsonl", file);
    program.write("predictions.json", predictions().to_string());
    let output = program.expect_success(&format!("score {arguments} en"));
    serde_json::from_str(&output.out).unwrap()
}

#[test]
fn scores_of_each_value_have_counts_and_intervals() {
    let file = squad_file().to_string();
    let scores = score(&file, "questions.json predictions.json --by type --by source --by level");
    // The scores of all questions are those without --by.
    assert_eq!([&scores["exact_match"], &scores["questions"]], [&json!(25.0), &json!(4)]);
    let group = |key: &str, value: &str, metric: &str| scores["by"][key][value][metric].clone();
    let two_thirds = 100.0 * 2.0 / 3.0;
    for (key, value, questions, exact_match, f1) in [
        ("type", "where", 2, 50.0, 75.0),
        ("type", "when", 1, 0.0, two_thirds),
        ("type", "(none)", 1, 0.0, 0.0),
        ("source", "wiki", 1, 100.0, 100.0),
        ("source", "web", 3, 0.0, (two_thirds + 50.0) / 3.0),
        ("level", "2", 3, 0.0, (two_thirds + 50.0) / 3.0),
        ("level", "(none)", 1, 100.0, 100.0),
    ] {
        assert_eq!(group(key, value, "questions"), questions, "{key} {value}");
        let number = |metric: &str| group(key, value, metric).as_f64().unwrap();
        assert!((number("exact_match") - exact_match).abs() < 1e-9, "{key} {value}: {scores}");
        assert!((number("f1") - f1).abs() < 1e-9, "{key} {value}: {scores}");
    }
    // A quarter of the bootstrap samples of two questions has the first question twice, and a quarter
    // the second. All samples of one question are equal.
    assert_eq!(group("type", "where", "exact_match_interval"), json!([0.0, 100.0]));
    assert_eq!(group("type", "where", "f1_interval"), json!([50.0, 100.0]));
    assert_eq!(group("source", "wiki", "f1_interval"), json!([100.0, 100.0]));
    assert_eq!(scores["by"]["type"].as_object().unwrap().len(), 3);
}

#[test]
fn columns_of_rows_and_keys_of_paragraphs_are_keys_of_questions() {
    let answers = json!({"text": ["Basel"], "answer_start": [0]});
    let rows = [("q1", "where", 1.5), ("q2", "when", 2.0)].map(|(id, kind, level)| {
        json!({"id": id, "context": "Basel", "question": "?", "answers": answers, "type": kind,
            "level": level})
    });
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let scores = score(&lines, "questions.jsonl predictions.json --by type --by level");
    assert_eq!(scores["by"]["type"]["where"]["exact_match"], 100.0);
    assert_eq!(scores["by"]["type"]["when"]["exact_match"], 0.0);
    assert_eq!(scores["by"]["level"]["1.5"]["questions"], 1);
    // A paragraph of MRQA: its list of tokens is no key.
    let mrqa = json!({"context": "Basel", "context_tokens": [["Basel", 0]], "domain": "news", "qas": [
        {"qid": "q1", "question": "?", "answers": ["Basel"], "type": "where",
            "detected_answers": [{"text": "Basel", "char_spans": [[0, 4]]}]}]});
    let file = squad::File::parse(&mrqa.to_string(), "mrqa.jsonl").unwrap();
    assert!(file.group_keys().into_iter().eq(["domain", "type"]));
    assert_eq!(file.group_values("domain", "mrqa.jsonl").unwrap(), ["news"]);
    // CMRC 2018 in its original form.
    let cmrc = json!([{"context_id": "DEV_0", "context_text": "Basel", "title": "Basel", "qas": [
        {"query_id": "q1", "query_text": "?", "answers": ["Basel"], "type": "where"}]}]);
    let file = squad::File::parse(&cmrc.to_string(), "cmrc.json").unwrap();
    assert!(file.group_keys().into_iter().eq(["context_id", "title", "type"]));
    assert_eq!(file.group_values("type", "cmrc.json").unwrap(), ["where"]);
}

#[test]
fn tables_have_a_row_per_value_and_one_for_all_questions() {
    let program = program();
    program.write("questions.json", squad_file().to_string());
    program.write("predictions.json", predictions().to_string());
    let output =
        program.expect_success("score questions.json predictions.json en --by type --table");
    let lines: Vec<&str> = output.out.lines().collect();
    assert_eq!(lines[0], "| type | questions | exact match | F1 |");
    assert_eq!(lines[2], "| (none) | 1 | 0.0 [0.0, 0.0] | 0.0 [0.0, 0.0] |");
    assert_eq!(lines[3], "| when | 1 | 0.0 [0.0, 0.0] | 66.7 [66.7, 66.7] |");
    assert_eq!(lines[4], "| where | 2 | 50.0 [0.0, 100.0] | 75.0 [50.0, 100.0] |");
    assert!(lines[5].starts_with("| all | 4 | 25.0 ["), "{}", output.out);
    assert!(output.out.ends_with("95 % bootstrap intervals over questions.\n"), "{}", output.out);
}

#[test]
fn errors_name_the_keys_of_the_file() {
    let program = program();
    program.write("questions.json", squad_file().to_string());
    program.write("predictions.json", predictions().to_string());
    let score = "score questions.json predictions.json en --by";
    program.expect_error(
        &format!("{score} kind"),
        &[
            "questions.json: no question has a value of `kind`; questions can be grouped by: level, source, \
             title, type",
        ],
    );
    program.expect_error("score questions.json predictions.json en --table", &["--by"]);
    program.expect_error("score questions.json predictions.json --squad2 --by type", &["--by"]);
    let mut list = squad_file();
    list["data"][0]["paragraphs"][0]["qas"][0]["type"] = json!(["where", "what"]);
    program.write("questions.json", list.to_string());
    program.expect_error(
        &format!("{score} type"),
        &["question `q1`: `type` is [\"where\",\"what\"]", "a text, a number, true or false"],
    );
    let plain = json!({"data": [{"paragraphs": [{"context": "a", "qas": [
        {"id": "q1", "question": "?", "answers": [{"text": "a", "answer_start": 0}]}]}]}]});
    program.write("questions.json", plain.to_string());
    program.expect_error(&format!("{score} type"), &["its questions have no keys"]);
}

#[test]
fn a_value_per_question_is_required() {
    let score = mlqa_eval::Score::of(Vec::new());
    let error = score.by(&["where"], &mlqa_eval::Resampling::default()).unwrap_err();
    assert!(matches!(error, Error::Config { key: "values", .. }), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn columns_of_parquet_files_are_keys_of_questions() {
    use crate::parquet_file::{add_texts, writer};

    let program = program();
    let columns = ["id", "context", "question", "answers", "type"];
    let text = |name: &str| match name {
        "answers" => "optional binary answers (JSON);".to_owned(),
        name => format!("optional binary {name} (UTF8);"),
    };
    let schema = format!("message schema {{ {} }}", columns.map(text).concat());
    let mut writer = writer(&program.path_of("questions.parquet"), &schema);
    let mut group = writer.next_row_group().unwrap();
    let answers = r#"{"text": ["Basel"], "answer_start": [0]}"#;
    for values in [["q1", "q2"], ["Basel"; 2], ["?"; 2], [answers; 2], ["where", "when"]] {
        add_texts(&mut group, values.into_iter());
    }
    group.close().unwrap();
    writer.close().unwrap();
    program.write("predictions.json", predictions().to_string());
    let output = program.expect_success("score questions.parquet predictions.json en --by type");
    let scores: Value = serde_json::from_str(&output.out).unwrap();
    assert_eq!(scores["by"]["type"]["where"]["exact_match"], 100.0);
    assert_eq!(scores["by"]["type"]["when"]["exact_match"], 0.0);
}
