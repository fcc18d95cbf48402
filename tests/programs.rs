//! The programs beside the recipes: what a user meets.

use serde_json::Value;

use crate::common::{packed, program, refuse, root, succeed, unpacked};

#[test]
fn answer_alignment_measures_alignment_and_search() {
    let folder = tempfile::tempdir().unwrap();
    for language in ["en", "de"] {
        // The first passages of the first article, and the first sentences with entities.
        let name = format!("xquad.{language}.json");
        let text = std::fs::read_to_string(root().join("data/xquad").join(&name)).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        file["data"].as_array_mut().unwrap().truncate(1);
        file["data"][0]["paragraphs"].as_array_mut().unwrap().truncate(2);
        std::fs::write(folder.path().join(name), file.to_string()).unwrap();
        let name = format!("{language}_pud.test.iob2.gz");
        let all = unpacked(&root().join("data/uner").join(&name));
        let sentences: String = all.split_inclusive("\n\n").take(20).collect();
        std::fs::write(folder.path().join(name), packed(&sentences)).unwrap();
    }
    let out = folder.path().join("out");
    let mut command = program("answer-alignment");
    command.args(["--languages", "de", "--threads", "1", "--data"]).arg(folder.path());
    command.arg("--entities").arg(folder.path()).arg("--out").arg(&out);
    let text = succeed(command);
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(text.contains(&table) && table.starts_with("| exact span / F1 | de | mean |"));
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let placements = std::fs::read_to_string(out.join("placements.md")).unwrap();
    let exact = |way: &str| -> f64 {
        let row = placements.lines().find(|line| line.contains(way)).unwrap();
        row.split('|').nth(2).unwrap().trim().parse().unwrap()
    };
    // What the oracle says is found, as far as the cuts leave it.
    assert_eq!(exact("CODEC, oracle right in 1 "), exact("within words up to 16"));
    assert!(exact("T-Projection, oracle right in 1 ") <= exact("within 30 candidates"));
    assert!(exact("CODEC, oracle right in 0.5 ") < exact("CODEC, oracle right in 1 "));
    let methods = summary["languages"]["de"].as_object().unwrap();
    let names: Vec<&String> = methods.keys().collect();
    let expected =
        ["english_nearest", "english_unique", "gold_nearest", "gold_unique", "projection"];
    assert_eq!(names, expected);
    // The gold answer is found in every passage, and nearest by position it is nearly always right.
    assert_eq!(methods["gold_nearest"]["found"], 100.0);
    assert!(methods["gold_nearest"]["exact_span"].as_f64().unwrap() > 95.0);

    let output = program("answer-alignment").args(["--languages", "en"]).output().unwrap();
    assert!(refuse(&output).contains("English is the source"));
}
