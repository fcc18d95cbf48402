//! Tests of adapters with a few steps of every recipe: a LoRA and a bottleneck adapter are trained,
//! and the encoder is frozen.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tch::{Device, Tensor};
use xlmr_model::{LoadOptions, Model, Role};

use crate::common::{CommandExt, expect_failure, succeed, write_encoder};
use crate::other_encoders::RECIPES;
use crate::transfer_suite::small_run;

const BOTH_ADAPTERS: &str = "{lora={rank=2,targets=[\"query\"]},bottleneck={reduction=8}}";

/// Returns all files and folders called `name` in `run` and its subfolders.
fn paths_named(run: &Path, name: &str) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(run).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(paths_named(&path, name));
        }
        if path.file_name().unwrap() == name {
            paths.push(path);
        }
    }
    paths
}

fn load_encoder(folder: &Path) -> (Model, BTreeMap<String, Tensor>) {
    let (model, _) = Model::load(folder, &[], Device::Cpu, LoadOptions::default()).unwrap();
    let parameters = model.named_parameters().into_iter();
    let parameters = parameters.filter(|(name, _)| Role::Encoder.matches(name)).collect();
    (model, parameters)
}

/// Asserts that the model in `folder` has an active bottleneck adapter. The encoder must equal
/// `initial`, except for the weights into which the LoRA was merged.
fn assert_adapted(folder: &Path, initial: &BTreeMap<String, Tensor>) {
    let (model, trained) = load_encoder(folder);
    assert_eq!(model.active_adapters(), ["bottleneck"], "{}", folder.display());
    for (name, value) in &trained {
        let has_lora = name.ends_with("query.weight");
        assert_eq!(!value.equal(&initial[name]), has_lora, "{}: {name}", folder.display());
    }
    assert!(folder.with_file_name("adapter").join("adapter_model.safetensors").exists());
}

#[test]
fn recipe_every_recipe_trains_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("bert");
    write_encoder("bert", &base);
    let (_, initial) = load_encoder(&base);
    for recipe_case in RECIPES {
        let (recipe, out) = (recipe_case.recipe, folder.path().join(recipe_case.folder_name()));
        let mut command = recipe_case.command(&base, true);
        command.set_all([format!("model.adapters={BOTH_ADAPTERS}")]);
        command.set_all(["model.adapters.encoder_learns_in=[\"sleep\"]"]);
        let error = expect_failure(&command.output().unwrap());
        let name = recipe.split('/').next().unwrap();
        let stages = error.trim_end().split(&format!("the stages of {name} are ")).nth(1).unwrap();
        let settings: &[&str] = match recipe {
            "bridging-gap" => &[
                "center_word_embeddings=false",
                "keep_injected=true",
                "model.adapters.encoder_learns_in=[\"inject\"]",
            ],
            // With `selection.from_start=true`, the untrained model would be selected.
            "good-to-best" => {
                &["selection.from_start=false", "model.adapters.encoder_learns_in=[]"]
            }
            "filter" => &["tested=[\"en\"]", "model.adapters.encoder_learns_in=[]"],
            _ => &["model.adapters.encoder_learns_in=[]"],
        };
        command.set_all(settings);
        succeed(command);
        let models = paths_named(&out, "model");
        assert!(!models.is_empty(), "{recipe}");
        for model in models {
            match recipe {
                "bridging-gap" => {
                    let (_, injected) = load_encoder(&model.with_file_name("injected"));
                    let is_changed =
                        |(name, value): (&String, &Tensor)| !value.equal(&initial[name]);
                    assert!(injected.iter().filter(|&one| is_changed(one)).count() > 20);
                    assert_adapted(&model, &injected);
                }
                _ => assert_adapted(&model, &initial),
            }
        }
        // The error about the unknown stage `sleep` lists exactly the stages that the recipe
        // trains.
        let folder_of = |path: PathBuf| path.parent()?.file_name()?.to_str().map(String::from);
        let trained_stages = paths_named(&out, "metrics.jsonl").into_iter().filter_map(folder_of);
        let stages: BTreeSet<String> = stages.split(", ").map(String::from).collect();
        assert_eq!(trained_stages.collect::<BTreeSet<_>>(), stages, "{recipe}");
    }
}

#[test]
fn recipe_suite_trains_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let suite = |settings: &[&str]| {
        let mut command = small_run(folder.path(), "run");
        command.set_all(settings);
        command
    };
    let adapters = format!("adapters={BOTH_ADAPTERS}");
    let short_run = ["run.seeds=[0]", "tasks.ner.fine_tuning.epochs=2", adapters.as_str()];
    succeed(suite(&short_run));
    let (_, initial) = load_encoder(&crate::common::root().join("data/base"));
    for name in ["base", "other"] {
        let model = folder.path().join(format!("run/seed-0/ner.{name}/model"));
        assert_adapted(&model, &initial);
        let config = std::fs::read_to_string(model.join("config.json")).unwrap();
        assert!(config.contains("\"I-PER\""), "{config}");
    }
    let assert_error = |adapters: &str, stages: &str| {
        let error = expect_failure(&suite(&[&format!("adapters={adapters}")]).output().unwrap());
        assert!(error.contains(stages), "{error}");
    };
    assert_error("{bottleneck={reduction=0}}", "adapters.bottleneck.reduction = 0");
    assert_error(
        "{lora={},encoder_learns_in=[\"train\"]}",
        "the stages of transfer-suite are fine-tune",
    );
}
