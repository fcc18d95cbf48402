//! Compares scores and confidence intervals of random answers with Python programs, if `.peers` is
//! installed.
use std::io::Write;
use std::process::{Command, Stdio};

use mlqa_eval::{Language, MeanInterval, Normalization, Predictions, score};
use serde_json::{Value, json};
use testkit::{PythonPackages, case_count, python_with};

use crate::common::{dataset, question};

/// Characters that scorers treat differently. All characters are in old Unicode versions, so that
/// any version of Python can be used.
const CHARACTERS: &str = "aabdehintABDEHIT  \t\n\u{a0}\u{3000}-_.,;:'\"!?$+<=>^`|~%&()/1870\
                          äÉßİσΣςłøčđ’“”«»…—–·。、（）「」¿¡ाहिन्दी।يحيىال،؟مंкДü€£©°×";
const WORDS: [&str; 10] = ["a", "an", "the", "The", "A", "i", "am", "haus", "a.", "\u{1c5}"];

/// A linear congruential generator, which is random enough for texts.
struct Random(u64);

impl Random {
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

/// Draws predictions with gold answers. About half of the predictions contain a gold answer.
fn draw_cases(count: u32) -> Vec<(String, Vec<String>)> {
    let mut random = Random(17);
    let mut case = || {
        let golds: Vec<String> = (0..=random.below(3)).map(|_| random.text()).collect();
        let mut prediction = random.text();
        if random.below(2) == 0 {
            prediction = format!("{} {}", golds[random.below(golds.len())], random.text());
        }
        (prediction, golds)
    };
    (0..count).map(|_| case()).collect()
}

fn score_in_python(
    cases: &[(String, Vec<String>)],
    rules: &str,
    python: &std::path::Path,
) -> Value {
    let cases: Vec<Value> = cases
        .iter()
        .map(|(prediction, golds)| json!({ "prediction": prediction, "golds": golds }))
        .collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/squad.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({ "rules": rules, "cases": cases }).to_string();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn random_answers_score_as_in_python() {
    let Some(python) = python_with(PythonPackages::Light) else { return };
    let drawn = draw_cases(case_count(2_000));
    let question = |(index, (_, golds)): (usize, &(String, Vec<String>))| {
        let golds: Vec<(&str, usize)> = golds.iter().map(|text| (text.as_str(), 0)).collect();
        question(&index.to_string(), "", "", &golds)
    };
    let dataset = dataset(drawn.iter().enumerate().map(question).collect());
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
        let expected = score_in_python(&drawn, name, &python);
        let got = score(&dataset, &predictions, rules).unwrap();
        for (question, pair) in got.per_question.iter().zip(expected["scores"].as_array().unwrap())
        {
            let case = &drawn[question.id.parse::<usize>().unwrap()];
            assert_eq!(json!([question.exact_match, question.f1]), *pair, "{name}: {case:?}");
        }
        let matches = got.per_question.iter().filter(|question| question.exact_match).count();
        assert!(matches > 0, "{name}: no case is an exact match");
        let interval = MeanInterval::of(got.per_question.iter().map(|question| question.f1));
        let mean = expected["mean"].as_f64().unwrap();
        assert!((interval.mean - mean).abs() < 1e-12, "{name}: {} {mean}", interval.mean);
        // Student's t for many degrees of freedom is slightly above 1.96.
        let error = expected["sd"].as_f64().unwrap() / (drawn.len() as f64).sqrt();
        let t = interval.half_width.unwrap() / error;
        assert!(t > 1.959 && t < 2.05, "{name}: {t}");
    }
}
