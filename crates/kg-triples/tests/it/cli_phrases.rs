//! Tests of the subcommand `phrases`: table, output file and errors.

use std::path::Path;
use std::process::Output;

use crate::common::{expect_errors, has_row, read, stdout, write};
use kg_triples::phrases::PhrasePassage;
use tempfile::tempdir;

fn run(dir: &Path, arguments: &str) -> Output {
    crate::common::run(dir, &format!("phrases {arguments}"))
}

const EN: &str = r#"{"query":"who felled the cherry tree","lang":"en","documents":[{"title":"Cherry Tree","text":"He cut the cherry tree.\nA cherry tree stood.\nNothing."},{"title":"The cherry tree"}]}
{"query":"who","lang":"en","documents":[{"title":"Who","text":"Who is who."}]}
"#;
const DE: &str = r#"{"query":"wer ist George Washington","lang":"de","documents":[{"title":"George Washington","text":"George Washington lebte in Virginia."}]}"#;

#[test]
fn passages_and_their_counts_are_written() {
    let dir = tempdir().unwrap();
    write(dir.path(), "en.jsonl", EN);
    write(dir.path(), "de.jsonl", DE);
    let command = "--queries en.jsonl,de.jsonl --min-chars 0";
    let table = stdout(&run(dir.path(), &format!("{command} --out made/p.jsonl.gz")));
    // The columns are the languages de and en. The English query has five words and therefore 4 + 3
    // + 2 candidates of 2 to 4 words.
    for row in [
        "de en",
        "queries 1 2",
        "titles 1 3",
        "candidates 6 9",
        "knowledge phrases 1 1",
        "queries with phrases 1 1",
        "paragraphs of their documents 1 3",
        "with a phrase 1 2",
        "distinct passages 1 2",
        "passages 1 1",
        "words per phrase 2.00 2.00",
    ] {
        assert!(has_row(&table, row), "{row}\n{table}");
    }
    let read = |name: &str| read::<PhrasePassage>(dir.path().join(name));
    assert_eq!(read("made/p.jsonl.gz").len(), 2);
    stdout(&run(dir.path(), &format!("{command} --unequal --out all.jsonl")));
    assert_eq!(read("all.jsonl").len(), 3);
    let line = std::fs::read_to_string(dir.path().join("all.jsonl")).unwrap();
    assert_eq!(
        line.lines().next().unwrap(),
        r#"{"lang":"de","text":"George Washington lebte in Virginia.","phrases":[{"phrase":"george washington","occurrences":[{"start":0,"end":17}]}]}"#
    );
}

#[test]
fn bad_input_is_reported_and_writes_no_file() {
    let dir = tempdir().unwrap();
    write(dir.path(), "q.jsonl", EN);
    write(
        dir.path(),
        "bad.jsonl",
        format!("{EN}{{\"query\":\" \",\"lang\":\"en\",\"documents\":[]}}\n"),
    );
    write(dir.path(), "xx.jsonl", DE.replace("\"de\"", "\"xx\""));
    let cases = [
        ("--queries bad.jsonl", "bad.jsonl:3: expected one query with its documents"),
        ("--queries q.jsonl,none.jsonl", "none.jsonl"),
        ("--queries xx.jsonl", "\"xx\""),
        ("--queries q.jsonl", "1 queries have a phrase; of their 3 paragraphs, 3 are shorter"),
        ("--queries q.jsonl --title-fraction 1.5", "1.5"),
        ("--queries q.jsonl --title-fraction 7/0", "title_fraction = inf"),
        ("--queries q.jsonl --title-fraction some", "such as 0.7 or 7/10"),
    ];
    expect_errors(dir.path(), "phrases", &cases);
}
