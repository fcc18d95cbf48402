//! The fine-tuning protocol: presets, choice of the epoch, runs over seeds.
use std::collections::BTreeMap;

use transfer_eval::{
    Error, Protocol, Scores, SeedRun, Selection, Spread, mean, select_epoch, summarize_seeds,
};

fn scores(pairs: &[(&str, f64)]) -> Scores {
    pairs.iter().map(|&(language, value)| (language.to_owned(), value)).collect()
}

#[test]
fn presets_are_the_papers() {
    let of = |one: Protocol| (one.epochs, one.learning_rate, one.batch_size, one.max_length);
    assert_eq!(of(Protocol::mlqa()), (2, 3e-5, 12, 384));
    assert_eq!(of(Protocol::ner()), (20, 5e-6, 32, 256));
    assert_eq!(of(Protocol::xnli()), (10, 5e-6, 32, 256));
    assert_eq!(toml::from_str::<Protocol>("").unwrap(), Protocol::default());
    assert_eq!(Protocol::default().seeds.len(), 4);
    assert_eq!(Protocol::default().selection, Selection::AllLanguages);
    assert!(toml::from_str::<Protocol>("lr = 1.0").is_err());
    let one: Protocol = toml::from_str("selection = \"english_only\"").unwrap();
    assert_eq!(one.selection, Selection::EnglishOnly);
    for good in [Protocol::mlqa(), Protocol::ner(), Protocol::xnli()] {
        good.validate().unwrap();
    }
    let text = toml::to_string(&Protocol::ner()).unwrap();
    assert_eq!(toml::from_str::<Protocol>(&text).unwrap(), Protocol::ner());
}

#[test]
fn values_out_of_range_are_named() {
    let refused = |change: fn(&mut Protocol), key: &str| {
        let mut protocol = Protocol::ner();
        change(&mut protocol);
        let text = protocol.validate().unwrap_err().to_string();
        assert!(text.starts_with(&format!("{key} = ")), "{text}");
    };
    refused(|one| one.epochs = 0, "epochs");
    refused(|one| one.learning_rate = f64::NAN, "learning_rate");
    refused(|one| one.learning_rate = 0.0, "learning_rate");
    refused(|one| one.batch_size = 0, "batch_size");
    refused(|one| one.max_length = 4, "max_length");
    refused(|one| one.warmup_ratio = 1.5, "warmup_ratio");
    refused(|one| one.seeds = vec![], "seeds");
    refused(|one| one.seeds = vec![3, 1, 3], "seeds");
}

#[test]
fn the_first_of_equal_epochs() {
    let epochs = [scores(&[("en", 1.0), ("de", 3.0)]), scores(&[("en", 2.0), ("de", 2.0)])];
    assert_eq!(select_epoch(&epochs, Selection::AllLanguages).unwrap(), 0);
    assert_eq!(select_epoch(&epochs, Selection::EnglishOnly).unwrap(), 1);
    assert_eq!(Protocol::mlqa().select_epoch(&epochs).unwrap(), 0);
    let refused =
        |epochs: &[Scores], selection| select_epoch(epochs, selection).unwrap_err().to_string();
    assert_eq!(refused(&[], Selection::AllLanguages), "no epoch, so there is no score");
    assert_eq!(
        refused(&[scores(&[])], Selection::AllLanguages),
        "no language, so there is no score"
    );
    let text = refused(&[scores(&[("de", 1.0)])], Selection::EnglishOnly);
    assert_eq!(text, "epoch 1: no score for `en`");
    let text = refused(&[scores(&[("de", 1.0)]), scores(&[("es", 1.0)])], Selection::AllLanguages);
    assert_eq!(text, "epoch 2: languages es, but the first has de");
    let text = refused(&[scores(&[("de", f64::NAN)])], Selection::AllLanguages);
    assert_eq!(text, "epoch 1: the score of `de` is NaN");
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
