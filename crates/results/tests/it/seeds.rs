//! Tests of summaries over seeds.
use std::collections::BTreeMap;

use results::{MeanInterval, SeedSummary};

type Metrics = BTreeMap<String, BTreeMap<String, f64>>;

fn seed(number: u64, f1: [f64; 2], em: [f64; 2]) -> (u64, Metrics) {
    let by_language =
        |[en, de]: [f64; 2]| BTreeMap::from([("en".to_owned(), en), ("de".to_owned(), de)]);
    (
        number,
        BTreeMap::from([("f1".to_owned(), by_language(f1)), ("em".to_owned(), by_language(em))]),
    )
}

#[test]
fn numbers_that_a_seed_lacks_are_not_averaged_over_the_other_seeds() {
    let (mut first, second) =
        (seed(1, [80.0, 60.0], [70.0, 50.0]), seed(2, [82.0, 64.0], [0.0; 2]));
    first.1.get_mut("f1").unwrap().insert("hi".to_owned(), 10.0);
    let summary = SeedSummary::of([first, second], "f1").unwrap();
    assert!(!summary.scores["f1"].contains_key("hi"));
    let numbers = summary.measured("model", "MLQA");
    let average: Vec<&str> = numbers
        .iter()
        .filter(|number| number.model == "model (avg)" && number.metric == "f1")
        .map(|number| number.language.as_str())
        .collect();
    assert_eq!(average, ["de", "en", "avg"]);
}

#[test]
fn summaries_equal_values_computed_by_hand() {
    let seeds = [
        seed(1, [80.0, 60.0], [70.0, 50.0]),
        seed(2, [82.0, 64.0], [70.0, 48.0]),
        seed(3, [81.0, 62.0], [73.0, 52.0]),
    ];
    let summary = SeedSummary::of(seeds.clone(), "f1").unwrap();
    // For `en`, the values 80, 82 and 81 have mean 81 and sd 1. The averages 70, 73 and 71.5 have
    // mean 71.5 and sd 1.5. Student's t is 4.303.
    for (code, mean, sd) in [("en", 81.0, 1.0), ("de", 62.0, 2.0), ("average", 71.5, 1.5)] {
        let MeanInterval { mean: actual_mean, half_width } = summary.scores["f1"][code];
        assert_eq!(actual_mean, mean);
        assert!((half_width.unwrap() - 4.303 * sd / 3f64.sqrt()).abs() < 1e-12, "{code}");
    }
    // Seed 2 has the best F1, although seed 3 has better EM.
    assert_eq!((summary.best_seed, summary.seeds.len()), (2, 3));
    assert_eq!(SeedSummary::of(seeds.clone(), "em").unwrap().best_seed, 3);

    let rows = summary.measured("ours", "MLQA");
    let find = |model: &str, language: &str, metric: &str| {
        rows.iter()
            .find(|row| row.model == model && row.language == language && row.metric == metric)
            .unwrap()
    };
    assert_eq!(rows.len(), 12);
    let avg = find("ours (avg)", "avg", "f1");
    assert_eq!(avg.mean_interval(), summary.scores["f1"]["average"]);
    let max = find("ours (max)", "avg", "em");
    assert_eq!((max.value, max.half_width), (59.0, None));
    assert_eq!(find("ours (max)", "de", "f1").value, 64.0);
    // Languages are sorted by code and followed by the average.
    let order: Vec<&str> = rows.iter().take(3).map(|row| row.language.as_str()).collect();
    assert_eq!(order, ["de", "en", "avg"]);

    let one_seed = SeedSummary::of(seeds.into_iter().take(1), "f1").unwrap();
    assert_eq!(one_seed.scores["f1"]["average"], MeanInterval { mean: 70.0, half_width: None });
    assert!(
        one_seed
            .measured("ours", "MLQA")
            .iter()
            .all(|row| row.model == "ours" && row.half_width.is_none())
    );
}

#[test]
fn the_first_of_equal_seeds_is_the_best_and_no_seeds_have_no_summary() {
    let seeds = [4, 2].map(|number| seed(number, [1.0, 2.0], [3.0, 4.0]));
    assert_eq!(SeedSummary::of(seeds, "f1").unwrap().best_seed, 4);
    assert_eq!(SeedSummary::of([], "f1"), None);
}
