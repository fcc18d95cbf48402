//! Question files that are lists of rows.
use mlqa_eval::Dataset;
use serde_json::{Value, json};
use testkit::Program;

use crate::program;

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[test]
fn rows_score_as_the_same_questions_in_squad_form() {
    let program = program();
    let rows = "fixtures/typed/questions.jsonl";
    Dataset::read(program.at(rows)).unwrap().write(program.at("squad.json")).unwrap();
    let text = program.read(rows);
    let list: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    program.write("array.json", Value::Array(list).to_string());
    for option in ["en", "fr", "--norm squad", "en --check-answers", "en --intervals"] {
        let score = |data: &str| {
            program.done(&format!("score {data} fixtures/typed/predictions.json {option}")).out
        };
        let expected = score("squad.json");
        assert!(expected.starts_with('{'));
        assert_eq!(score(rows), expected, "{option}");
        assert_eq!(score("array.json"), expected, "{option}");
    }
}

/// The line that `score`, `check` and, where it is there, `windows` end with.
fn refusals(program: &Program, data: &str) -> Vec<String> {
    let mut commands = vec![format!("score {data} said.json en"), format!("check {data}")];
    if cfg!(feature = "windows") {
        let tokenizer = "--tokenizer fixtures/tokenizer.json";
        commands.push(format!("windows {data} {tokenizer} --out /dev/null"));
    }
    let refusal = |arguments: &String| {
        let error = program.failed(arguments, &[]).err;
        error.lines().next().unwrap().to_owned()
    };
    commands.iter().map(refusal).collect()
}

#[test]
fn rows_of_another_form_are_named() {
    let program = program();
    program.write("said.json", "{}");
    let answers = json!({"text": ["a"], "answer_start": [0]});
    let squad =
        json!({"id": "q", "title": "T", "context": "a", "question": "?", "answers": answers});
    let tydi = json!({"question_text": "?", "document_plaintext": "a", "language": "thai"});
    let mtqa =
        json!({"question": "?", "passage": "a", "answer": {"start": 0, "end": 1, "text": "a"}});
    let [array, data] = ["in a JSON array", "in a list `data`"];
    let many = vec![squad.clone(), squad.clone()];
    for (text, words) in [
        (lines(&many), ["data hubs have SQuAD", "one a line"]),
        (lines(&many[..1]), ["data hubs have SQuAD", "one a line"]),
        (Value::Array(many.clone()).to_string(), ["data hubs have SQuAD", array]),
        (json!({"version": "0.1.0", "data": many}).to_string(), ["data hubs have SQuAD", data]),
        (lines(&[tydi.clone(), tydi]), ["TyDi's primary task", "one a line"]),
        (json!({"data": [mtqa]}).to_string(), ["MTQA's rows", data]),
    ] {
        program.write("rows.json", text);
        for line in refusals(&program, "rows.json") {
            for word in words.iter().chain(&["rows.json", "expected a SQuAD-style file", "passage"])
            {
                assert!(line.contains(word), "`{word}` is not in: {line}");
            }
        }
    }
    // A fault in a question file is told as before, with its place.
    program.write("fault.json", "{\"data\": [{\"paragraphs\": [\n{\"context\": \"a\"}]}]}");
    for line in refusals(&program, "fault.json") {
        assert!(line.contains("missing field `qas`") && line.contains('2'), "{line}");
    }
}

#[test]
fn predictions_as_rows_are_named() {
    let program = program();
    let data = "fixtures/scorer/en/dataset.json";
    let row = json!({"id": "q1", "prediction_text": "a", "no_answer_probability": 0.0});
    for (text, form) in [
        (json!([row, row]).to_string(), "rows, in a JSON array"),
        (lines(&[row.clone(), row]), "rows, one a line"),
    ] {
        program.write("said.json", text);
        for arguments in
            [format!("score {data} said.json en"), format!("boundary {data} en said.json")]
        {
            let words = ["said.json", form, "{\"<question id>\": \"<answer>\", …}"];
            let error = program.failed(&arguments, &words).err;
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}

#[test]
fn questions_without_answer_name_the_option() {
    let program = program();
    let qas = json!([{"id": "b", "question": "?", "answers": [], "is_impossible": true}]);
    let data = json!({"version": "v2.0", "data": [{"paragraphs": [{"context": "a", "qas": qas}]}]});
    program.write("dev-v2.0.json", data.to_string());
    program.write("said.json", "{\"b\": \"\"}");
    let words = ["`b` has no gold answer", "--squad2"];
    program.failed("score dev-v2.0.json said.json en", &words);
    program.done("score --squad2 dev-v2.0.json said.json");
}
