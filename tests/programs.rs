//! Tests of the programs other than recipes.

use mlqa_eval::Dataset;
use qa_translate::ParallelTexts;
use serde_json::Value;

use crate::common::{expect_failure, program, root, succeed};

#[test]
fn answer_alignment_compares_methods() {
    let folder = tempfile::tempdir().unwrap();
    for language in ["en", "de"] {
        // The test uses only the first paragraphs of the first article.
        let name = format!("xquad.{language}.json");
        let text = std::fs::read_to_string(root().join("data/xquad").join(&name)).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        file["data"].as_array_mut().unwrap().truncate(1);
        file["data"][0]["paragraphs"].as_array_mut().unwrap().truncate(2);
        std::fs::write(folder.path().join(name), file.to_string()).unwrap();
    }
    let read = |name: &str| Dataset::read(folder.path().join(name)).unwrap();
    let texts = ParallelTexts::of(&read("xquad.en.json"), &read("xquad.de.json"));
    std::fs::write(folder.path().join("de.txt"), "0-0 1-1 2-2\n".repeat(texts.len())).unwrap();
    let out = folder.path().join("out");
    let mut command = program("answer-alignment");
    command.args(["--languages", "de", "--threads", "1", "--data"]).arg(folder.path());
    command.arg("--alignments").arg(folder.path()).arg("--out").arg(&out);
    let text = succeed(command);
    let placements = std::fs::read_to_string(out.join("placements.md")).unwrap();
    assert!(text.contains(&placements) && placements.starts_with("| exact spans, % | de | all |"));
    let exact_share = |method: &str| -> f64 {
        let row = placements.lines().find(|line| line.contains(method)).unwrap();
        row.split('|').nth(2).unwrap().trim().parse().unwrap()
    };
    // Answers do not begin with the first three words.
    assert_eq!(exact_share("word alignment file"), 0.0);
    // With an oracle that is always right, CODEC finds every span within its limit of words.
    // T-Projection finds at most the spans among its candidates.
    assert_eq!(exact_share("CODEC, oracle right in 1 "), exact_share("within words up to 16"));
    assert!(exact_share("T-Projection, oracle right in 1 ") <= exact_share("within 30 candidates"));
    assert!(exact_share("CODEC, oracle right in 0.5 ") < exact_share("CODEC, oracle right in 1 "));

    let output = program("answer-alignment").args(["--languages", "en"]).output().unwrap();
    assert!(expect_failure(&output).contains("English is the source"));
}
