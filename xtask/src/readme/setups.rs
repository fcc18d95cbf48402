//! The setups of stored runs, `examples/RECIPE/results/NAME.setup.json`: date, hardware, precision
//! and computing time; and their table on docs/results/evidence.md.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use results::Table;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::files;

/// Ending of the files with setups.
const ENDING: &str = ".setup.json";

/// The setup of a run, or of several runs whose results were combined.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Date of the last result, UTC.
    date: String,
    /// Names of the processors, and of the GPUs if they were used.
    hardware: BTreeSet<String>,
    /// Compute precision: `f32`, `bf16` or `f16`.
    precision: BTreeSet<String>,
    /// Number of evaluations in the folders: of all trials and of parts that arms share.
    trials: usize,
    /// Tokens of all trainings, without padding.
    tokens: u64,
    /// Time of all trainings and evaluations. The times of trials that ran at the same time are
    /// added, and the time of an interrupted training after its last checkpoint is not included.
    hours: f64,
}

/// The keys of `trained.json` and `result.json` in the folder of a trial.
#[derive(Deserialize)]
struct TrialRecord {
    seconds: f64,
    #[serde(default)]
    tokens: u64,
}

/// The keys of `machine.json` in a run folder.
#[derive(Deserialize)]
struct Machine {
    #[serde(default)]
    processors: Vec<String>,
    #[serde(default)]
    gpus: Vec<String>,
}

/// The keys of `recipe.toml` in a run folder.
#[derive(Deserialize)]
struct RunRecipe {
    run: RunSection,
}

#[derive(Deserialize)]
struct RunSection {
    precision: String,
}

impl Setup {
    /// Reads the setup of run folders; `None` if one of them has no `machine.json`, because another
    /// program than a recipe wrote it.
    pub fn read(runs: &[&Path]) -> Result<Option<Self>> {
        if runs.iter().any(|run| !run.join("machine.json").is_file()) {
            return Ok(None);
        }
        let mut setup = Self::default();
        let mut seconds = 0.0;
        let mut last = OffsetDateTime::UNIX_EPOCH;
        for run in runs {
            let machine: Machine = read_json(&run.join("machine.json"))?;
            setup.hardware.extend(machine.gpus.into_iter().chain(machine.processors));
            let path = run.join("recipe.toml");
            let recipe: RunRecipe =
                toml::from_str(&files::read(&path)?).with_context(|| path.display().to_string())?;
            setup.precision.insert(recipe.run.precision);
            let mut folders = vec![run.to_path_buf()];
            while let Some(folder) = folders.pop() {
                for path in files::entries(&folder)? {
                    let name = path.file_name().expect("an entry has a name").to_string_lossy();
                    match &*name {
                        "trained.json" | "result.json" => {
                            let record: TrialRecord = read_json(&path)?;
                            seconds += record.seconds;
                            if name == "trained.json" {
                                setup.tokens += record.tokens;
                            } else {
                                setup.trials += 1;
                                let modified = path.metadata().and_then(|file| file.modified());
                                let modified =
                                    modified.with_context(|| path.display().to_string())?;
                                last = last.max(modified.into());
                            }
                        }
                        "model" | "models" => {}
                        _ if path.is_dir() => folders.push(path),
                        _ => {}
                    }
                }
            }
        }
        ensure!(setup.trials > 0, "{}: no result.json of a trial", runs[0].display());
        setup.date = last.date().to_string();
        setup.hours = (seconds / 36.0).round() / 100.0;
        Ok(Some(setup))
    }

    /// Writes the setup as `NAME.setup.json` into a recipe's folder `results`.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        files::write(&folder.join(format!("{name}{ENDING}")), &text)
    }
}

/// Formats the setups of all stored runs that have one, sorted by recipe and name.
pub fn format_table(root: &Path) -> Result<String> {
    const COLUMNS: [&str; 6] =
        ["date", "hardware", "precision", "trials", "million tokens", "hours"];
    let join = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join("; ");
    let mut table = Table::new("run", COLUMNS);
    for (name, path) in setup_files(root)? {
        let setup: Setup = read_json(&path)?;
        table.add_row(
            format!("`{name}`"),
            [
                setup.date,
                join(setup.hardware),
                join(setup.precision),
                setup.trials.to_string(),
                format!("{:.1}", setup.tokens as f64 / 1e6),
                format!("{:.1}", setup.hours),
            ],
        );
    }
    Ok(table.to_string())
}

/// Returns the files of setups by `RECIPE/NAME`, sorted.
fn setup_files(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for recipe in files::entries(&root.join("examples"))? {
        let results = recipe.join("results");
        if !results.is_dir() {
            continue;
        }
        for path in files::entries(&results)? {
            let file =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            if let Some(name) = file.strip_suffix(ENDING) {
                let recipe = recipe.file_name().expect("an entry has a name").to_string_lossy();
                found.push((format!("{recipe}/{name}"), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let text = files::read(path)?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_run(run: &Path, processor: &str) {
        let write = |path: &str, text: &str| files::write(&run.join(path), text).unwrap();
        write("machine.json", &format!(r#"{{"processors": ["{processor}"], "commands": []}}"#));
        write("recipe.toml", "[run]\nprecision = \"bf16\"\nseeds = [0]\n");
        write("seed-0/base/trained.json", r#"{"seconds": 0.0, "tokens": 0, "value": 1}"#);
        write("seed-0/base/result.json", r#"{"seconds": 360.0, "tokens": 0}"#);
        write("seed-0/wep/en/trained.json", r#"{"seconds": 3000.0, "tokens": 1200000}"#);
        write("seed-0/wep/en/result.json", r#"{"seconds": 240.0, "tokens": 1200000}"#);
        // Of a model, not of the run.
        write("seed-0/wep/en/model/result.json", "{}");
    }

    #[test]
    fn a_setup_adds_the_times_of_all_trials() {
        let root = tempfile::tempdir().unwrap();
        let runs = ["one", "two"].map(|name| root.path().join(name));
        write_run(&runs[0], "AMD EPYC, AVX2");
        write_run(&runs[1], "Intel Xeon, AMX");
        let setup = Setup::read(&[&runs[1], &runs[0]]).unwrap().unwrap();
        let other = root.path().join("other");
        assert_eq!(Setup::read(&[&runs[0], &other]).unwrap(), None);
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        assert_eq!(setup.hardware, names(&["AMD EPYC, AVX2", "Intel Xeon, AMX"]));
        assert_eq!(setup.precision, names(&["bf16"]));
        assert_eq!((setup.trials, setup.tokens, setup.hours), (4, 2_400_000, 2.0));
        let today = OffsetDateTime::now_utc().date().to_string();
        assert!(setup.date <= today, "{}", setup.date);
        assert!(setup.date.len() == 10 && setup.date.starts_with("20"), "{}", setup.date);

        let results = root.path().join("examples/entity-cs/results");
        setup.write(&results, "pretrained").unwrap();
        files::write(&results.join("pretrained.md"), "").unwrap();
        let table = format_table(root.path()).unwrap();
        let row = format!(
            "| `entity-cs/pretrained` | {} | AMD EPYC, AVX2; Intel Xeon, AMX | bf16 | 4 | 2.4 | 2.0 |",
            setup.date
        );
        assert!(table.contains(&row), "{table}");
    }

    #[test]
    fn a_run_without_results_is_an_error() {
        let run = tempfile::tempdir().unwrap();
        files::write(&run.path().join("machine.json"), r#"{"processors": ["AMD EPYC"]}"#).unwrap();
        let error = Setup::read(&[run.path()]).unwrap_err().to_string();
        assert!(error.contains("recipe.toml"), "{error}");
        files::write(&run.path().join("recipe.toml"), "[run]\nprecision = \"f32\"\n").unwrap();
        let error = Setup::read(&[run.path()]).unwrap_err().to_string();
        assert!(error.contains("no result.json"), "{error}");
        files::write(&run.path().join("seed-0/base/result.json"), "{").unwrap();
        let error = format!("{:#}", Setup::read(&[run.path()]).unwrap_err());
        assert!(error.contains("result.json"), "{error}");
    }
}
