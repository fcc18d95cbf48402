//! `cargo xtask lock`: writes digests of the recipes' outputs after a few steps, to verify that a
//! refactoring changes no result. Compare digests from one machine only, because rounding differs
//! between processors.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::process::{Failed, command, read_stdout};
use crate::{files, recipes};

/// The runs whose results are compared, as TOML.
const CASES: &str = include_str!("lock/cases.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// A program with its arguments, and settings that make a run short.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    program: String,
    arguments: Vec<String>,
    set: Vec<String>,
}

/// Runs the cases and writes their digests to `out`. If `against` is set, the digests are compared
/// with the digests in this file, and the exit code is 1 if they differ.
pub fn write_digests(root: &Path, out: Option<PathBuf>, against: Option<PathBuf>) -> Result<()> {
    let earlier = against.as_deref().map(read_digests).transpose()?;
    let Cases { case: cases } = toml::from_str(CASES).context("lock/cases.toml")?;
    recipes::build(root, &["--quiet"], &["--examples", "-p", "polyqa", "--bin", "polyqa"])?;
    let folder = root.join("target/lock");
    let runs = folder.join("runs");
    files::create_empty_folder(&runs)?;
    let mut current = BTreeMap::new();
    for case in &cases {
        println!("{}", case.name);
        let out = runs.join(&case.name);
        case.run(root, &out)?;
        collect_digests(root, &out, &out, &case.name, &mut current)?;
    }
    let path = out.unwrap_or_else(|| folder.join(format!("{}.txt", commit_name(root))));
    let text: String = current.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect();
    files::write(&path, &text)?;
    println!("{} digests and numbers are in {}", current.len(), path.display());
    let Some(earlier) = earlier else { return Ok(()) };
    let changes = list_differences(&earlier, &current);
    for line in changes.iter().take(MAX_PRINTED_CHANGES) {
        println!("{line}");
    }
    if changes.is_empty() {
        println!("all equal");
        return Ok(());
    }
    println!("{} differ", changes.len());
    Err(Failed(1).into())
}

const MAX_PRINTED_CHANGES: usize = 100;

impl Case {
    fn run(&self, root: &Path, out: &Path) -> Result<()> {
        let target = crate::process::target_folder()?;
        let is_recipe = self.program != "polyqa";
        let folder = target.join(if is_recipe { "debug/examples" } else { "debug" });
        let mut command = command(folder.join(&self.program), root);
        command.args(&self.arguments).arg("--out").arg(out);
        if is_recipe {
            command.arg("--prepare");
        }
        for setting in &self.set {
            command.args(["--set", setting]);
        }
        command.env("OMP_NUM_THREADS", "1").env("OMP_WAIT_POLICY", "passive");
        let output = command.stdin(Stdio::null()).output().with_context(|| self.program.clone())?;
        if !output.status.success() {
            bail!("{}: {}", self.name, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

/// Adds the digests of the files below `folder` to `entries`. The keys are `NAME/PATH`, where PATH
/// is relative to the run folder `run`. The values of `summary.json` are added instead of its
/// digest.
fn collect_digests(
    root: &Path,
    folder: &Path,
    run: &Path,
    name: &str,
    entries: &mut BTreeMap<String, String>,
) -> Result<()> {
    for path in files::entries(folder)? {
        let relative = path
            .strip_prefix(run)
            .expect("entries are in the run")
            .to_string_lossy()
            .replace('\\', "/");
        let key = format!("{name}/{relative}");
        let has_suffix = |suffix: &str| relative.ends_with(suffix);
        if path.is_dir() {
            // Checkpoints contain times.
            if path.file_name().is_none_or(|name| name != "checkpoints") {
                collect_digests(root, &path, run, name, entries)?;
            }
        } else if relative == "summary.json" {
            let text = fs::read(&path).with_context(|| key.clone())?;
            let value: Value = serde_json::from_slice(&text).with_context(|| key.clone())?;
            collect_values(&value, &key, entries);
        } else if has_suffix("metrics.jsonl")
            || has_suffix(".safetensors")
            || has_suffix("table.md")
            || relative.contains("predictions")
        {
            let mut bytes = fs::read(&path).with_context(|| key.clone())?;
            // `questions.json` contains absolute paths of question files, which depend on the
            // checkout's folder.
            if has_suffix("questions.json") {
                let root_text = root.display().to_string();
                bytes = String::from_utf8_lossy(&bytes).replace(&root_text, "").into_bytes();
            }
            let digest: String =
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            entries.insert(key, digest);
        }
    }
    Ok(())
}

/// Adds every value inside `value` to `entries`, except times. A value's key is `key`, followed by
/// the value's path in the JSON file.
fn collect_values(value: &Value, key: &str, entries: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !name.contains("seconds")) {
                collect_values(value, &format!("{key}/{name}"), entries);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                collect_values(value, &format!("{key}/{index}"), entries);
            }
        }
        value => {
            entries.insert(key.to_owned(), value.to_string());
        }
    }
}

/// Reads a file written by [`write_digests`].
fn read_digests(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = files::read(path)?;
    let lines = text
        .lines()
        .map(|line| line.split_once('\t').context("not a file of digests: a tab is missing"));
    let pairs: Result<_> = lines.map(|pair| pair.map(|(a, b)| (a.into(), b.into()))).collect();
    pairs.with_context(|| path.display().to_string())
}

fn list_differences(
    earlier: &BTreeMap<String, String>,
    current: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in earlier {
        match current.get(name) {
            Some(new_value) if new_value == value => {}
            Some(new_value) => lines.push(format!("changed  {name}: {value} -> {new_value}")),
            None => lines.push(format!("removed  {name}: {value}")),
        }
    }
    let new = current.iter().filter(|(name, _)| !earlier.contains_key(*name));
    lines.extend(new.map(|(name, value)| format!("new      {name}: {value}")));
    lines
}

/// Returns the commit's abbreviated hash, with `-changed` if files differ from the commit; `lock`
/// if git cannot be run.
fn commit_name(root: &Path) -> String {
    let git = |arguments: &[&str]| read_stdout(command("git", root).args(arguments));
    let Some(name) = git(&["rev-parse", "--short", "HEAD"]) else { return "lock".into() };
    let has_changes = git(&["status", "--porcelain", "-uno"]).is_some_and(|text| !text.is_empty());
    format!("{}{}", name.trim(), if has_changes { "-changed" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_a_recipe_or_runs_polyqa() {
        let cases: Cases = toml::from_str(CASES).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for case in cases.case {
            let recipe = &case.arguments[0];
            let is_recipe = recipe.starts_with(&format!("examples/{}/", case.program));
            assert!(
                case.program == "polyqa" || is_recipe && root.join(recipe).is_file(),
                "{recipe}"
            );
        }
    }

    #[test]
    fn differences_are_listed_without_times() {
        let values_of = |text: &str| {
            let mut values = BTreeMap::new();
            collect_values(&serde_json::from_str(text).unwrap(), "run", &mut values);
            values
        };
        let earlier = values_of(r#"{"f1": [20.5, 1], "seconds": 3, "em": 7}"#);
        assert!(list_differences(&earlier, &values_of(r#"{"em": 7, "f1": [20.5, 1]}"#)).is_empty());
        let lines = list_differences(&earlier, &values_of(r#"{"f1": [20.6, 1], "loss": null}"#));
        let expected =
            ["removed  run/em: 7", "changed  run/f1/0: 20.5 -> 20.6", "new      run/loss: null"];
        assert_eq!(lines, expected);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.txt");
        fs::write(&path, "a\t1\nb\n").unwrap();
        assert!(read_digests(&path).unwrap_err().to_string().contains("lock.txt"));
        fs::write(&path, "a\t1\n").unwrap();
        assert_eq!(read_digests(&path).unwrap(), BTreeMap::from([("a".into(), "1".into())]));
    }
}
