//! Tests matrices, matrix files, and Table I of "Bridging the Language Gap".
use mlqa_eval::{Cell, Error, Language, Matrix, table_one};

use crate::common::cell;

const DE: Language = Language::DE;
const EN: Language = Language::EN;
const ZH: Language = Language::ZH;

fn matrix(cells: &[(Language, Language, f64, f64)]) -> Matrix {
    let mut matrix = Matrix::new("Test <set> & more");
    for &(context, question, f1, em) in cells {
        matrix.insert(context, question, cell(f1, em));
    }
    matrix
}

fn sample_matrix() -> Matrix {
    matrix(&[(EN, EN, 80.0, 70.0), (EN, DE, 60.0, 50.0), (DE, DE, 70.0, 60.0), (ZH, EN, 0.1, 0.0)])
}

#[test]
fn averages_are_unweighted_means() {
    let matrix = sample_matrix();
    let assert_close = |got: f64, want: f64| assert!((got - want).abs() < 1e-12, "{got} {want}");
    assert_close(matrix.xlt().unwrap().f1, 75.0);
    assert_close(matrix.xlt().unwrap().em, 65.0);
    assert_close(matrix.gxlt().unwrap().f1, 210.1 / 4.0);
    assert_close(matrix.off_diagonal().unwrap().f1, 60.1 / 2.0);
    assert_eq!(matrix.english_context().unwrap().cells, 1);
    assert_eq!(Matrix::new("").xlt(), None);
}

#[test]
fn files_preserve_all_digits() {
    let folder = tempfile::tempdir().unwrap();
    let mut matrix = sample_matrix();
    matrix.insert(
        ZH,
        ZH,
        Cell { f1_half_width: Some(0.1), ..cell(100.0 / 3.0, 50.142_623_716_153_13) },
    );
    matrix.write(folder.path()).unwrap();
    assert_eq!(Matrix::read_json(folder.path().join("matrix.json")).unwrap(), matrix);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["matrix.json", "matrix.md"]);
    let path = folder.path().join("bad.json");
    let one = r#"{"context": "en", "question": "de", "f1": 1.0, "em": 1.0, "questions": 1}"#;
    std::fs::write(&path, format!(r#"{{"cells": [{one}, {one}]}}"#)).unwrap();
    let error = Matrix::read_json(&path).unwrap_err();
    assert!(error.to_string().contains("occurs twice"), "{error}");
    std::fs::write(&path, "{\"cells\": [\n{\"context\": \"fr\"}]}").unwrap();
    let error = Matrix::read_json(&path).unwrap_err();
    assert!(matches!(error, Error::Json { line: 2, .. }), "{error}");
}

#[test]
fn markdown_has_rows_for_contexts() {
    let text = sample_matrix().to_markdown();
    // Rows and columns without a value are omitted.
    assert!(text.contains("| context \\ question | en | de |\n"), "{text}");
    assert!(text.contains("\n| en | 80.00 | 60.00 |\n| de | – | 70.00 |\n"), "{text}");
    assert!(text.contains("\n| zh | 0.10 | – |\n"), "{text}");
    assert!(text.contains("| XLT (diagonal) | 2 | 75.00 | 65.00 |"), "{text}");
}

#[test]
fn other_languages_follow_mlqa_languages_by_code() {
    let other = |code: &str| code.parse::<Language>().unwrap();
    let mut matrix = sample_matrix();
    matrix.insert(other("th"), EN, cell(5.0, 4.0));
    matrix.insert(EN, other("bg"), cell(6.0, 5.0));
    let text = matrix.to_markdown();
    assert!(text.contains("| context \\ question | en | de | bg |\n"), "{text}");
    assert!(text.contains("\n| en | 80.00 | 60.00 | 6.00 |\n"), "{text}");
    assert!(text.contains("\n| th | 5.00 | – | – |\n"), "{text}");
    let pairs: Vec<String> =
        matrix.cells().map(|(context, question, _)| format!("{context}-{question}")).collect();
    assert_eq!(pairs, ["en-en", "en-de", "en-bg", "de-de", "zh-en", "th-en"]);
}

#[test]
fn seeds_give_mean_and_interval() {
    let seeds = [
        matrix(&[(EN, DE, 60.0, 50.0), (EN, ZH, 1.0, 1.0)]),
        matrix(&[(EN, DE, 62.0, 50.0)]),
        matrix(&[(EN, DE, 64.0, 53.0)]),
    ];
    let summary = Matrix::over_seeds("three", &seeds);
    assert_eq!(summary.len(), 1);
    let cell = summary.get(EN, DE).unwrap();
    assert_eq!((cell.f1, cell.em), (62.0, 51.0));
    // Student's t for two degrees of freedom is 4.303; the standard deviation is 2.
    assert!((cell.f1_half_width.unwrap() - 4.303 * 2.0 / 3f64.sqrt()).abs() < 1e-12);
    assert!((cell.em_half_width.unwrap() - 4.303).abs() < 1e-12); // sd √3
    assert_eq!(Matrix::over_seeds("one", &seeds[..1]).get(EN, DE).unwrap().f1_half_width, None);
}

#[test]
fn table_one_has_the_format_of_the_paper() {
    let mut complete = Matrix::new("");
    for (k, language) in mlqa_eval::TABLE_ONE_LANGUAGES.into_iter().enumerate() {
        complete.insert(EN, language, cell(10.0 * (k + 1) as f64, k as f64));
    }
    let mut with_intervals = complete.clone();
    with_intervals.insert(
        EN,
        DE,
        Cell { f1_half_width: Some(0.5), em_half_width: Some(0.25), ..cell(11.0, 1.0) },
    );
    let incomplete = sample_matrix();
    let text = table_one(&[("base", &complete), ("a|b", &with_intervals), ("sparse", &incomplete)]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "| F1 / EM | DE | ES | AR | HI | VI | ZH | mean |");
    assert_eq!(
        lines[2],
        "| base | 10.00 / 0.00 | 20.00 / 1.00 | 30.00 / 2.00 | 40.00 / 3.00 | 50.00 / 4.00 | \
         60.00 / 5.00 | 35.00 / 2.50 |"
    );
    assert!(lines[3].starts_with("| a\\|b | 11.00 ± 0.50 / 1.00 ± 0.25 |"), "{}", lines[3]);
    assert!(lines[4].ends_with("| 60.00 / 50.00 | – | – | – | – | – | – |"), "{}", lines[4]);
}
