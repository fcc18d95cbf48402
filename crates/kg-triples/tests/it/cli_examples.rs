//! Runs the examples of `--help`.
#![cfg(unix)]

#[test]
fn help_examples_run() {
    // The command, the number of its examples that can run on files of the repository, and files
    // that these examples write.
    for (command, count, outputs) in [
        (&[][..], 13, &["passages.jsonl.gz"][..]),
        (&["extract"], 5, &["kg/extract.json"]),
        (&["sample"], 3, &["sampled/triples.tsv", "named/labels.tsv"]),
        (&["names"], 2, &["names.jsonl", "labels.tsv"]),
        (&["stats"], 1, &[]),
        (&["texts"], 2, &["texts/train/triples.de.txt"]),
        (
            &["mix"],
            4,
            &["en-de.jsonl.gz", "pairs/train/sequences.jsonl.gz", "mixed/train/sequences.jsonl.gz"],
        ),
        (&["phrases"], 1, &["passages.jsonl.gz"]),
        (&["link"], 1, &["linked.jsonl.gz"]),
        (
            &["switch"],
            3,
            &[
                "switched.jsonl",
                "switched/train/switched.de.jsonl.gz",
                "switched/train/switched.en.jsonl.gz",
                "switched/train/switched.zh.jsonl.gz",
                "switched/probe/held-out.jsonl.gz",
            ],
        ),
        (&["entailment"], 2, &["entailment.jsonl.gz", "triples/probe/candidates.jsonl.gz"]),
        (&["pairs"], 2, &["pairs.jsonl", "pairs/probe/held-out.jsonl.gz"]),
        (&["match"], 2, &["matches.run"]),
        (&["mentions"], 2, &["mentions.jsonl.gz", "mentions/probe/unseen-pairs.jsonl.gz"]),
    ] {
        let folder = testkit::run_examples(env!("CARGO_BIN_EXE_kg-triples"), command, count);
        for output in outputs {
            assert!(folder.path().join(output).exists(), "{command:?}: {output}");
        }
    }
}
