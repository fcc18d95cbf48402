//! Tests of the published numbers: completeness and consistency of averages.
use std::collections::{BTreeMap, BTreeSet};

use results::{PUBLISHED_CSV, published_results, select_published, table_ids};

#[test]
fn every_line_of_the_file_is_parsed() {
    assert_eq!(published_results().len() + 1, PUBLISHED_CSV.lines().count());
    assert_eq!(
        table_ids(),
        [
            "000-1", "001-1", "001-2", "001-3", "001-4", "001-5", "001-7", "002-1", "002-3",
            "002-4", "002-6", "002-7", "002-8", "002-9", "002-f5", "003-1", "003-2", "003-4",
            "003-5", "003-6", "003-7", "003-A1", "003-A2"
        ]
    );
    let keys: BTreeSet<_> = published_results()
        .iter()
        .map(|row| (&row.table, &row.model, &row.setting, &row.language, &row.metric))
        .collect();
    assert_eq!(keys.len(), published_results().len(), "a number occurs twice");
    for row in published_results() {
        assert!(row.value.is_finite() && row.value >= 0.0, "{row:?}");
        if ["f1", "em", "accuracy", "p@1"].contains(&row.metric.as_str()) {
            assert!(row.value <= 100.0, "{row:?}");
        }
    }
}

/// Returns the mean over languages of each row of the tables, and the average in the paper if there
/// is one. The keys are table, model, setting and metric.
fn means_and_averages() -> BTreeMap<[&'static str; 4], (f64, Option<f64>)> {
    let mut groups: BTreeMap<[&str; 4], (Vec<f64>, Option<f64>)> = BTreeMap::new();
    for row in published_results() {
        let key = [&*row.table, &*row.model, &*row.setting, &*row.metric];
        let group = groups.entry(key).or_default();
        match row.language.as_str() {
            "avg" => group.1 = Some(row.value),
            _ => group.0.push(row.value),
        }
    }
    groups.retain(|_, (values, _)| !values.is_empty());
    groups
        .into_iter()
        .map(|(key, (values, printed))| {
            (key, (values.iter().sum::<f64>() / values.len() as f64, printed))
        })
        .collect()
}

#[test]
fn claims_of_the_first_paper_are_means_of_its_table() {
    let means = means_and_averages();
    let mean = |model, metric| means[&["000-1", model, "MLQA context en", metric]].0;
    let assert_close = |actual: f64, expected: f64| {
        assert!((actual - expected).abs() < 0.005 + 1e-9, "{actual} {expected}")
    };
    assert_close(mean("xlm-roberta-base", "f1"), 43.58);
    assert_close(mean("ours", "f1"), 56.77);
    assert_close(mean("xlm-roberta-base", "em"), 31.78);
    assert_close(mean("ours", "em"), 43.78);
    assert_close(mean("ours", "f1") - mean("xlm-roberta-base", "f1"), 13.18);
    assert_close(mean("ours", "em") - mean("xlm-roberta-base", "em"), 12.00);
}

#[test]
fn inconsistent_published_averages_are_listed() {
    // These averages differ from the mean of their row by more than 0.1.
    let expected = [
        ["001-1", "XLM-K (max)", "MLQA", "f1"],
        ["001-3", "XLM (w/o TLM)", "XNLI test", "accuracy"],
        ["003-5", "Info-XLM", "MLQA zero-shot", "f1"],
        ["003-5", "XLM-R base", "MLQA zero-shot", "em"],
        ["003-6", "Info-XLM", "XQuAD zero-shot", "f1"],
        ["003-6", "Ours", "XQuAD zero-shot", "em"],
        ["003-6", "XLM-R base", "XQuAD zero-shot", "em"],
        ["003-A2", "Info-XLM", "MLQA zero-shot", "f1"],
        ["003-A2", "Info-XLM", "XQuAD zero-shot", "f1"],
        ["003-A2", "Ours", "XQuAD zero-shot", "em"],
        ["003-A2", "Removing AA-CL", "MLQA zero-shot", "em"],
        ["003-A2", "Removing HL", "MLQA zero-shot", "em"],
        ["003-A2", "XLM-A", "XQuAD zero-shot", "em"],
        ["003-A2", "XLM-R base", "MLQA zero-shot", "em"],
    ];
    let inconsistent: Vec<[&str; 4]> = means_and_averages()
        .into_iter()
        .filter(|(_, (mean, printed))| printed.is_some_and(|printed| (printed - mean).abs() > 0.1))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(inconsistent, expected);
}

#[test]
fn consistent_lama_totals_are_macro_averages() {
    let p_at_1 = |model: &str, relation: &str| {
        let rows = select_published(Some("001-5"), Some(model), None);
        let rows_of_relation: Vec<_> = rows
            .iter()
            .filter(|row| row.model == model && row.setting == format!("LAMA Google-RE {relation}"))
            .collect();
        assert_eq!(rows_of_relation.len(), 1, "{model} {relation}");
        rows_of_relation[0].value
    };
    for (model, is_consistent) in
        [("OE", true), ("XLM-K", true), ("XLM-R base", false), ("XLM-K w/o K", false)]
    {
        let relations = ["birth-place", "birth-date", "death-place"];
        let mean = relations.iter().map(|relation| p_at_1(model, relation)).sum::<f64>() / 3.0;
        assert_eq!((mean - p_at_1(model, "Total")).abs() < 0.051, is_consistent, "{model} {mean}");
    }
}

#[test]
fn select_filters_by_table_model_and_language() {
    let rows = select_published(Some("001-1"), Some("xlm-k (AVG)"), Some("ZH"));
    let values: Vec<_> = rows.iter().map(|row| (row.metric.as_str(), row.value)).collect();
    assert_eq!(values, [("f1", 63.1), ("em", 38.8)]);
    let sd = select_published(Some("001-1"), Some("xlm-k (avg)"), Some("avg"));
    assert!(sd.iter().all(|row| row.note == "sd 0.3/0.2"), "{sd:?}");
    assert!(select_published(Some("009-9"), None, None).is_empty());
}
