//! Tests of question files in the forms of published data sets. The files have invented text and are
//! written by `crates/testkit/scripts/published_questions.py`.
use std::path::{Path, PathBuf};

use mlqa_eval::{
    Answer, Dataset, Error, FindingKind, InvalidAction, InvalidQuestions, Language, Normalization,
    Predictions, check_file, languages_in_name, score, score_files, squad,
};

fn path(name: &str) -> PathBuf {
    Path::new("../testkit/fixtures/published").join(name)
}

fn read(name: &str) -> Dataset {
    Dataset::read(path(name)).unwrap()
}

/// Text and offset of an answer.
type TextAndOffset = (String, Option<usize>);

/// Returns id, question and answers of each question.
fn questions(name: &str) -> Vec<(String, String, Vec<TextAndOffset>)> {
    let answer = |answer: Answer| (answer.text, answer.answer_start);
    let questions = read(name).questions.into_iter();
    questions
        .map(|one| (one.id, one.question, one.answers.into_iter().map(answer).collect()))
        .collect()
}

fn owned(answers: &[(&str, Option<usize>)]) -> Vec<TextAndOffset> {
    answers.iter().map(|&(text, start)| (text.to_owned(), start)).collect()
}

#[test]
fn forms_of_published_data_are_read() {
    let when = "When?";
    for (name, id, question, answers) in [
        ("integer_ids.json", "1", "When does the ferry sail?", vec![("noon", Some(41))]),
        ("one_object.json", "a", when, vec![("noon", Some(41))]),
        ("paragraphs.json", "a", "When does the ferry sail?", vec![("noon", Some(41))]),
        ("mrqa.jsonl", "a", when, vec![("noon", Some(41)), ("Midday", None)]),
        ("mrqa_hub.jsonl", "a", when, vec![("noon", Some(41)), ("Midday", None)]),
        ("cmrc2018.json", "T_1_Q_0", "渡轮何时开？", vec![("中午", None), ("每天中午", None)]),
        ("afriqa.json", "0", "Yaushe?", vec![("noon", Some(41))]),
        ("iapp.jsonl", "q_1", when, vec![("noon", Some(41))]),
        ("without_answers.jsonl", "a", when, vec![]),
        ("without_offsets.json", "a", when, vec![("", None), ("noon", Some(41))]),
    ] {
        let expected = (id.to_owned(), question.to_owned(), owned(&answers));
        assert_eq!(questions(name)[0], expected, "{name}");
    }
    assert_eq!(read("integer_ids.json").version.as_deref(), Some("1.0"));
    assert_eq!(questions("integer_ids.json")[1].2, owned(&[("dusk", Some(61))]));
    assert_eq!(questions("afriqa.json")[1].2, owned(&[("yes", None)]));
    assert_eq!(questions("without_offsets.json")[2].2, vec![]);
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_columns_are_read_by_their_type() {
    for (name, answers) in [
        ("dates.parquet", vec![("1998-06-14", Some(25))]),
        ("json_column.parquet", vec![("noon", Some(41))]),
        ("gzip.parquet", vec![("noon", Some(41))]),
        ("lz4.parquet", vec![("noon", Some(41))]),
    ] {
        assert_eq!(questions(name)[0].2, owned(&answers), "{name}");
    }
    assert_eq!(questions("dates.parquet"), questions("dates.jsonl"));
    for (name, words) in [
        ("timestamp_answers.parquet", "`answers.text` (timestamp)"),
        ("binary_answers.parquet", "`answers.text` (binary)"),
        ("brotli.parquet", "compressed with brotli, which is not supported"),
    ] {
        let error = Dataset::read(path(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn unsupported_forms_are_named() {
    for (name, words) in [
        ("qed.jsonl", "records of QED"),
        ("without_ids.json", "missing field `id` (the questions of PoQuAD's files have no ids"),
    ] {
        let error = Dataset::read(path(name)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn invalid_keys_of_questions_are_named() {
    let text = std::fs::read_to_string(path("without_offsets.json")).unwrap();
    for (from, to, words) in [
        ("\"id\": \"b\"", "\"id\": true", "question true: `id`: invalid type: boolean `true`"),
        ("\"midday\"", "7", "question \"b\": `answers[0].text`: invalid type: integer `7`"),
        (
            "\"answer_start\": 41",
            "\"answer_start\": -7",
            "question \"a\": `answers[1].answer_start`: invalid value: integer `-7`",
        ),
        ("\"title\": \"Ferry\"", "\"title\": 5", "`data[0].title`: invalid type: integer `5`"),
        ("\"version\": \"1.1\"", "\"version\": []", "`version`: invalid type: sequence"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Dataset::parse(&text.replacen(from, to, 1), "x.json").unwrap_err().to_string();
        assert!(error.starts_with("x.json:") && error.contains(words), "{error}");
    }
}

#[test]
fn check_lists_every_invalid_question() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.json");
    let text = std::fs::read_to_string(path("integer_ids.json")).unwrap();
    let invalid =
        text.replace("\"id\": 1", "\"id\": 1.5").replace("\"text\": \"dusk\"", "\"text\": 9");
    std::fs::write(&file, invalid).unwrap();
    let checked = check_file(&file).unwrap();
    let places: Vec<_> =
        checked.findings.iter().map(|one| (one.place.as_str(), one.kind)).collect();
    let format = FindingKind::Format;
    let expected =
        [("data[0].paragraphs[0].qas[0]", format), ("data[0].paragraphs[0].qas[1]", format)];
    assert_eq!(places, expected, "{:?}", checked.findings);
    assert!(checked.findings[1].message.contains("`answers[0].text`"), "{:?}", checked.findings);

    let row = std::fs::read_to_string(path("without_answers.jsonl")).unwrap();
    let rows = [row.replace("\"context\"", "\"text\""), row.clone(), "{".to_owned()];
    let file = folder.path().join("x.jsonl");
    std::fs::write(&file, rows.map(|row| row.trim().to_owned()).join("\n")).unwrap();
    let findings = check_file(&file).unwrap().findings;
    let places: Vec<_> = findings.iter().map(|one| (one.place.as_str(), one.kind)).collect();
    let expected = [("line 1", format), ("line 2", FindingKind::NoAnswers), ("line 3", format)];
    assert_eq!(places, expected, "{findings:?}");

    // An error outside of the questions, and records of several lines.
    let file = folder.path().join("version.json");
    std::fs::write(&file, text.replace("\"version\": 1.0", "\"version\": []")).unwrap();
    let checked = check_file(&file).unwrap();
    assert_eq!((checked.questions, checked.findings.len()), (2, 1), "{:?}", checked.findings);
    let file = folder.path().join("objects.jsonl");
    let object = std::fs::read_to_string(path("one_object.json")).unwrap();
    std::fs::write(&file, format!("{object}\n{}", object.replace("\"a\"", "\"b\""))).unwrap();
    let checked = check_file(&file).unwrap();
    assert_eq!((checked.questions, checked.findings.len()), (2, 0), "{:?}", checked.findings);

    let kinds: Vec<_> = check_file(path("without_offsets.json")).unwrap().findings;
    let kinds: Vec<_> = kinds.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [FindingKind::EmptyAnswer, FindingKind::NoOffset]);
}

#[test]
fn answers_without_offsets_are_scored() {
    let predictions = [("a", "noon"), ("b", "Midday"), ("c", "")];
    let predictions = predictions.map(|(id, text)| (id.to_owned(), text.to_owned()));
    let mut dataset = read("without_offsets.json");
    dataset.questions.truncate(2);
    let scored = score(&dataset, &Predictions(predictions.into()), Normalization::SquadEn).unwrap();
    assert_eq!((scored.exact_match, scored.questions), (100.0, 2));
    // The fast reader, which only decodes ids and answers, supports the same values.
    let folder = tempfile::tempdir().unwrap();
    let predictions = folder.path().join("predictions.json");
    std::fs::write(&predictions, r#"{"1": "noon", "2": "dusk"}"#).unwrap();
    let scored = score_files(path("integer_ids.json"), &predictions, Normalization::SquadEn);
    let scored = scored.unwrap();
    assert_eq!((scored.score.exact_match, scored.version.as_deref()), (100.0, Some("1.0")));
    // A file without gold answers cannot be scored, even without predictions.
    let error = score_files(path("without_answers.jsonl"), &predictions, Normalization::SquadEn);
    assert!(matches!(error, Err(Error::NoGold { .. })), "{error:?}");
}

#[test]
fn offsets_without_a_position_are_written_as_minus_one() {
    let dataset = read("without_offsets.json");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.json");
    dataset.write(&copy).unwrap();
    assert!(std::fs::read_to_string(&copy).unwrap().contains("\"answer_start\":-1"));
    assert_eq!(Dataset::read(&copy).unwrap().questions, dataset.questions);
}

/// Ids and offsets of the retained questions, and ids and actions of the corrections.
type Prepared = (Vec<(String, Option<usize>)>, Vec<(String, InvalidAction)>);

fn prepare(name: &str, mode: InvalidQuestions) -> Result<Prepared, Error> {
    let mut file = squad::File::read(path(name)).unwrap();
    let corrections = file.prepare_training(&path(name), mode)?;
    let dataset = Dataset::from_squad(file, name).unwrap();
    dataset.check_answers().unwrap();
    let start = |one: &mlqa_eval::Question| one.located_answer().and_then(|one| one.answer_start);
    let retained = dataset.questions.iter().map(|one| (one.id.clone(), start(one))).collect();
    Ok((retained, corrections.into_iter().map(|one| (one.id, one.action)).collect()))
}

#[test]
fn invalid_training_questions_are_rejected_skipped_or_repaired() {
    use InvalidAction::{Repaired, Skipped};
    let skip = InvalidQuestions::Skip;
    let repair = InvalidQuestions::Repair;
    for (name, mode, retained, corrections) in [
        ("wrong_offsets.json", skip, vec![("a", Some(41))], vec![("b", Skipped), ("c", Skipped)]),
        ("offsets_in_bytes.json", skip, vec![("b", Some(0))], vec![("a", Skipped), ("c", Skipped)]),
        (
            "offsets_in_bytes.json",
            repair,
            vec![("a", Some(21)), ("b", Some(0))],
            vec![("a", Repaired), ("c", Skipped)],
        ),
        (
            "offsets_in_utf16.json",
            repair,
            vec![("a", Some(21)), ("b", Some(0))],
            vec![("a", Repaired), ("c", Skipped)],
        ),
        ("without_offsets.json", skip, vec![("a", Some(41)), ("c", None)], vec![("b", Skipped)]),
        ("impossible_with_answer.json", skip, vec![("a", Some(41))], vec![("b", Skipped)]),
        ("without_answers.jsonl", skip, vec![], vec![("a", Skipped)]),
        ("integer_ids.json", repair, vec![("1", Some(41)), ("2", Some(61))], vec![]),
    ] {
        let (got, made) = prepare(name, mode).unwrap();
        let retained: Vec<_> = retained.into_iter().map(|(id, at)| (id.to_owned(), at)).collect();
        let corrections: Vec<_> =
            corrections.into_iter().map(|(id, action)| (id.to_owned(), action)).collect();
        assert_eq!((got, made), (retained, corrections), "{name} {mode:?}");
    }
    for (name, words) in [
        ("wrong_offsets.json", "question `b`: answer_start 41 should hold `Noon`"),
        ("without_offsets.json", "question `b`: no answer has an offset"),
        ("impossible_with_answer.json", "question `b` has answers, but `is_impossible` is true"),
        ("without_answers.jsonl", "question `a` has no key `answers`"),
    ] {
        let error = prepare(name, InvalidQuestions::Error).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
}

#[test]
fn only_known_languages_are_taken_from_file_names() {
    for (name, expected) in [
        ("xquad.de.json", Some("de")),
        ("xquad.zh-Hans.jsonl.gz", Some("zh-hans")),
        ("gold.afriqa.fon.fr.test.json", Some("fr")),
        ("data.el.parquet", Some("el")),
        ("dev-v1.1.json", None),
        ("validation-00000-of-00001.parquet", None),
        ("quiz.dev.json", None),
        ("xquad.eng.json", None),
        ("dev-v2.0.json.gz", None),
        ("de.json", None),
    ] {
        let found = languages_in_name(name).unwrap();
        let expected = expected.map(|code| Language::new(code).unwrap());
        assert_eq!(found, expected.map(|language| (language, language)), "{name}");
    }
    let found = languages_in_name("test-context-de-question-en.jsonl.gz").unwrap();
    assert_eq!(found, Some((Language::DE, Language::EN)));
    let error = languages_in_name("test-context-eng-question-de.json").unwrap_err().to_string();
    assert!(error.contains("did you mean `en` (English)?"), "{error}");
}
