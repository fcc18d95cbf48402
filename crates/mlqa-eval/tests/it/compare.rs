//! Comparison of a run with published results.
use mlqa_eval::{Cell, Error, Language, Matrix, compare, comparison_markdown};

use crate::common::cell;

#[test]
fn a_run_is_compared_with_published_tables() {
    let mut run = Matrix::new("run");
    let cell = cell(64.1, 50.0);
    run.insert(Language::EN, Language::DE, cell);
    let rows = compare("000-1", &run).unwrap();
    assert_eq!(rows.len(), 24);
    let compared: Vec<_> = rows.iter().filter(|row| row.run.is_some()).collect();
    assert_eq!(compared.len(), 4);
    assert!((compared[2].difference().unwrap() - 1.0).abs() < 1e-9);
    let text = comparison_markdown(&rows);
    assert!(
        text.contains("| ours | MLQA context en | de | f1 | 63.10 | 64.10 | +1.00 |"),
        "{text}"
    );
    assert!(text.contains("| ours | MLQA context en | zh | em | 46.80 | – | – |"), "{text}");
    // All tables other than `000-1` are compared with the diagonal.
    run.insert(Language::DE, Language::DE, Cell { f1: 1.0, ..cell });
    let rows = compare("003-5", &run).unwrap();
    assert!(rows.iter().filter_map(|row| row.run).all(|f1| f1 == 1.0 || f1 == 50.0));
    assert!(rows.iter().any(|row| row.run == Some(1.0)));
    // Results on MTQA, whose data are not released, are skipped.
    let rows = compare("002-7", &run).unwrap();
    assert!(rows.len() == 60 && rows.iter().all(|row| row.published.setting.starts_with("MLQA")));
    let error = compare("002-8", &run).unwrap_err().to_string();
    assert!(error.ends_with("no F1 or EM per language on MLQA or XQuAD"), "{error}");
    for table in ["000-9", "001-3"] {
        let error = compare(table, &run).unwrap_err();
        assert!(matches!(&error, Error::Table { id, .. } if id == table), "{error}");
    }
}
