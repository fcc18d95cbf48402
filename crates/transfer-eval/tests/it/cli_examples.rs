//! Tests that run the examples of `--help`.
#![cfg(unix)]
use testkit::run_examples;

/// Each row contains a subcommand, the number of its examples, and a file that the examples write.
const EXAMPLES: [(&[&str], usize, Option<&str>); 15] = [
    (&[], 10, Some("xep.json")),
    (&["ner"], 1, None),
    (&["xnli"], 1, None),
    (&["relations"], 1, None),
    (&["oie"], 2, Some("curve.tsv")),
    (&["lama", "clozes"], 1, Some("clozes.jsonl")),
    (&["lama", "score"], 2, None),
    (&["retrieval", "list"], 1, Some("xep.json")),
    (&["retrieval", "score"], 2, None),
    (&["retrieval", "run"], 1, None),
    (&["map"], 2, Some("mapped/source.vec")),
    (&["names", "coverage"], 1, None),
    (&["names", "precision"], 2, None),
    (&["names", "table"], 1, None),
    (&["table"], 2, None),
];

#[test]
fn examples_run() {
    for (subcommand, count, file) in EXAMPLES {
        let folder = run_examples(env!("CARGO_BIN_EXE_transfer-eval"), subcommand, count);
        assert!(file.is_none_or(|file| folder.path().join(file).exists()), "{subcommand:?}");
    }
}
