//! The fine-tuning protocol: runs over seeds.
use std::collections::BTreeMap;

use results::Spread;
use transfer_eval::{Error, Scores, SeedRun, mean, summarize_seeds};

fn scores(pairs: &[(&str, f64)]) -> Scores {
    pairs.iter().map(|&(language, value)| (language.to_owned(), value)).collect()
}

#[test]
fn no_language_has_no_mean() {
    assert_eq!(mean(&scores(&[])), None);
}

fn run(seed: u64, f1: [f64; 2], em: [f64; 2]) -> SeedRun {
    let of = |[en, de]: [f64; 2]| scores(&[("en", en), ("de", de)]);
    SeedRun {
        seed,
        metrics: BTreeMap::from([("f1".to_owned(), of(f1)), ("em".to_owned(), of(em))]),
    }
}

#[test]
fn runs_worked_by_hand() {
    let runs = [
        run(1, [80.0, 60.0], [70.0, 50.0]),
        run(2, [82.0, 64.0], [70.0, 48.0]),
        run(3, [81.0, 62.0], [73.0, 52.0]),
    ];
    let all = summarize_seeds(&runs, "f1").unwrap();
    // en 80, 82, 81: mean 81, sd 1. Averages 70, 73, 71.5: mean 71.5, sd 1.5.
    assert_eq!(all.languages["f1"]["en"], Spread { mean: 81.0, sd: Some(1.0) });
    assert_eq!(all.languages["f1"]["de"], Spread { mean: 62.0, sd: Some(2.0) });
    assert_eq!(all.average["f1"], Spread { mean: 71.5, sd: Some(1.5) });
    // The best run by F1 is the second, though others have better EM.
    assert_eq!((all.best.seed, all.runs), (2, 3));
    assert_eq!(summarize_seeds(&runs, "em").unwrap().best.seed, 3);

    let rows = all.measured("ours", "MLQA");
    let find = |model: &str, language: &str, metric: &str| {
        rows.iter()
            .find(|row| row.model == model && row.language == language && row.metric == metric)
            .unwrap()
    };
    assert_eq!(rows.len(), 12);
    let avg = find("ours (avg)", "avg", "f1");
    assert_eq!((avg.value, avg.sd), (71.5, Some(1.5)));
    let max = find("ours (max)", "avg", "em");
    assert_eq!((max.value, max.sd), (59.0, None));
    assert_eq!(find("ours (max)", "de", "f1").value, 64.0);

    let one = summarize_seeds(&runs[..1], "f1").unwrap();
    assert_eq!(one.average["f1"], Spread { mean: 70.0, sd: None });
    assert!(one.measured("ours", "MLQA").iter().all(|row| row.model == "ours" && row.sd.is_none()));
}

#[test]
fn runs_that_do_not_fit_are_named() {
    let good = run(1, [1.0, 2.0], [3.0, 4.0]);
    let refused =
        |runs: &[SeedRun], metric: &str| summarize_seeds(runs, metric).unwrap_err().to_string();
    assert!(matches!(summarize_seeds(&[], "f1"), Err(Error::Nothing { .. })));
    assert_eq!(refused(&[good.clone(), good.clone()], "f1"), "run 2: seed 1: occurs twice");
    assert_eq!(refused(std::slice::from_ref(&good), "accuracy"), "run 1: seed 1: no `accuracy`");
    let mut other = run(2, [1.0, 2.0], [3.0, 4.0]);
    other.metrics.remove("em");
    assert_eq!(
        refused(&[good.clone(), other], "f1"),
        "run 2: seed 2: metrics f1, but the first has em, f1"
    );
    let mut other = run(2, [1.0, 2.0], [3.0, f64::INFINITY]);
    assert!(
        refused(&[good.clone(), other.clone()], "f1").contains("seed 2: the score of `de` is inf")
    );
    other.metrics.insert("em".into(), scores(&[("en", 1.0)]));
    assert!(refused(&[good, other], "f1").contains("languages en, but the first has de, en"));
    assert_eq!(Spread::of([]), Spread { mean: 0.0, sd: None });
}
