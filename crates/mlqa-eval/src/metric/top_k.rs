//! Exact match within the k best answers ("From Good to Best", Table 2).
use std::collections::HashMap;

use rayon::prelude::*;

use crate::{Dataset, Error, NBest, Normalization};

/// Computes the percentage of questions with a correct answer among the `k` best answers, after
/// normalisation. Answers that are equal after normalisation count once.
///
/// Questions without an n-best list count as incorrect. Because equal answers count once, `n_best`
/// in decoding should be well above `k`.
///
/// ```
/// use mlqa_eval::{
///     Candidate, Dataset, Language, NBest, Normalization, squad, top_k_exact_match,
/// };
///
/// let text = r#"{"data": [{"paragraphs": [
///     {"context": "a red house", "qas": [{"id": "q1", "question": "What?", "answers": [
///         {"text": "house", "answer_start": 6}]}]}]}]}"#;
/// let dataset = Dataset::from_squad(squad::File::parse(text, "test.json")?, "test.json")?;
/// let candidate = |text: &str, answer_start, score| Candidate {
///     text: text.into(),
///     score,
///     probability: 0.5,
///     start_logit: score,
///     end_logit: 0.0,
///     window: 0,
///     start: 0,
///     end: 0,
///     answer_start,
/// };
/// let candidates = vec![candidate("red", 2, 2.0), candidate("house", 6, 1.0)];
/// let n_best = [NBest { id: "q1".into(), candidates, null_score: None, null: false }];
/// let rules = Normalization::Mlqa(Language::EN);
/// let within = |k| top_k_exact_match(&dataset, &n_best, k, rules);
/// assert_eq!((within(1)?, within(2)?), (0.0, 100.0));
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] if `k` is 0; [`Error::NoQuestions`]; [`Error::NoGold`] if a question with an
/// n-best list has no gold answer.
pub fn top_k_exact_match(
    dataset: &Dataset,
    n_best: &[NBest],
    k: usize,
    normalization: Normalization,
) -> Result<f64, Error> {
    if k == 0 {
        return Err(Error::config("k", k, "at least 1"));
    }
    dataset.require_questions()?;
    let lists: HashMap<&str, &NBest> = n_best.iter().map(|one| (one.id.as_str(), one)).collect();
    let correct_count = dataset
        .questions
        .par_iter()
        .map(|question| {
            let Some(list) = lists.get(question.id.as_str()) else { return Ok(0) };
            if question.answers.is_empty() {
                return Err(dataset.no_gold_error(question));
            }
            let gold: Vec<Vec<String>> =
                question.answers.iter().map(|answer| normalization.tokens(&answer.text)).collect();
            let mut distinct_answers: Vec<Vec<String>> = Vec::with_capacity(k);
            for candidate in &list.candidates {
                if distinct_answers.len() == k {
                    break;
                }
                let tokens = normalization.tokens(&candidate.text);
                if gold.contains(&tokens) {
                    return Ok(1);
                }
                if !distinct_answers.contains(&tokens) {
                    distinct_answers.push(tokens);
                }
            }
            Ok(0)
        })
        .try_reduce(|| 0_usize, |a, b| Ok(a + b))?;
    Ok(100.0 * correct_count as f64 / dataset.questions.len() as f64)
}
