//! Tests that rows of every form contain the same questions as SQuAD's form.
use std::path::Path;
use std::sync::Arc;

use mlqa_eval::{
    Dataset, Error, Normalization, Predictions, Question, check_file, score_files, score_squad2,
    squad,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Converts questions to rows in the format of SQuAD on the Hugging Face Hub.
fn hub_rows(questions: &[Question]) -> Vec<Value> {
    let row = |question: &Question| {
        let texts: Vec<&str> = question.answers.iter().map(|answer| answer.text.as_str()).collect();
        let starts: Vec<Option<usize>> =
            question.answers.iter().map(|answer| answer.answer_start).collect();
        let answers = json!({"text": texts, "answer_start": starts});
        json!({"id": question.id, "title": &*question.title, "context": &*question.context,
            "question": question.question, "answers": answers})
    };
    questions.iter().map(row).collect()
}

fn join_rows(rows: &[Value], end: &str) -> String {
    rows.iter().map(|row| format!("{row}{end}")).collect()
}

/// Returns file name and text of the rows in every form except Parquet.
fn row_files(rows: &[Value]) -> Vec<(&'static str, String)> {
    let with_answer_objects = |row: &Value| {
        let mut row = row.clone();
        let list = |key: &str| row["answers"][key].as_array().unwrap().clone();
        let pairs = list("text").into_iter().zip(list("answer_start"));
        let pair = |(text, start)| json!({"text": text, "answer_start": start});
        row["answers"] = pairs.map(pair).collect();
        row
    };
    let objects: Vec<Value> = rows.iter().map(with_answer_objects).collect();
    vec![
        ("array.json", json!(rows).to_string()),
        ("pretty.json", serde_json::to_string_pretty(rows).unwrap()),
        ("data.json", json!({"version": "0.1.0", "data": rows}).to_string()),
        ("lines.jsonl", join_rows(rows, "\n")),
        ("crlf.jsonl", format!("\u{feff}\r\n{}", join_rows(rows, "\r\n"))),
        ("objects.jsonl", join_rows(&objects, "\n")),
    ]
}

/// Writes the questions to a file in every form, and returns the paths; SQuAD's form comes first.
fn write_every_form(folder: &Path, questions: &[Question]) -> Vec<std::path::PathBuf> {
    let rows = hub_rows(questions);
    let squad = folder.join("squad.json");
    let dataset = Dataset { path: squad.clone(), version: None, questions: questions.to_vec() };
    dataset.write(&squad).unwrap();
    let mut paths = vec![squad];
    for (name, text) in row_files(&rows) {
        paths.push(folder.join(name));
        std::fs::write(paths.last().unwrap(), text).unwrap();
    }
    #[cfg(feature = "parquet")]
    for offset_type in ["int32", "int64"] {
        paths.push(folder.join(format!("{offset_type}.parquet")));
        crate::parquet_file::write(paths.last().unwrap(), questions, offset_type, 3);
    }
    paths
}

const TEXTS: &str = "[a-z ]{0,8}|[äßé ]{1,8}|(مرحبا|بك| ){1,4}|[नमस्ते ]{1,8}|[数据い]{1,8}|(😀|👩‍👧|\r\n|\"|\\\\|\u{2028}){1,4}";

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(24)) })]

    #[test]
    fn every_form_has_the_same_questions_and_score(
        drawn in prop::collection::vec((0..2_u8, TEXTS, TEXTS, 0..3_usize, 0..9_usize, any::<bool>()), 1..8),
    ) {
        let (mut questions, mut answers_by_id) = (Vec::<Question>::new(), serde_json::Map::new());
        for (k, (title, context, question, answers, start, correct)) in drawn.into_iter().enumerate() {
            // Adjacent questions often share a context.
            let context = match questions.last() {
                Some(last) if k % 3 > 0 => last.context.clone(),
                _ => Arc::from(context),
            };
            let answer = |n: usize| {
                let answer_start = (start + n).min(context.chars().count());
                let text: String = context.chars().skip(answer_start).take(3).collect();
                mlqa_eval::Answer::at(answer_start, text)
            };
            let answers: Vec<_> = (0..answers).map(answer).collect();
            let answer = answers.first().filter(|_| correct).map_or(&*question, |one| &one.text);
            answers_by_id.insert(k.to_string(), answer.into());
            let title = Arc::from(format!("{title}"));
            questions.push(Question { id: k.to_string(), question, context, answers, title });
        }
        let folder = tempfile::tempdir().unwrap();
        let predictions = folder.path().join("predictions.json");
        std::fs::write(&predictions, Value::from(answers_by_id).to_string()).unwrap();
        let predicted = Predictions::read(&predictions).unwrap();
        let paths = write_every_form(folder.path(), &questions);
        let score = |path: &Path| {
            let read = Dataset::read(path).unwrap();
            let files = score_files(path, &predictions, Normalization::SquadEn);
            let files = files.map(|scored| scored.score).map_err(|error| match error {
                Error::NoGold { id, .. } => id,
                other => panic!("{other}"),
            });
            (files, score_squad2(&read, &predicted, None, 1.0).unwrap())
        };
        for path in &paths {
            let read = Dataset::read(path).unwrap();
            prop_assert_eq!(&read.questions, &questions, "{}", path.display());
            read.check_answers().unwrap();
            for pair in read.questions.windows(2) {
                let [a, b] = pair else { unreachable!() };
                prop_assert_eq!(a.context == b.context && a.title == b.title,
                    Arc::ptr_eq(&a.context, &b.context) && a.title == b.title);
            }
            prop_assert_eq!(score(path), score(&paths[0]), "{}", path.display());
        }
    }
}

#[test]
fn xquad_questions_are_equal_in_every_form() {
    for language in ["en", "ar", "hi", "zh"] {
        let folder = tempfile::tempdir().unwrap();
        let path = format!("../../data/xquad/xquad.{language}.json");
        let mut questions = Dataset::read(path).unwrap().questions;
        questions.truncate(300);
        for path in write_every_form(folder.path(), &questions) {
            let read = Dataset::read(&path).unwrap();
            assert_eq!(read.questions, questions, "{}", path.display());
            let checked = check_file(&path).unwrap();
            assert_eq!(checked.questions, questions.len());
            assert!(checked.findings.is_empty(), "{}: {:?}", path.display(), checked.findings);
        }
    }
}

/// Writes a text to a file `name` and reads the file.
fn read_as(name: &str, text: &str) -> Result<Dataset, Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Dataset::read(path)
}

fn valid_row() -> Value {
    json!({"id": "q", "title": "T", "context": "a b", "question": "?",
        "answers": {"text": ["b"], "answer_start": [2]}})
}

#[test]
fn errors_name_the_row_and_the_key() {
    let cases = [
        ("id", None, "missing field `id`"),
        (
            "id",
            Some(json!(1.5)),
            "`id`: invalid type: floating point `1.5`, expected a text or a whole number",
        ),
        ("title", Some(json!(3)), "`title`: invalid type: integer `3`"),
        ("context", None, "missing field `context`"),
        ("context", Some(json!(["a"])), "`context`: invalid type: sequence"),
        ("question", Some(Value::Null), "missing field `question`"),
        ("answers", Some(json!("b")), "`answers`: invalid type: string \"b\", expected lists"),
        ("answers", Some(json!({"text": ["b"]})), "`answers`: missing field `answer_start`"),
        ("answers", Some(json!([{"text": "b"}])), "`answers`: missing field `answer_start`"),
        (
            "answers",
            Some(json!({"text": ["b"], "answer_start": [-2]})),
            "`answers`: invalid value: integer `-2`",
        ),
        (
            "answers",
            Some(json!({"text": ["b"], "answer_start": [0.5]})),
            "`answers`: invalid value: floating point `0.5`, expected a whole number from 0",
        ),
        (
            "answers",
            Some(json!({"text": ["b"], "answer_start": []})),
            "`answers`: `text` has 1 values, `answer_start` has 0",
        ),
    ];
    for (key, value, words) in cases {
        let mut bad = valid_row();
        bad["id"] = "bad".into();
        match value {
            Some(value) => bad[key] = value,
            None => drop(bad.as_object_mut().unwrap().remove(key)),
        }
        let rows = [valid_row(), bad];
        for (name, text, place) in [
            ("x.jsonl", join_rows(&rows, "\n\n"), "x.jsonl:3:1: "),
            ("x.json", json!(rows).to_string(), "row 2: "),
            ("x.json", json!({"data": rows}).to_string(), "row 2: "),
        ] {
            let error = read_as(name, &text).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(&format!("{place}{words}")), "{error}");
        }
    }
    let mut without_span = valid_row();
    without_span.as_object_mut().unwrap().remove("answers");
    without_span["detected_answers"] = json!([{"text": "b", "char_spans": []}]);
    let error = read_as("x.jsonl", &without_span.to_string()).unwrap_err().to_string();
    assert!(error.contains("`detected_answers`: the answer `b` has no span"), "{error}");
    let error = read_as("x.jsonl", &format!("{}\n{{\"id\": ", valid_row())).unwrap_err();
    assert!(matches!(error, Error::Json { line: 2, .. }), "{error}");
    let error = read_as("x.jsonl", &join_rows(&[valid_row(), valid_row()], "\n")).unwrap_err();
    assert!(matches!(error, Error::DuplicateQuestion { .. }), "{error}");
    let full = json!({"data": [valid_row(), valid_row()]}).to_string();
    let error = read_as("x.json", &full[..full.len() - 9]).unwrap_err().to_string();
    assert!(error.contains("EOF"), "{error}");
}

#[test]
fn rows_retain_other_keys_and_ids_may_be_numbers() {
    let mut other = valid_row();
    for (key, value) in [
        ("id", json!(18_446_744_073_709_551_615_u64)),
        ("title", Value::Null),
        ("passage", json!("else")),
        ("answers", json!({"text": [], "answer_start": []})),
        ("head_start", json!(3)),
        ("is_impossible", Value::Null),
    ] {
        other[key] = value;
    }
    let text = join_rows(&[valid_row(), other], "\n");
    let file = squad::File::parse(&text, "x.jsonl").unwrap();
    let [first, second] = [0, 1].map(|k| file.questions().nth(k).unwrap());
    assert_eq!((first.id.as_str(), second.id.as_str()), ("q", "18446744073709551615"));
    assert_eq!(second.parse_field::<usize>("head_start", "x").unwrap(), Some(3));
    assert_eq!(second.parse_field::<bool>("is_impossible", "x").unwrap(), Some(true));
    assert_eq!(first.parse_field::<bool>("is_impossible", "x").unwrap(), None);
    let dataset = Dataset::from_squad(file, "x.jsonl").unwrap();
    assert!(Arc::ptr_eq(&dataset.questions[0].context, &dataset.questions[1].context));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn the_error_for_parquet_names_the_feature() {
    let error = read_as("x.parquet", "PAR1").unwrap_err().to_string();
    assert!(error.contains("x.parquet: ") && error.contains("feature `parquet`"), "{error}");
}

#[cfg(feature = "parquet")]
mod parquet {
    //! Tests files with the columns of SQuAD on the Hugging Face Hub.
    use std::fs;

    use mlqa_eval::{Dataset, Error, FindingKind, check_file};
    use parquet::data_type::Int64Type;

    use crate::parquet_file::{add_column, add_texts, writer};

    #[test]
    fn a_wrong_schema_names_the_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        for (schema, words) in [
            (
                "optional binary id (UTF8); optional binary context;",
                "missing field `question` (no column, or bytes",
            ),
            (
                "optional binary id (UTF8); optional binary question;",
                "missing field `question` (no column, or bytes",
            ),
            (
                "optional binary id (UTF8); optional binary question (UTF8);",
                "missing field `context`",
            ),
        ] {
            let mut file = writer(&path, &format!("message schema {{ {schema} }}"));
            let mut group = file.next_row_group().unwrap();
            add_texts(&mut group, ["q"].into_iter());
            add_texts(&mut group, ["a"].into_iter());
            group.close().unwrap();
            file.close().unwrap();
            let error = Dataset::read(&path).unwrap_err();
            assert!(matches!(error, Error::Content { .. }));
            let error = error.to_string();
            assert!(error.contains(&format!("x.parquet: row 1, {words}")), "{error}");
        }
        let mut file = writer(
            &path,
            "message schema { optional int64 id; optional int64 context; \
             optional binary question (UTF8); }",
        );
        let mut group = file.next_row_group().unwrap();
        add_column::<Int64Type>(&mut group, &[7], &[(1, 0)]);
        add_column::<Int64Type>(&mut group, &[3], &[(1, 0)]);
        add_texts(&mut group, ["?"].into_iter());
        group.close().unwrap();
        file.close().unwrap();
        let error = Dataset::read(&path).unwrap_err().to_string();
        let words = "x.parquet: row 1, `context`: invalid type: integer `3`, expected a string";
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.parquet");
        let questions = Dataset::read("../../data/xquad/xquad.vi.json").unwrap().questions;
        crate::parquet_file::write(&path, &questions[..40], "int32", 20);
        let bytes = fs::read(&path).unwrap();
        for length in [0, 3, 4, bytes.len() / 2, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            let error = Dataset::read(&path).unwrap_err();
            assert!(matches!(error, Error::Content { .. }), "{error}");
            assert!(error.to_string().contains("x.parquet: "), "{error}");
            let kinds: Vec<_> =
                check_file(&path).unwrap().findings.iter().map(|one| one.kind).collect();
            assert_eq!(kinds, [FindingKind::Format]);
        }
        // A changed byte may only change values or cause an error that names the file.
        for at in (0..bytes.len()).step_by(bytes.len() / 60) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            fs::write(&path, changed).unwrap();
            if let Err(error) = Dataset::read(&path) {
                assert!(error.to_string().contains("x.parquet: "), "{error}");
            }
        }
        let missing = Dataset::read(folder.path().join("none.parquet")).unwrap_err();
        assert!(matches!(missing, Error::File(_)), "{missing}");
    }
}
