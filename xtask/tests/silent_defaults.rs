//! Tests that code has no silent defaults: forms that answer a missing value with a default, or
//! skip it, and thus turn a mistake into a plausible result.
#![allow(clippy::panic, clippy::unwrap_used)] // helpers of tests
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;

/// The forms, as name and regular expression.
const FORMS: [(&str, &str); 4] = [
    // Write out a value that is meant, such as `unwrap_or("")`.
    ("unwrap_or_default", r"\.unwrap_or_default\(\)"),
    // `torch_ext::{to_i64, to_usize}` convert sizes, counts and indices.
    ("conversion", r"try_from\([^;{}]*?\)\s*\.unwrap_or\("),
    ("extreme value", r"\.unwrap_or\(\w+::(NAN|MAX|MIN|INFINITY|NEG_INFINITY)\)"),
    // Index with `map(|k| &rows[k])`.
    ("lookup", r"filter_map\(\s*\|&?\w+\|\s*[\w.]+\s*\.get\(&?\*?\w+\)\s*\)"),
];

/// The places at which absence is meant: file, form and reason. A file can be listed repeatedly.
const MEANT: [(&str, &str, &str); 24] = [
    ("benches/src/compare.rs", "conversion", "a number of runs is far below u32::MAX"),
    ("benches/src/compare.rs", "extreme value", "see above"),
    ("benches/src/process.rs", "extreme value", "a system without /proc has no peak memory"),
    ("crates/atomic-file/src/read.rs", "conversion", "a capacity that cannot be reserved"),
    ("crates/atomic-file/src/read.rs", "extreme value", "see above"),
    ("crates/demo-data/src/xquad.rs", "extreme value", "without --articles, all articles"),
    ("crates/experiment/src/program/mod.rs", "conversion", "exit codes of clap"),
    ("crates/experiment/src/program/mod.rs", "conversion", "exit codes of signals"),
    ("crates/experiment/src/run/machine.rs", "unwrap_or_default", "only informational"),
    ("crates/kg-triples/src/bin/kg-triples/table.rs", "lookup", "rows shorter than the header"),
    ("crates/kg-triples/src/phrases/mine.rs", "extreme value", "an unlimited number of passages"),
    ("crates/objectives/src/top_k_spans.rs", "conversion", "more spans than any text has"),
    ("crates/objectives/src/top_k_spans.rs", "extreme value", "see above"),
    ("crates/qa-translate/src/provider/http.rs", "extreme value", "a server without a limit"),
    ("crates/tasks/src/fusion/task.rs", "extreme value", "a head without padded scores"),
    ("crates/tasks/src/graph_retrieval.rs", "lookup", "objects without a label"),
    ("crates/torch-ext/src/distributed/mod.rs", "conversion", "an unlimited timeout"),
    ("crates/torch-ext/src/distributed/mod.rs", "extreme value", "see above"),
    ("crates/trainer/src/record/metrics.rs", "extreme value", "JSON has no NaN"),
    ("crates/trainer/src/training.rs", "extreme value", "ranks without a file of metrics"),
    ("examples/pretrain-base/cloze.rs", "conversion", "labels of tokens without loss are negative"),
    ("examples/sentence-retrieval/report.rs", "unwrap_or_default", "arms without pairs"),
    ("examples/transfer-suite/report.rs", "lookup", "models without the metric"),
    ("xtask/src/process.rs", "conversion", "a child without an exit code"),
];

#[test]
fn silent_defaults_have_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<PathBuf> = ["benches", "examples", "xtask/src"].map(PathBuf::from).into();
    for entry in std::fs::read_dir(root.join("crates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        folders.push(Path::new("crates").join(name).join("src"));
    }
    let forms = FORMS.map(|(name, form)| (name, Regex::new(form).unwrap()));
    let mut found: BTreeMap<(String, &str), usize> = BTreeMap::new();
    let mut files = Vec::new();
    folders.iter().for_each(|folder| add_files(&root, folder, &mut files));
    for file in &files {
        let code = code_without_tests(&std::fs::read_to_string(root.join(file)).unwrap());
        for (name, form) in &forms {
            let count = form.find_iter(&code).count();
            if count > 0 {
                found.insert((file.to_str().unwrap().replace('\\', "/"), *name), count);
            }
        }
    }
    assert!(files.len() > 300, "only {} files were found", files.len());
    let mut meant: BTreeMap<(String, &str), usize> = BTreeMap::new();
    for (file, form, _reason) in MEANT {
        *meant.entry((file.to_owned(), form)).or_default() += 1;
    }
    let difference = |left: &BTreeMap<(String, &str), usize>, right: &BTreeMap<_, _>| -> String {
        let entries = left.iter().filter(|(place, count)| right.get(*place) != Some(*count));
        entries.map(|((file, form), count)| format!("\n  {file}: {count} {form}")).collect()
    };
    assert!(
        found == meant,
        "make these an error, an index or an `expect`, or list them with a reason:{}\nlisted:{}",
        difference(&found, &meant),
        difference(&meant, &found)
    );
}

/// Adds the Rust files in a folder, without files of tests.
fn add_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(root.join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        let name = path.file_stem().unwrap().to_str().unwrap();
        if root.join(&path).is_dir() {
            if !["tests", "target"].contains(&name) {
                add_files(root, &path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !name.starts_with("tests")
        {
            files.push(path);
        }
    }
}

/// Returns the code before the module of tests, without comments.
fn code_without_tests(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}
