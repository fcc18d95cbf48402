//! Named entity recognition at a few steps each, an interrupted run, and what a user meets with bad
//! input.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use transfer_eval::Protocol;

use crate::common::{kill_at, program, refuse, root, succeed, summary};

/// A few sentences of three documents in English, and test files in three languages.
fn write_data(folder: &Path) {
    let sentence = |document: usize, number: usize, words: &[(&str, &str)]| {
        let mut text = format!("# sent_id = d-{document}-{number:04}\n");
        for (k, (word, tag)) in words.iter().enumerate() {
            text.push_str(&format!("{}\t{word}\t{tag}\t-\t-\n", k + 1));
        }
        text + "\n"
    };
    let names = ["Lima", "Paris", "Tokyo", "Berlin"];
    let train: String = (0..24)
        .map(|k| {
            let words = [("Anna", "B-PER"), ("lives", "O"), ("in", "O"), (names[k % 4], "B-LOC")];
            sentence(k / 8, k, &words[k % 2..])
        })
        .collect();
    std::fs::write(folder.join("train.iob2"), train).unwrap();
    for (language, verb) in [("en", "lives"), ("de", "wohnt"), ("zh", "住")] {
        let words = [("Paula", "B-PER"), (verb, "O"), ("Lima", "B-LOC"), ("UNESCO", "B-ORG")];
        let text: String = (0..3).map(|k| sentence(9, k, &words[k..])).collect();
        std::fs::write(folder.join(format!("{language}.iob2")), text).unwrap();
    }
}

/// The small recipe on those sentences: two starts, six epochs of four steps.
fn small(folder: &Path, out: &str) -> Command {
    if !folder.join("train.iob2").exists() {
        write_data(folder);
    }
    let mut command = program("ner");
    command.arg("examples/ner/small.toml").arg("--out").arg(folder.join(out));
    command.args(["--model", "data/base", "--model", "other=data/base"]);
    let path = |name: &str| folder.join(format!("{name}.iob2")).display().to_string();
    for set in [
        format!("data.train={}", path("train")),
        format!("data.test.en={}", path("en")),
        format!("data.test.de={}", path("de")),
        format!("data.test.zh={}", path("zh")),
        "fine_tuning.batch_size=4".into(),
        "fine_tuning.epochs=6".into(),
        "fine_tuning.checkpoint_steps=2".into(),
    ] {
        command.args(["--set", &set]);
    }
    command
}

#[test]
fn recipe_ner_compares_starts_over_languages_and_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(small(folder.path(), "run"));
    for piece in ["train 16 en; dev 8 en", "| UNER F1, 2 seeds | en | de | zh | average |"] {
        assert!(text.contains(piece), "no {piece:?} in:\n{text}");
    }
    for row in ["base (avg)", "base (max)", "other (avg)", "other (max)"] {
        assert!(text.contains(&format!("\n| {row} |")), "no {row} in:\n{text}");
    }
    let found = summary(&out);
    assert_eq!(found["seeds"], json!([0, 1]));
    for start in ["base", "other"] {
        let own = &found["starts"][start];
        for language in ["en", "de", "zh", "average"] {
            for metric in ["f1", "precision", "recall"] {
                let one = &own[metric][language];
                assert!(one["mean"].is_f64() && one["sd"].is_f64(), "{start} {language}: {one}");
            }
            assert!(own["max"]["f1"][language].is_f64());
        }
        for epoch in own["epochs"].as_array().unwrap() {
            assert!((1..=6).contains(&epoch.as_u64().unwrap()));
        }
    }
    // The two starts are one model.
    assert_eq!(found["starts"]["base"], found["starts"]["other"]);
    let average = |f1: &Value| {
        ["en", "de", "zh"].iter().map(|code| f1[code].as_f64().unwrap()).sum::<f64>() / 3.0
    };
    let max = &found["starts"]["base"]["max"]["f1"];
    assert!((average(max) - max["average"].as_f64().unwrap()).abs() < 1e-9);

    let place = out.join("seed-1/other");
    let config = std::fs::read_to_string(place.join("model/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["architectures"], json!(["XLMRobertaForTokenClassification"]));
    assert_eq!(config["id2label"]["1"], "B-LOC");
    assert!(!place.join("fine-tune/checkpoints").exists());
    // The predictions, scored again from their file.
    let value = |name: &str| -> Value {
        let text = std::fs::read_to_string(place.join(name)).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["value"].clone()
    };
    assert_eq!(value("trained.json")["dev"].as_array().unwrap().len(), 6);
    let tags = |path: &Path| -> Vec<Vec<String>> {
        let sentences = transfer_eval::ner::read_ner(path, None).unwrap();
        sentences.into_iter().map(|sentence| sentence.tags).collect()
    };
    let gold = tags(&folder.path().join("de.iob2"));
    let predicted = tags(&place.join("predictions/de.conll"));
    let score = transfer_eval::ner::score_tags(&gold, &predicted, Default::default()).unwrap();
    assert!(
        (100.0 * score.micro.f1 - value("result.json")["f1"]["de"].as_f64().unwrap()).abs() < 1e-9
    );

    // Asked again, nothing is computed; with one more seed, that one alone.
    let again = succeed(small(folder.path(), "run"));
    assert!(again.contains("| other (max) |") && !again.contains("dev F1"), "{again}");
    assert_eq!(summary(&out), found);
    let mut more = small(folder.path(), "run");
    more.args(["--seeds", "3"]);
    let more = succeed(more);
    assert_eq!(more.matches("dev F1").count(), 2, "{more}");
    for cell in ["seed 2, base: epoch", "seed 2, other: epoch"] {
        assert!(more.contains(cell), "no {cell} in:\n{more}");
    }
}

#[test]
fn recipe_ner_tags_a_mended_test_file_and_a_further_start_without_training_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = |more: &[&str]| {
        let mut command = small(folder.path(), "run");
        command.args(["--set", "fine_tuning.epochs=1", "--seeds", "1"]).args(more);
        succeed(command)
    };
    assert_eq!(start(&["--arms", "base"]).matches("dev F1").count(), 1);
    let german = folder.path().join("de.iob2");
    let text = std::fs::read_to_string(&german).unwrap();
    std::fs::write(&german, text.replacen("wohnt", "lebt", 1)).unwrap();
    let mended = start(&["--arms", "base"]);
    assert!(mended.contains("seed 0, base: test F1") && !mended.contains("dev F1"), "{mended}");
    let predictions = folder.path().join("run/seed-0/base/predictions/de.conll");
    assert!(std::fs::read_to_string(predictions).unwrap().contains("lebt"));
    let both = start(&[]);
    assert!(both.contains("seed 0, other: epoch") && !both.contains("seed 0, base"), "{both}");
    // A tag that no label stands for is found before anything is trained.
    std::fs::write(&german, text.replacen("B-LOC", "B-GPE", 1)).unwrap();
    let mut damaged = small(folder.path(), "damaged");
    let error = refuse(&damaged.output().unwrap());
    assert!(error.contains("sentences in de") && error.contains("B-GPE"), "{error}");
    assert!(!folder.path().join("damaged/seed-0/base/fine-tune").exists());
}

#[test]
fn recipe_ner_killed_and_resumed_equals_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    succeed(small(folder.path(), "whole"));
    // After the second epoch's scores, in the middle of the third.
    let sign = broken.join("seed-0/other/fine-tune/checkpoints/step-00000010");
    kill_at(small(folder.path(), "broken"), &sign);
    assert!(!broken.join("summary.json").exists());
    let mut resumed = program("ner");
    resumed.arg(broken.join("recipe.toml")).arg("--resume").arg(&broken);
    succeed(resumed);
    assert_eq!(summary(&whole), summary(&broken));
    for part in ["seed-0/other/model/model.safetensors", "seed-1/base/predictions/zh.conll"] {
        let read = |run: &Path| std::fs::read(run.join(part)).unwrap();
        assert!(read(&whole) == read(&broken), "{part}");
    }
}

#[test]
fn the_recipe_is_the_papers_protocol() {
    let text = std::fs::read_to_string(root().join("examples/ner/recipe.toml")).unwrap();
    let recipe: toml::Table = toml::from_str(&text).unwrap();
    let protocol = toml::Value::try_from(Protocol::ner()).unwrap();
    assert_eq!(recipe["run"]["seeds"], protocol["seeds"]);
    assert_eq!(recipe["selection"], protocol["selection"]);
    for key in ["epochs", "learning_rate", "batch_size", "warmup_ratio"] {
        assert_eq!(recipe["fine_tuning"][key], protocol[key], "{key}");
    }
    assert_eq!(recipe["encoding"]["max_length"], protocol["max_length"]);
}

#[test]
fn a_setting_that_cannot_be_used_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    for (set, piece) in [
        ("fine_tuning.lerning_rate=1", "lerning_rate"),
        ("fine_tuning.learning_rate=-1", "learning_rate"),
        ("fine_tuning.batch_size=0", "batch_size"),
        ("fine_tuning.steps=9", "fine_tuning.steps"),
        ("evaluation_batch_size=0", "evaluation_batch_size"),
        ("types=[]", "types = []"),
        ("types=[\"PER\"]", "B-LOC"),
        ("selection=best", "best"),
        ("encoding.max_length=159", "158 positions"),
        ("data.train=nowhere.iob2", "nowhere.iob2"),
        ("data.test.nl=nowhere.iob2", "data.test.nl"),
        ("data.dev.en=data/uner/en_ewt.dev.iob2.gz", "data.held_out"),
        ("data.held_out.share=1.5", "held_out.share = 1.5"),
        ("data.held_out.share=0.99", "nothing is left"),
        ("run.device=tpu", "tpu"),
        ("device=tpu", "device is now run.device"),
    ] {
        let error = refuse(&small(folder.path(), "run").args(["--set", set]).output().unwrap());
        assert!(error.contains(piece), "{set}: {error}");
        assert!(!folder.path().join("run/summary.json").exists());
        std::fs::remove_dir_all(folder.path().join("run")).ok();
    }
    for (model, piece) in [
        ("data/base", "NAME=DIR"),
        ("new=nowhere", "models.new = nowhere"),
        ("a/b=data/base", "a/b"),
    ] {
        let error = refuse(&small(folder.path(), "run").args(["--model", model]).output().unwrap());
        assert!(error.contains(piece), "{model}: {error}");
    }
    let mut plain = program("ner");
    plain.arg("examples/ner/recipe.toml").arg("--out").arg(folder.path().join("run"));
    assert!(refuse(&plain.output().unwrap()).contains("models is empty"));
    plain.args(["--model", "data/base"]);
    assert!(refuse(&plain.output().unwrap()).contains("data.train: is not set"));
    succeed(small(folder.path(), "run"));
    let mut other = small(folder.path(), "run");
    other.args(["--set", "fine_tuning.learning_rate=1e-4"]);
    let error = refuse(&other.output().unwrap());
    assert!(
        error.contains("another recipe") && error.contains("fine_tuning.learning_rate"),
        "{error}"
    );
}
