//! Language arguments, and files with several languages.
use serde_json::{Value, json};

use crate::program;

#[test]
fn case_of_languages_in_file_names_is_ignored() {
    let program = program();
    let english = "fixtures/scorer/en/dataset.json";
    program.copy(english, "in/test-context-EN-question-DE.json");
    let predictions = "fixtures/scorer/en/predictions.json";
    program.copy(predictions, "answers/test-context-en-question-De.json");
    let matrix = "matrix --data in --predictions answers --out to";
    let table = program.expect_success(matrix).out;
    let line = program.expect_success(&format!("score {english} {predictions} en")).out;
    let line: Value = serde_json::from_str(&line).unwrap();
    let cell = format!("| en | {:.2} |", line["f1"].as_f64().unwrap());
    assert!(table.contains(&cell), "{cell} is not in {table}");
    let rows = program
        .expect_success("compare --data in --baseline answers --predictions answers --samples 10")
        .out;
    assert!(rows.contains("context en, question de"), "{rows}");
    // `check` compares the texts with the languages in the file name, and the questions are not
    // German.
    let words = ["according to the file name, questions are in `de`"];
    program.expect_error("check in/test-context-EN-question-DE.json", &words);
    program.copy(english, "in/test-context-en-question-de.json");
    program.expect_error(matrix, &["two files are named test-context-en-question-de.json"]);
}

/// A question file with TyDi-style ids; each answer is the whole context.
fn tydi_file(golds: &[(&str, &str)]) -> Value {
    let article = |(id, answer): &(&str, &str)| {
        let qa =
            json!({"id": id, "question": "?", "answers": [{"text": answer, "answer_start": 0}]});
        json!({"paragraphs": [{"context": answer, "qas": [qa]}]})
    };
    let data: Vec<Value> = golds.iter().map(article).collect();
    json!({"version": "TyDiQA-GoldP-1.1-for-SQuAD-1.1", "data": data})
}

const GOLDS: [(&str, &str); 5] = [
    ("english-11-1", "the house"),
    ("arabic-2387335860751143628-1", "الكتاب"),
    ("finnish-3-0", "the talo"),
    ("english-12-0", "a red house"),
    ("finnish-4-2", "vene"),
];

#[test]
fn each_language_of_a_file_has_a_score() {
    let program = program();
    program.write("tydi.json", tydi_file(&GOLDS).to_string());
    let predictions = json!({"english-11-1": "house", "arabic-2387335860751143628-1": "كتاب",
        "finnish-3-0": "talo", "english-12-0": "house", "finnish-4-2": "vene"});
    program.write("predictions.json", predictions.to_string());
    let read = |arguments: &str| -> Value {
        serde_json::from_str(&program.expect_success(&format!("score {arguments}")).out).unwrap()
    };
    let scores = read("tydi.json predictions.json");
    let mut exact_matches = Vec::new();
    for (code, name) in [("en", "english"), ("ar", "arabic"), ("fi", "finnish")] {
        let golds = GOLDS.into_iter().filter(|(id, _)| id.starts_with(name));
        program.write("part.json", tydi_file(&golds.collect::<Vec<_>>()).to_string());
        let separate = read(&format!("part.json predictions.json {code}"));
        let part = &scores["languages"][code];
        assert_eq!(
            [&part["exact_match"], &part["f1"]],
            [&separate["exact_match"], &separate["f1"]]
        );
        exact_matches.push(part["exact_match"].as_f64().unwrap());
    }
    // Articles are removed in English and Arabic, but not in Finnish.
    assert_eq!(exact_matches, [50.0, 100.0, 50.0]);
    assert_eq!(scores["mean"]["exact_match"], 200.0 / 3.0);
    assert_eq!(scores["mean_without_en"]["exact_match"], 75.0);
    assert_eq!(
        (scores["exact_match"].as_f64(), scores["questions"].as_u64()),
        (Some(60.0), Some(5))
    );
    assert_eq!(scores["languages"]["fi"]["questions"], 2);
    // `--norm` applies one set of rules to all languages.
    let squad = read("--norm squad tydi.json predictions.json");
    assert_eq!(squad["languages"]["ar"]["exact_match"], 0.0);
    assert_eq!(squad["languages"]["en"], scores["languages"]["en"]);
    let with_intervals = read("--intervals tydi.json predictions.json");
    assert_eq!(with_intervals["languages"], scores["languages"]);
    assert!(with_intervals["f1_interval"].is_array());
    // One language cannot apply to a file of several languages.
    let words = ["tydi.json", "several languages", "omit LANGUAGE"];
    program.expect_error("score tydi.json predictions.json en", &words);
}

#[test]
fn ids_without_a_language_need_the_language_argument() {
    let program = program();
    program.write("predictions.json", "{}");
    for id in ["row-1", "5733be284776f41900661182", "finnish-house", "klingon-1"] {
        let rows = tydi_file(&[("finnish-3-0", "talo"), (id, "vene")]);
        program.write("rows.json", rows.to_string());
        let words = ["rows.json: LANGUAGE is missing", "such as en"];
        program.expect_error("score rows.json predictions.json", &words);
        let line = program.expect_success("score rows.json predictions.json fi").out;
        assert_eq!(line, "{\"exact_match\": 0.0, \"f1\": 0.0}\n");
    }
}
