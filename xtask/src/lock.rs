//! `cargo xtask lock`: digests of what the recipes make of a few steps, so that a change that is to
//! change nothing can show it. Processors round differently: compare on one machine.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::process::{command, output};
use crate::recipes;

/// A program, and its arguments at a few steps.
struct Case {
    name: &'static str,
    program: &'static str,
    arguments: &'static [&'static str],
    set: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "bridging-gap",
        program: "bridging-gap",
        arguments: &["examples/bridging-gap/small.toml", "--arms", "*"],
        set: &[
            "injection.steps=6",
            "injection.batch_size=8",
            "injection.log_steps=2",
            "fine_tuning.steps=4",
            "fine_tuning.batch_size=4",
            "fine_tuning.log_steps=2",
            "prepare.questions=demo-data fact-questions --kg data/demo/kg --templates data/demo/templates.tsv --items 40 --split 0.4,0.3,0.3 --seed 1234",
        ],
    },
    Case {
        name: "bridging-gap, pairs",
        program: "bridging-gap",
        arguments: &["examples/bridging-gap/small.toml", "--arms", "base,injected"],
        set: &[
            "models=per_pair",
            "languages=[\"en\", \"de\", \"zh\"]",
            "prepare.sequences=kg-triples mix --in data/demo/kg --tokenizer data/base --by-pair \
             --pairs en-de,en-zh --mixed-target both --concatenated-orders both \
             --concat-separator sep_token --mix-weights 1,1,1",
            "injection.steps=4",
            "injection.batch_size=8",
            "injection.log_steps=2",
            "fine_tuning.steps=4",
            "fine_tuning.batch_size=4",
            "fine_tuning.log_steps=2",
            "prepare.questions=demo-data fact-questions --kg data/demo/kg --templates data/demo/templates.tsv --items 40 --split 0.4,0.3,0.3 --seed 1234 --languages en,de,zh",
        ],
    },
    Case {
        name: "xlm-k",
        program: "xlm-k",
        arguments: &["examples/xlm-k/small.toml", "--arms", "*"],
        set: &[
            "pretraining.steps=8",
            "pretraining.batch_size=6",
            "pretraining.log_steps=2",
            "losses.queue.size=16",
        ],
    },
    Case {
        name: "mixmrc-lakm",
        program: "mixmrc-lakm",
        arguments: &["examples/mixmrc-lakm/small.toml", "--arms", "*"],
        set: &[
            "languages=[\"en\", \"de\"]",
            "evaluation.contexts=[\"en\", \"de\"]",
            "prepare.questions=demo-data fact-questions --parallel --languages en,de --kg data/demo/kg --templates data/demo/templates-all.tsv --items 40 --split 0.4,0.3,0.3 --seed 1234",
            "prepare.search=demo-data search --own {questions} --languages de",
            "training.steps=6",
            "training.batch_size=4",
            "training.log_steps=2",
        ],
    },
    Case {
        name: "good-to-best",
        program: "good-to-best",
        arguments: &["examples/good-to-best/small.toml"],
        set: &[
            "languages=[\"en\", \"zh\"]",
            "prepare.questions=demo-data cloze-questions --extracts data/codex --sentences data/pud --paragraphs data/xquad --languages en,zh --train-items 40 --items-per-paragraph 1 --context-words 24",
            "stage_one.steps=6",
            "stage_one.batch_size=6",
            "stage_one.log_steps=2",
            "stage_two.steps=6",
            "stage_two.batch_size=6",
            "stage_two.log_steps=2",
        ],
    },
    Case {
        name: "entity-cs",
        program: "entity-cs",
        arguments: &["examples/entity-cs/small.toml", "--arms", "*"],
        set: &[
            "pretraining.steps=6",
            "pretraining.batch_size=4",
            "pretraining.log_steps=2",
            "data.sentences=\"data/pud\"",
        ],
    },
    Case {
        name: "knowledge-adapters",
        program: "knowledge-adapters",
        arguments: &["examples/knowledge-adapters/small.toml", "--arms", "*"],
        set: &[
            "languages=[\"en\", \"de\"]",
            "prepare.pairs=kg-triples pairs --kg data/demo/kg --entities data/codex --languages en,de --kinds ep,tp,es,ts --count 60 --hold-out 0.2",
            "prepare.questions=demo-data fact-questions --kg data/demo/kg --templates data/demo/templates.tsv --items 40 --split 0.4,0.3,0.3 --seed 1234 --languages en,de",
            "knowledge.phrases.steps=4",
            "knowledge.phrases.batch_size=6",
            "knowledge.phrases.log_steps=2",
            "knowledge.sentences.steps=2",
            "knowledge.sentences.batch_size=4",
            "knowledge.sentences.log_steps=2",
            "fusion.phrases.steps=2",
            "fusion.sentences.steps=2",
            "language_model.sentences=8",
            "fine_tuning.steps=4",
            "fine_tuning.batch_size=4",
            "fine_tuning.log_steps=2",
        ],
    },
    Case {
        name: "filter",
        program: "filter",
        arguments: &["examples/filter/small.toml"],
        set: &[
            "languages=[\"en\", \"de\"]",
            "prepare.questions=demo-data xquad-split --xquad data/xquad --languages en,de --first 46",
            "training.steps=6",
            "training.batch_size=4",
            "training.log_steps=2",
            "teacher.steps=4",
            "teacher.batch_size=4",
            "teacher.log_steps=2",
            "arms.filter-soft.steps=4",
        ],
    },
    Case {
        name: "filter, classification",
        program: "filter",
        arguments: &["examples/filter/xnli-small.toml"],
        set: &[
            "languages=[\"en\", \"de\"]",
            "prepare.pairs=demo-data inference --kg data/demo/kg --templates data/demo/templates-all.tsv --split 0.4,0.3,0.3 --seed 1234 --languages en,de --premises 2",
            "training.steps=6",
            "training.batch_size=4",
            "training.log_steps=2",
            "teacher.steps=4",
            "teacher.batch_size=4",
            "teacher.log_steps=2",
            "arms.filter-soft.steps=4",
        ],
    },
    Case {
        name: "transfer-suite",
        program: "transfer-suite",
        arguments: &["examples/transfer-suite/small.toml", "--model", "data/base"],
        set: &[
            "tasks.ner.fine_tuning.epochs=1",
            "prepare.pairs=demo-data inference --kg data/demo/kg --templates data/demo/templates-all.tsv --split 0.4,0.3,0.3 --seed 1234 --languages en,de --premises 2",
            "tasks.xnli.fine_tuning.epochs=1",
            "prepare.clozes=demo-data clozes --kg data/demo/kg --templates data/demo/templates-all.tsv --split 0.4,0.3,0.3 --seed 1234 --languages en,de",
            "tasks.facts.data.test={ en = \"{clozes}/test/en\", de = \"{clozes}/test/de\" }",
            "tasks.facts.data.seen={ en = \"{clozes}/train/en\", de = \"{clozes}/train/de\" }",
            "prepare.questions=demo-data xquad-split --xquad data/xquad --languages en,de --train 0.04 --dev 0.9 --seed 1234",
            "tasks.mlqa.data.languages=[\"en\", \"de\"]",
            "tasks.mlqa.fine_tuning.epochs=1",
        ],
    },
    Case {
        name: "question-answering",
        program: "polyqa",
        arguments: &[
            "train",
            "--model",
            "data/base",
            "--train",
            "data/xquad/xquad.en.json",
            "--dev",
            "data/xquad/xquad.de.json",
            "--batch-size",
            "4",
            "--device",
            "cpu",
        ],
        set: &[
            "run.threads=1",
            "run.float32_matmul=highest",
            "training.steps=6",
            "training.log_steps=2",
        ],
    },
];

/// Runs the cases and writes their digests to `out`; compares them with those of `against`.
/// Returns 1 where they differ.
pub fn lock(root: &Path, out: Option<PathBuf>, against: Option<PathBuf>) -> Result<u8> {
    let earlier = against.as_deref().map(read).transpose()?;
    recipes::build(root, &["--quiet"], &["--examples", "-p", "polyqa", "--bin", "polyqa"])?;
    let folder = root.join("target/lock");
    let runs = folder.join("runs");
    if runs.exists() {
        fs::remove_dir_all(&runs).with_context(|| runs.display().to_string())?;
    }
    fs::create_dir_all(&runs).with_context(|| runs.display().to_string())?;
    let mut found = BTreeMap::new();
    for case in CASES {
        println!("{}", case.name);
        let out = runs.join(case.name);
        case.run(root, &out)?;
        digests(root, &out, &out, case.name, &mut found)?;
    }
    let path = out.unwrap_or_else(|| folder.join(format!("{}.txt", commit(root))));
    let text: String = found.iter().map(|(name, value)| format!("{name}\t{value}\n")).collect();
    fs::write(&path, text).with_context(|| path.display().to_string())?;
    println!("{} digests and numbers are in {}", found.len(), path.display());
    let Some(earlier) = earlier else { return Ok(0) };
    let different = differences(&earlier, &found);
    for line in different.iter().take(MAX_SHOWN) {
        println!("{line}");
    }
    match different.len() {
        0 => println!("all equal"),
        count => println!("{count} differ"),
    }
    Ok(u8::from(!different.is_empty()))
}

const MAX_SHOWN: usize = 100;

impl Case {
    fn run(&self, root: &Path, out: &Path) -> Result<()> {
        let target = crate::process::target_folder()?;
        let recipe = self.program != "polyqa";
        let folder = target.join(if recipe { "debug/examples" } else { "debug" });
        let mut command = command(folder.join(self.program), root);
        command.args(self.arguments).arg("--out").arg(out);
        if recipe {
            command.arg("--prepare");
        }
        for set in self.set {
            command.args(["--set", set]);
        }
        command.env("OMP_NUM_THREADS", "1").env("OMP_WAIT_POLICY", "passive");
        let ended = command.stdin(Stdio::null()).output().context(self.program)?;
        if !ended.status.success() {
            bail!("{}: {}", self.name, String::from_utf8_lossy(&ended.stderr).trim());
        }
        Ok(())
    }
}

/// What is locked in a run folder, by its path.
fn digests(
    root: &Path,
    folder: &Path,
    run: &Path,
    name: &str,
    found: &mut BTreeMap<String, String>,
) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let shown = path.strip_prefix(run).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        let key = format!("{name}/{shown}");
        let of = |end: &str| shown.ends_with(end);
        if path.is_dir() {
            // Checkpoints hold the time.
            if path.file_name().is_none_or(|name| name != "checkpoints") {
                digests(root, &path, run, name, found)?;
            }
        } else if shown == "summary.json" {
            let text = fs::read(&path).with_context(|| key.clone())?;
            numbers(&serde_json::from_slice(&text).with_context(|| key.clone())?, &key, found);
        } else if of("metrics.jsonl")
            || of(".safetensors")
            || of("table.md")
            || shown.contains("predictions")
        {
            let mut bytes = fs::read(&path).with_context(|| key.clone())?;
            // Predictions name the files of their questions; checkouts lie in different folders.
            if of("questions.json") {
                let own = root.display().to_string();
                bytes = String::from_utf8_lossy(&bytes).replace(&own, "").into_bytes();
            }
            let digest: String =
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            found.insert(key, digest);
        }
    }
    Ok(())
}

/// Every value of a JSON file by its place, times left out.
fn numbers(value: &Value, key: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !name.contains("seconds")) {
                numbers(value, &format!("{key}/{name}"), found);
            }
        }
        Value::Array(values) => {
            for (at, value) in values.iter().enumerate() {
                numbers(value, &format!("{key}/{at}"), found);
            }
        }
        value => {
            found.insert(key.to_owned(), value.to_string());
        }
    }
}

/// What `read` reads is what [`lock`] writes.
fn read(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(|line| line.split_once('\t').context("no lock: a tab is missing"));
    let pairs: Result<_> = lines.map(|pair| pair.map(|(a, b)| (a.into(), b.into()))).collect();
    pairs.with_context(|| path.display().to_string())
}

fn differences(
    earlier: &BTreeMap<String, String>,
    found: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, value) in earlier {
        match found.get(name) {
            Some(now) if now == value => {}
            Some(now) => lines.push(format!("changed  {name}: {value} -> {now}")),
            None => lines.push(format!("gone     {name}: {value}")),
        }
    }
    let new = found.iter().filter(|(name, _)| !earlier.contains_key(*name));
    lines.extend(new.map(|(name, value)| format!("new      {name}: {value}")));
    lines
}

/// The commit's short name, with `-changed` where files differ from it.
fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| output(command("git", root).args(arguments));
    let Some(name) = git(&["rev-parse", "--short", "HEAD"]) else { return "lock".into() };
    let changed = git(&["status", "--porcelain", "-uno"]).is_some_and(|text| !text.is_empty());
    format!("{}{}", name.trim(), if changed { "-changed" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_times_are_left_out() {
        let of = |text: &str| {
            let mut found = BTreeMap::new();
            numbers(&serde_json::from_str(text).unwrap(), "run", &mut found);
            found
        };
        let earlier = of(r#"{"f1": [20.5, 1], "seconds": 3, "em": 7}"#);
        assert!(differences(&earlier, &of(r#"{"em": 7, "f1": [20.5, 1]}"#)).is_empty());
        let lines = differences(&earlier, &of(r#"{"f1": [20.6, 1], "loss": null}"#));
        let expected =
            ["gone     run/em: 7", "changed  run/f1/0: 20.5 -> 20.6", "new      run/loss: null"];
        assert_eq!(lines, expected);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock.txt");
        fs::write(&path, "a\t1\nb\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("lock.txt"));
        fs::write(&path, "a\t1\n").unwrap();
        assert_eq!(read(&path).unwrap(), BTreeMap::from([("a".into(), "1".into())]));
    }
}
