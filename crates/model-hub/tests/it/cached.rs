//! Tests of folders, names and caches without a server.
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use model_hub::{Hub, ResolvedModel};
use testkit::assert_contains;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn hub(variables: &[(&str, &Path)]) -> Hub {
    Hub::from_variables(|name| {
        let offline = (name == "HF_HUB_OFFLINE").then(|| OsString::from("1"));
        let pair = variables.iter().find(|(variable, _)| *variable == name);
        pair.map(|(_, value)| value.as_os_str().to_owned()).or(offline)
    })
}

fn resolve(hub: &Hub, model: &str) -> Result<ResolvedModel, String> {
    hub.resolve(model, &mut |_| ()).map_err(|error| error.to_string())
}

/// Creates a snapshot of copied files, as huggingface_hub does on file systems without links.
fn create_snapshot(cache: &Path, name: &str, files: &[&str]) {
    let folder = cache.join(format!("models--{name}"));
    let snapshot = folder.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    for file in files {
        fs::write(snapshot.join(file), "{}").unwrap();
    }
}

#[test]
fn a_folder_takes_precedence() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&[("HF_HUB_CACHE", cache.path())]);
    let folder = cache.path().join("model");
    fs::create_dir(&folder).unwrap();
    let model = folder.to_str().unwrap();
    let expected = ResolvedModel { folder: folder.clone(), origin: None };
    assert_eq!(resolve(&hub, model).unwrap(), expected);

    // A folder also takes precedence if its name is a valid repository name.
    create_snapshot(cache.path(), "src", &["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(resolve(&hub, "src").unwrap().folder, Path::new("src"));

    fs::write(folder.join("model.safetensors"), "").unwrap();
    let error = resolve(&hub, folder.join("model.safetensors").to_str().unwrap()).unwrap_err();
    assert!(error.contains("is a file; expected the folder"), "{error}");
}

#[test]
fn invalid_names_and_revisions_are_rejected() {
    let cache = tempfile::tempdir().unwrap();
    let hub = hub(&[("HF_HUB_CACHE", cache.path())]);
    let long_name = "a".repeat(97);
    for model in [
        "", ".", "..", "/", "a/b/c", "a/", "/a", "../a", "a/..", "a--b", "a..b", "-a", ".a", "a-",
        "a.", "a b", "a\\b", "ä", "a\0", "a.git", "./a/b", "a/b/", "a?b", "a%2fb", &long_name,
    ] {
        let result = resolve(&hub, model).map(|resolved| resolved.folder);
        // A path of an existing folder, such as `.`, is valid.
        if Path::new(model).is_dir() {
            assert_eq!(result.unwrap(), Path::new(model));
            continue;
        }
        let error = result.unwrap_err();
        assert!(error.contains("neither an existing folder nor"), "{model:?}: {error}");
    }
    for revision in ["", "..", "a/../b", "a//b", "/a", "a/", "a b", ".a", "a@b", "a\\b"] {
        let error = resolve(&hub, &format!("a/b@{revision}")).unwrap_err();
        assert!(error.contains("must be a branch, a tag or a commit"), "{revision:?}: {error}");
    }
}

#[test]
fn offline_resolution_requires_a_cached_model() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("hub");
    let hub = hub(&[("HF_HOME", home.path())]);
    let error = resolve(&hub, "a/b@v1").unwrap_err();
    let parts = ["a/b@v1: ", "models--a--b lacks the model", "hf download a/b --revision v1"];
    assert_contains(&error, &parts);
    #[cfg(feature = "fetch")]
    assert!(error.contains("HF_HUB_OFFLINE"), "{error}");

    create_snapshot(&cache, "a--b", &["config.json", "pytorch_model.bin"]);
    let error = resolve(&hub, "a/b").unwrap_err();
    assert_contains(&error, &["lacks model.safetensors", "`hf download a/b`"]);

    // The code that loads the tokenizer reports the missing file.
    create_snapshot(&cache, "a--b", &["model.safetensors"]);
    let resolved = resolve(&hub, "a/b").unwrap();
    assert_eq!(resolved.folder, cache.join("models--a--b/snapshots").join(COMMIT));
    let files = resolved.origin.unwrap().files;
    assert!(files.keys().eq(["config.json", "model.safetensors"]));
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert!(files.values().all(|value| value == digest), "{files:?}");

    // All shards are required.
    create_snapshot(&cache, "c", &["config.json", "tokenizer.json"]);
    let index = cache.join("models--c/snapshots").join(COMMIT).join("model.safetensors.index.json");
    fs::write(index, r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#).unwrap();
    create_snapshot(&cache, "c", &["1.safetensors"]);
    assert!(resolve(&hub, "c").unwrap_err().contains("lacks 2.safetensors"));
    create_snapshot(&cache, "c", &["2.safetensors"]);
    assert_eq!(resolve(&hub, "c").unwrap().origin.unwrap().files.len(), 5);
}

#[test]
fn the_cache_folder_follows_the_rules_of_huggingface_hub() {
    let home = tempfile::tempdir().unwrap();
    let create_cache = |path: &str| {
        let files = ["config.json", "model.safetensors", "tokenizer.json"];
        create_snapshot(&home.path().join(path), "a--b", &files);
        home.path().join(path)
    };
    let resolved_cache = |variables: &[(&str, &Path)]| {
        let folder = resolve(&hub(variables), "a/b").unwrap().folder;
        folder.ancestors().nth(3).unwrap().to_owned()
    };
    let empty = Path::new("");
    let user_home = ("HOME", home.path());
    let default = create_cache(".cache/huggingface/hub");
    assert_eq!(resolved_cache(&[user_home]), default);
    assert_eq!(resolved_cache(&[user_home, ("HF_HOME", empty), ("HF_HUB_CACHE", empty)]), default);
    let expected = create_cache("xdg/huggingface/hub");
    let xdg = ("XDG_CACHE_HOME", &*home.path().join("xdg"));
    assert_eq!(resolved_cache(&[user_home, xdg]), expected);
    let expected = create_cache("other/hub");
    let hf_home = ("HF_HOME", &*home.path().join("other"));
    assert_eq!(resolved_cache(&[user_home, xdg, hf_home]), expected);
    let cache = create_cache("cache");
    assert_eq!(resolved_cache(&[hf_home, ("HF_HUB_CACHE", &cache)]), cache);
    assert_eq!(resolved_cache(&[user_home, ("HF_HUB_CACHE", Path::new("~/cache"))]), cache);
    assert!(resolve(&hub(&[]), "a/b").unwrap_err().contains("HF_HUB_CACHE"));
}
