//! Tests of XLM-K's result tables, extended by the numbers of a run.
use results::{Measured, PrintedTable};

fn number(
    setting: &str,
    language: &str,
    metric: &str,
    value: f64,
    half_width: Option<f64>,
) -> Measured {
    Measured { half_width, ..Measured::new("ours", setting, language, metric, value) }
}

/// Returns the lines of the Markdown table.
fn markdown_lines(id: &str, run: &[Measured]) -> Vec<String> {
    PrintedTable::new(id, run).unwrap().to_markdown().lines().map(str::to_owned).collect()
}

#[test]
fn table_2_has_the_rows_of_a_run() {
    let run = [
        number("NER", "en", "f1", 91.04, Some(0.21)),
        number("NER", "nl", "f1", 80.0, None),
        number("NER", "avg", "f1", 85.52, Some(0.1)),
        number("Universal NER", "zh", "f1", 55.0, None),
    ];
    let lines = markdown_lines("001-2", &run);
    assert_eq!(lines[0], "| model (F1) | en | es | de | nl | zh | avg |");
    assert!(lines.contains(&"| XLM-R base | 90.9 | 75.2 | 70.4 | 79.5 | – | 79.0 |".to_owned()));
    assert!(
        lines.contains(
            &"| XLM-K (avg) | 90.7 | 75.2 | 72.9 | 80.3 | – | 79.8 (sd 0.2) |".to_owned()
        )
    );
    assert_eq!(lines[8], "| **ours** | 91.0 ± 0.2 | – | – | 80.0 | – | 85.5 ± 0.1 |");
    assert_eq!(lines[9], "| **ours** (Universal NER) | – | – | – | – | 55.0 | – |");
}

#[test]
fn other_tables_have_the_papers_layout() {
    let table_1 = markdown_lines("001-1", &[number("MLQA", "en", "f1", 80.0, None)]);
    assert_eq!(table_1[0], "| model (F1 / EM) | en | es | de | ar | hi | vi | zh | avg |");
    assert!(table_1.iter().any(|line| line.starts_with("| mBERT | 77.7 / 65.2 | 64.3 / 46.6 |")));
    assert!(table_1.iter().any(|line| line.starts_with("| Unicoder | 80.6 / – |")));
    assert!(
        table_1.iter().any(|line| line.ends_with("| 67.1 (sd 0.3) / 48.9 (sd 0.2) |")),
        "{table_1:?}"
    );
    assert!(table_1.last().unwrap().starts_with("| **ours** | 80.0 / – | – |"));

    let table_3 = markdown_lines("001-3", &[]);
    assert_eq!(table_3[0].matches('|').count(), 18, "model, 15 languages, average");
    assert!(table_3[0].ends_with("| hi | sw | ur | avg |"));

    let table_4 = markdown_lines("001-4", &[number("NER", "avg", "f1", 80.0, None)]);
    assert_eq!(table_4[0], "| model (F1 / accuracy) | MLQA | NER | XNLI |");
    assert!(table_4.contains(&"| OE (avg) | 66.7 | 79.9 | 74.6 |".to_owned()), "{table_4:?}");

    let table_5 = markdown_lines("001-5", &[number("LAMA T-REx N-1", "en", "p@1", 30.0, None)]);
    assert_eq!(
        table_5[0],
        "| corpus (P@1) | facts | relations | XLM-R base | XLM-K w/o K | MEP | OE | XLM-K | **ours** |"
    );
    assert!(
        table_5.contains(
            &"| T-REx N-1 | 20006 | 23 | 22.0 | 25.1 | 27.3 | 21.9 | 29.4 | 30.0 |".to_owned()
        ),
        "{table_5:?}"
    );
    assert!(
        table_5
            .contains(&"| SQuAD Total | 305 | – | 5.5 | 6.4 | 10.1 | 9.7 | 11.5 | – |".to_owned())
    );

    let table_7 = markdown_lines("001-7", &[number("XOR", "all", "accuracy", 0.003, None)]);
    assert_eq!(table_7[0], "| model (accuracy) | XEP | XOR |");
    assert!(table_7.contains(&"| XLM-R | 0.10 | 0.01 |".to_owned()));
    assert!(table_7.contains(&"| **ours** | – | 0.00 |".to_owned()));
}

#[test]
fn every_row_has_as_many_cells_as_the_header() {
    for id in PrintedTable::IDS {
        let lines = markdown_lines(id, &[]);
        assert!(lines.len() > 4, "{id}");
        for line in &lines {
            assert_eq!(line.matches('|').count(), lines[0].matches('|').count(), "{id}: {line}");
        }
        // Each number in the table has one decimal point.
        let n_numbers: usize = lines[2..].iter().map(|line| line.matches('.').count()).sum();
        let n_published = results::select_published(Some(id), None, None)
            .iter()
            .filter(|row| !matches!(row.metric.as_str(), "facts" | "relations"))
            .count();
        assert!(n_numbers >= n_published, "{id}: {n_numbers} of {n_published}");
    }
}

#[test]
fn json_contains_the_source_of_each_number() {
    let table = PrintedTable::new("001-7", &[number("XEP", "all", "accuracy", 1.5, None)]).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&table.to_json().unwrap()).unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!((rows[0]["source"].as_str(), rows[0]["value"].as_f64()), (Some("paper"), Some(0.1)));
    assert_eq!(
        (rows[6]["source"].as_str(), rows[6]["model"].as_str()),
        (Some("run"), Some("ours"))
    );
    let table =
        PrintedTable::new("001-7", &[number("XEP", "all", "accuracy", f64::NAN, None)]).unwrap();
    assert!(table.to_json().unwrap_err().to_string().contains("`accuracy` of `ours` is NaN"));
}

#[test]
fn numbers_outside_of_the_tables_are_rejected() {
    let error_for =
        |id: &str, number: Measured| PrintedTable::new(id, &[number]).unwrap_err().to_string();
    let error = PrintedTable::new("001-9", &[]).unwrap_err().to_string();
    assert_eq!(
        error,
        "published table `001-9`: no such table; expected one of 001-1, 001-2, 001-3, 001-4, 001-5, 001-7"
    );
    let error = error_for("001-2", number("NER", "en", "accuracy", 1.0, None));
    assert_eq!(error, "published table `001-2`: no `accuracy` of `NER`; the table has NER");
    let error = error_for("001-5", number("LAMA T-REx 2-2", "en", "p@1", 1.0, None));
    assert!(
        error.contains("no `p@1` of `LAMA T-REx 2-2`; the table has LAMA Google-RE birth-place"),
        "{error}"
    );
}

#[test]
fn written_numbers_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.jsonl");
    let rows =
        [number("NER", "en", "f1", 91.04, Some(0.21)), number("NER", "de", "f1", 0.1 + 0.2, None)];
    Measured::write(&path, &rows).unwrap();
    assert_eq!(Measured::read(&path).unwrap(), rows);
    std::fs::write(&path, "{\"model\": \"ours\"}\n").unwrap();
    assert!(
        Measured::read(&path)
            .unwrap_err()
            .to_string()
            .contains("run.jsonl:1: missing field `setting`")
    );
}
