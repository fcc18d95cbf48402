//! Question files that are lists of rows.
use serde_json::{Value, json};
use testkit::Program;

use crate::program;

fn jsonl(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// Returns the first error line of `score`, of `check` and, if the feature is enabled, of
/// `windows`.
fn error_lines(program: &Program, data: &str) -> Vec<String> {
    let mut commands = vec![format!("score {data} predictions.json en"), format!("check {data}")];
    if cfg!(feature = "windows") {
        let tokenizer = "--tokenizer fixtures/tokenizer.json";
        commands.push(format!("windows {data} {tokenizer} --out /dev/null"));
    }
    let error_line = |arguments: &String| {
        let error = program.expect_error(arguments, &[]).err;
        error.lines().next().unwrap().to_owned()
    };
    commands.iter().map(error_line).collect()
}

#[test]
fn errors_of_rows_are_one_line_with_their_position() {
    let program = program();
    program.write("predictions.json", "{}");
    let tydi = json!({"question_text": "?", "document_plaintext": "a", "language": "thai"});
    program.write("rows.json", jsonl(&[tydi.clone(), tydi]));
    for line in error_lines(&program, "rows.json") {
        for word in
            ["rows.json", "TyDi's primary task", "expected a SQuAD-style file", "answer_start"]
        {
            assert!(line.contains(word), "`{word}` is not in: {line}");
        }
    }
    // Errors in a SQuAD-style file name the key and the line.
    program.write("invalid.json", "{\"data\": [{\"paragraphs\": [\n{\"context\": \"a\"}]}]}");
    for line in error_lines(&program, "invalid.json") {
        assert!(line.contains("missing field `qas`") && line.contains('2'), "{line}");
    }
    let row = json!({"id": 3, "context": "a"});
    program.write("rows.jsonl", jsonl(&[row]));
    for line in error_lines(&program, "rows.jsonl") {
        assert!(line.contains("missing field `question`") && line.contains('1'), "{line}");
    }
}

#[test]
fn predictions_as_rows_and_as_a_map_have_equal_scores() {
    let program = program();
    let data = "fixtures/scorer/en/dataset.json";
    let map = "fixtures/scorer/en/predictions.json";
    let predictions: Value = serde_json::from_str(&program.read(map)).unwrap();
    let row = |(id, text): (&String, &Value)| json!({"id": id, "prediction_text": text, "no_answer_probability": 0.0});
    let rows: Vec<Value> = predictions.as_object().unwrap().iter().map(row).collect();
    let expected = program.expect_success(&format!("score {data} {map} en")).out;
    for text in [Value::Array(rows.clone()).to_string(), jsonl(&rows)] {
        program.write("predictions.json", text);
        assert_eq!(
            program.expect_success(&format!("score {data} predictions.json en")).out,
            expected
        );
    }
    let id = rows[0]["id"].clone();
    program.write("one.json", json!({"id": id, "prediction_text": "a"}).to_string());
    program.write("map.json", format!("{{{id}: \"a\"}}"));
    let score = |file: &str| program.expect_success(&format!("score {data} {file} en")).out;
    assert_eq!(score("one.json"), score("map.json"));
    program.write("predictions.json", jsonl(&[json!({"id": "q", "prediction_text": 3})]));
    let words =
        ["predictions.json:1:", "expected a string", "{\"<question id>\": \"<answer>\", …}"];
    program.expect_error(&format!("score {data} predictions.json en"), &words);
}

#[test]
fn probabilities_of_rows_are_used_as_null_odds() {
    let program = program();
    let row = |id: &str, texts: &[&str]| {
        let starts = vec![0; texts.len()];
        let answers = json!({"text": texts, "answer_start": starts});
        json!({"id": id, "context": "a b", "question": "?", "answers": answers})
    };
    program.write("data.jsonl", jsonl(&[row("x", &["a"]), row("y", &[]), row("z", &[])]));
    let prediction = |id: &str, text: &str, odds: f64| json!({"id": id, "prediction_text": text, "no_answer_probability": odds});
    program.write(
        "rows.json",
        jsonl(&[prediction("x", "a", 0.1), prediction("y", "b", 0.9), prediction("z", "", 0.5)]),
    );
    program.write("map.json", json!({"x": "a", "y": "b", "z": ""}).to_string());
    program.write("odds.json", "{\"x\": 0.1, \"y\": 0.9, \"z\": 0.5}");
    for threshold in ["1", "0.7", "0"] {
        let score = |arguments: &str| {
            let end = format!("--null-threshold {threshold}");
            program.expect_success(&format!("score --squad2 data.jsonl {arguments} {end}")).out
        };
        let expected = score("map.json --null-odds odds.json");
        assert_eq!(score("rows.json"), expected);
        assert_eq!(score("rows.json --null-odds odds.json"), expected);
    }
    program.expect_success("check data.jsonl");
}

#[test]
fn error_for_unanswerable_questions_names_squad2() {
    let program = program();
    let qas = json!([{"id": "b", "question": "?", "answers": [], "is_impossible": true}]);
    let data = json!({"version": "v2.0", "data": [{"paragraphs": [{"context": "a", "qas": qas}]}]});
    program.write("dev-v2.0.json", data.to_string());
    program.write("predictions.json", "{\"b\": \"\"}");
    let words = ["`b` has no gold answer", "--squad2"];
    program.expect_error("score dev-v2.0.json predictions.json en", &words);
    program.expect_success("score --squad2 dev-v2.0.json predictions.json");
}
