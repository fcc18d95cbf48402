//! Tests of FILTER with a few steps: an interrupted run, phase two, the saved reader, and invalid
//! input.
use std::path::Path;
use std::process::Command;

use experiment::read_json;
use mlqa_eval::Dataset;
use serde_json::Value;
use testkit::{PythonPackages, python_with};
use xlmr_model::{Head, Pretrained};

use crate::common::{
    CommandExt, FEW_ARTICLES_COMMAND, assert_contains, expect_failure, expect_invalid, kill_at,
    prepare, root, small_data, small_recipe, succeed, summary, tool,
};

/// Returns the command for a small recipe of FILTER with two languages, six steps and small
/// batches.
fn short_run(recipe: &str, out: &Path) -> Command {
    let mut command = small_recipe(recipe, out);
    command.set_all([
        "run.threads=1",
        "languages=[\"en\", \"de\"]",
        "training.steps=6",
        "training.batch_size=4",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
        "teacher.steps=4",
        "teacher.batch_size=4",
        "teacher.checkpoint_steps=2",
        "teacher.log_steps=1",
        "arms.filter-soft.steps=4",
    ]);
    command.set_all(small_data(recipe));
    command
}

fn filter_run(out: &Path) -> Command {
    short_run("filter", out)
}

fn weights(run: &Path, model: &str) -> torch_ext::TensorMap {
    torch_ext::read_tensors(run.join("seed-0").join(model).join("model.safetensors")).unwrap()
}

#[test]
fn recipe_filter_resumes_in_both_phases() {
    let folder = tempfile::tempdir().unwrap();
    let arm_run = |out: &str| {
        let mut command = filter_run(&folder.path().join(out));
        command.set_all(["run.arms=[\"filter-soft\"]", "evaluation.second=[\"translation\"]"]);
        command
    };
    succeed(arm_run("whole"));
    let (uninterrupted, interrupted) = (folder.path().join("whole"), folder.path().join("broken"));
    let stage =
        |stage: &str| interrupted.join("seed-0/filter-soft").join(stage).join("checkpoints");
    kill_at(arm_run("broken"), &stage("teacher").join("step-00000002"));
    kill_at(arm_run("broken"), &stage("train").join("step-00000002"));
    succeed(arm_run("broken"));
    assert_eq!(summary(&uninterrupted), summary(&interrupted));
    for model in ["filter-soft/model", "filter-soft/teacher-model"] {
        assert_eq!(weights(&uninterrupted, model), weights(&interrupted, model), "{model}");
    }
    let scores = |run: &Path| {
        std::fs::read(run.join("seed-0/filter-soft/teacher-scores.safetensors")).unwrap()
    };
    assert_eq!(scores(&uninterrupted), scores(&interrupted));
    // Phase one has a loss on each of the two texts. Phase two adds a loss on soft labels.
    let parts = |stage: &str| -> Vec<String> {
        let path = uninterrupted.join("seed-0/filter-soft").join(stage).join("metrics.jsonl");
        let text = std::fs::read_to_string(path).unwrap();
        let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        line["parts"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(parts("teacher"), ["loss/source", "loss/target"]);
    assert_eq!(parts("train"), ["loss/soft", "loss/source", "loss/target"]);
}

#[test]
fn recipe_filter_compares_inference_modes_with_the_control() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = filter_run(&out);
    command.set_all([
        "run.arms=[\"translate-train\", \"filter\", \"filter-unrelated\"]",
        "evaluation.second=[\"translation\", \"self\", \"none\"]",
    ]);
    let text = succeed(command);
    let pieces = [
        "training questions with their translations",
        "| translate-train (control), alone |",
        "| translate-train (control), projected |",
        "| FILTER, translation |",
        "| FILTER, unrelated text, alone |",
    ];
    assert_contains(&text, &pieces);
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(table.contains("FILTER: ") && table.contains("pairs of windows"), "{table}");
    let results = summary(&out);
    let mode_summary = |arm: &str, mode: &str| results["arms"][arm]["readings"][mode].clone();
    assert_eq!(mode_summary("translate-train", "translation"), Value::Null);
    assert_eq!(mode_summary("translate-train", "alone")["against_control"], Value::Null);
    assert!(mode_summary("filter", "translation")["against_control"]["mean"].is_f64());
    // Encoding a text fused with itself is equivalent to encoding it without a second text, up to
    // rounding.
    for language in ["en", "de"] {
        let f1 =
            |name| mode_summary("filter", name)["scores"]["f1"][language]["mean"].as_f64().unwrap();
        assert!((f1("itself") - f1("alone")).abs() < 1.0);
    }
    // `translate-train` and `filter` are trained on equal numbers of pairs.
    let pairs = |arm: &str| results["arms"][arm]["trained"].clone();
    assert_eq!(pairs("translate-train"), pairs("filter"));
    assert_ne!(weights(&out, "filter/model"), weights(&out, "translate-train/model"));
    assert!(out.join("seed-0/filter/predictions/translation/xquad.de.json").exists());

    // The folder of the fused model has the same format as the folder of a reader without fusion.
    // Transformers loads the model as the class named in `config.json`.
    let model = out.join("seed-0/filter/model");
    let config: Value = read_json(model.join("config.json")).unwrap();
    assert_eq!(config["architectures"], serde_json::json!(["XLMRobertaForQuestionAnswering"]));
    assert_eq!(config["model_type"], "xlm-roberta");
    let reader =
        Pretrained::load_trained(&model, Head::Span, tch::Device::Cpu, torch_ext::Precision::F32)
            .unwrap();
    let base = torch_ext::read_tensors("../data/base/model.safetensors").unwrap();
    let saved_weights = weights(&out, "filter/model");
    assert!(saved_weights.contains_key("qa_outputs.weight"));
    for name in saved_weights.keys().filter(|name| !name.starts_with("qa_outputs.")) {
        assert!(base.contains_key(name), "{name} is no parameter of the base");
    }
    assert_eq!(reader.model.named_parameters().len(), saved_weights.len());
    if let Some(python) = python_with(PythonPackages::Torch) {
        let mut check_command = Command::new(python);
        check_command.arg(root().join("crates/xlmr-model/scripts/check_with_transformers.py"));
        check_command.arg("--program").arg(tool("xlmr-model").get_program()).arg(&model);
        assert!(succeed(check_command).contains("model: ok, largest difference"));
    }
}

#[test]
fn recipe_filter_is_evaluated_in_an_untrained_language() {
    let folder = tempfile::tempdir().unwrap();
    let data = prepare(&format!("{FEW_ARTICLES_COMMAND},zh --first 3"));
    let mut command = filter_run(folder.path());
    command.args(["--arms", "filter"]).set_all(["tested=[\"zh\", \"en\"]"]);
    for key in ["translated", "evaluation", "second"] {
        let subfolder = if key == "second" { "/second" } else { "" };
        command.set_all([format!("data.{key}={data}{subfolder}")]);
    }
    let text = succeed(command);
    // Training pairs are only English and German, although Chinese is tested.
    let train = format!("{data}/train-context-en-question-en.json");
    let count = Dataset::read(train).unwrap().questions.len();
    let pairs = format!("{} training questions with their translations", 2 * count);
    assert!(text.contains(&pairs), "no {pairs:?} in:\n{text}");
    let modes = &summary(folder.path())["arms"]["filter"]["readings"];
    for mode in ["translation", "alone"] {
        let f1 = modes[mode]["scores"]["f1"].as_object().unwrap();
        assert_eq!(f1.keys().collect::<Vec<_>>(), ["en", "zh"]);
    }
}

fn classification_run(out: &Path) -> Command {
    short_run("filter/xnli-small", out)
}

#[test]
fn recipe_filter_classifies_sentence_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let uninterrupted = folder.path().join("whole");
    let text = succeed(classification_run(&uninterrupted));
    let pieces = [
        "| translate-train (control), alone |",
        "| translate-train (control), translate-test |",
        "| FILTER, translation |",
        "| FILTER, unrelated text, alone |",
        "| FILTER, soft labels, translation |",
    ];
    assert_contains(&text, &pieces);
    assert_ne!(
        weights(&uninterrupted, "filter/model"),
        weights(&uninterrupted, "filter-unrelated/model")
    );
    let predictions = uninterrupted.join("seed-0/filter/predictions/translation.txt");
    let predictions = std::fs::read_to_string(predictions).unwrap();
    let arms = &summary(&uninterrupted)["arms"];
    assert!(predictions.lines().count() > 10);
    // A test pair has the same English translation in every language, so every language has the
    // same accuracy.
    let translated = &arms["translate-train"]["readings"]["translate-test"]["scores"]["accuracy"];
    let without_second = &arms["translate-train"]["readings"]["alone"]["scores"]["accuracy"];
    let (de, en) = (&translated["de"], &translated["en"]);
    assert!(de["mean"].is_f64() && *en == without_second["en"] && de == en, "{translated}");
    assert!(arms["filter"]["readings"]["alone"]["scores"]["accuracy"]["de"]["mean"].is_f64());
}

#[test]
fn recipe_filter_rejects_rows_that_are_not_translations() {
    let folder = tempfile::tempdir().unwrap();
    let test = small_data("filter/xnli-small").remove(1);
    // The file of translations lacks the last row of the test file.
    let text = std::fs::read_to_string(test.strip_prefix("data.evaluation=").unwrap()).unwrap();
    let (shortened, _) = text.trim_end().rsplit_once('\n').unwrap();
    let second_file = folder.path().join("second.tsv");
    std::fs::write(&second_file, format!("{shortened}\n")).unwrap();
    let mut command = classification_run(&folder.path().join("run"));
    command.args(["--arms", "filter"]).set_path("data.second", &second_file);
    let error = expect_failure(&command.output().unwrap());
    assert!(error.contains("data.evaluation with data.second: expected"), "{error}");
}

#[test]
fn recipe_filter_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("refused");
    let cases = [
        ("qa.fusion.local=4", "local: expected at most 3, the number of layers"),
        ("qa.soft.alpha=2.0", "soft.alpha = 2"),
        ("qa.soft.loss.temperature=0.0", "qa.soft.loss.temperature = "),
        ("languages=[\"en\"]", "languages: list the source language and at least one other"),
        ("evaluation.second=[]", "evaluation.second = []"),
        ("data.second=", "data.second: is not set"),
        ("languages=[\"en\", \"fr\"]", "train-context-fr-question-fr.json"),
    ];
    expect_invalid(|| filter_run(&out), &cases);
    assert!(!out.join("seed-0").exists());
}
