//! Top-k exact match worked by hand.
use std::sync::Arc;

use mlqa_eval::{
    Answer, Candidate, Dataset, Error, Language, NBest, Normalization, Question, TopKUnique,
    top_k_exact_match,
};

fn dataset(gold: &[&str]) -> Dataset {
    let question = |(k, text): (usize, &&str)| Question {
        id: format!("q{k}"),
        question: String::new(),
        context: Arc::from(""),
        answers: vec![Answer { text: (*text).into(), answer_start: 0 }],
        title: Arc::from(""),
    };
    let questions = gold.iter().enumerate().map(question).collect();
    Dataset { path: "hand.json".into(), version: None, questions }
}

fn list(id: &str, texts: &[&str]) -> NBest {
    let candidates = texts.iter().map(|text| Candidate {
        text: (*text).into(),
        score: 0.0,
        probability: 0.0,
        start_logit: 0.0,
        end_logit: 0.0,
        window: 0,
        start: 0,
        end: 0,
        answer_start: 0,
    });
    NBest { id: id.into(), candidates: candidates.collect(), null_score: None, null: false }
}

#[test]
fn more_answers_find_more() {
    let dataset = dataset(&["red", "Blue", "green", "none"]);
    let lists = [
        list("q0", &["The red", "x"]),
        // After normalisation the first three are one answer.
        list("q1", &["sky", "Sky", "the sky!", "blue"]),
        list("q2", &["a", "b", "c", "green"]),
    ];
    let rules = Normalization::Mlqa(Language::EN);
    let at = |k, unique| top_k_exact_match(&dataset, &lists, k, rules, unique).unwrap();
    let normalized: Vec<f64> = (1..=4).map(|k| at(k, TopKUnique::Normalized)).collect();
    // `a` is an article, so q2 tries "", b, c first.
    assert_eq!(normalized, [25.0, 50.0, 50.0, 75.0]);
    let raw: Vec<f64> = (1..=4).map(|k| at(k, TopKUnique::Raw)).collect();
    assert_eq!(raw, [25.0, 25.0, 25.0, 75.0]);
    let error = top_k_exact_match(&dataset, &lists, 0, rules, TopKUnique::Raw).unwrap_err();
    assert!(matches!(error, Error::Config { key: "k", .. }), "{error}");
}
