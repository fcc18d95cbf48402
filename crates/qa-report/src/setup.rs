//! Reads the setup of the runs from the records in run folders. Missing records are skipped.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::ReportRun;
use crate::collect::ReportData;
use crate::table::{Table, Value};
use crate::text::thousands;

/// The records of a run folder, shared by its runs.
#[derive(Debug, Default)]
struct RunFolder {
    run_json: Json,
    machine: Json,
    recipe: String,
}

/// The contents of `trained.json` and `result.json` in each of a run's `trial_folders`.
struct Records(Vec<Json>);

/// The setup of the runs: recipes, settings and input files.
pub(crate) struct Setup {
    /// Pairs of name and text, such as seeds and hardware, in the order of the page.
    pub facts: Vec<(&'static str, String)>,
    /// The recipes of run folders, with the effective value of every key.
    pub recipes: Vec<String>,
    /// Differences between the runs' settings.
    pub differing_settings: Table,
    /// The question files.
    pub question_files: Table,
    /// Input files of the runs: models, texts, questions.
    pub inputs: Table,
}

impl Setup {
    /// Returns the tables in the order of the page.
    pub fn tables(&self) -> [&Table; 3] {
        [&self.differing_settings, &self.question_files, &self.inputs]
    }

    /// Returns the facts as a JSON object with lower-case names as keys.
    pub fn json(&self) -> Json {
        let fact = |(name, fact): &(&str, String)| (name.to_lowercase(), Json::from(fact.as_str()));
        Json::Object(self.facts.iter().map(fact).collect())
    }
}

/// Reads a JSON file of a run; null if there is no such file.
fn read_json(path: PathBuf) -> Result<Json, mlqa_eval::Error> {
    match path.exists() {
        true => mlqa_eval::read_json(&path, "a file written by the run"),
        false => Ok(Json::Null),
    }
}

impl RunFolder {
    fn read(path: &Path) -> Result<Self, mlqa_eval::Error> {
        let recipe_path = path.join("recipe.toml");
        // A run that was stopped early has no recipe.
        let recipe = match recipe_path.exists() {
            true => atomic_file::read_to_string(&recipe_path)?,
            false => String::new(),
        };
        Ok(Self {
            run_json: read_json(path.join("run.json"))?,
            machine: read_json(path.join("machine.json"))?,
            recipe,
        })
    }
}

impl Records {
    fn of(run: &ReportRun) -> Result<Self, mlqa_eval::Error> {
        let mut records = Vec::new();
        for folder in &run.run_files.trial_folders {
            records.push(read_json(folder.join("trained.json"))?);
            records.push(read_json(folder.join("result.json"))?);
        }
        Ok(Self(records))
    }

    /// Returns the entries of `section` in the objects `training` and `evaluation` of all records.
    /// `section` is `keys` (the recipe's keys) or `files` (the input files with their digests).
    fn inputs_of(&self, section: &str) -> BTreeMap<String, Json> {
        let inputs = self.0.iter().flat_map(|record| [&record["training"], &record["evaluation"]]);
        let entries = inputs.filter_map(|input| input[section].as_object()).flatten();
        entries.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Returns the recipe keys that determine the run's results. The prefix of the run's arm, such
    /// as `arms.a.`, is removed; keys of other arms are excluded.
    fn keys(&self) -> BTreeMap<String, Json> {
        let mut keys = self.inputs_of("keys");
        let arm = keys.get("cell.arm").map_or_else(String::new, text);
        let arm_infix = format!(".{arm}.");
        let arm_key = |key: &str| {
            let (section, short_key) = key.split_once(&arm_infix)?;
            (!section.contains('.')).then(|| (format!("{section}."), short_key.to_owned()))
        };
        let section = keys.keys().find_map(|key| arm_key(key)).map(|(section, _)| section);
        let mut selected = BTreeMap::new();
        keys.retain(|key, _| !key.starts_with("cell."));
        for (key, value) in keys {
            let is_in_arm_section =
                section.as_ref().is_some_and(|section| key.starts_with(section));
            match arm_key(&key) {
                Some((_, short_key)) => selected.insert(short_key, value),
                None if is_in_arm_section => None,
                None => selected.insert(key, value),
            };
        }
        selected
    }

    fn seconds(&self) -> f64 {
        self.0.iter().filter_map(|record| record["seconds"].as_f64()).sum()
    }

    fn environment<'a>(&'a self, key: &'a str) -> impl Iterator<Item = String> + 'a {
        self.0
            .iter()
            .map(move |record| text(&record["environment"][key]))
            .filter(|text| !text.is_empty())
    }
}

/// Formats a value for display; empty for null.
fn text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Removes empty and repeated texts and preserves the order.
fn distinct(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    texts.filter(|text| !text.is_empty() && seen.insert(text.clone())).collect()
}

/// Formats a duration, such as `3 h 20 min`, `1 min 5 s` or `12.0 s`.
fn duration(seconds: f64) -> String {
    let total = seconds.round() as u64;
    match (total / 3600, total / 60 % 60, total % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn gib(bytes: &Json) -> Option<String> {
    Some(format!("{:.2} GiB", bytes.as_f64()? / f64::from(1 << 30)))
}

/// Joins the words of a command line, quoted for a shell.
fn command(words: &Json) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || "-_=./,:+@%".contains(c);
    let quote = |word: &str| match !word.is_empty() && word.chars().all(is_safe) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    let words = words.as_array().into_iter().flatten().filter_map(Json::as_str);
    words.map(quote).collect::<Vec<_>>().join(" ")
}

/// Reads the setup of the runs.
pub(crate) fn read(runs: &[ReportRun], all: &ReportData) -> Result<Setup, mlqa_eval::Error> {
    let paths: BTreeSet<&PathBuf> =
        runs.iter().filter_map(|run| run.run_files.folder.as_ref()).collect();
    let folders =
        paths.into_iter().map(|path| RunFolder::read(path)).collect::<Result<Vec<_>, _>>()?;
    let records = runs.iter().map(Records::of).collect::<Result<Vec<_>, _>>()?;
    Ok(Setup {
        facts: facts(runs, &folders, &records),
        recipes: distinct(folders.iter().map(|folder| folder.recipe.clone())),
        differing_settings: differing_settings(runs, &records)?,
        question_files: question_files(runs, all)?,
        inputs: inputs(&records),
    })
}

fn facts(
    runs: &[ReportRun],
    folders: &[RunFolder],
    records: &[Records],
) -> Vec<(&'static str, String)> {
    let machine = |key: &'static str| folders.iter().map(move |folder| &folder.machine[key]);
    let environment =
        |key: &'static str| records.iter().flat_map(move |record| record.environment(key));
    let recipe = |folder: &RunFolder| match text(&folder.machine["about"]) {
        about if about.is_empty() => text(&folder.run_json["recipe"]),
        about => format!("{}: {about}", text(&folder.run_json["recipe"])),
    };
    let commands = || machine("commands").filter_map(Json::as_array).flatten();
    let seeds = |run: &ReportRun| match run.run_files.seeds.as_slice() {
        [_] if run.run_files.folder.is_none() => String::new(),
        seeds => seeds.join(", "),
    };
    let distinct_seed_lists = distinct(runs.iter().map(seeds));
    let seeds = match distinct_seed_lists.as_slice() {
        [seeds] => seeds.clone(),
        _ => {
            let run_seeds = |run: &ReportRun| format!("{}: {}", run.name, seeds(run));
            let runs_with_seeds = runs.iter().filter(|run| !seeds(run).is_empty());
            runs_with_seeds.map(run_seeds).collect::<Vec<_>>().join("; ")
        }
    };
    let join = |texts: Vec<String>, separator: &str| distinct(texts.into_iter()).join(separator);
    let names = ["processors", "gpus"].map(machine).into_iter().flatten();
    let names = names.flat_map(|all| all.as_array().into_iter().flatten());
    let mut hardware: Vec<String> = names.map(text).collect();
    hardware
        .extend(environment("device").map(|device| format!("device {}", device.to_lowercase())));
    hardware.extend(
        environment("threads")
            .map(|threads| format!("{threads} thread{}", if threads == "1" { "" } else { "s" })),
    );
    hardware.extend(environment("float32_matmul").map(|name| format!("float32 matmul: {name}")));
    let seconds: f64 = records.iter().map(|record| record.seconds()).sum();
    let tokens =
        records.iter().flat_map(|record| &record.0).filter_map(|record| record["tokens"].as_u64());
    let tokens = tokens.fold(0, u64::saturating_add) as usize;
    let mut time = Vec::new();
    if seconds > 0.0 {
        time.push(format!("{} in training and evaluation", duration(seconds)));
    }
    if tokens > 0 {
        time.push(format!("{} tokens trained on", thousands(tokens)));
    }
    let mut memory: Vec<String> = machine("peak_memory_bytes").filter_map(gib).collect();
    memory.extend(
        machine("peak_device_bytes").filter_map(|bytes| Some(gib(bytes)? + " on the device")),
    );
    let mut programs: Vec<String> =
        machine("version").map(text).filter(|version| !version.is_empty()).collect();
    programs.iter_mut().for_each(|version| version.insert_str(0, "polyqa "));
    programs.push(format!("scored by mlqa-eval {}", env!("CARGO_PKG_VERSION")));
    let facts = [
        ("Recipe", join(folders.iter().map(recipe).collect(), "; ")),
        ("Command", join(commands().map(command).collect(), "\n")),
        ("Seeds", seeds),
        ("Programs", join(programs, ", ")),
        ("Hardware", join(hardware, ", ")),
        ("Time", time.join(", ")),
        ("Peak memory", join(memory, ", ")),
    ];
    facts.into_iter().filter(|(_, fact)| !fact.is_empty()).collect()
}

/// Lists keys that differ between recipes, and the answer files of runs without a recipe.
fn differing_settings(runs: &[ReportRun], records: &[Records]) -> Result<Table, mlqa_eval::Error> {
    let title = if runs.len() == 1 { "Answers" } else { "Settings that differ between the runs" };
    let mut table = Table::new("differing", title, "key");
    table.columns.extend(runs.iter().map(|run| run.name.clone()));
    let keys: Vec<BTreeMap<String, Json>> = records.iter().map(Records::keys).collect();
    let names: BTreeSet<&String> = keys.iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let values: Vec<Option<&Json>> = keys.iter().map(|run| run.get(name)).collect();
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            let cells = values.into_iter().map(|value| match value {
                None => Value::Missing,
                Some(value) => Value::Text(text(value)),
            });
            table.rows.push([Value::from(name.as_str())].into_iter().chain(cells).collect());
        }
    }
    let mut row = vec![Value::from("answers")];
    for run in runs {
        let files: Vec<&Path> =
            run.seeds.iter().flatten().map(|file| file.predictions.as_path()).collect();
        row.push(match files.as_slice() {
            files if files.is_empty() || !run.run_files.trial_folders.is_empty() => Value::Missing,
            [file] => Value::Text(format!("{}, SHA-256 {}", file_name(file), digest(file)?)),
            files => Value::Text(format!("{} files", files.len())),
        });
    }
    table.rows.push(row);
    table.rows.retain(|row| row.iter().skip(1).any(|cell| *cell != Value::Missing));
    Ok(table)
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file that was read has a name").to_string_lossy().into_owned()
}

fn digest(path: &Path) -> Result<String, mlqa_eval::Error> {
    let bytes = atomic_file::read(path)?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Lists the question files of all pairs.
fn question_files(runs: &[ReportRun], all: &ReportData) -> Result<Table, mlqa_eval::Error> {
    let mut table = Table::new("data", "Question files", "questions, file, count, SHA-256");
    let files = runs.iter().flat_map(|run| run.seeds.iter().flatten());
    let files: BTreeSet<_> = files.map(|file| (&file.pair, &file.questions)).collect();
    for (pair, path) in files {
        let scores = all.pairs.iter().find(|scores| scores.pair == *pair);
        table.rows.push(vec![
            Value::Text(pair.label()),
            Value::Text(file_name(path)),
            scores.map_or(Value::Missing, |scores| {
                Value::Count(scores.questions + scores.without_gold)
            }),
            Value::Text(digest(path)?),
        ]);
    }
    Ok(table)
}

/// Lists the input files of recipes with their digests.
fn inputs(records: &[Records]) -> Table {
    let mut table = Table::new("inputs", "Models and other input files", "file, SHA-256");
    let files: BTreeMap<String, Json> =
        records.iter().flat_map(|record| record.inputs_of("files")).collect();
    let row = |(name, digest): (String, Json)| vec![Value::Text(name), Value::Text(text(&digest))];
    table.rows = files.into_iter().map(row).collect();
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_are_quoted_and_times_are_readable() {
        let words = json!(["toy", "a.toml", "--set", "run.arms=[\"a\"]", "it's", ""]);
        assert_eq!(command(&words), "toy a.toml --set 'run.arms=[\"a\"]' 'it'\\''s' ''");
        assert_eq!([0.25, 65.0, 12_000.0].map(duration), ["0.2 s", "1 min 5 s", "3 h 20 min"]);
    }

    #[test]
    fn keys_of_the_arm_lose_their_prefix() {
        let keys = json!({ "arms.a.kinds": ["x"], "arms.b.kinds": 1, "steps": 2, "cell.arm": "a" });
        let records = Records(vec![json!({ "training": { "keys": keys } }), Json::Null]);
        let keys = records.keys();
        let names: Vec<&str> = keys.keys().map(String::as_str).collect();
        assert_eq!(names, ["kinds", "steps"]);
    }
}
