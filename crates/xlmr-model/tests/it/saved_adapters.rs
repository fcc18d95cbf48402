//! Tests of adapters in a model's folder: loading, removal of files of earlier saves, and rejection
//! of damaged or malicious folders.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use testkit::assert_contains;
use xlmr_model::{BottleneckConfig, Error, Head, Model};

use crate::adapters::{ALL_TARGETS, BOTTLENECK, encode, lora, new_model, perturb, small_configs};
use crate::common::{
    assert_equal_parameters, edit_json, edit_tensors, open_folder, read_tensors, small_config,
};

fn load(folder: &Path) -> xlmr_model::Result<Model> {
    let (model, report) = open_folder(folder, &[Head::Span])?;
    assert_eq!(report, Default::default());
    Ok(model)
}

/// Adds two LoRAs and two bottlenecks; one LoRA and one bottleneck are active.
fn with_adapters(mut model: Model) -> Model {
    for name in ["one", "second"] {
        model.add_lora(name, &lora(&ALL_TARGETS), 1).unwrap();
    }
    model.add_bottleneck("behind", &BOTTLENECK, 1).unwrap();
    model.add_bottleneck("Idle-2_", &BottleneckConfig::default(), 1).unwrap();
    for name in ["one", "second", "behind", "Idle-2_"] {
        perturb(&model, name);
    }
    model.set_active_adapters(&["second", "behind"]).unwrap();
    model
}

fn saved_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    with_adapters(new_model(&small_config())).save(folder.path(), Head::Span).unwrap();
    folder
}

/// Reads all files in a folder by their relative paths.
fn read_files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(subfolder) = folders.pop() {
        for entry in fs::read_dir(subfolder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().display().to_string();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    files
}

#[test]
fn adapters_are_loaded_with_their_model_and_activation() {
    for config in small_configs() {
        let model = with_adapters(new_model(&config));
        for head in [Head::Span, Head::None] {
            let folder = tempfile::tempdir().unwrap();
            model.save(folder.path(), head).unwrap();
            let mut reloaded = load(folder.path()).unwrap();
            assert!(encode(&reloaded).equal(&encode(&model)), "{:?}", config.architecture);
            assert_eq!(reloaded.active_adapters(), ["second", "behind"]);
            assert_equal_parameters(&reloaded, &model);
            assert!(reloaded.named_parameters().iter().all(|(_, tensor)| tensor.requires_grad()));
            reloaded.set_active_adapters(&["one", "Idle-2_"]).unwrap();
            assert!(!encode(&reloaded).equal(&encode(&model)));
            // Each adapter's folder can also be loaded separately.
            let mut without_adapters = new_model(&config);
            for name in ["second", "behind"] {
                let adapter_folder = folder.path().join("adapters").join(name);
                without_adapters.load_adapter(name, adapter_folder, Head::None).unwrap();
            }
            without_adapters.set_active_adapters(&["second", "behind"]).unwrap();
            assert!(encode(&without_adapters).equal(&encode(&model)));
        }
    }
}

#[test]
fn adapter_folders_contain_only_adapter_tensors_with_class_names() {
    let folder = saved_folder();
    let all_files = read_files(folder.path());
    let names: Vec<&str> = all_files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "adapters/Idle-2_/adapter.safetensors",
            "adapters/Idle-2_/adapter_config.json",
            "adapters/active.json",
            "adapters/behind/adapter.safetensors",
            "adapters/behind/adapter_config.json",
            "adapters/one/adapter_config.json",
            "adapters/one/adapter_model.safetensors",
            "adapters/second/adapter_config.json",
            "adapters/second/adapter_model.safetensors",
            "config.json",
            "model.safetensors",
        ]
    );
    let active: Value = serde_json::from_slice(&all_files["adapters/active.json"]).unwrap();
    let names = ["Idle-2_", "behind", "one", "second"];
    assert_eq!(active, json!({"adapters": names, "active": ["second", "behind"]}));
    let lora = read_tensors(&folder.path().join("adapters/one/adapter_model.safetensors"));
    assert!(lora.keys().all(|name| name.starts_with("base_model.model.roberta.encoder.layer.")));
    let bottleneck = read_tensors(&folder.path().join("adapters/behind/adapter.safetensors"));
    assert!(bottleneck.keys().all(|name| name.starts_with("roberta.encoder.layer.")));
    let without_adapters = tempfile::tempdir().unwrap();
    new_model(&small_config()).save(without_adapters.path(), Head::Span).unwrap();
    let without_adapters = read_files(without_adapters.path());
    assert_eq!(without_adapters.len(), 2);
    assert!(
        without_adapters.iter().all(|(name, bytes)| all_files[name] == *bytes),
        "without adapters, unchanged"
    );
}

#[test]
fn only_files_of_an_earlier_save_are_removed() {
    let folder = saved_folder();
    let user_files = ["adapters/theirs/adapter_config.json", "adapters/one/notes.txt"];
    fs::create_dir(folder.path().join("adapters/theirs")).unwrap();
    for file in user_files {
        fs::write(folder.path().join(file), b"theirs").unwrap();
    }
    // The folder contains a LoRA `second`; a bottleneck of this name is saved over it.
    let mut model = new_model(&small_config());
    model.add_bottleneck("second", &BOTTLENECK, 2).unwrap();
    perturb(&model, "second");
    model.save(folder.path(), Head::Span).unwrap();
    let names: Vec<String> = read_files(folder.path()).into_keys().collect();
    assert_eq!(
        names,
        [
            "adapters/active.json",
            user_files[1],
            "adapters/second/adapter.safetensors",
            "adapters/second/adapter_config.json",
            user_files[0],
            "config.json",
            "model.safetensors",
        ]
    );
    let reloaded = load(folder.path()).unwrap();
    assert!(reloaded.adapters().eq(["second"]) && reloaded.active_adapters().is_empty());
    let mut models = [model, reloaded];
    for model in &mut models {
        model.set_active_adapters(&["second"]).unwrap();
    }
    assert!(encode(&models[0]).equal(&encode(&models[1])));
    new_model(&small_config()).save(folder.path(), Head::Span).unwrap();
    let names: Vec<String> = read_files(folder.path()).into_keys().collect();
    assert_eq!(names, [user_files[1], user_files[0], "config.json", "model.safetensors"]);
    assert!(encode(&load(folder.path()).unwrap()).equal(&encode(&new_model(&small_config()))));
    // The folder `adapters` is removed if it contains only files that this crate wrote.
    fs::remove_dir_all(folder.path().join("adapters")).unwrap();
    with_adapters(new_model(&small_config())).save(folder.path(), Head::Span).unwrap();
    new_model(&small_config()).save(folder.path(), Head::Span).unwrap();
    assert!(!folder.path().join("adapters").exists());
}

#[cfg(unix)]
#[test]
fn links_are_not_followed_when_files_are_removed() {
    let (folder, other_folder) = (saved_folder(), tempfile::tempdir().unwrap());
    let adapter_folder = folder.path().join("adapters/one");
    fs::rename(&adapter_folder, other_folder.path().join("one")).unwrap();
    std::os::unix::fs::symlink(other_folder.path().join("one"), &adapter_folder).unwrap();
    load(folder.path()).unwrap();
    new_model(&small_config()).save(folder.path(), Head::Span).unwrap();
    assert_eq!(read_files(other_folder.path()).len(), 2);
    assert_eq!(load(folder.path()).unwrap().adapters().count(), 0);
}

#[test]
fn an_interrupted_save_is_rejected_and_the_next_save_replaces_it() {
    let folder = saved_folder();
    let list_path = folder.path().join("adapters/active.json");
    // A file at the path of an adapter's folder makes the save fail.
    fs::remove_dir_all(folder.path().join("adapters/one")).unwrap();
    fs::write(folder.path().join("adapters/one"), b"").unwrap();
    let mut model = with_adapters(new_model(&small_config()));
    model.add_bottleneck("last", &BOTTLENECK, 1).unwrap();
    let error = model.save(folder.path(), Head::Span).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("adapters/one"));
    let error = load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("active.json: key `active`"), "{error}");
    assert!(error.contains("saving was interrupted"), "{error}");
    fs::remove_file(folder.path().join("adapters/one")).unwrap();
    model.save(folder.path(), Head::Span).unwrap();
    assert!(load(folder.path()).unwrap().adapters().any(|name| name == "last"));
    edit_json(&list_path, |json| _ = json.insert("active".into(), Value::Null));
    new_model(&small_config()).save(folder.path(), Head::Span).unwrap();
    assert_eq!(read_files(folder.path()).len(), 2);
}

#[test]
fn damaged_missing_and_malicious_files_are_rejected_by_name() {
    let assert_error = |edit: &dyn Fn(&Path), parts: &[&str]| {
        let folder = saved_folder();
        edit(&folder.path().join("adapters"));
        let message = load(folder.path()).unwrap_err().to_string();
        assert_contains(&message, parts);
        assert_eq!(message.lines().count(), 1);
    };
    for (key, value, parts) in [
        ("adapters", json!(["one", "../second"]), &["`adapters`", "ASCII letters", "../second"]),
        ("adapters", json!(["/etc"]), &["`adapters`", "ASCII letters", "/etc"]),
        ("adapters", json!([".."]), &["`adapters`", "ASCII letters", ".."]),
        ("adapters", json!([""]), &["`adapters`", "ASCII letters", "got "]),
        ("adapters", json!("one"), &["`adapters`", "a list of adapters' names", "\"one\""]),
        ("adapters", json!([1]), &["`adapters`", "a list of adapters' names", "[1]"]),
        ("adapters", json!(null), &["`adapters`", "a list of adapters' names", "none"]),
        ("adapters", json!(["one"]), &["`active`", "one of [one]", "second"]),
        ("active", json!(["none"]), &["`active`", "one of [Idle-2_, behind", "none"]),
        ("active", json!(["one", "one"]), &["`active`", "each name once", "one"]),
        ("active", json!(["behind", "Idle-2_"]), &["`active`", "one bottleneck", "Idle-2_"]),
        ("active", json!("one"), &["`active`", "a list of adapters' names", "\"one\""]),
        ("active", json!({}), &["`active`", "a list of adapters' names", "{}"]),
        ("more", json!(1), &["`more`", "only adapters and active", "1"]),
    ] {
        let edit = |adapters: &Path| {
            edit_json(&adapters.join("active.json"), |json| {
                json.insert(key.into(), value.clone());
            });
        };
        assert_error(&edit, &[&["adapters/active.json"], &parts[..]].concat());
    }
    let write = |file: &'static str, bytes: &'static [u8]| {
        move |adapters: &Path| fs::write(adapters.join(file), bytes).unwrap()
    };
    for (bytes, part) in
        [(b"{".as_slice(), "not valid JSON"), (b"", "not valid JSON"), (b"[]", "a JSON object")]
    {
        assert_error(&write("active.json", bytes), &["adapters/active.json", part]);
    }
    let config = "second/adapter_config.json";
    assert_error(&write(config, b"{}"), &["adapters/second/adapter_config.json", "peft_type"]);
    let weights = "behind/adapter.safetensors";
    assert_error(&write(weights, b"x"), &["adapters/behind/adapter.safetensors"]);
    let without_file = |file: &'static str| {
        move |adapters: &Path| match file.contains('.') {
            true => fs::remove_file(adapters.join(file)).unwrap(),
            false => fs::remove_dir_all(adapters.join(file)).unwrap(),
        }
    };
    assert_error(&without_file(config), &["adapters/second/adapter_config.json"]);
    assert_error(&without_file(weights), &["adapters/behind", "no adapter.safetensors"]);
    assert_error(&without_file("one"), &["adapters/one/adapter_config.json"]);
    assert_error(
        &|adapters| {
            edit_tensors(&adapters.join("one/adapter_model.safetensors"), |tensors| {
                tensors.insert("stray".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
            });
        },
        &["adapters/one/adapter_model.safetensors", "stray"],
    );
    // The adapters were saved with a base model of another hidden size.
    let wider_config = xlmr_model::Config { hidden_size: 32, ..small_config() };
    let (folder, other_folder) = (saved_folder(), tempfile::tempdir().unwrap());
    new_model(&wider_config).save(other_folder.path(), Head::Span).unwrap();
    fs::rename(folder.path().join("adapters"), other_folder.path().join("adapters")).unwrap();
    let message = load(other_folder.path()).unwrap_err().to_string();
    assert!(message.contains("adapters/Idle-2_/adapter.safetensors"), "{message}");
    // A folder `adapters` without `active.json` is ignored on loading, and its files are not
    // changed on saving.
    let without_active = saved_folder();
    fs::remove_file(without_active.path().join("adapters/active.json")).unwrap();
    assert_eq!(load(without_active.path()).unwrap().adapters().count(), 0);
    let before = read_files(without_active.path());
    load(without_active.path()).unwrap().save(without_active.path(), Head::Span).unwrap();
    assert_eq!(read_files(without_active.path()), before);
    fs::write(without_active.path().join("adapters/active.json"), b"[]").unwrap();
    let before = read_files(without_active.path());
    let error =
        new_model(&small_config()).save(without_active.path(), Head::Span).unwrap_err().to_string();
    assert!(error.contains("adapters/active.json"), "{error}");
    assert_eq!(read_files(without_active.path()), before);
}
