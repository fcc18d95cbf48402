//! Top-k exact match worked by hand.
use mlqa_eval::{Error, Language, NBest, Normalization, TopKUnique, top_k_exact_match};

use crate::common::{dataset, n_best, question};

fn list(id: &str, texts: &[&str]) -> NBest {
    n_best(id, &texts.iter().map(|text| (*text, 0)).collect::<Vec<_>>())
}

#[test]
fn more_answers_find_more() {
    let golds = [("q0", "red"), ("q1", "Blue"), ("q2", "green"), ("q3", "none")];
    let dataset = dataset(golds.map(|(id, gold)| question(id, "", "", &[(gold, 0)])).into());
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
