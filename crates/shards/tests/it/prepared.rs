//! Prepared folders, as commands write them and training reads them.
use std::fs;
use std::path::Path;

use shards::{Manifest, Preparation, Preparing, Shards};

fn about() -> Preparation {
    Preparation { program: "test", seed: Some(7), counts: serde_json::json!({ "rows": 2 }) }
}

fn prepare(out: &Path, rows: &str) -> Manifest {
    let folder = Preparing::start(out).unwrap();
    fs::write(folder.file("train/0.jsonl").unwrap(), rows).unwrap();
    fs::write(folder.file("probe/queries.jsonl").unwrap(), "[3]\n").unwrap();
    folder.finish(about()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_appears_whole_and_replaces_an_older_one() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("deep/rows");
    let manifest = prepare(&out, "[1]\n[2]\n");
    assert_eq!(names(&out), ["manifest.json", "probe", "train"]);
    assert_eq!(Manifest::read(&out).unwrap().as_ref(), Some(&manifest));
    assert_eq!(Vec::from_iter(manifest.files.keys()), ["probe/queries.jsonl", "train/0.jsonl"]);
    manifest.check(&out).unwrap();
    assert_eq!(Shards::open([&out]).unwrap().lines(), 2);

    // Begun and dropped: nothing is left, and the older one still stands.
    let dropped = Preparing::start(&out).unwrap();
    fs::write(dropped.file("train/0.jsonl").unwrap(), "[9]\n").unwrap();
    drop(dropped);
    manifest.check(&out).unwrap();
    prepare(&out, "[1]\n[2]\n[3]\n");
    assert_eq!(Shards::open([&out]).unwrap().lines(), 3);
    assert_eq!(names(out.parent().unwrap()), ["rows"]);
}

#[test]
fn a_folder_of_other_files_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let refused = || Preparing::start(parent.path()).err().unwrap().to_string();
    fs::write(parent.path().join("notes.txt"), "mine").unwrap();
    assert!(refused().contains("not prepared by a command"), "{}", refused());
    fs::write(parent.path().join("manifest.json"), "{\"name\": \"web app\"}").unwrap();
    assert!(refused().contains("not prepared by a command"), "{}", refused());
    assert!(Preparing::start(parent.path().join("notes.txt")).is_err());
}

#[test]
fn changed_files_are_named() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("rows");
    let manifest = prepare(&out, "[1]\n[2]\n");
    let fault = || manifest.check(&out).unwrap_err().to_string();
    let train = out.join("train/0.jsonl");
    fs::write(&train, "[1]\n[4]\n").unwrap();
    assert!(
        fault().contains("train/0.jsonl: changed since it was prepared: SHA-256"),
        "{}",
        fault()
    );
    let error = Shards::open([&out]).unwrap_err().to_string();
    assert!(error.contains("train/0.jsonl: changed since"), "{error}");
    fs::write(&train, "[1]\n[2]\n").unwrap();
    fs::write(out.join("train/1.jsonl"), "[5]\n").unwrap();
    assert!(fault().contains("train/1.jsonl: in no manifest"), "{}", fault());
    assert!(Shards::open([&out]).unwrap_err().to_string().contains("in no manifest"));
    fs::remove_file(out.join("train/1.jsonl")).unwrap();
    fs::remove_file(&train).unwrap();
    assert!(fault().contains("train/0.jsonl: missing"), "{}", fault());
    // A manifest of other digests is no manifest of these files.
    let manifest = prepare(&out, "[1]\n[2]\n");
    let path = out.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    let digest = &manifest.files["train/0.jsonl"].sha256;
    fs::write(&path, text.replace(digest.as_str(), &"0".repeat(64))).unwrap();
    let error = Shards::open([&out]).unwrap_err().to_string();
    for piece in ["train/0.jsonl: changed since", digest.as_str(), &"0".repeat(64)] {
        assert!(error.contains(piece), "no {piece} in {error}");
    }
}

/// All preparations finish. The resulting folder is complete, and all its files are from one of
/// them.
#[test]
fn a_folder_that_several_prepare_at_once_is_of_one_of_them() {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("rows");
    for round in 0..20 {
        let finished = std::thread::scope(|scope| {
            let out = &out;
            let threads: Vec<_> = (0..4)
                .map(|number| {
                    scope.spawn(move || {
                        let folder = Preparing::start(out).unwrap();
                        for name in ["train/0.jsonl", "train/1.jsonl"] {
                            fs::write(folder.file(name).unwrap(), format!("[{number}]\n")).unwrap();
                        }
                        folder.finish(about()).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let stands = Manifest::read(&out).unwrap().unwrap();
        stands.check(&out).unwrap();
        assert!(finished.contains(&stands), "round {round}");
        assert_eq!(stands.files["train/0.jsonl"], stands.files["train/1.jsonl"]);
        assert_eq!(names(parent.path()), ["rows"]);
    }
}

#[test]
fn another_format_is_named_in_the_error_and_can_be_replaced() {
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
