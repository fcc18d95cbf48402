//! Tests of texts with labelled spans.
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use testkit::Program;
use transfer_eval::Error;
use transfer_eval::ner::{
    LabelledSpan, Labels, NerFormat, SpanText, read_label_names, read_ner, read_ner_with_format,
    read_spans, rename_labels, score_spans, write_ner,
};

fn file(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn span(start: usize, end: usize, label: &str) -> LabelledSpan {
    LabelledSpan { start, end, label: label.into() }
}

fn text(text: &str, spans: Vec<LabelledSpan>) -> SpanText {
    SpanText { text: text.into(), spans, line: None }
}

/// Rows as `Dataset.to_json` of datasets writes them, in German, Thai and Hindi, with labels in
/// German, Thai and English.
const ROWS: &str = r#"{"id":"0","text":"Ada lebt in Bad Ems.","char_spans":[{"start":0,"end":3,"label":"Person"},{"start":12,"end":19,"label":"geografischer Ort"}]}
{"id":"1","text":"\u0e2d\u0e22\u0e39\u0e48\u0e01\u0e23\u0e38\u0e07\u0e40\u0e17\u0e1e\u0e17\u0e35\u0e48","char_spans":[{"start":4,"end":11,"label":"เมือง"}]}

{"id":"2","text":"दिल्ली 2025","char_spans":[]}
"#;

#[test]
fn rows_are_words_and_tags_in_any_script() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "rows.jsonl", ROWS);
    let (sentences, format) = read_ner_with_format(&path, None).unwrap();
    assert_eq!(format, NerFormat::Spans);
    assert_eq!(sentences[0].words, ["Ada", "lebt", "in", "Bad", "Ems", "."]);
    let tags = ["B-Person", "O", "O", "B-geografischer Ort", "I-geografischer Ort", "O"];
    assert_eq!(sentences[0].tags, tags);
    // Unicode's rules separate Thai into characters.
    assert_eq!(sentences[1].words.concat(), "อยู่กรุงเทพที่");
    let thai: Vec<&str> = std::iter::zip(&sentences[1].words, &sentences[1].tags)
        .filter(|(_, tag)| *tag != "O")
        .map(|(word, _)| word.as_str())
        .collect();
    assert_eq!(thai.concat(), "กรุงเทพ");
    assert_eq!(sentences[2].words, ["दिल्ली", "2025"]);
    assert_eq!((sentences[2].line(), sentences[2].text.as_deref()), (Some(4), Some("दिल्ली 2025")));
    assert_eq!(Labels::of(&sentences).len(), 7);

    // Labels with spaces are read back from a file of tags.
    let tagged = folder.path().join("tags.tsv");
    write_ner(&tagged, &sentences).unwrap();
    let read = read_ner(&tagged, None).unwrap();
    assert_eq!((&read[0].words, &read[0].tags), (&sentences[0].words, &sentences[0].tags));
}

#[test]
fn overlapping_and_adjacent_spans_become_tags() {
    let spans = vec![span(0, 3, "a"), span(0, 8, "b"), span(8, 9, "b"), span(10, 13, "c")];
    let sentence = text("New York, USA!", spans).to_sentence();
    assert_eq!(sentence.words, ["New", "York", ",", "USA", "!"]);
    assert_eq!(sentence.tags, ["B-b", "I-b", "B-b", "B-c", "O"]);
    // A span within a word separates it.
    let sentence = text("Nordkorea", vec![span(4, 9, "land")]).to_sentence();
    assert_eq!(
        (sentence.words.join("|"), sentence.tags.join(" ")),
        ("Nord|korea".into(), "O B-land".into())
    );
}

#[test]
fn spans_are_scored_by_offsets_and_labels() {
    let gold = [
        text("Ada in Rom", vec![span(0, 3, "person"), span(7, 10, "city"), span(0, 10, "event")]),
        text("nichts", vec![]),
    ];
    let mut predicted = [
        text("Ada in Rom", vec![span(0, 3, "Mensch"), span(7, 10, " city"), span(7, 10, "city")]),
        text("nichts", vec![span(0, 6, "x")]),
    ];
    let score = score_spans(&gold, &predicted).unwrap();
    // One of three predicted spans is correct; the repeated span counts once.
    assert_eq!((score.micro.precision, score.micro.recall), (1.0 / 3.0, 1.0 / 3.0));
    assert_eq!((score.micro.support, score.sentences), (3, 2));
    let folder = tempfile::tempdir().unwrap();
    let names = file(&folder, "names.tsv", "Mensch\tperson\nx\t\n");
    rename_labels(&mut predicted, &read_label_names(&names).unwrap());
    let score = score_spans(&gold, &predicted).unwrap();
    assert_eq!((score.micro.precision, score.micro.recall), (1.0, 2.0 / 3.0));
    assert_eq!(score.types.keys().collect::<Vec<_>>(), ["city", "event", "person"]);

    assert!(matches!(score_spans(&gold, &gold[..1]), Err(Error::Count { .. })));
    assert!(matches!(score_spans(&[], &[]), Err(Error::Nothing { .. })));
    let other = [text("Ada in Bonn", vec![]), text("nichts", vec![])];
    let message = score_spans(&gold, &other).unwrap_err().to_string();
    assert!(message.contains("text 1") && message.contains("Ada in Bonn"), "{message}");
}

#[test]
fn invalid_rows_are_errors_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let row = |spans: &str| format!("{{\"text\": \"äöü\", \"char_spans\": {spans}}}\n");
    let span = |start: usize, end: usize, label: &str| {
        row(&format!("[{{\"start\": {start}, \"end\": {end}, \"label\": \"{label}\"}}]"))
    };
    assert!(read_spans(file(&folder, "a.jsonl", span(0, 3, "x"))).is_ok());
    for (content, expected) in [
        (row("[]") + &span(0, 4, "x"), "a.jsonl:2: span 0..4 of a text with 3 code points"),
        (span(2, 2, "x"), "a.jsonl:1: the span 2..2 is empty"),
        (span(0, 1, " "), "a.jsonl:1: the label of span 0..1 is blank"),
        ("{\"text\": \"a\"}\n".into(), "a.jsonl:1: missing field `char_spans`; expected an object"),
        ("\n".into(), "a.jsonl: no row"),
    ] {
        let message = read_spans(file(&folder, "a.jsonl", content)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    for (content, expected) in
        [("a b\n", "n.tsv:1: no tab"), ("a\tb\n\na\tc\n", "n.tsv:3: a second line of `a`")]
    {
        let message = read_label_names(file(&folder, "n.tsv", content)).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn the_program_scores_files_of_spans() {
    let program = Program::new(env!("CARGO_BIN_EXE_transfer-eval"));
    program.write("gold.jsonl", ROWS);
    program.write("predicted.jsonl", ROWS.replace("geografischer Ort", "city"));
    program.write("names.tsv", "geografischer Ort\tplace\ncity\tplace\nเมือง\t\n");
    let run =
        |line: &str| -> Value { serde_json::from_str(&program.expect_success(line).out).unwrap() };
    let micro = &run("ner gold.jsonl predicted.jsonl")["micro"];
    assert_eq!((&micro["support"], &micro["recall"]), (&3.into(), &(2.0 / 3.0).into()));
    let renamed = run("ner gold.jsonl predicted.jsonl --format spans --label-names names.tsv");
    assert_eq!((&renamed["micro"]["support"], &renamed["micro"]["f1"]), (&2.into(), &1.0.into()));
    program.write("tags.tsv", "Ada\tB-Person\n");
    program.expect_only_errors(&[
        ("ner gold.jsonl tags.tsv", &["tags.tsv: format CoNLL", "has the format spans"]),
        ("ner tags.tsv tags.tsv --label-names names.tsv", &["--label-names"]),
        ("ner gold.jsonl gold.jsonl --strict", &["--strict"]),
    ]);
}
