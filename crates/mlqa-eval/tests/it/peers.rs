//! Scores and spreads of random answers compared with Python's, if `.peers` is installed.
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mlqa_eval::{Answer, Dataset, Language, Normalization, Predictions, Question, Spread, score};
use serde_json::{Value, json};
use testkit::{Peers, cases, peers_python};

/// Characters that scorers treat differently. All are in old Unicode versions, so that any version
/// of Python can be used.
const CHARACTERS: &str = "aabdehintABDEHIT  \t\n\u{a0}\u{3000}-_.,;:'\"!?$+<=>^`|~%&()/1870\
                          äÉßİσΣςłøčđ’“”«»…—–·。、（）「」¿¡ाहिन्दी।يحيىال،؟مंкДü€£©°×";
const WORDS: [&str; 10] = ["a", "an", "the", "The", "A", "i", "am", "haus", "a.", "\u{1c5}"];

/// A linear congruential generator, which is random enough for texts.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }

    fn text(&mut self) -> String {
        let characters: Vec<char> = CHARACTERS.chars().collect();
        let mut text = String::new();
        for _ in 0..self.below(9) {
            match self.below(3) {
                0 => text.push_str(WORDS[self.below(WORDS.len())]),
                1 => text.push(' '),
                _ => {}
            }
            text.push(characters[self.below(characters.len())]);
        }
        text
    }
}

/// Draws gold answers with a prediction, which contains a gold answer in half of the cases.
fn draw(count: u32) -> Vec<(String, Vec<String>)> {
    let mut draws = Draws(17);
    let mut one = || {
        let golds: Vec<String> = (0..=draws.below(3)).map(|_| draws.text()).collect();
        let mut prediction = draws.text();
        if draws.below(2) == 0 {
            prediction = format!("{} {}", golds[draws.below(golds.len())], draws.text());
        }
        (prediction, golds)
    };
    (0..count).map(|_| one()).collect()
}

fn python(cases: &[(String, Vec<String>)], rules: &str, program: &std::path::Path) -> Value {
    let cases: Vec<Value> = cases
        .iter()
        .map(|(prediction, golds)| json!({ "prediction": prediction, "golds": golds }))
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/squad.py");
    let mut child = Command::new(program)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let given = json!({ "rules": rules, "cases": cases }).to_string();
    child.stdin.take().unwrap().write_all(given.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn drawn_answers_score_as_in_python() {
    let Some(program) = peers_python(Peers::Light) else { return };
    let drawn = draw(cases(2_000));
    let questions: Vec<Question> = drawn
        .iter()
        .enumerate()
        .map(|(index, (_, golds))| Question {
            id: index.to_string(),
            question: String::new(),
            context: Arc::from(""),
            answers: golds
                .iter()
                .map(|text| Answer { text: text.clone(), answer_start: 0 })
                .collect(),
            title: Arc::from(""),
        })
        .collect();
    let dataset = Dataset { path: "drawn".into(), version: None, questions };
    let predictions = Predictions(
        drawn
            .iter()
            .enumerate()
            .map(|(index, (prediction, _))| (index.to_string(), prediction.clone()))
            .collect(),
    );
    for (name, rules) in [
        ("squad", Normalization::SquadEn),
        ("mlqa-en", Normalization::Mlqa(Language::EN)),
        ("mlqa-hi", Normalization::Mlqa(Language::HI)),
    ] {
        let expected = python(&drawn, name, &program);
        let got = score(&dataset, &predictions, rules).unwrap();
        for (one, want) in got.per_question.iter().zip(expected["scores"].as_array().unwrap()) {
            let case = &drawn[one.id.parse::<usize>().unwrap()];
            assert_eq!(json!([one.exact_match, one.f1]), *want, "{name}: {case:?}");
        }
        let matches = got.per_question.iter().filter(|one| one.exact_match).count();
        assert!(matches > 0, "{name}: no case tells exact match");
        let spread = Spread::of(got.per_question.iter().map(|one| one.f1));
        let want = expected["mean"].as_f64().unwrap();
        assert!((spread.mean - want).abs() < 1e-12, "{name}: {} {want}", spread.mean);
        // Student's t for many degrees of freedom is slightly above 1.96.
        let error = expected["sd"].as_f64().unwrap() / (drawn.len() as f64).sqrt();
        let t = spread.half_width.unwrap() / error;
        assert!(t > 1.959 && t < 2.05, "{name}: {t}");
    }
}
