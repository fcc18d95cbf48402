//! Tests of the examples in the help text and of their output folders.
#![allow(clippy::unwrap_used)] // helpers of tests
use shards::Manifest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_demo-data");

#[cfg(unix)]
#[test]
fn examples_of_the_help_text_write_complete_folders() {
    let folder = testkit::run_examples(PROGRAM, &[], 12);
    for (name, file) in [
        ("questions", "train-context-en-question-en.json"),
        ("questions", "test-context-en-question-zh.json"),
        ("questions", "heads.test.txt"),
        ("parallel", "train-context-de-question-de.json"),
        ("pairs", "xnli.test.to-en.tsv"),
        ("clozes", "test/de/templates.jsonl"),
        ("divided", "second/xquad.de.json"),
        ("articles", "train-context-en-question-en.json"),
        ("fold-1", "test-context-zh-question-en.json"),
        ("relations", "test.zh.json"),
        ("mixture", "train.json"),
        ("held-out", "train.json"),
        ("text", "vi.json"),
        ("found", "queries.jsonl.gz"),
    ] {
        let manifest = Manifest::read(folder.path().join(name)).unwrap().unwrap();
        manifest.check(folder.path().join(name)).unwrap();
        assert!(manifest.files.contains_key(file), "{name}: {:?}", manifest.files.keys());
        assert!(manifest.program.starts_with("demo-data ") && !manifest.inputs.is_empty());
    }
    // `heads.test.txt` lists the test entities, so that other training data can exclude them.
    let heads = std::fs::read_to_string(folder.path().join("questions/heads.test.txt")).unwrap();
    let triples = std::fs::read_to_string(folder.path().join("data/demo/kg/triples.tsv")).unwrap();
    assert!(heads.lines().count() > 10);
    for head in heads.lines() {
        assert!(triples.contains(&format!("\n{head}\t")), "{head}");
    }
}
