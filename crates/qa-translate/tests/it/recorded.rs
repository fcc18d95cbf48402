//! A recorded run of a real translator, without network.
//!
//! `fixtures/translate/apertium-es.jsonl` contains the requests of this test and the replies of a
//! server in LibreTranslate's format around `apertium -u eng-spa` (Debian 12: apertium 3.8.3,
//! apertium-eng-spa 0.8.1), 2026-11-29. The texts are every hundredth question of XQuAD
//! (CC BY-SA 4.0).
use std::collections::HashMap;

use mlqa_eval::Dataset;
use serde_json::{Value, json};
use testkit::Program;

use crate::common::{Reply, Server};

fn answers(program: &Program, folder: &str) -> HashMap<String, (String, String)> {
    let path = program.path_of(&format!("{folder}/train-context-es-question-es.json"));
    let spanish = Dataset::read(path).unwrap();
    spanish.check_answers().unwrap();
    let questions = spanish.questions.into_iter();
    questions.map(|q| (q.id, (q.question, q.answers[0].text.clone()))).collect()
}

#[test]
fn a_recorded_run_of_apertium_is_repeated() {
    let record = std::fs::read_to_string(testkit::fixture("translate/apertium-es.jsonl")).unwrap();
    let replies: HashMap<String, String> = record
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            (line["request"].to_string(), line["response"].to_string())
        })
        .collect();
    let server = Server::start(move |_, body| match replies.get(&body.to_string()) {
        Some(reply) => Reply::Status(200, reply.clone()),
        None => Reply::Status(403, json!({"error": "not recorded"}).to_string()),
    });
    let program = Program::new(env!("CARGO_BIN_EXE_qa-translate"));
    let mut english = Dataset::read("../../data/xquad/xquad.en.json").unwrap();
    english.questions = english.questions.into_iter().step_by(100).collect();
    english.write(program.path_of("en.json")).unwrap();
    let translate = format!(
        "translate --in en.json --to es --server {} --batch-size 4 --cache cache.jsonl",
        server.url
    );

    let output = program.expect_success(&format!("{translate} --out marked")).out;
    assert!(output.contains("es: 12 of 12 kept (12 by markers"), "{output}");
    let marked = answers(&program, "marked");
    let (question, answer) = &marked["572651f9f1498d1400e8dbee"];
    assert_eq!(question, "Qué dos que rige los ente tienen poder de veto legislativo?");
    assert_eq!(answer, "la Eurocámara y el Consejo de la Unión europea");

    // Four answers, translated separately, are in other words than in the passage.
    let output = program.expect_success(&format!("{translate} --out plain --markers none")).out;
    assert!(output.contains("es: 8 of 12 kept (0 by markers, 8 by search"), "{output}");
    // Apertium begins separate texts with a capital: "La Eurocámara …".
    let plain = answers(&program, "plain");
    assert!(plain.iter().all(|(id, found)| marked[id] == *found), "{plain:?}");
    assert!(program.read("cache.jsonl").contains("\"target\":\"La Eurocámara y"));
}
