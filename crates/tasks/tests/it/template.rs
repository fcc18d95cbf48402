//! A crate outside the workspace fine-tunes a reader by the documented lines.
use std::fs;
use std::path::Path;

#[test]
fn the_template_builds_trains_and_scores() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let question = |number: usize| {
        format!(
            r#"{{"context": "House {number} is red.", "qas": [{{"id": "q{number}",
                "question": "Which colour?", "answers": [{{"text": "red", "answer_start": 11}}]}}]}}"#
        )
    };
    let questions: Vec<String> = (0..8).map(question).collect();
    let file = format!(r#"{{"data": [{{"paragraphs": [{}]}}]}}"#, questions.join(","));
    fs::write(path("train.json"), file).unwrap();
    let model = crate_folder.join("../../data/base").canonicalize().unwrap();
    let (questions, out) = (path("train.json"), path("out"));
    let arguments = [model.to_str().unwrap(), &questions, &questions, &out];
    let printed = testkit::run_outside(
        &crate_folder.join("template"),
        &folder.path().join("outside"),
        &arguments,
    );
    // Eight windows are one batch of 16 for each of two epochs.
    assert!(printed.contains("2 steps, loss "), "{printed}");
    assert!(printed.contains("{\"exact_match\": "), "{printed}");
    let predictions = fs::read_to_string(path("out/predictions.json")).unwrap();
    assert_eq!(predictions.matches("\"q").count(), 8, "{predictions}");
    assert!(folder.path().join("out/model/model.safetensors").exists());
}
