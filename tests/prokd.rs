//! Tests of ProKD with a few steps: shared teachers, an interrupted run and rejected input.
use std::path::Path;
use std::process::Command;

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, small_recipe, succeed,
};

/// Returns the small recipe's command with a few steps and short inputs.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("prokd", out);
    command.set_all([
        "encoding.max_length=40",
        "teacher.steps=6",
        "teacher.batch_size=4",
        "teacher.checkpoint_steps=2",
        "teacher.log_steps=1",
        "student.steps=6",
        "student.batch_size=4",
        "student.checkpoint_steps=2",
        "student.log_steps=1",
        "data.untagged.share=0.9",
    ]);
    command
}

#[test]
fn recipe_prokd_trains_shared_teachers_and_resumes_students() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str| small_run(&folder.path().join(out));
    succeed(run("whole"));
    let path = |name: &str| folder.path().join("whole").join(name);
    let table = std::fs::read_to_string(path("table.md")).unwrap();
    assert!(table.contains("| named entities, F1 | de | en | zh | target languages |"), "{table}");
    for title in ["zero-shot transfer", "distillation, self-training", "ProKD"] {
        assert!(table.contains(&format!("| {title} |")), "{table}");
    }
    // The teacher's arm has no model of its own, and the two kinds of teachers differ.
    assert!(!path("seed-0/zero-shot/model").exists());
    let teacher = |kind: &str| {
        let model = path(&format!("seed-0/teacher-{kind}/model/model.safetensors"));
        std::fs::read(model).unwrap()
    };
    assert_ne!(teacher("plain"), teacher("aligned"));
    // Students of one teacher differ by their targets.
    let student =
        |arm: &str| std::fs::read(path(&format!("seed-0/{arm}/model/model.safetensors"))).unwrap();
    assert_ne!(student("distilled"), student("self-training"));
    // A student that was killed continues with its prototypes.
    let arm = "seed-0/prokd";
    let broken = folder.path().join("broken").join(arm);
    kill_at(run("broken"), &broken.join("student/checkpoints/step-00000004"));
    succeed(run("broken"));
    let files = ["model/model.safetensors", "student/metrics.jsonl", "predictions/zh.conll"];
    assert_equal_files([&path(arm), &broken], &files);
}

#[test]
fn recipe_prokd_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("types=[]", "types = []: give types"),
        ("data.test.de=data/uner/de_pud.test.iob2.gz", "data.test.de: is in data.target, too"),
        ("arms.prokd.teacher=other", "other"),
        ("alignment.weight=-1", "alignment.weight = -1"),
        ("self_training.decay=1", "self_training.decay = 1"),
        ("data.untagged.share=1.5", "held_out.share = 1.5"),
    ];
    expect_invalid(|| small_run(&folder.path().join("run")), &cases);
    assert!(!folder.path().join("run/seed-0").exists());
}
