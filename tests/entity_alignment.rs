//! Tests of the alignment of entities with a few steps: missing texts, an interrupted run and
//! rejected input.
use std::path::Path;
use std::process::Command;

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, prepare, small_recipe, succeed,
};
use torch_ext::read_tensors;

/// Returns the small recipe's command with a few steps and one language.
fn small_run(out: &Path) -> Command {
    let links = prepare("kg-triples link --entities data/codex --languages en,zh");
    let mut command = small_recipe("entity-alignment", out);
    command.set_path("data.links", &Path::new(&links).join("train/linked.jsonl.gz"));
    command.set_all([
        "languages=[\"zh\"]",
        "missing=[0.0, 0.6]",
        "hidden_size=16",
        "structure.width=32",
        "align.steps=6",
        "align.batch_size=32",
        "align.checkpoint_steps=2",
        "align.log_steps=1",
        "generate.steps=2",
        "generate.batch_size=32",
        "complete.steps=4",
        "complete.batch_size=32",
        "iteration.rounds=2",
        "iteration.training.steps=2",
        "iteration.training.batch_size=32",
    ]);
    command
}

/// Number of rows of the joint vectors that are zero in the given columns.
fn zero_rows(path: &Path, start: i64, length: i64) -> i64 {
    let vectors = &read_tensors(path).unwrap()["english"];
    let norms = vectors.narrow(1, start, length).norm_scalaropt_dim(2.0, [1i64], false);
    norms.eq(0.0).sum(tch::Kind::Int64).int64_value(&[])
}

#[test]
fn recipe_entity_alignment_completes_missing_texts_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str| small_run(&folder.path().join(out));
    succeed(run("whole"));
    let path = |name: &str| folder.path().join("whole").join(name);
    let table = std::fs::read_to_string(path("table.md")).unwrap();
    for text in ["| 0 % of the texts missing | h@1 | zh, h@1 |", "| 60 % of the texts missing |"] {
        assert!(table.contains(text), "{table}");
    }
    for title in ["text", "structure", "text and structure, noise", "completed, iterated"] {
        assert!(table.contains(&format!("| {title} |")), "{table}");
    }
    // Missing texts are zero, except where they are generated or noise.
    let model = |arm: &str, file: &str| path(&format!("seed-0/{arm}/model/zh-{file}.safetensors"));
    let without_text = |arm: &str, file: &str| zero_rows(&model(arm, file), 0, 16);
    assert_eq!(without_text("both", "0"), 0);
    let missing = without_text("both", "60");
    assert!(missing > 500, "{missing}");
    assert_eq!(without_text("noise", "60"), 0);
    let left = without_text("completed", "60");
    assert!(left < missing / 2, "{left} of {missing}");
    // Arms with one modality have zeros in place of the other.
    let count = |arm, start| zero_rows(&model(arm, "0"), start, 16);
    assert_eq!((count("text", 0), count("structure", 0)), (0, count("text", 16)));
    let summary = std::fs::read_to_string(path("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let added = &summary["added_and_correct_pairs"];
    assert!(added["completed-iterated"]["zh-0"][0].as_f64().unwrap() > 0.0, "{added}");
    assert!(added.get("completed").is_none(), "{added}");
    // A run that was killed in its second setting continues with the same results.
    let arm = "seed-0/completed-iterated";
    let broken = folder.path().join("broken").join(arm);
    let arms = |mut command: Command| {
        command.args(["--arms", "completed-iterated"]);
        command
    };
    kill_at(arms(run("broken")), &broken.join("zh-60/align/checkpoints/step-00000004"));
    succeed(arms(run("broken")));
    let files = ["model/zh-0.safetensors", "model/zh-60.safetensors", "zh-60/align/metrics.jsonl"];
    assert_equal_files([&path(arm), &broken], &files);
}

#[test]
fn recipe_entity_alignment_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("languages=[\"en\"]", "languages = "),
        ("languages=[\"zh\", \"zh\"]", "languages = "),
        ("missing=[]", "missing = []: must be"),
        ("missing=[0.301, 0.302]", "missing = [0.301, 0.302]: must be"),
        ("missing=[1.0]", "missing = [1.0]: must be"),
        ("known=1", "known = 1: must be above 0 and below 1"),
        ("structure.hops=0", "structure.hops = 0"),
        ("hidden_size=0", "hidden_size = 0"),
        ("alignment.reconstruction_weight=-1", "alignment.reconstruction_weight = -1"),
        ("evaluation.neighbours=0", "evaluation.neighbours = 0"),
        ("arms.text.modalities=[]", "arms.text.modalities: is empty"),
        ("arms.text.complete=true", "arms.text.complete: needs both modalities"),
        ("arms.noise.complete=true", "arms.noise: set either noise or complete"),
    ];
    expect_invalid(|| small_run(&folder.path().join("run")), &cases);
    assert!(!folder.path().join("run").exists());
    // Mistakes that only the data show; each run has its own folder.
    let cases = [
        ("known=0.0001", "known = 0.0001: of "),
        ("languages=[\"hi\"]", "no entities with labels in the language hi"),
        ("languages=[\"de\"]", "no linked pages in the language de"),
    ];
    for (index, case) in cases.into_iter().enumerate() {
        expect_invalid(|| small_run(&folder.path().join(index.to_string())), &[case]);
    }
}
