//! SQuAD 2.0 scores compared with values computed in Python and with an exhaustive search.
use mlqa_eval::{Dataset, NullOdds, Predictions, score_squad2};
use proptest::prelude::*;

use crate::common::question;

/// Creates questions with the given gold answers; an empty text means that there is no gold answer.
fn dataset(golds: &[&str]) -> Dataset {
    let question = |(k, gold): (usize, &&str)| match *gold {
        "" => question(&k.to_string(), "", "", &[]),
        gold => question(&k.to_string(), "", gold, &[(gold, 0)]),
    };
    crate::common::dataset(golds.iter().enumerate().map(question).collect())
}

fn predictions(texts: &[&str]) -> Predictions {
    Predictions(texts.iter().enumerate().map(|(k, text)| (k.to_string(), (*text).into())).collect())
}

fn odds(values: &[f64]) -> NullOdds {
    NullOdds(values.iter().enumerate().map(|(k, value)| (k.to_string(), *value)).collect())
}

#[test]
fn output_equals_the_official_script() {
    let dataset = dataset(&["red house", "a dog", "", "", "the"]);
    // The predictions are, in order: correct, half correct, an answer to an unanswerable question,
    // correctly empty, and empty for a gold answer that is only an article.
    let predicted = predictions(&["the red house!", "dog house", "cat", "", ""]);
    let score = score_squad2(&dataset, &predicted, None, 1.0).unwrap();
    // The expected values are computed in Python, such as 100.0 * (1.0 + (2 * 0.5 * 1.0) / (0.5 +
    // 1.0) + 1.0) / 3.
    assert_eq!(
        score.official_json(),
        "{\n  \"exact\": 60.0,\n  \"f1\": 73.33333333333333,\n  \"total\": 5,\n  \
         \"HasAns_exact\": 66.66666666666667,\n  \"HasAns_f1\": 88.88888888888887,\n  \
         \"HasAns_total\": 3,\n  \"NoAns_exact\": 50.0,\n  \"NoAns_f1\": 50.0,\n  \
         \"NoAns_total\": 2\n}\n"
    );
    let null_odds = odds(&[-3.0, 0.5, 2.0, 4.0, -1.0]);
    let at_threshold_zero = score_squad2(&dataset, &predicted, Some(&null_odds), 0.0).unwrap();
    // The odds of `dog house` and `cat` exceed the threshold, so both count as "no answer".
    assert_eq!((at_threshold_zero.all.exact, at_threshold_zero.all.f1), (80.0, 80.0));
    let [exact, f1] = at_threshold_zero.best.unwrap();
    assert_eq!((exact.score, exact.threshold), (80.0, -1.0));
    assert!((f1.score - 100.0 * (4.0 + 2.0 / 3.0) / 5.0).abs() < 1e-12 && f1.threshold == 0.5);
}

#[test]
fn missing_predictions_and_odds_are_reported() {
    let dataset = dataset(&["a house", "", "dog"]);
    let predicted = predictions(&["house", ""]);
    let score = score_squad2(&dataset, &predicted, None, 1.0).unwrap();
    assert_eq!((score.unanswered, score.all.total), (vec!["2".to_owned()], 2));
    let error =
        score_squad2(&dataset, &predicted, Some(&odds(&[0.0])), 1.0).unwrap_err().to_string();
    assert!(error.contains("without `1`"), "{error}");
    assert!(score_squad2(&dataset, &Predictions::default(), None, 1.0).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odds.json");
    // The odds are in file order.
    std::fs::write(&path, "{\"b\": 1, \"a\": -0.5}").unwrap();
    assert_eq!(NullOdds::read(&path).unwrap().0, [("b".into(), 1.0), ("a".into(), -0.5)]);
    std::fs::write(&path, "{\"b\": \"x\"}").unwrap();
    assert!(NullOdds::read(&path).unwrap_err().to_string().contains("null odds"));
}

proptest! {
    /// If all odds differ, the best score is the highest score over all thresholds.
    #[test]
    fn best_threshold_equals_exhaustive_search(
        rows in prop::collection::vec((0usize..3, 0usize..3, 0u32..1000), 1..12),
    ) {
        let texts = ["", "red", "red house"];
        let golds: Vec<&str> = rows.iter().map(|row| texts[row.0]).collect();
        let predicted: Vec<&str> = rows.iter().map(|row| texts[row.1]).collect();
        let values: Vec<f64> =
            rows.iter().enumerate().map(|(k, row)| f64::from(row.2) + k as f64 / 100.0).collect();
        let (dataset, predicted, odds) = (dataset(&golds), predictions(&predicted), odds(&values));
        let score_at = |threshold| score_squad2(&dataset, &predicted, Some(&odds), threshold).unwrap();
        let all: Vec<_> = values.iter().map(|value| score_at(*value)).chain([score_at(-1.0)]).collect();
        let [exact, f1] = score_at(0.0).best.unwrap();
        let best_exact = all.iter().map(|score| score.all.exact).fold(0.0, f64::max);
        let best_f1 = all.iter().map(|score| score.all.f1).fold(0.0, f64::max);
        prop_assert!((exact.score - best_exact).abs() < 1e-9, "{exact:?} {best_exact}");
        prop_assert!((f1.score - best_f1).abs() < 1e-9, "{f1:?} {best_f1}");
    }
}
