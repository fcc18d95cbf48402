//! Scores by type of answer.
use std::fs;

use mlqa_eval::{Error, Language, Normalization, Predictions, TypedDataset, answer_types, score};
use serde_json::{Value, json};

use crate::program;

/// Rows with ten animals, nine dates and one answer without a type. The passage begins with two
/// code points above U+FFFF.
fn rows() -> Vec<Value> {
    let row = |k: usize, subtype: Option<&str>| {
        let mut row = json!({
            "question": format!("q{k}"),
            "passage": format!("𝒳𝒴 it was thing {k}!"),
            "answer": {"start": 10, "end": 10 + format!("thing {k}").len(), "text": format!("thing {k}")},
            "url": "ignored",
        });
        if let Some(subtype) = subtype {
            row["subtype"] = subtype.into();
        }
        row
    };
    (0..20)
        .map(|k| row(k, [Some("animal"), Some("date"), None][k / 10 + usize::from(k == 19)]))
        .collect()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

fn read(text: &str) -> Result<TypedDataset, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, text).unwrap();
    TypedDataset::read(file.path())
}

#[test]
fn rows_as_lines_and_as_an_array_are_equal() {
    let mut from_lines = read(&lines(&rows())).unwrap();
    let mut from_array = read(&serde_json::to_string_pretty(&rows()).unwrap()).unwrap();
    from_lines.dataset.path.clear();
    from_array.dataset.path.clear();
    assert_eq!(from_lines, from_array);
    assert_eq!(from_lines.dataset.questions.len(), 20);
    assert_eq!((from_lines.types.len(), from_lines.types["row-11"].as_str()), (19, "date"));
    from_lines.dataset.check_answers().unwrap();
    // A file with a single row is an object.
    assert_eq!(read(&lines(&rows()[..1])).unwrap().types["row-1"], "animal");
}

#[test]
fn scores_by_type_equal_hand_computed_values() {
    let typed = read(&lines(&rows())).unwrap();
    // Animals: half exact, half one of two tokens (F1 2/3). Dates: five exact, four unanswered. The
    // last question: wrong.
    let mut predictions = serde_json::Map::new();
    for k in 0..20 {
        let answer = match k {
            0..5 | 10..15 => format!("Thing {k}."),
            5..10 => format!("{k}"),
            19 => "no".into(),
            _ => continue,
        };
        predictions.insert(format!("row-{}", k + 1), answer.into());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(&file, Value::from(predictions).to_string()).unwrap();
    let predictions = Predictions::read(file.path()).unwrap();
    let rules = Normalization::Mlqa(Language::EN);
    let split = answer_types(&score(&typed.dataset, &predictions, rules).unwrap(), &typed.types);
    let got: Vec<(&str, usize, bool)> =
        split.types.iter().map(|t| (t.subtype.as_str(), t.questions, t.few)).collect();
    assert_eq!(got, [("animal", 10, false), ("date", 9, true), ("", 1, true)]);
    let close =
        |got: f64, expected: f64| assert!((got - expected).abs() < 1e-9, "{got} {expected}");
    close(split.types[0].exact_match, 50.0);
    close(split.types[0].f1, 100.0 * (5.0 + 5.0 * 2.0 / 3.0) / 10.0);
    close(split.types[1].exact_match, 500.0 / 9.0);
    close(split.types[1].f1, 500.0 / 9.0);
    close(split.types[2].f1, 0.0);
    close(split.all.exact_match, 50.0);
    assert_eq!(
        split.to_markdown(),
        "| subtype | questions | EM | F1 |\n|---|---:|---:|---:|\n| animal | 10 | 50.00 | 83.33 |\n\
         | date * | 9 | 55.56 | 55.56 |\n| (none) * | 1 | 0.00 | 0.00 |\n| all | 20 | 50.00 | \
         66.67 |\n\n\\* fewer than 10 questions\n"
    );
}

#[test]
fn squad_files_with_types() {
    let qa = |id: &str, subtype: Value| json!({"id": id, "question": "q", "answers": [{"text": "b", "answer_start": 2}], "subtype": subtype});
    let file = |qas: Vec<Value>| {
        json!({"data": [{"paragraphs": [{"context": "a b", "qas": qas}]}]}).to_string()
    };
    let typed = read(&file(vec![qa("1", "color".into()), qa("2", Value::Null)])).unwrap();
    assert_eq!(typed.types, [("1".to_owned(), "color".to_owned())].into());
    assert_eq!(typed.dataset.questions.len(), 2);
    for (bad, message) in [
        (file(vec![qa("1", Value::Null)]), "no question has a `subtype`"),
        (file(vec![qa("1", " ".into())]), "question `1`: `subtype` is blank"),
        (file(vec![qa("1", 3.into())]), "question `1`: `subtype` is 3: invalid type"),
    ] {
        let error = read(&bad).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn invalid_rows_are_rejected() {
    let change = |key: &str, value: Value| {
        let mut rows = rows();
        match key.split_once('.') {
            Some((outer, inner)) => rows[1][outer][inner] = value,
            None => rows[1][key] = value,
        }
        read(&lines(&rows)).unwrap_err()
    };
    assert!(matches!(change("answer.start", 9.into()), Error::AnswerMismatch { offset: 9, .. }));
    let error = change("answer.end", 16.into());
    assert!(error.to_string().contains("question `row-2`: answer.end is 16"), "{error}");
    let huge = change("answer.start", usize::MAX.into());
    assert!(matches!(huge, Error::AnswerMismatch { .. }), "{huge}");
    assert!(matches!(change("answer", 3.into()), Error::Json { line: 2, .. }));
    assert!(matches!(change("passage", Value::Null), Error::Json { line: 2, .. }));
    let mut duplicate = rows();
    duplicate[3]["id"] = "same".into();
    duplicate[4]["id"] = "same".into();
    assert!(matches!(read(&lines(&duplicate)), Err(Error::DuplicateQuestion { .. })));
    assert!(matches!(read("not json"), Err(Error::Json { line: 1, .. })));
}

#[test]
fn the_command_prints_tables() {
    let program = program();
    program.write("data.jsonl", lines(&rows()));
    program.write("p.json", "{\"row-1\": \"thing 0\"}");
    let types = "types data.jsonl p.json";
    let printed = program.done(&format!("{types} en"));
    assert!(printed.out.contains("| animal | 10 | 10.00 | 10.00 |"), "{}", printed.out);
    assert_eq!(printed.err.lines().count(), 19);
    assert_eq!(program.done(&format!("{types} --norm squad")).out, printed.out);
    // Two runs, in the format of Fig. 5.
    program.write("q.json", "{\"row-1\": \"thing 0\", \"row-2\": \"thing 1\"}");
    program.refused(&format!("{types} en --paper"), &["--beside"]);
    let other_run = "--beside LAKM=q.json";
    let table = program.done(&format!("{types} en --paper --name mixMRC {other_run}")).out;
    let header = "| EM by subtype | questions | mixMRC | LAKM | difference |";
    assert!(table.starts_with(header), "{table}");
    assert!(table.contains("| animal | 10 | 10.00 | 20.00 | +10.00 | +9.1 |"), "{table}");
    assert!(table.contains("| date * | 9 | 0.00 | 0.00 | +0.00 | – |"), "{table}");
    let table = program.done(&format!("{types} en {other_run} {other_run}")).out;
    assert!(table.contains("| animal | 10 | 10.00 | 20.00 | 20.00 |\n"), "{table}");
    program.write("data.jsonl", lines(&rows()[19..]));
    program.failed(&format!("{types} en"), &["no question has a `subtype`"]);
}
