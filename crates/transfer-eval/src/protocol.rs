//! Scores by language, and their mean.
use std::collections::BTreeMap;

/// One number for each language, in percent.
pub type Scores = BTreeMap<String, f64>;

/// What is wrong with scores that should have the languages of the first ones.
pub(crate) fn same_keys(first: &Scores, scores: &Scores) -> Result<(), String> {
    if let Some((language, value)) = scores.iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("the score of `{language}` is {value}"));
    }
    if first.keys().ne(scores.keys()) {
        let list = |scores: &Scores| scores.keys().cloned().collect::<Vec<_>>().join(", ");
        return Err(format!("languages {}, but the first has {}", list(scores), list(first)));
    }
    Ok(())
}

/// The plain mean over languages, the papers' "Avg"; `None` without any.
pub fn mean(scores: &Scores) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.values().sum::<f64>() / scores.len() as f64)
}
