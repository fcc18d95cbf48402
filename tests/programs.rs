//! Tests of the programs other than recipes.

use std::path::Path;

use mlqa_eval::Dataset;
use qa_translate::{ParallelTexts, word_ranges};
use serde_json::Value;

use crate::common::{expect_failure, program, root, succeed};

/// Writes the first paragraphs of XQuAD's first article, in English and German.
fn write_parallel_questions(folder: &Path, paragraphs: usize) {
    for language in ["en", "de"] {
        let name = format!("xquad.{language}.json");
        let text = std::fs::read_to_string(root().join("data/xquad").join(&name)).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        file["data"].as_array_mut().unwrap().truncate(1);
        file["data"][0]["paragraphs"].as_array_mut().unwrap().truncate(paragraphs);
        std::fs::write(folder.join(name), file.to_string()).unwrap();
    }
}

#[test]
fn answer_alignment_places_answers() {
    let folder = tempfile::tempdir().unwrap();
    write_parallel_questions(folder.path(), 1);
    let path = |name: &str| folder.path().join(name);
    let place = |method: &str, out: &Path| {
        let mut command = program("answer-alignment");
        command.args(["place", "--to", "de", "--threads", "1", "--method", method]);
        command.arg("--in").arg(path("xquad.en.json")).arg("--out").arg(out);
        command.arg("--translated").arg(path("xquad.de.json"));
        command
    };
    let german = Dataset::read(path("xquad.de.json")).unwrap();
    for method in ["alignment", "codec", "t-projection"] {
        let out = path(method);
        let text = succeed(place(method, &out));
        let placed = Dataset::read(out.join("train-context-de-question-de.json")).unwrap();
        placed.check_answers().unwrap();
        let kept = placed.questions.len();
        let summary = format!("de: {kept} of {} kept, skip ratio", german.questions.len());
        assert!(kept > 0 && text.contains(&summary), "{text}");
        for question in &placed.questions {
            let original = german.questions.iter().find(|other| other.id == question.id).unwrap();
            assert_eq!(
                (&question.question, &question.context),
                (&original.question, &original.context)
            );
            // CODEC and T-Projection place spans of whole words.
            let span = question.answers[0].span().unwrap();
            let is_whole =
                word_ranges(&question.context).iter().any(|word| word.start == span.start);
            assert!(is_whole || method == "alignment", "{method}");
        }
        // English passages with German questions are mixMRC's other half.
        assert!(out.join("train-context-en-question-de.json").exists());
        let report: Value =
            serde_json::from_str(&std::fs::read_to_string(out.join("report.json")).unwrap())
                .unwrap();
        assert_eq!(report["de"]["kept"], kept);
    }
    let mut without_head = place("codec", &path("none"));
    without_head.arg("--model").arg(root().join("data/reader"));
    let error = expect_failure(&without_head.output().unwrap());
    assert!(error.contains("no masked-LM head") && error.contains("--method alignment"), "{error}");
    let mut missing_layer = place("alignment", &path("none"));
    missing_layer.args(["--layer", "99"]);
    assert!(expect_failure(&missing_layer.output().unwrap()).contains("number of layers"));
    assert!(!path("none").exists());
}

#[test]
fn answer_alignment_compares_methods() {
    let folder = tempfile::tempdir().unwrap();
    write_parallel_questions(folder.path(), 2);
    let read = |name: &str| Dataset::read(folder.path().join(name)).unwrap();
    let texts = ParallelTexts::of(&read("xquad.en.json"), &read("xquad.de.json"));
    std::fs::write(folder.path().join("de.txt"), "0-0 1-1 2-2\n".repeat(texts.len())).unwrap();
    let out = folder.path().join("out");
    let mut command = program("answer-alignment");
    command.args(["--languages", "de", "--threads", "1", "--data"]).arg(folder.path());
    command.arg("--alignments").arg(folder.path()).arg("--out").arg(&out);
    let text = succeed(command);
    let placements = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(text.contains(&placements) && placements.starts_with("| exact spans, % | de | all |"));
    let numbers = std::fs::read_to_string(out.join("numbers.jsonl")).unwrap();
    assert!(numbers.contains("alignment, last 2 layers, grow_diag"), "{numbers}");
    let exact_share = |method: &str| -> f64 {
        let row = placements.lines().find(|line| line.contains(method)).unwrap();
        // `percentage (low to high)`
        let cell = row.split('|').nth(2).unwrap();
        cell.split_whitespace().next().unwrap().parse().unwrap()
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
