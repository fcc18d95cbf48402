//! Runs the examples of `--help` unchanged.
#![cfg(unix)]
use testkit::run_examples;

#[test]
fn examples_of_help_run() {
    // Command, number of its examples, and a file that they write.
    for (command, count, output) in [
        (&[][..], 3, "mixed/xquad-context-de-question-en.json"),
        (&["translate"], 2, "french/train-context-fr-question-fr.json"),
        (&["mix"], 3, "all/xquad-context-de-question-es.json"),
        (&["ner"], 1, "french/en.fr.conll"),
    ] {
        let folder = run_examples(env!("CARGO_BIN_EXE_qa-translate"), command, count);
        assert!(folder.path().join(output).exists(), "{command:?}: {output}");
    }
}
