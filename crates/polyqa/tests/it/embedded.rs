//! The reader that comes with the project.
use std::path::Path;

use serde_json::Value;

use crate::common::polyqa;

/// Texts of the demo in English, German and Chinese, and questions in other languages.
#[test]
fn the_embedded_reader_answers_questions_in_other_languages() {
    let program = polyqa();
    let texts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/documents");
    let names = ["titicaca.txt", "donau.txt", "dujiangyan.txt"];
    for name in names {
        std::fs::copy(texts.join(name), program.path_of(name)).unwrap();
    }
    let [english, german, chinese] = names;
    for (question, text, answer) in [
        ("¿De qué están hechas las islas flotantes de los uros?", english, "reeds"),
        ("How many capitals are on the Danube?", german, "Vier"),
        ("Wer ließ Dujiangyan bauen?", chinese, "李冰"),
        ("Seit wann ist Dujiangyan Welterbe?", chinese, "2000年"),
    ] {
        let arguments = ["answer", "--json", "-q", question, english, german, chinese];
        let output = program.expect_success(&arguments).out;
        let result: Value = serde_json::from_str(&output).unwrap();
        let best = &result["answers"][0];
        assert_eq!(best["document"], text, "{output}");
        assert!(best["text"].as_str().unwrap().contains(answer), "{output}");
    }
}
