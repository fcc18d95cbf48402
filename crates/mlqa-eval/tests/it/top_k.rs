//! Hand-computed top-k exact match.
use mlqa_eval::{Error, Language, NBest, Normalization, top_k_exact_match};

use crate::common::{dataset, n_best, question};

fn ranked_answers(id: &str, texts: &[&str]) -> NBest {
    n_best(id, &texts.iter().map(|text| (*text, 0)).collect::<Vec<_>>())
}

#[test]
fn exact_match_increases_with_k() {
    let golds = [("q0", "red"), ("q1", "Blue"), ("q2", "green"), ("q3", "none")];
    let dataset = dataset(golds.map(|(id, gold)| question(id, "", "", &[(gold, 0)])).into());
    let lists = [
        ranked_answers("q0", &["The red", "x"]),
        // The first three answers are equal after normalisation.
        ranked_answers("q1", &["sky", "Sky", "the sky!", "blue"]),
        ranked_answers("q2", &["a", "b", "c", "green"]),
    ];
    let rules = Normalization::Mlqa(Language::EN);
    let exact_match_at = |k| top_k_exact_match(&dataset, &lists, k, rules).unwrap();
    // `a` is an article, so the first three distinct answers to q2 are "", b and c.
    assert_eq!([1, 2, 3, 4].map(exact_match_at), [25.0, 50.0, 50.0, 75.0]);
    let error = top_k_exact_match(&dataset, &lists, 0, rules).unwrap_err();
    assert!(matches!(error, Error::Config { key: "k", .. }), "{error}");
}
