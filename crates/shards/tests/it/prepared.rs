//! Tests of prepared folders.
use std::fs;
use std::path::Path;

use shards::{Manifest, Preparation, PreparedFolder, Shards};

fn preparation() -> Preparation {
    Preparation {
        program: "test",
        arguments: vec!["--seed".into(), "7".into()],
        inputs: Vec::new(),
        seed: Some(7),
        counts: serde_json::json!({ "rows": 2 }),
    }
}

fn prepare(out: &Path, rows: &str) -> Manifest {
    let folder = PreparedFolder::start(out).unwrap();
    fs::write(folder.file("train/0.jsonl").unwrap(), rows).unwrap();
    fs::write(folder.file("probe/queries.jsonl").unwrap(), "[3]\n").unwrap();
    folder.finish(preparation()).unwrap()
}

fn file_names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_manifest_lists_input_files() {
    let parent = tempfile::tempdir().unwrap();
    let path_of = |name: &str| parent.path().join(name);
    prepare(&path_of("rows"), "[1]\n");
    fs::write(path_of("input"), "1").unwrap();
    let folder = PreparedFolder::start(path_of("rows")).unwrap();
    // A missing file and the manifest of the replaced folder are no inputs.
    let inputs = ["input", "none", "rows/manifest.json"].map(path_of).into();
    let manifest = folder.finish(Preparation { inputs, ..preparation() }).unwrap();
    let (path, digest) = manifest.inputs.first_key_value().unwrap();
    assert_eq!((manifest.inputs.len(), path), (1, &path_of("input")));
    digest.check(path).unwrap();
    fs::write(path, "2").unwrap();
    assert_eq!(manifest.find_changed_input(), Some(&*path_of("input")));
}

#[test]
fn a_complete_folder_is_published_and_replaces_an_older_folder() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("deep/rows");
    let manifest = prepare(&out, "[1]\n[2]\n");
    assert_eq!(file_names(&out), ["manifest.json", "probe", "train"]);
    assert_eq!(Manifest::read(&out).unwrap().as_ref(), Some(&manifest));
    assert_eq!(Vec::from_iter(manifest.files.keys()), ["probe/queries.jsonl", "train/0.jsonl"]);
    assert_eq!(manifest.arguments, ["--seed", "7"]);
    manifest.check(&out).unwrap();
    assert_eq!(Shards::open([&out]).unwrap().line_count(), 2);

    // Dropping an unfinished folder removes it and leaves the existing folder unchanged.
    let unfinished = PreparedFolder::start(&out).unwrap();
    fs::write(unfinished.file("train/0.jsonl").unwrap(), "[9]\n").unwrap();
    drop(unfinished);
    manifest.check(&out).unwrap();
    prepare(&out, "[1]\n[2]\n[3]\n");
    assert_eq!(Shards::open([&out]).unwrap().line_count(), 3);
    assert_eq!(file_names(out.parent().unwrap()), ["rows"]);
}

#[test]
fn a_folder_of_other_files_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let error = || PreparedFolder::start(parent.path()).err().unwrap().to_string();
    fs::write(parent.path().join("notes.txt"), "mine").unwrap();
    assert!(error().contains("not prepared by a command"), "{}", error());
    fs::write(parent.path().join("manifest.json"), "{\"name\": \"web app\"}").unwrap();
    assert!(error().contains("not prepared by a command"), "{}", error());
    assert!(PreparedFolder::start(parent.path().join("notes.txt")).is_err());
}

#[test]
fn changed_files_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("rows");
    let manifest = prepare(&out, "[1]\n[2]\n");
    let check_error = || manifest.check(&out).unwrap_err().to_string();
    let train = out.join("train/0.jsonl");
    fs::write(&train, "[1]\n[4]\n").unwrap();
    assert!(
        check_error().contains("train/0.jsonl: changed since it was prepared: SHA-256"),
        "{}",
        check_error()
    );
    let error = Shards::open([&out]).unwrap_err().to_string();
    assert!(error.contains("train/0.jsonl: changed since"), "{error}");
    fs::write(&train, "[1]\n[2]\n").unwrap();
    fs::write(out.join("train/1.jsonl"), "[5]\n").unwrap();
    assert!(
        check_error().contains("train/1.jsonl: not listed in manifest.json"),
        "{}",
        check_error()
    );
    assert!(Shards::open([&out]).unwrap_err().to_string().contains("not listed in manifest.json"));
    fs::remove_file(out.join("train/1.jsonl")).unwrap();
    fs::remove_file(&train).unwrap();
    assert!(check_error().contains("train/0.jsonl: missing"), "{}", check_error());
    // The manifest contains a wrong digest of the file.
    let manifest = prepare(&out, "[1]\n[2]\n");
    let path = out.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let digest = &manifest.files["train/0.jsonl"].sha256;
    fs::write(&path, text.replace(digest.as_str(), &"0".repeat(64))).unwrap();
    let error = Shards::open([&out]).unwrap_err().to_string();
    for part in ["train/0.jsonl: changed since", digest.as_str(), &"0".repeat(64)] {
        assert!(error.contains(part), "no {part} in {error}");
    }
}

/// All threads finish without an error. The resulting folder is complete, and the same thread wrote
/// all its files.
#[test]
fn concurrent_preparations_publish_one_complete_folder() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("rows");
    for round in 0..20 {
        let manifests = std::thread::scope(|scope| {
            let out = &out;
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn(move || {
                        let folder = PreparedFolder::start(out).unwrap();
                        for name in ["train/0.jsonl", "train/1.jsonl"] {
                            fs::write(folder.file(name).unwrap(), format!("[{number}]\n")).unwrap();
                        }
                        folder.finish(preparation()).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let published = Manifest::read(&out).unwrap().unwrap();
        published.check(&out).unwrap();
        assert!(manifests.contains(&published), "round {round}");
        assert_eq!(published.files["train/0.jsonl"], published.files["train/1.jsonl"]);
        assert_eq!(file_names(parent.path()), ["rows"]);
    }
}

#[test]
fn a_folder_of_an_unsupported_format_is_rejected_and_can_be_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("rows");
    prepare(&out, "[1]\n[2]\n");
    let path = out.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("polyqa-prepared/1", "polyqa-prepared/0")).unwrap();
    let error = Shards::open([&out]).unwrap_err().to_string();
    assert!(error.contains("format polyqa-prepared/0"), "{error}");
    prepare(&out, "[1]\n[2]\n");
    fs::write(&path, "{").unwrap();
    assert!(Manifest::read(&out).unwrap_err().to_string().contains("manifest.json"));
    prepare(&out, "[1]\n[2]\n").check(&out).unwrap();
}
