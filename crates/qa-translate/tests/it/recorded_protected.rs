//! A recorded run of a real translator with and without protected parts, without network.
//!
//! `fixtures/translate/apertium-software{,-protected}-es.jsonl` are the caches of `qa-translate
//! translate --in software.en.json --to es --server URL`, without and with `--protect
//! --protect-names names.txt` ("Ada Lovelace", "Save"), and a server in LibreTranslate's format
//! around `apertium -u eng-spa` (Debian 12: apertium 3.8.3, apertium-eng-spa 0.8.1), 2026-11-29.
use mlqa_eval::Dataset;
use testkit::Program;

const PARTS: [&str; 16] = [
    "`git status`",
    "{name}",
    "%d",
    "1,024",
    "help@example.org",
    "https://example.org/docs?page=2",
    "<b>",
    "Save",
    "</b>",
    "30",
    r"$\pi r^2$",
    "3.5",
    "Ada Lovelace",
    "`max_size = 10`",
    "12.5 %",
    "10:30",
];

#[test]
fn apertium_changes_code_and_placeholders_unless_they_are_protected() {
    let program = Program::new(env!("CARGO_BIN_EXE_qa-translate"));
    let fixture = |name: &str| testkit::fixture("translate").join(name).display().to_string();
    program.write("names.txt", "Ada Lovelace\nSave\n");
    let lost_parts = |file: &str, options: &str, out: &str| {
        let line = format!(
            "translate --in {} --to es --file {} --out {out} {options}",
            fixture("software.en.json"),
            fixture(file)
        );
        let output = program.expect_success(&line).out;
        assert!(output.contains("10 of 10 kept (10 by markers"), "{output}");
        let path = program.path_of(&format!("{out}/train-context-es-question-es.json"));
        let spanish = Dataset::read(path).unwrap();
        spanish.check_answers().unwrap();
        let text: String = spanish.questions.iter().map(|q| format!("{}\n", q.context)).collect();
        PARTS.into_iter().filter(|part| !text.contains(part)).collect::<Vec<_>>()
    };
    let lost = lost_parts("apertium-software-es.jsonl", "", "plain");
    assert_eq!(lost, ["`git status`", "{name}", "Save", "`max_size = 10`"]);
    let options = "--protect --protect-names names.txt";
    let lost = lost_parts("apertium-software-protected-es.jsonl", options, "protected");
    assert!(lost.is_empty(), "{lost:?}");
}
