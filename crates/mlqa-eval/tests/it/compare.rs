//! Comparison of a run with published results.
use mlqa_eval::{Cell, Error, Language, Matrix, compare, compared_markdown};

const MLQA_XQUAD: [&str; 2] = ["MLQA", "XQuAD"];

#[test]
fn a_run_is_compared_with_results_on_other_data() {
    let mut run = Matrix::new("run");
    let cell =
        Cell { f1: 80.0, em: 60.0, questions: 120, f1_half_width: None, em_half_width: None };
    let french = "fr".parse::<Language>().unwrap();
    run.insert(french, french, cell);
    run.insert(Language::DE, Language::DE, cell);
    // Table 7 has EM and F1 of 8 models in three languages; table 8 has only EM.
    let count = |table: &str, data: &str| compare(table, &[data], &run).unwrap().len();
    assert_eq!((count("002-7", "MTQA"), count("002-7", "mlqa")), (48, 60));
    assert_eq!((count("002-8", "MTQA"), count("002-9", "mtqa")), (6, 12));
    let rows = compare("002-8", &["MTQA"], &run).unwrap();
    let french_rows: Vec<_> = rows.iter().filter(|row| row.published.language == "fr").collect();
    assert_eq!(french_rows.len(), 2);
    assert!((french_rows[1].difference().unwrap() - 7.5).abs() < 1e-9, "{french_rows:?}");
    assert!(rows.iter().all(|row| row.published.setting.starts_with("MTQA")));
    let rows = compare("002-7", &MLQA_XQUAD, &run).unwrap();
    assert!(rows.len() == 60 && rows.iter().all(|row| row.published.setting.starts_with("MLQA")));
    let error = compare("002-8", &MLQA_XQUAD, &run).unwrap_err().to_string();
    assert!(error.ends_with("no F1 or EM per language on MLQA or XQuAD"), "{error}");
    assert!(compare("002-7", &["TyDi"], &run).is_err());
}

#[test]
fn a_run_is_compared_with_table_one() {
    let mut run = Matrix::new("run");
    let cell = Cell { f1: 64.1, em: 50.0, questions: 1, f1_half_width: None, em_half_width: None };
    run.insert(Language::EN, Language::DE, cell);
    let rows = compare("000-1", &MLQA_XQUAD, &run).unwrap();
    assert_eq!(rows.len(), 24);
    let of_de: Vec<_> = rows.iter().filter(|row| row.run.is_some()).collect();
    assert_eq!(of_de.len(), 4);
    assert!((of_de[2].difference().unwrap() - 1.0).abs() < 1e-9);
    let text = compared_markdown(&rows);
    assert!(
        text.contains("| ours | MLQA context en | de | f1 | 63.10 | 64.10 | +1.00 |"),
        "{text}"
    );
    assert!(text.contains("| ours | MLQA context en | zh | em | 46.80 | – | – |"), "{text}");
    // Other tables are compared with the diagonal.
    run.insert(Language::DE, Language::DE, Cell { f1: 1.0, ..cell });
    let rows = compare("003-5", &MLQA_XQUAD, &run).unwrap();
    assert!(rows.iter().filter_map(|row| row.run).all(|f1| f1 == 1.0 || f1 == 50.0));
    assert!(rows.iter().any(|row| row.run == Some(1.0)));
    for table in ["000-9", "001-3"] {
        let error = compare(table, &MLQA_XQUAD, &run).unwrap_err();
        assert!(matches!(&error, Error::Table { id, .. } if id == table), "{error}");
    }
}
